// @ts-check
/** Plays answers and knows how much of each has been heard. Call `start` from a click. */
import { SAMPLE_RATE } from './audio.js';

/** How often the position is asked for while something plays. */
const POLL_MS = 100;

/** @typedef {{itemId: string, contentIndex: number, playedMs: number}} Heard */
/** @typedef {{request: number, key: string | null, played: number, queued: number}} Report */

export class Player {
  /** @param {() => void} onDrained all that was pushed has been played */
  constructor(onDrained) {
    this.onDrained = onDrained;
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {AudioWorkletNode | null} */
    this.node = null;
    /** @type {Map<number, (report: Report) => void>} */
    this.waiting = new Map();
    this.requests = 0;
    this.playing = false;
  }

  /** Opens the loudspeaker; more than once is harmless. */
  async start() {
    if (this.context === null) {
      this.context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: 'interactive' });
      await this.context.audioWorklet.addModule(new URL('./worklets/playback.js', import.meta.url));
      this.node = new AudioWorkletNode(this.context, 'playback', { numberOfInputs: 0, outputChannelCount: [1] });
      this.node.port.onmessage = ({ data }) => this.receive(data);
      this.node.connect(this.context.destination);
    }
    await this.context.resume();
  }

  /**
   * @param {string} itemId
   * @param {number} contentIndex
   * @param {Float32Array} samples at 24 kHz
   */
  push(itemId, contentIndex, samples) {
    if (this.node === null || samples.length === 0) return;
    this.node.port.postMessage({ kind: 'push', key: JSON.stringify([itemId, contentIndex]), samples }, [samples.buffer]);
    if (!this.playing) {
      this.playing = true;
      this.poll();
    }
  }

  /** Silence at once; what waits stays, and what comes waits behind it. */
  hold() {
    this.node?.port.postMessage({ kind: 'hold' });
  }

  /** Goes on from the very sample at which it was held. */
  release() {
    this.node?.port.postMessage({ kind: 'release' });
  }

  /**
   * Silence at once, for good.
   * @returns {Promise<Heard | null>} the answer played last, finished or not; null if there was none
   */
  async stop() {
    if (this.node === null) return null;
    this.playing = false;
    return this.heard(await this.ask('stop'));
  }

  async poll() {
    while (this.playing) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      const report = await this.ask('position');
      if (this.playing && report.queued === 0) {
        this.playing = false;
        this.onDrained();
      }
    }
  }

  /**
   * @param {'stop' | 'position'} kind
   * @returns {Promise<Report>}
   */
  ask(kind) {
    const request = (this.requests += 1);
    this.node?.port.postMessage({ kind, request });
    return new Promise((resolve) => this.waiting.set(request, resolve));
  }

  /** @param {Report} report */
  receive(report) {
    this.waiting.get(report.request)?.(report);
    this.waiting.delete(report.request);
  }

  /**
   * @param {Report} report
   * @returns {Heard | null}
   */
  heard({ key, played }) {
    if (key === null) return null;
    const [itemId, contentIndex] = JSON.parse(key);
    // What the worklet has handed out is heard only after the device's own buffer.
    const onTheWayMs = 1000 * (this.context?.outputLatency || this.context?.baseLatency || 0);
    return { itemId, contentIndex, playedMs: Math.max(0, (1000 * played) / SAMPLE_RATE - onTheWayMs) };
  }
}
