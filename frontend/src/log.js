// @ts-check
/** The events between page and server, in the order of their times. Pure. */
import { withoutSound } from './codec.js';

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/**
 * @typedef {object} Row
 * @property {number} number
 * @property {number} at ms of the page's clock, of the first event
 * @property {number} until of the last event
 * @property {'in' | 'out'} direction
 * @property {string} type
 * @property {number} count events of the same stream that share the row
 * @property {WireEvent} event the latest, its sound replaced by its length
 */
/** @typedef {{direction: 'all' | 'in' | 'out', text: string, sound: boolean, turn: Set<string> | null}} Filter */

/** Events that come many times a second; while nothing else happens they share a row. */
const STREAMED = new Set([
  'input_audio_buffer.append',
  'response.output_audio.delta',
  'response.output_audio_transcript.delta',
  'response.output_text.delta',
]);
const SOUND = new Set(['input_audio_buffer.append', 'response.output_audio.delta']);
const MAX_ROWS = 5_000;

export class EventLog {
  constructor() {
    /** @type {Row[]} */
    this.rows = [];
    this.count = 0;
    /** Rows of the streams that run now. @type {Map<string, Row>} */
    this.streams = new Map();
  }

  /**
   * @param {'in' | 'out'} direction
   * @param {WireEvent} event
   * @param {number} at
   */
  add(direction, event, at) {
    this.count += 1;
    const { type } = event;
    const streamed = STREAMED.has(type) || event.kind === 'audio_made';
    if (!streamed) this.streams.clear();
    const running = this.streams.get(type);
    if (running) {
      running.count += 1;
      running.until = at;
      running.event = withoutSound(event);
      return;
    }
    const row = { number: this.count, at, until: at, direction, type, count: 1, event: withoutSound(event) };
    this.rows.push(row);
    if (streamed) this.streams.set(type, row);
    if (this.rows.length > MAX_ROWS) this.rows.splice(0, MAX_ROWS / 10);
  }

  /** @param {Filter} filter */
  filtered({ direction, text, sound, turn }) {
    const wanted = text.trim().toLowerCase();
    return this.rows.filter((row) => {
      if (direction !== 'all' && row.direction !== direction) return false;
      if (!sound && (SOUND.has(row.type) || row.event.kind === 'audio_made')) return false;
      if (turn !== null && !idsIn(row.event).some((id) => turn.has(id))) return false;
      return wanted === '' || row.type.includes(wanted) || JSON.stringify(row.event).toLowerCase().includes(wanted);
    });
  }
}

/** @param {WireEvent} event */
function idsIn({ item_id, response_id, item, response }) {
  return [item_id, response_id, item?.id, response?.id].filter((id) => id !== undefined);
}

/** @param {Row} row */
export function summaryOf({ event }) {
  const { type: _type, event_id: _id, ...rest } = event;
  if (event.type === 'error') return event.error.message;
  if (typeof rest.delta === 'string') return rest.delta;
  if (typeof rest.transcript === 'string') return rest.transcript;
  if (typeof rest.kind === 'string') return rest.kind;
  if (rest.item) return `${rest.item.role ?? rest.item.type} ${rest.item.id ?? ''}`;
  if (rest.response) return `${rest.response.status ?? ''} ${rest.response.id ?? ''}`.trim();
  const text = JSON.stringify(rest);
  return text === '{}' ? '' : text.slice(0, 200);
}
