// @ts-check
/** A session as files (events as JSONL, words as Markdown), and read back. Pure. */
import { splitHeard } from './heard.js';
import { latencyFrom, latencyOf } from './turns.js';

/** @typedef {import('./conversation.js').Entry} Entry */
/** @typedef {import('./turns.js').Turn} Turn */
/** @typedef {import('./log.js').Row} Row */
/** @typedef {import('./track.js').Track} Track */
/** @typedef {{entries: Entry[], turns: Turn[], rows: Row[], track: Track}} Session */
/** @typedef {{entries: Entry[], turns: Turn[], rows: Row[], marks: import('./track.js').Mark[], lanes: {user: Uint8Array, assistant: Uint8Array}, origin: number, end: number}} SavedSession */

const FORMAT = 'realtime-console-session';

/**
 * One JSON object a line: a header with what the page shows, then every event in order. Sound is given by its length.
 * @param {Session} session
 * @param {number} clock ms between the page's clock and the epoch
 */
export function toJsonLines({ entries, turns, rows, track }, clock) {
  const steps = Math.ceil((track.end - track.origin) / 20);
  const lanes = { user: textOf(track.lanes.user, steps), assistant: textOf(track.lanes.assistant, steps) };
  const header = {
    format: FORMAT,
    version: 1,
    clock,
    entries,
    turns,
    marks: track.marks,
    lanes,
    origin: track.origin,
    end: track.end,
  };
  return [header, ...rows].map((line) => JSON.stringify(line)).join('\n') + '\n';
}

/**
 * @param {string} text
 * @returns {SavedSession}
 * @throws {Error} with a message to show
 */
export function fromJsonLines(text) {
  const [first, ...lines] = text.split('\n').filter((line) => line.trim() !== '');
  try {
    const header = JSON.parse(first);
    if (header.format !== FORMAT || header.version !== 1) throw new Error('no session of this console');
    const lanes = { user: bytesOf(header.lanes.user), assistant: bytesOf(header.lanes.assistant) };
    return { ...header, lanes, rows: lines.map((line) => JSON.parse(line)) };
  } catch (error) {
    throw new Error(`This file is not a session that was downloaded here: ${/** @type {Error} */ (error).message}.`);
  }
}

/**
 * @param {readonly Entry[]} entries
 * @param {import('./turns.js').Turns} turns
 */
export function toMarkdown(entries, turns) {
  const parts = entries.map((entry) => {
    if (entry.kind === 'divider') return `---\n\n*${entry.text}*`;
    if (entry.kind === 'approval')
      return `**Approval** ${entry.name}: ${entry.approved === undefined ? 'open' : entry.approved ? 'given' : 'refused'}`;
    if (entry.kind === 'tool') return `**Tool** \`${entry.name}(${entry.text})\` → ${entry.output ?? 'no result'}`;
    return messageLine(entry, turns);
  });
  return `# Conversation\n\n${parts.join('\n\n')}\n`;
}

/**
 * @param {Entry} entry
 * @param {import('./turns.js').Turns} turns
 */
function messageLine(entry, turns) {
  if (entry.role === 'user')
    return `**You:** ${entry.text || `(spoken, ${((entry.spokenMs ?? 0) / 1000).toFixed(1)} s)`}`;
  const [heard, rest] = entry.cut ? splitHeard(entry) : [entry.text, ''];
  const turn = turns.of(entry.id);
  const latency = turn && latencyOf(turn);
  const note = turn && latency != null ? ` *(${Math.round(latency)} ms ${latencyFrom(turn)})*` : '';
  return `**Assistant:** ${heard.trim()}${rest.trim() ? ` ~~${rest.trim()}~~` : ''}${note}`;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} length
 */
function textOf(bytes, length) {
  let text = '';
  for (const byte of bytes.subarray(0, length)) text += String.fromCharCode(byte);
  return btoa(text);
}

/** @param {string} base64 */
const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
