// @ts-check
/** What the timeline shows: the loudness of both voices every 20 ms, and marks. Pure. */
import { peakOf } from './audio.js';

export const STEP_MS = 20;
/** Samples of one step at 24 kHz. */
const STEP_SAMPLES = 480;
const MAX_MARKS = 4_000;

/** @typedef {'user' | 'assistant'} Lane */
/**
 * @typedef {'speech' | 'pause' | 'decided' | 'sent' | 'sound' | 'held' | 'resumed' | 'cut' | 'tool' | 'error' | 'lost' | 'draft' | 'kept' | 'dropped'} MarkKind
 */
/** @typedef {{at: number, kind: MarkKind, label: string, id: string | null}} Mark `id`: of the item or response it is about */

export class Track {
  /** @param {number} origin ms of the page's clock */
  constructor(origin) {
    this.origin = origin;
    this.lanes = { user: new Uint8Array(9_000), assistant: new Uint8Array(9_000) };
    /** @type {Mark[]} */
    this.marks = [];
    /** Sound that has arrived and is not played yet, one value a step. @type {number[]} */
    this.ahead = [];
    /** Sound of the reply that the server has made and not sent, in ms. */
    this.madeMs = 0;
    this.end = origin;
  }

  /**
   * @param {Lane} lane
   * @param {number} at
   * @param {number} peak 0..1
   */
  put(lane, at, peak) {
    const index = Math.floor((at - this.origin) / STEP_MS);
    if (index < 0) return;
    while (index >= this.lanes[lane].length) this.grow(lane);
    const values = this.lanes[lane];
    values[index] = Math.max(values[index], Math.round(255 * Math.min(1, peak)));
    // Frames come with jitter: no step between two of them stays empty.
    if (index > 0 && values[index - 1] === 0) values[index - 1] = values[index];
    this.end = Math.max(this.end, at);
  }

  /** @param {Lane} lane */
  grow(lane) {
    const larger = new Uint8Array(this.lanes[lane].length * 2);
    larger.set(this.lanes[lane]);
    this.lanes[lane] = larger;
  }

  /**
   * @param {Lane} lane
   * @param {number} from
   * @param {number} to
   * @returns {number} the loudest value of that time, 0..1
   */
  peak(lane, from, to) {
    const values = this.lanes[lane];
    const first = Math.max(0, Math.floor((from - this.origin) / STEP_MS));
    const last = Math.min(values.length, Math.ceil((to - this.origin) / STEP_MS));
    let peak = 0;
    for (let index = first; index < last; index += 1) peak = Math.max(peak, values[index]);
    return peak / 255;
  }

  /** @param {Int16Array} pcm of a reply, not played yet */
  arrived(pcm) {
    for (let from = 0; from < pcm.length; from += STEP_SAMPLES)
      this.ahead.push(peakOf(pcm.subarray(from, from + STEP_SAMPLES)));
  }

  /** @param {number} queued samples that still wait */
  played(queued) {
    const left = Math.ceil(queued / STEP_SAMPLES);
    if (this.ahead.length > left) this.ahead.splice(0, this.ahead.length - left);
  }

  /** @param {{lanes: {user: Uint8Array, assistant: Uint8Array}, marks: Mark[], origin: number, end: number}} saved */
  load({ lanes, marks, origin, end }) {
    Object.assign(this, { lanes, marks, origin, end, ahead: [], madeMs: 0 });
  }

  /**
   * @param {MarkKind} kind
   * @param {number} at
   * @param {string} label
   * @param {string | null} id
   */
  mark(kind, at, label, id = null) {
    this.marks.push({ at, kind, label, id });
    if (this.marks.length > MAX_MARKS) this.marks.splice(0, MAX_MARKS / 10);
    this.end = Math.max(this.end, at);
  }
}

/** Marks of the server's `session.timeline`. @type {Record<string, [MarkKind, string]>} */
const TIMELINE_MARKS = {
  pause_started: ['pause', 'pause'],
  speculation_started: ['draft', 'draft begun'],
  speculation_used: ['kept', 'draft kept'],
  speculation_dropped: ['dropped', 'draft dropped'],
};

/**
 * Marks that an event makes.
 * @param {Track} track
 * @param {import('./codec.js').WireEvent} event from the server
 * @param {number} now
 * @param {number | null} audioTime the page's time of the event's `audio_start_ms`, `audio_end_ms` or `audio_ms`
 */
export function markEvent(track, event, now, audioTime) {
  const id = event.item_id ?? event.response_id ?? null;
  /** @type {Record<string, [MarkKind, number, string]>} */
  const marks = {
    'input_audio_buffer.speech_started': ['speech', audioTime ?? now, 'speech'],
    'input_audio_buffer.speech_stopped': ['decided', now, 'end of turn'],
    'output_audio_buffer.paused': ['held', now, 'held'],
    'output_audio_buffer.resumed': ['resumed', now, 'resumed'],
    'response.function_call_arguments.done': ['tool', now, event.name ?? 'tool'],
    'response.mcp_call.in_progress': ['tool', now, 'tool'],
    'conversation.item.truncated': ['cut', now, `cut at ${(event.audio_end_ms / 1000).toFixed(2)} s`],
    error: ['error', now, 'error'],
  };
  const mark = marks[event.type];
  if (mark) track.mark(mark[0], mark[1], mark[2], id);
  const timeline = event.type === 'session.timeline' ? TIMELINE_MARKS[event.kind] : undefined;
  if (timeline) track.mark(timeline[0], event.kind === 'pause_started' ? (audioTime ?? now) : now, timeline[1], id);
}
