// @ts-check
/** The reply's sound of a call: a stream that a media element plays, tapped for the timeline and the recording. */
import { capture, openSource } from './capture.js';

export class CallSound {
  /** @param {(frame: Int16Array) => void} onFrame 20 ms at 24 kHz, from the first packet on, silence included */
  constructor(onFrame) {
    this.onFrame = onFrame;
    this.element = new Audio();
    /** @type {AudioContext | null} */
    this.context = null;
    this.sinkId = '';
  }

  /** @param {MediaStream} stream */
  async play(stream) {
    await this.stop();
    this.element.srcObject = stream;
    await this.setSink(this.sinkId);
    void this.element.play().catch(() => {});
    const [context, source] = await openSource(stream);
    this.context = context;
    await capture(context, source, (frame) => {
      if (this.context === context) this.onFrame(frame);
    });
  }

  /** Whether the browser keeps the loudspeaker closed until the person clicks. */
  get suspended() {
    return this.context !== null && (this.element.paused || this.context.state !== 'running');
  }

  /** Call from a click. */
  resume() {
    void this.context?.resume();
    if (this.element.srcObject !== null) void this.element.play().catch(() => {});
  }

  /** @param {number} volume 0..1 */
  setVolume(volume) {
    this.element.volume = volume;
  }

  /** @param {string} id of a loudspeaker; `''`: the system's default */
  async setSink(id) {
    this.sinkId = id;
    if (typeof this.element.setSinkId === 'function' && this.element.sinkId !== id) await this.element.setSinkId(id);
  }

  async stop() {
    const { context } = this;
    this.context = null;
    this.element.srcObject = null;
    await context?.close();
  }
}
