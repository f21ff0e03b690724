// @ts-check
/** Latencies: the session's, every turn's, and the steps of the chosen one; listening again and files. */
import { html, nothing } from '../../vendor/lit-html.js';
import { STEPS, latencyFrom, latencyOf, latencySummary } from '../turns.js';
import { icon } from './icons.js';

/** @typedef {import('../console.js').Console} Console */
/** @typedef {import('../turns.js').Turn} Turn */

const LISTED = 40;

/**
 * @param {Console} app
 * @param {import('./page.js').Page} page
 */
export function turnsPanel(app, page) {
  const { list } = app.turns;
  const spoken = list.filter(({ kind }) => kind === 'speech');
  const counted = spoken.length > 0 ? spoken : list;
  const { count, p50, p95 } = latencySummary(counted);
  const chosen = app.turns.of(app.selected) ?? app.turns.last;
  const from = spoken.length > 0 || list.length === 0 ? 'your last word' : 'Send';
  return html`
    <dl class="summary">
      <div><dt>p50</dt><dd>${ms(p50)}</dd></div>
      <div><dt>p95</dt><dd>${ms(p95)}</dd></div>
      <div><dt>Turns</dt><dd>${count}</dd></div>
    </dl>
    <p class="hint">From ${from} to the first sound of the answer at the loudspeaker.</p>
    ${chosen === null ? html`<p class="empty">Each turn appears here with the time of every step.</p>` : turnDetails(chosen, app, page)}
    ${list.length > 1 ? turnList(list, chosen, page) : nothing}
    <h3>Files</h3>
    <div class="row wrap">
      ${
        /** @type {const} */ ([
          ['jsonl', 'Events'],
          ['md', 'Text'],
          ['wav', 'Sound'],
        ]).map(
          ([kind, label]) =>
            html`<button type="button" class="quiet" ?disabled=${list.length === 0 || (kind === 'wav' && app.recording.clips.size === 0)} @click=${() => page.download(kind)}>${icon('download')}<span>${label}</span></button>`,
        )
      }
      <button type="button" class="quiet" @click=${() => document.getElementById('import')?.click()}>${icon('upload')}<span>Open a session</span></button>
      <input type="file" id="import" accept=".jsonl" aria-label="Session file" class="visually-hidden" tabindex="-1" @change=${(/** @type {Event} */ event) => page.import(/** @type {HTMLInputElement} */ (event.target))} />
    </div>
  `;
}

/** @param {number | null | undefined} value */
const ms = (value) => (value == null ? '–' : html`${Math.round(value)}<small> ms</small>`);

/**
 * @param {Turn} turn
 * @param {Console} app
 * @param {import('./page.js').Page} page
 */
function turnDetails(turn, app, page) {
  const latency = latencyOf(turn);
  const deletable = app.selected !== null && turn.items.includes(app.selected);
  const playable = turn.items.some((id) => app.recording.clips.has(id));
  const playing = app.replayer.turn === turn;
  return html`<section class="turn" aria-label="Turn ${turn.number}">
    <h3>Turn ${turn.number} <small>${turn.kind === 'speech' ? 'spoken' : turn.kind === 'text' ? 'typed' : 'by the server'}${latency === null ? '' : `, ${Math.round(latency)} ms ${latencyFrom(turn)}`}</small></h3>
    ${waterfall(turn)}
    ${serverFigures(turn)}
    <div class="row wrap">
      <button type="button" class="quiet" ?disabled=${!playable} @click=${() => (playing ? app.replayer.stop() : app.replayer.play(turn))}>${icon(playing ? 'stop' : 'play')}<span>${playing ? 'Stop' : 'Hear again'}</span></button>
      <button type="button" class="quiet" ?disabled=${!playable} @click=${() => page.download('wav', turn)}>${icon('download')}<span>WAV</span></button>
      <button type="button" class="quiet" ?disabled=${!deletable} @click=${() => app.deleteItem(/** @type {string} */ (app.selected))}>${icon('trash')}<span>Delete item</span></button>
      <button type="button" class="quiet" @click=${() => page.showEventsOf(turn)}>${icon('inspect')}<span>Its events</span></button>
    </div>
  </section>`;
}

/** @param {Turn} turn */
function waterfall({ at }) {
  const start = at.start;
  if (start === undefined) return nothing;
  const known = STEPS.filter(({ step }) => at[step] !== undefined);
  const end = Math.max(1, ...known.map(({ step }) => /** @type {number} */ (at[step]) - start));
  let before = 0;
  return html`<ol class="waterfall">${known.map(({ step, label }) => {
    const time = Math.max(before, /** @type {number} */ (at[step]) - start);
    const style = `--from:${(100 * before) / end}%;--size:${Math.max(1, (100 * (time - before)) / end)}%`;
    const took = time - before;
    before = time;
    return html`<li data-step=${step}><span>${label}</span><i style=${style}></i><b>+${Math.round(took)}</b><em>${Math.round(time)} ms</em></li>`;
  })}</ol>`;
}

/** The server's figures that are worth a line. @type {[string, string, string][]} */
const FIGURES = [
  ['endpointing_ms', 'Silence until decided', 'ms'],
  ['first_token_ms', 'First token made', 'ms'],
  ['first_audio_ms', 'First audio made', 'ms'],
  ['ahead_ms', 'Speculated ahead', 'ms'],
  ['decoder_rtf', 'Decoder real-time factor', ''],
  ['vocoder_rtf', 'Vocoder real-time factor', ''],
  ['least_margin_ms', 'Least margin of the playback', 'ms'],
];

/** @param {Turn} turn */
function serverFigures({ server }) {
  if (server === null) return nothing;
  const known = FIGURES.filter(([name]) => server[name] != null);
  return html`<dl class="figures">${known.map(([name, label, unit]) => html`<div><dt>${label}</dt><dd>${unit === '' ? Number(server[name]).toFixed(2) : Math.round(Number(server[name]))} ${unit}</dd></div>`)}</dl>`;
}

/**
 * @param {Turn[]} list
 * @param {Turn | null} chosen
 * @param {import('./page.js').Page} page
 */
function turnList(list, chosen, page) {
  const most = Math.max(...list.map((turn) => latencyOf(turn) ?? 0), 1);
  return html`<h3>All turns</h3><ol class="turns" reversed>${list
    .slice(-LISTED)
    .reverse()
    .map((turn) => {
      const latency = latencyOf(turn);
      return html`<li><button type="button" class="turn-row" aria-pressed=${String(turn === chosen)} @click=${() => page.select(turn.items[0] ?? turn.responses[0])}>
      <span>${turn.number}</span><i style="--size:${(100 * (latency ?? 0)) / most}%"></i><b>${latency === null ? '–' : `${Math.round(latency)} ms`}</b></button></li>`;
    })}</ol>`;
}
