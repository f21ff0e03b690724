// @ts-check
/** Workers, queue, what the process holds, and the counts since the start. */
import { html, nothing } from '../../../vendor/lit-html.js';
import { NONE, bytes, count, duration, milliseconds, several } from '../numbers.js';
import { byLabel, total } from '../prometheus.js';

/** @typedef {import('../api.js').ServerState} ServerState */
/** @typedef {import('../app.js').Operators} Operators */

/** @type {Record<string, string>} */
const WORKERS = { engine: 'Engine', vocoder: 'Vocoder', event_loop: 'Event loop' };

/**
 * @param {[string, unknown][]} rows
 * @param {string} [label]
 */
const figures = (rows, label) =>
  html`<dl class="figures" aria-label=${label ?? nothing}>${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/**
 * @param {string} title
 * @param {unknown} content
 * @param {string} [kind]
 */
const card = (title, content, kind = '') => html`<section class="card ${kind}" aria-label=${title}><h2>${title}</h2>${content}</section>`;

/** @param {ServerState} state */
export function workers({ workers, model }) {
  const known = Object.entries(workers);
  /** @type {Record<string, string>} */
  const load = {
    engine: model.engine_jobs == null ? '' : several(model.engine_jobs, 'job'),
    vocoder: model.vocoder_streams == null ? '' : several(model.vocoder_streams, 'stream'),
  };
  if (known.length === 0)
    return card('Workers', html`<p class="empty">Not watched: the model is loading, or --stall-seconds is 0.</p>`);
  return card(
    'Workers',
    html`<ul class="workers">${known.map(
      ([name, { state, seconds, restarts }]) => html`<li>
        <span class="health" data-state=${state}>${WORKERS[name] ?? name}</span>
        <span>${state === 'ok' ? load[name] || 'ok' : `${state} for ${duration(seconds)}`}</span>
        <small>${restarts === undefined ? nothing : several(restarts, 'restart')}</small>
      </li>`,
    )}</ul>`,
  );
}

/** @param {ServerState} state */
export function queue({ queue }) {
  const { waiting, limit, list } = queue;
  const content =
    waiting === 0
      ? html`<p class="empty">Nobody waits. There is room for ${limit ?? NONE}.</p>`
      : html`<ol class="queue">${list.map((one, index) => html`<li><b>${index + 1}</b><span>${one.caller}</span><span>${duration(one.seconds)}</span></li>`)}</ol>`;
  return card('Queue', content);
}

/** @param {ServerState} state */
export function holdings({ process, model, server }) {
  const rows = /** @type {[string, unknown][]} */ ([
    ['Memory', bytes(process.memory_bytes)],
    ['Threads', count(process.threads)],
    ['Open files', process.open_files === null ? NONE : count(process.open_files)],
    ['Event loop, greatest lag in 15 s', milliseconds(process.loop_lag_ms)],
    ['Client secrets', count(process.client_secrets)],
    ['Voices', model.voices.join(', ') || NONE],
  ]);
  if (model.kv_caches_limit != null) rows.splice(1, 0, ['KV caches', `${model.kv_caches} of ${model.kv_caches_limit}`]);
  if (model.gpu_bytes != null) rows.splice(1, 0, ['GPU memory', bytes(model.gpu_bytes)]);
  return card('Process', figures([...rows, ['Running for', duration(server.uptime_s)]]));
}

/** The counts of `/metrics`. @param {Operators} app */
export function counts({ metrics }) {
  if (metrics.size === 0) return nothing;
  const sum = (/** @type {string} */ name) => total(metrics, name);
  const used = byLabel(metrics, 'realtime_speculations_total', 'outcome');
  const speculated = used.reduce((all, [, value]) => all + value, 0);
  const hits = used.find(([name]) => name === 'used')?.[1] ?? 0;
  return card(
    'Since the start',
    html`${figures([
      ['Sessions', count(sum('realtime_sessions_admitted_total'))],
      ['Replies with audio', count(sum('realtime_first_audio_seconds_count'))],
      ['Speculative replies used', speculated === 0 ? NONE : `${count(hits)} of ${count(speculated)}`],
      ['Late chunks', `${count(sum('realtime_late_chunks_total'))} of ${count(sum('realtime_chunks_total'))}`],
      ['CPU time', duration(sum('process_cpu_seconds_total'))],
    ])}
    ${breakdown('Responses by status', byLabel(metrics, 'realtime_responses_total', 'status'))}
    ${breakdown('Refused clients', byLabel(metrics, 'realtime_sessions_refused_total', 'code'))}
    ${breakdown('Errors sent', byLabel(metrics, 'realtime_messages_rejected_total', 'code'))}
    ${breakdown('Faults of the vocoder', byLabel(metrics, 'realtime_vocoder_faults_total', 'fault'))}`,
    'counts',
  );
}

/**
 * @param {string} title
 * @param {[string, number][]} entries
 */
function breakdown(title, entries) {
  if (entries.length === 0) return nothing;
  const rows = /** @type {[string, unknown][]} */ (
    entries.slice(0, 8).map(([name, value]) => [html`<code>${name}</code>`, count(value)])
  );
  return html`<h3>${title}</h3>${figures(rows, title)}`;
}
