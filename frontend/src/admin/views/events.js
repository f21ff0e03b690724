// @ts-check
/** The events of one session, as they come. */
import { html, nothing } from '../../../vendor/lit-html.js';
import { summaryOf } from '../../log.js';
import { icon } from '../../views/icons.js';

/** @typedef {import('../app.js').Operators} Operators */
/** @typedef {import('../../log.js').Row} Row */

const MOST_ROWS = 300;

/**
 * @param {Operators} app
 * @param {import('../app.js').Watch} watch
 */
export function events(app, watch) {
  const rows = watch.log.rows.slice(-MOST_ROWS);
  const chosen = rows.find(({ number }) => number === watch.chosen);
  return html`<div class="card-head">
      <h2 id="events-title" tabindex="-1">Events <small><code>${watch.id}</code></small></h2>
      <button type="button" class="quiet square" aria-label="Close events" @click=${() => app.closeEvents()}>${icon('close')}</button>
    </div>
    <p class="hint">${watch.ended || 'What is said in this session, without its sound. The log notes that you opened it.'}</p>
    <ol class="event-list" id="event-list" tabindex="0" aria-label="Events">${
      rows.length === 0
        ? html`<li class="empty">${watch.ended ? 'No events came.' : 'Waiting for the first event.'}</li>`
        : rows.map((row) => line(app, watch, row))
    }</ol>
    ${chosen ? html`<pre class="event-detail" tabindex="0" role="region" aria-label="Chosen event">${JSON.stringify(chosen.event, null, 2)}</pre>` : nothing}`;
}

/**
 * @param {Operators} app
 * @param {import('../app.js').Watch} watch
 * @param {Row} row
 */
function line(app, watch, row) {
  const chosen = row.number === watch.chosen;
  const of = row.type === 'error' ? 'error' : row.type.startsWith('response') ? 'assistant' : 'user';
  return html`<li><button type="button" class="event" data-of=${of} aria-pressed=${String(chosen)} @click=${() => {
    watch.chosen = chosen ? null : row.number;
    app.onChange();
  }}><time>${((row.at - watch.began) / 1_000).toFixed(1)}</time><b>${row.type}</b>${row.count > 1 ? html`<i>×${row.count}</i>` : nothing}<span>${summaryOf(row)}</span></button></li>`;
}
