// @ts-check
/**
 * Wire events <-> text, and sound <-> base64. Pure: no socket, no DOM, no clock; the browser's half of
 * realtime/protocol/codec.py.
 *
 * Sound on the wire is PCM16 little-endian mono; typed arrays are little-endian on everything that runs a browser.
 */
import { SAMPLE_RATE } from './audio.js';

/** @typedef {{type: string, event_id?: string} & Record<string, any>} WireEvent */

/** Events of this page whose failure is an expected race carry an id with this prefix; their errors are not shown. */
export const RACE = 'race_';

/** What came is not an event of the protocol. */
export class WireError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = 'WireError';
  }
}

/** @param {WireEvent} event */
export function encode(event) {
  return JSON.stringify(event);
}

/**
 * @param {unknown} message what a WebSocket delivered
 * @returns {WireEvent}
 * @throws {WireError} not text, not JSON, or no `type`
 */
export function decode(message) {
  if (typeof message !== 'string') throw new WireError('expected a text message, got a binary one');
  let event;
  try {
    event = JSON.parse(message);
  } catch {
    throw new WireError(`expected JSON, got ${JSON.stringify(message.slice(0, 80))}`);
  }
  if (event === null || typeof event !== 'object' || typeof event.type !== 'string') {
    throw new WireError('expected an object with a string "type"');
  }
  return event;
}

// ---- Client events ----

/**
 * @param {Int16Array} samples
 * @returns {WireEvent}
 */
export function appendAudio(samples) {
  return { type: 'input_audio_buffer.append', audio: base64FromPcm(samples) };
}

/**
 * The end of a turn by hand. Server-side detection may end the same turn a moment earlier.
 * @returns {WireEvent[]}
 */
export function endTurn() {
  return [
    { type: 'input_audio_buffer.commit', event_id: `${RACE}commit` },
    { type: 'response.create', event_id: `${RACE}create` },
  ];
}

/**
 * @param {string} text what the user typed
 * @returns {WireEvent}
 */
export function userText(text) {
  return {
    type: 'conversation.item.create',
    item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
  };
}

/** @returns {WireEvent} */
export function createResponse() {
  return { type: 'response.create' };
}

/** @returns {WireEvent} */
export function cancelResponse() {
  return { type: 'response.cancel', event_id: `${RACE}cancel` };
}

/**
 * @param {string} itemId
 * @returns {WireEvent}
 */
export function deleteItem(itemId) {
  return { type: 'conversation.item.delete', item_id: itemId, event_id: `${RACE}delete` };
}

/**
 * @param {string} callId
 * @param {string} output
 * @returns {WireEvent}
 */
export function functionOutput(callId, output) {
  return { type: 'conversation.item.create', item: { type: 'function_call_output', call_id: callId, output } };
}

/**
 * The answer to an MCP server's request.
 * @param {string} itemId of the request
 * @param {boolean} approve
 * @returns {WireEvent}
 */
export function approval(itemId, approve) {
  const item = { type: 'mcp_approval_response', approval_request_id: itemId, approve };
  return { type: 'conversation.item.create', item };
}

/**
 * Tells the server how much of an answer was heard before it was cut off.
 * @param {string} itemId
 * @param {number} contentIndex
 * @param {number} playedMs
 * @returns {WireEvent}
 */
export function truncateItem(itemId, contentIndex, playedMs) {
  return {
    type: 'conversation.item.truncate',
    item_id: itemId,
    content_index: contentIndex,
    audio_end_ms: Math.max(0, Math.floor(playedMs)),
  };
}

// ---- Sound ----

/**
 * @param {Int16Array} samples
 * @returns {string}
 */
export function base64FromPcm(samples) {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/**
 * @param {string} base64
 * @returns {Int16Array}
 * @throws {WireError} not base64, or half a sample
 */
export function pcmFromBase64(base64) {
  let binary;
  try {
    binary = atob(base64);
  } catch {
    throw new WireError('expected base64 in an audio delta');
  }
  if (binary.length % 2 !== 0) throw new WireError(`expected whole 16-bit samples, got ${binary.length} bytes`);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return new Int16Array(bytes.buffer);
}

/**
 * The event with its sound replaced by its length, for showing.
 * @param {WireEvent} event
 * @returns {WireEvent}
 */
export function withoutSound(event) {
  const field = { 'response.output_audio.delta': 'delta', 'input_audio_buffer.append': 'audio' }[event.type];
  if (field === undefined || typeof event[field] !== 'string') return event;
  const samples = Math.floor((event[field].length * 3) / 8);
  return { ...event, [field]: `${Math.round((1000 * samples) / SAMPLE_RATE)} ms` };
}
