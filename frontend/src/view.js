// @ts-check
/** Draws what it is given and says what the user does. Knows no socket and no sound. */
import { withoutSound } from './codec.js';

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/** @typedef {import('./conversation.js').Entry} Entry */
/** @typedef {import('./conversation.js').Phase} Phase */
/** @typedef {import('./client.js').ConnectionState} ConnectionState */

const LOG_LENGTH = 300;
/** Events that come many times a second. */
const STREAMED = new Set([
  'input_audio_buffer.append',
  'response.output_audio.delta',
  'response.output_audio_transcript.delta',
  'response.output_text.delta',
]);
/** Within so many pixels of its end a list follows what is added. */
const FOLLOW_PX = 80;

const PHASES = /** @type {Record<Phase, string>} */ ({
  idle: 'Ready',
  listening: 'Listening',
  hearing: 'Hearing you',
  thinking: 'Thinking…',
  speaking: 'Speaking',
});

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

export class View {
  constructor() {
    this.main = /** @type {HTMLElement} */ (document.querySelector('main'));
    this.status = element('status', HTMLParagraphElement);
    this.latency = element('latency', HTMLParagraphElement);
    this.latencyValue = element('latency-value', HTMLElement);
    this.alert = element('alert', HTMLDivElement);
    this.alertText = element('alert-text', HTMLParagraphElement);
    this.welcome = element('welcome', HTMLDivElement);
    this.transcript = element('transcript', HTMLOListElement);
    this.microphone = element('microphone', HTMLButtonElement);
    this.composer = element('composer', HTMLFormElement);
    this.text = element('text', HTMLInputElement);
    this.send = element('send', HTMLButtonElement);
    this.stop = element('stop', HTMLButtonElement);
    this.reconnect = element('reconnect', HTMLButtonElement);
    this.log = element('log', HTMLOListElement);
    this.logCount = element('log-count', HTMLSpanElement);
    /** @type {Map<string, HTMLLIElement>} */
    this.drawn = new Map();
    this.events = 0;
    /** @type {Map<string, {line: HTMLLIElement, times: number}>} */
    this.streamLines = new Map();
    this.startedAt = performance.now();
    element('alert-close', HTMLButtonElement).onclick = () => this.showError(null);
  }

  /** @param {{microphone: () => void, text: (text: string) => void, stop: () => void, reconnect: () => void}} actions */
  bind(actions) {
    this.microphone.onclick = actions.microphone;
    this.stop.onclick = actions.stop;
    this.reconnect.onclick = actions.reconnect;
    this.composer.onsubmit = (event) => {
      event.preventDefault();
      const text = this.text.value.trim();
      this.text.value = '';
      if (text) actions.text(text);
    };
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !this.stop.hidden) actions.stop();
    });
  }

  /**
   * @param {ConnectionState} connection
   * @param {string} detail
   * @param {Phase} phase
   */
  showState(connection, detail, phase) {
    const usable = connection === 'ready' || connection === 'open';
    const words = {
      waiting: `Waiting for the server. ${detail}`,
      ready: 'Ready',
      connecting: 'Connecting…',
      open: PHASES[phase],
      closed: 'Disconnected',
    };
    setText(this.status, words[connection]);
    this.status.dataset.state = connection === 'open' ? phase : connection;
    this.microphone.disabled = this.text.disabled = this.send.disabled = !usable;
    this.reconnect.hidden = connection !== 'closed';
    this.composer.hidden = connection === 'closed';
  }

  /** @param {boolean} replying an answer is being made or played */
  showReplying(replying) {
    this.stop.hidden = !replying;
  }

  /** @param {boolean} active */
  showMicrophone(active) {
    this.microphone.setAttribute('aria-pressed', String(active));
    this.microphone.title = active ? 'Turn the microphone off' : 'Talk';
    if (!active) this.showLevel(0);
  }

  /** @param {number} level 0..1 */
  showLevel(level) {
    this.microphone.style.setProperty('--level', level.toFixed(2));
  }

  /** @param {string | null} message null takes it away */
  showError(message) {
    this.alert.hidden = message === null;
    this.alertText.textContent = message;
  }

  /** @param {readonly Entry[]} entries */
  showEntries(entries) {
    this.welcome.hidden = entries.length > 0;
    const follow = atEnd(this.main);
    for (const entry of entries) this.showEntry(entry);
    for (const [id, drawn] of this.drawn) {
      if (entries.some((entry) => entry.id === id)) continue;
      drawn.remove();
      this.drawn.delete(id);
    }
    if (follow) this.main.scrollTop = this.main.scrollHeight;
    const last = entries.findLast((entry) => entry.latencyMs !== null);
    this.latency.hidden = last === undefined;
    if (last) this.latencyValue.textContent = `${Math.round(last.latencyMs ?? 0)} ms`;
  }

  /** @param {Entry} entry */
  showEntry(entry) {
    let item = this.drawn.get(entry.id);
    if (item === undefined) {
      item = document.createElement('li');
      item.className = `entry ${entry.role}`;
      item.append(document.createElement('p'), document.createElement('small'));
      this.transcript.append(item);
      this.drawn.set(entry.id, item);
    }
    const [text, note] = /** @type {HTMLElement[]} */ ([...item.children]);
    setText(text, entry.text.trimStart() || placeholder(entry));
    text.classList.toggle('placeholder', entry.text === '');
    setText(note, notes(entry));
  }

  /**
   * One line an event; those of a stream share a line until something else happens.
   * @param {'in' | 'out'} direction
   * @param {WireEvent} event
   */
  logEvent(direction, event) {
    this.events += 1;
    this.logCount.textContent = `(${this.events})`;
    const follow = atEnd(this.log);
    const { type, event_id: _, ...rest } = withoutSound(event);
    const streamed = STREAMED.has(type);
    if (!streamed) this.streamLines.clear();
    const shared = this.streamLines.get(type) ?? { line: this.newLine(direction), times: 0 };
    if (streamed) this.streamLines.set(type, shared);
    shared.times += 1;

    const seconds = ((performance.now() - this.startedAt) / 1000).toFixed(2);
    const arrow = direction === 'in' ? '←' : '→';
    const times = shared.times > 1 ? ` ×${shared.times}` : '';
    shared.line.textContent = `${seconds} ${arrow} ${type}${times} ${JSON.stringify(rest)}`;
    if (follow) this.log.scrollTop = this.log.scrollHeight;
  }

  /** @param {'in' | 'out'} direction */
  newLine(direction) {
    const line = document.createElement('li');
    line.dataset.direction = direction;
    this.log.append(line);
    if (this.log.childElementCount > LOG_LENGTH) this.log.firstElementChild?.remove();
    return line;
  }
}

/** @param {Entry} entry */
function placeholder(entry) {
  if (entry.open) return '…';
  return entry.spokenMs === null ? '(no words)' : `Spoken, ${(entry.spokenMs / 1000).toFixed(1)} s`;
}

/** @param {Entry} entry */
function notes({ latencyMs, interrupted }) {
  const parts = [];
  if (latencyMs !== null) parts.push(`${Math.round(latencyMs)} ms`);
  if (interrupted) parts.push('cut off');
  return parts.join(' · ');
}

/** @param {HTMLElement} list */
function atEnd(list) {
  return list.scrollHeight - list.scrollTop - list.clientHeight < FOLLOW_PX;
}

/**
 * Leaves an unchanged node alone, so that screen readers do not read it again.
 * @param {HTMLElement} node
 * @param {string} text
 */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
