// @ts-check
/** The running sessions: a table, on narrow pages a card each. */
import { html, nothing } from '../../../vendor/lit-html.js';
import { icon } from '../../views/icons.js';
import { NONE, bytes, count, duration, milliseconds } from '../numbers.js';
import { sparkline } from './charts.js';

/** @typedef {import('../app.js').Operators} Operators */
/** @typedef {import('../api.js').Session} Session */

const MOST_ROWS = 200;

/** What the floor means, and whose colour it has. @type {Record<string, [string, string]>} */
const FLOORS = {
  nobody: ['Quiet', 'none'],
  user: ['User speaks', 'user'],
  replying: ['Replying', 'assistant'],
  audible: ['Playing', 'assistant'],
  'user and reply': ['Both speak', 'both'],
  'user and audible': ['Both speak', 'both'],
  'overlap, replying': ['Overlap', 'both'],
  'overlap, audible': ['Overlap', 'both'],
};

/** @type {[import('../listing.js').Order, string][]} */
const ORDERS = [
  ['age', 'Oldest first'],
  ['latency', 'Slowest first'],
  ['waiting', 'Most waiting first'],
  ['errors', 'Most errors first'],
];

/** @param {Operators} app */
export function sessions(app) {
  const listed = app.sessions;
  const running = app.state?.sessions.running ?? 0;
  return html`<section class="card wide" aria-labelledby="sessions-title">
    <div class="card-head">
      <h2 id="sessions-title">Sessions <small>${count(running)}</small></h2>
      ${running > 0 ? tools(app) : nothing}
    </div>
    ${listed.length > 0 ? table(app, listed) : html`<p class="empty">${running > 0 ? 'No session matches.' : 'Nobody is connected. A session appears here as soon as one begins.'}</p>`}
    ${listed.length < running && app.search === '' ? html`<p class="hint">The ${count(listed.length)} oldest are listed.</p>` : nothing}
  </section>`;
}

/** @param {Operators} app */
function tools(app) {
  const value = (/** @type {Event} */ event) => /** @type {HTMLInputElement} */ (event.target).value;
  return html`<div class="row">
    <input type="search" aria-label="Find a session or caller" placeholder="Find a session or caller" .value=${app.search}
      @input=${(/** @type {Event} */ event) => {
        app.search = value(event);
        app.onChange();
      }} />
    <select aria-label="Order" @change=${(/** @type {Event} */ event) => {
      app.order = /** @type {import('../listing.js').Order} */ (value(event));
      app.onChange();
    }}>${ORDERS.map(([name, label]) => html`<option value=${name} ?selected=${name === app.order}>${label}</option>`)}</select>
  </div>`;
}

/**
 * @param {Operators} app
 * @param {Session[]} listed
 */
function table(app, listed) {
  return html`<table>
    <thead><tr><th scope="col">Session</th><th scope="col">State</th><th scope="col" class="number">Age</th><th scope="col">First audio</th>
      <th scope="col" class="number">Turns</th><th scope="col">Buffers</th><th scope="col">Errors</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
    <tbody>${listed.slice(0, MOST_ROWS).map((session) => row(app, session))}</tbody>
  </table>`;
}

/**
 * @param {Operators} app
 * @param {Session} session
 */
function row(app, session) {
  const [words, whose] = FLOORS[session.floor] ?? [session.floor, 'none'];
  const watched = app.watch?.id === session.id;
  const kind = session.kind === 'realtime' ? session.voice : session.kind;
  return html`<tr data-id=${session.id} ?data-watched=${watched}>
    <th scope="row"><code>${session.id}</code><small>${session.caller} · ${session.transport}${kind ? ` · ${kind}` : ''}</small></th>
    <td data-label="State"><span class="floor" data-whose=${whose}>${words}</span></td>
    <td data-label="Age" class="number">${duration(session.age_s)}</td>
    <td data-label="First audio"><span class="latency"><span>${milliseconds(session.first_audio_p50_ms)}</span>${
      session.first_audio_ms.length > 1 ? sparkline(session.first_audio_ms, 'First audio of the latest replies') : nothing
    }</span></td>
    <td data-label="Turns" class="number">${count(session.turns)}<small>${session.replies === 1 ? '1 reply' : `${count(session.replies)} replies`}</small></td>
    <td data-label="Buffers">${buffers(session)}</td>
    <td data-label="Errors">${session.errors === 0 ? html`<span class="none">${NONE}</span>` : html`<span class="fault">${count(session.errors)}</span><small>${breakable(session.last_error)}, ${duration(session.last_error_s)} ago</small>`}</td>
    <td class="actions">
      <button type="button" class="quiet" aria-pressed=${String(watched)} aria-label="Events of ${session.id}" @click=${() => (watched ? app.closeEvents() : app.openEvents(session.id))}>${icon('inspect')}<span>Events</span></button>
      <button type="button" class="quiet" aria-label="End ${session.id}" @click=${() => app.askToEnd(session.id)}>${icon('close')}<span>End</span></button>
    </td>
  </tr>`;
}

/** A code that may be broken at its underscores. @param {string} code */
const breakable = (code) => code.split('_').map((word, index) => (index === 0 ? word : html`_<wbr>${word}`));

/** What waits in a session; what is empty is not named. @param {Session} session */
function buffers(session) {
  const { pending_inputs, playback_ms, input_audio_ms, outbox_bytes, outbox_audio_ms } = session;
  const named = /** @type {[string, string][]} */ ([]);
  if (playback_ms > 0) named.push([milliseconds(playback_ms), 'to play']);
  if (outbox_audio_ms > 0) named.push([milliseconds(outbox_audio_ms), 'to send']);
  else if (outbox_bytes > 0) named.push([bytes(outbox_bytes), 'to send']);
  if (input_audio_ms > 0) named.push([milliseconds(input_audio_ms), 'heard']);
  if (pending_inputs > 0) named.push([count(pending_inputs), pending_inputs === 1 ? 'input waits' : 'inputs wait']);
  if (named.length === 0) return html`<span class="none">empty</span>`;
  return html`<ul class="buffers">${named.map(([amount, what]) => html`<li>${amount} <small>${what}</small></li>`)}</ul>`;
}
