// @ts-check
/** The sound of both sides, for listening again and for export. The oldest is forgotten beyond 20 minutes. Pure. */
import { SAMPLE_RATE } from './audio.js';

const MAX_SAMPLES = 20 * 60 * SAMPLE_RATE;
/** The microphone's last minute and a half, out of which the user's turns are cut. A turn is at most 120 s; longer ones lose their beginning. */
const RECENT_SAMPLES = 90 * SAMPLE_RATE;
/** What is kept before the detected start of speech. */
const LEAD_SAMPLES = 0.3 * SAMPLE_RATE;

/** @typedef {{id: string, side: 0 | 1, at: number, pieces: Int16Array[], length: number, limit: number}} Clip `side` 0: the user; `at`: ms; `limit`: samples that were heard */

export class Recording {
  constructor() {
    /** @type {Map<string, Clip>} */
    this.clips = new Map();
    this.recent = new Int16Array(RECENT_SAMPLES);
    this.total = 0;
    this.recentCount = 0;
    this.speechFrom = 0;
  }

  /** A new session counts the audio from zero. */
  restartClock() {
    this.recentCount = 0;
    this.speechFrom = 0;
  }

  /**
   * In a call the session's audio goes on while nothing is sent: that is silence.
   * @param {number} ms of the session's audio until now
   */
  skipTo(ms) {
    const missing = Math.floor((ms * SAMPLE_RATE) / 1_000) - this.recentCount;
    if (missing > 0) this.heardUser(new Int16Array(Math.min(missing, RECENT_SAMPLES)));
    this.recentCount += Math.max(0, missing - RECENT_SAMPLES);
  }

  /** @param {Int16Array} frame that was sent */
  heardUser(frame) {
    const at = this.recentCount % RECENT_SAMPLES;
    const first = Math.min(frame.length, RECENT_SAMPLES - at);
    this.recent.set(frame.subarray(0, first), at);
    this.recent.set(frame.subarray(first), 0);
    this.recentCount += frame.length;
  }

  /** Sound that was sent in this session, in ms: the time of the events' `audio_…_ms`. */
  get sentMs() {
    return (1_000 * this.recentCount) / SAMPLE_RATE;
  }

  /** @param {number} startMs of the session's audio */
  speechStarted(startMs) {
    this.speechFrom = Math.max(0, Math.floor((startMs * SAMPLE_RATE) / 1_000) - LEAD_SAMPLES);
  }

  /**
   * @param {string} id
   * @param {number} now ms
   */
  speechEnded(id, now) {
    const from = Math.max(this.speechFrom, this.recentCount - RECENT_SAMPLES);
    const samples = new Int16Array(Math.max(0, this.recentCount - from));
    for (let i = 0; i < samples.length; i += 1) samples[i] = this.recent[(from + i) % RECENT_SAMPLES];
    const clip = this.clip(id, 0, now - (1_000 * samples.length) / SAMPLE_RATE);
    this.append(clip, samples);
    this.speechFrom = this.recentCount;
  }

  /**
   * @param {string} id
   * @param {Int16Array} pcm
   */
  reply(id, pcm) {
    this.append(this.clip(id, 1, -1), pcm);
  }

  /**
   * @param {string} id
   * @param {number} at when its first sample was heard
   */
  replyHeard(id, at) {
    const clip = this.clips.get(id);
    if (clip && clip.at < 0) clip.at = at;
  }

  /**
   * @param {string} id
   * @param {number} heardMs
   */
  cut(id, heardMs) {
    const clip = this.clips.get(id);
    if (clip) clip.limit = Math.round((heardMs * SAMPLE_RATE) / 1_000);
  }

  /**
   * @param {string} id
   * @param {0 | 1} side
   * @param {number} at
   */
  clip(id, side, at) {
    const known = this.clips.get(id);
    if (known) return known;
    /** @type {Clip} */
    const clip = { id, side, at, pieces: [], length: 0, limit: Infinity };
    this.clips.set(id, clip);
    return clip;
  }

  /**
   * @param {Clip} clip
   * @param {Int16Array} samples
   */
  append(clip, samples) {
    clip.pieces.push(samples);
    clip.length += samples.length;
    this.total += samples.length;
    for (const [id, oldest] of this.clips) {
      if (this.total <= MAX_SAMPLES || oldest === clip) break;
      this.clips.delete(id);
      this.total -= oldest.length;
    }
  }

  /**
   * @param {string} id
   * @returns {Int16Array | null} what was heard of it
   */
  samplesOf(id) {
    const clip = this.clips.get(id);
    if (!clip) return null;
    const samples = new Int16Array(Math.min(clip.length, clip.limit));
    let at = 0;
    for (const piece of clip.pieces) {
      if (at >= samples.length) break;
      samples.set(piece.subarray(0, samples.length - at), at);
      at += piece.length;
    }
    return samples;
  }

  /**
   * Both sides at their times: left the user, right the assistant.
   * @param {(id: string) => boolean} wanted
   * @returns {[Int16Array, Int16Array]} of the same length
   */
  stereo(wanted = () => true) {
    const clips = [...this.clips.values()].filter(({ id, at }) => at >= 0 && wanted(id));
    const start = Math.min(...clips.map(({ at }) => at));
    const placed = clips.map((clip) => {
      const samples = this.samplesOf(clip.id) ?? new Int16Array(0);
      return { side: clip.side, from: Math.round(((clip.at - start) * SAMPLE_RATE) / 1_000), samples };
    });
    const length = placed.reduce((most, { from, samples }) => Math.max(most, from + samples.length), 0);
    /** @type {[Int16Array, Int16Array]} */
    const channels = [new Int16Array(length), new Int16Array(length)];
    for (const { side, from, samples } of placed) channels[side].set(samples, from);
    return channels;
  }
}

/**
 * @param {Int16Array[]} channels of the same length
 * @returns {Uint8Array} a WAV file, PCM16 at 24 kHz
 */
export function wavOf(channels) {
  const frames = channels[0].length;
  const bytes = frames * channels.length * 2;
  const view = new DataView(new ArrayBuffer(44 + bytes));
  const text = (/** @type {number} */ at, /** @type {string} */ word) =>
    [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, 'RIFF');
  view.setUint32(4, 36 + bytes, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, channels.length, true);
  view.setUint32(24, SAMPLE_RATE, true);
  view.setUint32(28, SAMPLE_RATE * channels.length * 2, true);
  view.setUint16(32, channels.length * 2, true);
  view.setUint16(34, 16, true);
  text(36, 'data');
  view.setUint32(40, bytes, true);
  const out = new Int16Array(view.buffer, 44);
  channels.forEach((samples, channel) => samples.forEach((value, i) => (out[i * channels.length + channel] = value)));
  return new Uint8Array(view.buffer);
}
