// @ts-check
/** The operators' page: head, tiles, sessions, charts and details; drawn at most once a frame. */
import { html, nothing, render } from '../../../vendor/lit-html.js';
import { icon } from '../../views/icons.js';
import { ThemedPage } from '../../views/themed-page.js';
import { bytes, count, duration, factor, milliseconds, quantile, share, sum } from '../numbers.js';
import { factors, histogram, sparkline } from './charts.js';
import { counts, holdings, queue, workers } from './details.js';
import { endDialog, keyDialog } from './dialogs.js';
import { events } from './events.js';
import { sessions } from './sessions.js';

/** @typedef {import('../app.js').Operators} Operators */
/** @typedef {import('../api.js').ServerState} ServerState */

/** Within so many pixels of its end the list of events follows what is added. */
const FOLLOW_PX = 64;

/** @type {Record<string, string>} */
const STATUS_WORDS = {
  ready: 'Serving',
  loading: 'Loading',
  unwell: 'Unwell',
  failed: 'Failed',
  draining: 'Shutting down',
};

export class Page extends ThemedPage {
  /** @param {Operators} app */
  constructor(app) {
    super();
    this.app = app;
    /** The session whose events are shown, and what had the focus before. */
    this.watched = '';
    /** @type {HTMLElement | null} */
    this.opener = null;
    this.applyTheme();
  }

  drawNow() {
    const { app } = this;
    render(this.top(), part('top'));
    render(notice(app), part('notice'));
    render(app.state === null ? waiting(app) : overview(app, app.state), part('overview'));
    this.drawEvents();
    keyDialog(app);
    endDialog(app);
  }

  drawEvents() {
    const { watch } = this.app;
    const panel = part('events');
    const list = document.getElementById('event-list');
    const follow = list === null || list.scrollHeight - list.scrollTop - list.clientHeight < FOLLOW_PX;
    const opened = watch !== null && watch.id !== this.watched;
    if (opened && this.watched === '') this.opener = /** @type {HTMLElement} */ (document.activeElement);
    panel.hidden = watch === null;
    render(watch === null ? nothing : events(this.app, watch), panel);
    const drawn = document.getElementById('event-list');
    if (follow && drawn !== null) drawn.scrollTop = drawn.scrollHeight;
    if (opened) document.getElementById('events-title')?.focus();
    if (watch === null && this.watched !== '') this.opener?.focus();
    this.watched = watch?.id ?? '';
    document.body.toggleAttribute('data-watching', watch !== null);
  }

  top() {
    const { state, fault } = this.app;
    const dark = this.theme === 'dark';
    const status = fault ? 'lost' : (state?.server.status ?? 'loading');
    const words = fault ? 'No figures' : state === null ? 'Asking the server' : (STATUS_WORDS[status] ?? status);
    const colours = dark ? 'Light colours' : 'Dark colours';
    return html`<h1>${MARK}<span>Operators</span></h1>
      <p id="status" role="status" data-status=${status}><strong>${words}</strong>${
        state === null ? nothing : html`<span class="detail">${state.server.model}, up ${duration(state.server.uptime_s)}</span>`
      }</p>
      <a class="button quiet" href="./">Console</a>
      <button type="button" class="quiet square" aria-label=${colours} title=${colours} @click=${() => this.toggleTheme()}>${icon(dark ? 'sun' : 'moon')}</button>`;
  }
}

const MARK = html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path d="M5 13v6M11 8v16M17 4v12" class="mark-user" /><path d="M17 16v12M23 11v10M29 14v4" class="mark-reply" /></svg>`;

/** @param {Operators} app */
function notice(app) {
  const { state, fault, notice } = app;
  const unwell = state !== null && !['ready', 'loading'].includes(state.server.status) ? state.server.reason : '';
  const text = (app.keyRequest === null && fault) || unwell;
  return html`${text ? html`<p class="notice-text">${text}</p>` : nothing}${
    notice
      ? html`<p class="notice-text" data-tone="info">${notice}<button type="button" class="quiet square" aria-label="Dismiss" @click=${() => {
          app.notice = '';
          app.onChange();
        }}>${icon('close')}</button></p>`
      : nothing
  }`;
}

/** @param {Operators} app */
function waiting({ fault, keyRequest }) {
  if (keyRequest !== null) return html`<p class="empty">The figures are shown to whoever has the admin key.</p>`;
  return html`<p class="empty">${fault ? 'There are no figures.' : 'Asking the server for its figures.'}</p>`;
}

/**
 * @param {Operators} app
 * @param {ServerState} state
 */
function overview(app, state) {
  const { first_audio, series, decoder_rtf, vocoder_rtf } = state.hour;
  return html`${tiles(state)}
    ${sessions(app)}
    <section class="card half" aria-labelledby="first-audio-title">
      <div class="card-head"><h2 id="first-audio-title">First audio <small>last hour, ${count(first_audio.count)} replies</small></h2>
        <dl class="legend"><div data-of="p50"><dt>p50</dt><dd>${quantile(first_audio.p50_ms, first_audio.bounds_ms)}</dd></div><div data-of="p95"><dt>p95</dt><dd>${quantile(first_audio.p95_ms, first_audio.bounds_ms)}</dd></div></dl></div>
      ${histogram(first_audio)}
      <p class="hint">From the end of the user's speech, or the request, to the first audio sent. The axis is logarithmic.</p>
    </section>
    <section class="card half" aria-labelledby="factors-title">
      <div class="card-head"><h2 id="factors-title">Real-time factors <small>last hour</small></h2>
        <dl class="legend"><div data-of="decoder"><dt>Decoder</dt><dd>${factor(decoder_rtf)}</dd></div><div data-of="vocoder"><dt>Vocoder</dt><dd>${factor(vocoder_rtf)}</dd></div></dl></div>
      ${factors(series.decoder_rtf, series.vocoder_rtf)}
      <p class="hint">Compute time over audio time of a reply. Below 1 keeps up with playback.</p>
    </section>
    <div class="stack">${workers(state)} ${queue(state)}</div>
    ${holdings(state)} ${counts(app)}`;
}

/** @param {ServerState} state */
function tiles({ sessions, queue, hour, process }) {
  const { series, first_audio } = hour;
  const late = sum(series.late_chunks);
  const faults = series.errors.map((value, minute) => (value ?? 0) + (series.failed[minute] ?? 0));
  return html`<dl class="tiles">
    ${tile('Sessions', count(sessions.running), `of ${sessions.limit ?? '–'}`, series.sessions)}
    ${tile('Waiting', count(queue.waiting), `of ${queue.limit ?? '–'}`, series.waiting)}
    ${tile('First audio, p50', quantile(first_audio.p50_ms, first_audio.bounds_ms), `p95 ${quantile(first_audio.p95_ms, first_audio.bounds_ms)}`, series.first_audio_p50_ms)}
    ${tile('Replies in an hour', count(sum(series.replies)), `${count(sum(series.failed))} failed`, series.replies)}
    ${tile('Late chunks', share(late, sum(series.chunks)), `${count(late)} in an hour`, series.late_chunks)}
    ${tile('Errors in an hour', count(sum(faults)), `${count(sum(series.refused))} refused`, faults)}
    ${tile('Event loop lag', milliseconds(process.loop_lag_ms), 'greatest in 15 s', series.loop_lag_ms)}
    ${tile('Memory', bytes(process.memory_bytes), `${count(process.threads)} threads`, series.memory_bytes)}
  </dl>`;
}

/**
 * @param {string} label
 * @param {string} value
 * @param {string} detail
 * @param {import('../api.js').Series} series
 */
const tile = (label, value, detail, series) =>
  html`<div class="tile"><dt>${label}</dt><dd><strong>${value}</strong> <small>${detail}</small></dd><dd>${sparkline(series, `${label} over the last hour`)}</dd></div>`;

/** @param {string} id */
function part(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}
