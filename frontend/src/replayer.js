// @ts-check
/** Plays a recorded turn again, both sides, and says which words are being heard. */
import { SAMPLE_RATE, floatFromPcm } from './audio.js';

/** @typedef {import('./turns.js').Turn} Turn */

export class Replayer {
  /**
   * @param {object} owner
   * @param {() => import('./recording.js').Recording} owner.recording
   * @param {() => void} owner.onChange
   */
  constructor({ recording, onChange }) {
    this.recording = recording;
    this.onChange = onChange;
    /** @type {Turn | null} */
    this.turn = null;
    /** @type {AudioContext | null} */
    this.context = null;
    /** Where each item begins and ends in what plays, in ms. @type {Map<string, [number, number]>} */
    this.places = new Map();
    this.startedAt = 0;
  }

  /** @param {Turn} turn */
  async play(turn) {
    this.stop();
    const clips = turn.items
      .map((id) => this.recording().clips.get(id))
      .filter((clip) => clip !== undefined && clip.at >= 0);
    const channels = this.recording().stereo((id) => turn.items.includes(id));
    if (clips.length === 0 || channels[0].length === 0) return;
    const first = Math.min(...clips.map((clip) => /** @type {any} */ (clip).at));
    for (const clip of clips) {
      if (clip)
        this.places.set(clip.id, [
          clip.at - first,
          clip.at - first + (1_000 * Math.min(clip.length, clip.limit)) / SAMPLE_RATE,
        ]);
    }
    const context = new AudioContext({ sampleRate: SAMPLE_RATE });
    const buffer = context.createBuffer(2, channels[0].length, SAMPLE_RATE);
    channels.forEach((samples, channel) => buffer.copyToChannel(floatFromPcm(samples), channel));
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    source.onended = () => this.stop();
    this.context = context;
    this.turn = turn;
    this.startedAt = context.currentTime;
    source.start();
    this.follow();
  }

  follow() {
    if (this.turn === null) return;
    this.onChange();
    requestAnimationFrame(() => this.follow());
  }

  /**
   * @param {string} id
   * @returns {number | null} ms of the item that have been played; null: it is not played now
   */
  positionOf(id) {
    const place = this.places.get(id);
    if (!place || this.context === null) return null;
    const now = 1_000 * (this.context.currentTime - this.startedAt);
    return Math.max(0, Math.min(place[1] - place[0], now - place[0]));
  }

  stop() {
    void this.context?.close();
    this.context = null;
    this.turn = null;
    this.places.clear();
    this.onChange();
  }
}
