// @ts-check
/**
 * The turns of a conversation and how long each step of them took. All latencies count from the user's last voiced
 * sample, as this page's microphone heard it, or from Send. Pure.
 */

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/** @typedef {'start' | 'decided' | 'created' | 'firstText' | 'firstAudio' | 'heard' | 'done'} Step */
/**
 * @typedef {object} Turn
 * @property {number} number from 1
 * @property {'speech' | 'text' | 'other'} kind what began it
 * @property {string[]} items ids, in order
 * @property {string[]} responses ids
 * @property {Partial<Record<Step, number>>} at in ms of the page's clock
 * @property {boolean} spoken whether it is answered by speech
 * @property {string} status of its last response
 * @property {Record<string, number | null> | null} server the server's own figures of its first response
 */

/** The steps in order, with what each waits for. @type {{step: Step, label: string}[]} */
export const STEPS = [
  { step: 'decided', label: 'End of turn decided' },
  { step: 'created', label: 'Reply begun' },
  { step: 'firstText', label: 'First words received' },
  { step: 'firstAudio', label: 'First audio received' },
  { step: 'heard', label: 'First audio heard' },
];

export class Turns {
  constructor() {
    /** @type {Turn[]} */
    this.list = [];
  }

  /** @param {string | null | undefined} id of an item or response */
  of(id) {
    return (
      this.list.findLast(({ items, responses }) => id != null && (items.includes(id) || responses.includes(id))) ?? null
    );
  }

  get last() {
    return this.list.at(-1) ?? null;
  }

  /**
   * @param {Turn['kind']} kind
   * @param {Turn['at']} at
   * @returns {Turn}
   */
  begin(kind, at) {
    const turn = {
      number: (this.last?.number ?? 0) + 1,
      kind,
      items: [],
      responses: [],
      at,
      spoken: false,
      status: '',
      server: null,
    };
    this.list.push(turn);
    return turn;
  }

  /**
   * The user has sent a text or released the button.
   * @param {Turn['kind']} kind
   * @param {number} start
   * @param {number} now
   */
  sent(kind, start, now) {
    this.begin(kind, { start, decided: now });
  }

  /**
   * @param {WireEvent} event from the server
   * @param {number} now
   * @param {number | null} lastVoiced
   */
  receive(event, now, lastVoiced) {
    HANDLERS[event.type]?.(this, event, now, lastVoiced);
  }

  /**
   * @param {string} itemId whose first sample is heard
   * @param {number} now
   */
  heard(itemId, now) {
    const turn = this.of(itemId);
    if (turn) turn.at.heard ??= now;
  }

  /**
   * @param {string} responseId
   * @param {Record<string, number | null>} figures of the server, as in /v1/realtime/turns
   */
  addServerFigures(responseId, figures) {
    const turn = this.list.findLast(({ responses }) => responses[0] === responseId);
    if (turn) turn.server = figures;
  }
}

/**
 * @param {Turn} turn
 * @returns {number | null} ms from the last voiced sample (or Send) until the answer was heard, or read
 */
export function latencyOf({ at, spoken }) {
  const end = spoken ? at.heard : at.firstText;
  return at.start === undefined || end === undefined ? null : end - at.start;
}

/** @param {Turn} turn */
export const latencyFrom = ({ kind }) => (kind === 'text' ? 'after Send' : 'after your last word');

/**
 * @param {readonly Turn[]} turns
 * @returns {{count: number, p50: number | null, p95: number | null}} of the latencies
 */
export function latencySummary(turns) {
  const values = turns.map(latencyOf).filter((value) => value !== null);
  values.sort((a, b) => a - b);
  const at = (/** @type {number} */ share) => values[Math.max(0, Math.ceil(share * values.length) - 1)] ?? null;
  return { count: values.length, p50: at(0.5), p95: at(0.95) };
}

/** @type {Record<string, (turns: Turns, event: WireEvent, now: number, lastVoiced: number | null) => void>} */
const HANDLERS = {
  'input_audio_buffer.speech_stopped': (turns, event, now, lastVoiced) => {
    turns.begin('speech', { start: lastVoiced ?? now, decided: now }).items.push(event.item_id);
  },

  'input_audio_buffer.committed': (turns, event) => {
    const { last } = turns;
    if (turns.of(event.item_id) === null && last?.responses.length === 0) last.items.push(event.item_id);
  },

  'conversation.item.added': (turns, { item }) => {
    const { last } = turns;
    if (last && turns.of(item.id) === null && item.type !== 'function_call_output') last.items.push(item.id);
  },

  'response.created': (turns, { response }, now) => {
    const { last } = turns;
    // A reply after a tool's result belongs to the turn that called the tool.
    const turn =
      last === null || (last.at.done !== undefined && last.status !== 'call')
        ? turns.begin('other', { start: now })
        : last;
    turn.responses.push(response.id);
    turn.at.created ??= now;
    turn.status = 'in_progress';
  },

  'response.output_audio_transcript.delta': firstText,
  'response.output_text.delta': firstText,

  'response.output_audio.delta': (turns, event, now) => {
    const turn = turns.of(event.response_id);
    if (turn === null) return;
    turn.spoken = true;
    turn.at.firstAudio ??= now;
  },

  'output_audio_buffer.started': (turns, event, now) => {
    const turn = turns.of(event.response_id);
    if (turn === null) return;
    turn.spoken = true;
    turn.at.firstAudio ??= now;
  },

  'response.done': (turns, { response }, now) => {
    const turn = turns.of(response.id);
    if (!turn) return;
    turn.at.done = now;
    const calls = (response.output ?? []).some((/** @type {any} */ item) => item.type.endsWith('_call'));
    turn.status = calls && response.status === 'completed' ? 'call' : response.status;
  },
};

/**
 * @param {Turns} turns
 * @param {WireEvent} event
 * @param {number} now
 */
function firstText(turns, event, now) {
  const turn = turns.of(event.response_id);
  if (turn === null) return;
  turn.at.firstText ??= now;
  if (event.type === 'response.output_audio_transcript.delta') turn.spoken = true;
}
