// @ts-check
/**
 * Plays answers and knows how much of each has been heard. Call `start` from a click. The sound goes through a media
 * element: the browser's echo canceller sees it there, and the element can be sent to a chosen loudspeaker.
 */
import { SAMPLE_RATE, floatFromPcm } from './audio.js';

/** A loudspeaker that does not answer for so long does not run, and has played nothing. */
const ANSWER_MS = 500;

/** @typedef {{itemId: string, contentIndex: number, playedMs: number}} Heard */
/** @typedef {{request: number | null, key: string | null, played: number, queued: number, peak: number, underruns: number}} Report */
/**
 * @typedef {object} PlayerListeners
 * @property {(heard: Heard, report: Report) => void} onPosition every 20 ms while something plays
 * @property {() => void} onDrained all that was pushed has been played
 */

export class Player {
  /** @param {PlayerListeners} listeners */
  constructor(listeners) {
    this.listeners = listeners;
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {AudioWorkletNode | null} */
    this.node = null;
    /** @type {GainNode | null} */
    this.gain = null;
    this.element = new Audio();
    /** @type {Promise<void> | null} */
    this.opening = null;
    /** @type {Map<number, (report: Report) => void>} */
    this.waiting = new Map();
    this.requests = 0;
    this.playing = false;
    this.volume = 1;
    this.sinkId = '';
  }

  /** Opens the loudspeaker; more than once is harmless. */
  async start() {
    this.opening ??= this.open();
    await this.opening;
    // Without a click, or without a sound device, browsers leave these open: the conversation does not wait for them.
    void this.context?.resume();
    if (this.element.paused) void this.element.play().catch(() => {});
  }

  async open() {
    const context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: 'interactive' });
    await context.audioWorklet.addModule(new URL('./worklets/playback.js', import.meta.url));
    this.context = context;
    this.node = new AudioWorkletNode(context, 'playback', { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.receive(data);
    this.gain = context.createGain();
    this.gain.gain.value = this.volume;
    const out = context.createMediaStreamDestination();
    this.node.connect(this.gain).connect(out);
    this.element.srcObject = out.stream;
    await this.setSink(this.sinkId);
  }

  /** Whether the browser keeps the loudspeaker closed until the person clicks. */
  get suspended() {
    return this.context !== null && this.context.state !== 'running';
  }

  /** @param {number} volume 0..1 */
  setVolume(volume) {
    this.volume = volume;
    if (this.gain) this.gain.gain.value = volume;
  }

  /** @param {string} id of a loudspeaker; `''`: the system's default */
  async setSink(id) {
    this.sinkId = id;
    if (typeof this.element.setSinkId === 'function' && this.element.sinkId !== id) await this.element.setSinkId(id);
  }

  /**
   * @param {string} itemId
   * @param {number} contentIndex
   * @param {Int16Array} pcm at 24 kHz
   */
  push(itemId, contentIndex, pcm) {
    if (this.node === null || pcm.length === 0) return;
    const samples = floatFromPcm(pcm);
    this.playing = true;
    this.node.port.postMessage({ kind: 'push', key: JSON.stringify([itemId, contentIndex]), samples }, [
      samples.buffer,
    ]);
  }

  /** All of an answer has been pushed. */
  end() {
    this.node?.port.postMessage({ kind: 'end' });
  }

  /** Silence at once; what waits stays, and what comes waits behind it. */
  hold() {
    this.node?.port.postMessage({ kind: 'hold' });
  }

  /** Continues from the sample at which it was held. */
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
    const request = (this.requests += 1);
    this.node.port.postMessage({ kind: 'stop', request });
    /** @type {Promise<Report | null>} */
    const answer = new Promise((resolve) => this.waiting.set(request, resolve));
    const late = new Promise((resolve) => setTimeout(resolve, ANSWER_MS, null));
    const report = await Promise.race([answer, late]);
    return report === null ? null : this.heard(report);
  }

  /** @param {Report} report */
  receive(report) {
    if (report.request !== null) {
      this.waiting.get(report.request)?.(report);
      this.waiting.delete(report.request);
      return;
    }
    if (!this.playing) return; // it was on its way when the playback was stopped
    const heard = this.heard(report);
    if (heard) this.listeners.onPosition(heard, report);
    if (report.queued > 0) return;
    this.playing = false;
    this.listeners.onDrained();
  }

  /** Time from the audio thread to the ear, as far as the browser knows it. */
  get latencyMs() {
    return 1_000 * (this.context?.outputLatency || this.context?.baseLatency || 0);
  }

  /**
   * @param {Report} report
   * @returns {Heard | null}
   */
  heard({ key, played }) {
    if (key === null) return null;
    const [itemId, contentIndex] = JSON.parse(key);
    return { itemId, contentIndex, playedMs: Math.max(0, (1_000 * played) / SAMPLE_RATE - this.latencyMs) };
  }
}
