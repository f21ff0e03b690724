// @ts-check
/**
 * The microphone as 20 ms frames of PCM16 at 24 kHz. What is wanted and what runs are two things: starts and stops are
 * carried out one after the other, so a quick second click leaves no live track.
 */
import { capture, openSource } from './capture.js';

/** @typedef {import('./state.js').State} State */
/**
 * @typedef {object} MicrophoneOptions
 * @property {string} deviceId `''`: the system's default
 * @property {boolean} echoCancellation
 * @property {boolean} noiseSuppression
 * @property {boolean} autoGainControl
 */

/** Why there is no microphone, in words for the person at the page. */
const REASONS = /** @type {Record<string, string>} */ ({
  NotAllowedError: 'The microphone is blocked. Allow it in the site settings of your browser, or type below.',
  NotFoundError: 'No microphone was found. Connect one, or type below.',
  OverconstrainedError: 'The chosen microphone is not connected. Choose another one under Audio.',
  NotReadableError: 'Another program is using the microphone. Close it, or type below.',
});

export class Microphone {
  /**
   * @param {object} listeners
   * @param {State} listeners.state `microphone` is written here
   * @param {() => MicrophoneOptions} listeners.options
   * @param {(frame: Int16Array) => void} listeners.onFrame
   * @param {() => void} listeners.onChange
   * @param {() => void} listeners.onMuted the system or a switch on the device delivers silence
   * @param {() => void} listeners.onEnded the device went away (unplugged, permission withdrawn)
   */
  constructor(listeners) {
    this.listeners = listeners;
    this.wanted = false;
    /** @type {Promise<void> | null} */
    this.working = null;
    /** @type {MediaStream | null} */
    this.stream = null;
    /** @type {AudioContext | null} */
    this.context = null;
  }

  /**
   * Resolves when the microphone is as the latest call wants it. Call with true from a click: browsers ask for one.
   * @param {boolean} on
   * @returns {Promise<void>}
   * @throws {Error} with a message to show; the microphone is off then
   */
  set(on) {
    this.wanted = on;
    this.working ??= this.settle().finally(() => (this.working = null));
    return this.working;
  }

  /** Applies changed options to a microphone that is on. */
  async restart() {
    if (!this.wanted) return;
    await this.set(false);
    await this.set(true);
  }

  async settle() {
    while (this.wanted !== (this.stream !== null)) {
      if (this.wanted) await this.start();
      else await this.stop();
    }
    this.become(this.stream === null ? 'off' : 'on');
  }

  async start() {
    this.become('starting');
    try {
      if (!navigator.mediaDevices)
        throw new Error('Browsers give the microphone only to https pages and to localhost. You can still type below.');
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: this.constraints() });
      if (!this.wanted) return;
      await this.connect(this.stream);
    } catch (error) {
      this.wanted = false;
      await this.stop();
      this.become('off');
      const { name, message } = /** @type {DOMException} */ (error);
      throw new Error(REASONS[name] ?? (name === 'Error' ? message : `The microphone did not start: ${message}`));
    }
    const [track] = this.stream.getAudioTracks();
    track.onended = this.listeners.onEnded;
    track.onmute = this.listeners.onMuted;
  }

  /** The sound itself, for a call. @returns {MediaStreamTrack | null} */
  get track() {
    return this.stream?.getAudioTracks()[0] ?? null;
  }

  /** Ends the tracks, so that the browser's recording sign goes out. */
  async stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    const context = this.context;
    this.context = null;
    await context?.close();
  }

  constraints() {
    const { deviceId, ...switches } = this.listeners.options();
    return { channelCount: 1, ...switches, ...(deviceId ? { deviceId: { exact: deviceId } } : {}) };
  }

  /** @param {MediaStream} stream */
  async connect(stream) {
    const [context, source] = await openSource(stream);
    this.context = context;
    await capture(context, source, (frame) => {
      if (this.wanted && this.context === context) this.listeners.onFrame(frame);
    });
  }

  /** @param {import('./state.js').MicrophoneState} state */
  become(state) {
    this.listeners.state.microphone = state;
    this.listeners.onChange();
  }
}
