// @ts-check
/** The conversation: words of both sides, tool calls, approvals, and dividers where it was broken. */
import { html, nothing } from '../../vendor/lit-html.js';
import { splitHeard } from '../heard.js';
import { latencyFrom, latencyOf } from '../turns.js';
import { icon } from './icons.js';

/** @typedef {import('../conversation.js').Entry} Entry */
/** @typedef {import('../console.js').Console} Console */

/** Older entries are shown on demand: the page stays quick after a thousand turns. */
const SHOWN = 150;

const EXAMPLES = [
  'what time is it',
  'who are you',
  'tell me a joke',
  'count from one to one hundred',
  'what is twelve plus thirty',
];

/**
 * @param {Console} app
 * @param {import('./page.js').Page} page
 */
export function transcript(app, page) {
  const { entries } = app.conversation;
  if (entries.length === 0) return welcome(app);
  const first = page.showAll ? 0 : Math.max(0, entries.length - SHOWN);
  const earlier = html`<button type="button" class="quiet earlier" @click=${() => {
    page.showAll = true;
    app.onChange();
  }}>Show ${first} earlier entries</button>`;
  return html`${first > 0 ? earlier : nothing}
    <ol class="transcript" aria-label="What was said">${entries.slice(first).map((entry) => entryOf(entry, app, page))}</ol>`;
}

/** @param {Console} app */
function welcome(app) {
  const { model, state, settings } = app;
  const ask = (/** @type {string} */ text) => void app.sendText(text);
  return html`<div class="welcome">
    <h2>Talk to ${model || 'the model'}</h2>
    <p>Press the microphone and ask something, or choose a question. Speak while it speaks, and it stops.</p>
    <ul class="chips" aria-label="Example questions">
      ${EXAMPLES.map((text) => html`<li><button type="button" class="chip" ?disabled=${state.connection === 'waiting' || app.imported} @click=${() => ask(text)}>${text}</button></li>`)}
    </ul>
    <button type="button" class="quiet check" ?disabled=${app.imported || state.microphone !== 'off'} @click=${() => app.checkMicrophone()}>Check the microphone</button>
    <dl class="facts">
      <div><dt>Voice</dt><dd>${settings.values.voice || app.voices[0] || 'default'}</dd></div>
      <div><dt>Model</dt><dd>${model || 'not known yet'}</dd></div>
    </dl>
    ${model === 'nano' ? html`<p class="limits">Nano is a small demonstration: a fixed list of subjects, in English. It often misunderstands real speakers.</p>` : nothing}
  </div>`;
}

/**
 * @param {Entry} entry
 * @param {Console} app
 * @param {import('./page.js').Page} page
 */
function entryOf(entry, app, page) {
  if (entry.kind === 'divider') return html`<li class="divider"><span>${entry.text}</span></li>`;
  if (entry.kind === 'tool') return html`<li class="entry tool" data-id=${entry.id}>${toolCard(entry, app)}</li>`;
  if (entry.kind === 'approval')
    return html`<li class="entry tool" data-id=${entry.id}>${approvalCard(entry, app)}</li>`;
  const turn = app.turns.of(entry.id);
  const selected = turn !== null && app.selected === entry.id;
  return html`<li class="entry ${entry.role}" data-id=${entry.id} ?data-selected=${selected}>
    <div class="bubble"><span class="visually-hidden">${entry.role === 'user' ? 'You said:' : 'The assistant said:'}</span>${words(entry, app)}</div>
    <button type="button" class="meta" aria-label=${`${notes(entry, turn) || 'Details'}, show the turn`} @click=${() => page.select(entry.id)}>${notes(entry, turn) || 'Details'}</button>
  </li>`;
}

/**
 * @param {Entry} entry
 * @param {Console} app
 */
function words(entry, app) {
  const text = entry.text.trim();
  if (text === '') return html`<p class="placeholder">${placeholder(entry)}</p>`;
  const replayed = app.replayer.positionOf(entry.id);
  if (replayed !== null) {
    const [heard, rest] = splitHeard(
      entry.role === 'user'
        ? { ...entry, heardMs: replayed, spoken: true, audioMs: entry.spokenMs ?? 0, whole: true }
        : { ...entry, heardMs: replayed },
    );
    return html`<p><mark>${heard}</mark>${rest}</p>`;
  }
  const [heard, rest] = splitHeard({ ...entry, text });
  if (rest.trim() === '') return html`<p>${heard}</p>`;
  if (!entry.cut && !entry.lost) return html`<p>${heard}<span class="coming">${rest}</span></p>`;
  return html`<p>${heard}<span class="visually-hidden"> (not heard:)</span><s>${rest}</s></p>`;
}

/** @param {Entry} entry */
function placeholder(entry) {
  if (entry.open) return '…';
  if (entry.lost) return 'The connection broke before any words came';
  return entry.spokenMs === null ? '(no words)' : `Spoken, ${(entry.spokenMs / 1000).toFixed(1)} s`;
}

/**
 * @param {Entry} entry
 * @param {import('../turns.js').Turn | null} turn
 */
function notes(entry, turn) {
  if (entry.open && entry.text === '') return entry.role === 'user' ? 'speaking' : 'being made';
  const parts = [];
  const latency = turn && latencyOf(turn);
  if (entry.role === 'assistant' && turn && latency != null)
    parts.push(`${Math.round(latency)} ms ${latencyFrom(turn)}`);
  if (entry.role === 'user' && entry.spokenMs !== null) parts.push(`spoken, ${(entry.spokenMs / 1000).toFixed(1)} s`);
  if (entry.role === 'user' && turn?.kind === 'text') parts.push('typed');
  if (entry.cut) parts.push(entry.heardMs > 0 ? `cut off after ${(entry.heardMs / 1000).toFixed(1)} s` : 'cut off');
  if (entry.lost) parts.push('incomplete: connection lost');
  return parts.join(' · ');
}

/**
 * @param {Entry} entry
 * @param {Console} app
 */
function toolCard(entry, app) {
  const answer = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const field = /** @type {HTMLInputElement} */ (
      /** @type {HTMLFormElement} */ (event.target).elements.namedItem('result')
    );
    app.toolbox.answer(entry, field.value);
  };
  const byHand = entry.open && entry.by === 'client' && entry.text !== '';
  return html`<div class="card">
    <h3>${icon('tool')}<span>${entry.name}</span><small>${toolState(entry)}</small></h3>
    <pre tabindex="0" role="group" aria-label="Arguments">${pretty(entry.text)}</pre>
    ${entry.output == null ? nothing : html`<p class="result"><span class="visually-hidden">Result:</span>${entry.output}</p>`}
    ${
      byHand
        ? html`<form class="answer" @submit=${answer}>
      <input name="result" required autocomplete="off" aria-label=${`Result of ${entry.name}`} placeholder="Result" /><button type="submit">Answer</button>
    </form>`
        : nothing
    }
  </div>`;
}

/** @param {Entry} entry */
function toolState({ output, tookMs, by, lost }) {
  const who = { server: 'on the server', mcp: 'MCP server', client: 'in this page' }[by ?? 'client'];
  if (output != null) return `${who}${tookMs === undefined ? '' : `, ${Math.round(tookMs)} ms`}`;
  return lost ? 'connection lost' : `${who}, waiting for a result`;
}

/**
 * @param {Entry} entry
 * @param {Console} app
 */
function approvalCard(entry, app) {
  const decided =
    entry.approved === undefined
      ? entry.lost
        ? 'connection lost'
        : 'asks for your approval'
      : entry.approved
        ? 'approved'
        : 'refused';
  return html`<div class="card">
    <h3>${icon('tool')}<span>${entry.name}</span><small>${decided}</small></h3>
    <pre tabindex="0" role="group" aria-label="Arguments">${pretty(entry.text)}</pre>
    ${
      entry.open
        ? html`<p class="answer"><button type="button" @click=${() => app.toolbox.approve(entry, true)}>Approve</button>
      <button type="button" class="quiet" @click=${() => app.toolbox.approve(entry, false)}>Refuse</button></p>`
        : nothing
    }
  </div>`;
}

/** @param {string} json */
function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
