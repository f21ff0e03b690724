// @ts-check
/** The microphone as 20 ms frames of PCM16 at 24 kHz. Call `start` from a click: browsers ask for one. */
import { SAMPLE_RATE } from './audio.js';

const FRAME_MS = 20;

/** Why there is no microphone, in words for the person at the page. */
const REASONS = /** @type {Record<string, string>} */ ({
  NotAllowedError: 'The microphone is blocked. Allow it in the site settings of your browser, or type below.',
  NotFoundError: 'No microphone was found. Connect one, or type below.',
  NotReadableError: 'Another program is using the microphone. Close it, or type below.',
});

export class Microphone {
  /**
   * @param {{onFrame: (frame: Int16Array) => void, onEnded: () => void}} listeners
   *   `onEnded`: the device went away (unplugged, permission withdrawn)
   */
  constructor({ onFrame, onEnded }) {
    this.onFrame = onFrame;
    this.onEnded = onEnded;
    /** @type {MediaStream | null} */
    this.stream = null;
    /** @type {AudioContext | null} */
    this.context = null;
  }

  get active() {
    return this.stream !== null;
  }

  /** @throws {Error} with a message to show */
  async start() {
    if (!navigator.mediaDevices) {
      throw new Error('Browsers give the microphone only to https pages and to localhost. You can still type below.');
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
      await this.connect(this.stream);
    } catch (error) {
      await this.stop();
      const { name, message } = /** @type {DOMException} */ (error);
      throw new Error(REASONS[name] ?? `The microphone did not start: ${message}`);
    }
    this.stream.getAudioTracks()[0].onended = this.onEnded;
  }

  /** Ends the tracks, so that the browser's recording sign goes out. */
  async stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    const context = this.context;
    this.context = null;
    await context?.close();
  }

  /** @param {MediaStream} stream */
  async connect(stream) {
    const [context, source] = await openSource(stream);
    this.context = context;
    await context.audioWorklet.addModule(new URL('./worklets/capture.js', import.meta.url));
    const capture = new AudioWorkletNode(context, 'capture', {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: 'explicit',
      processorOptions: { targetRate: SAMPLE_RATE, frameSamples: (SAMPLE_RATE * FRAME_MS) / 1000 },
    });
    capture.port.onmessage = ({ data }) => this.onFrame(data);
    source.connect(capture);
    await context.resume();
  }
}

/**
 * At 24 kHz where the browser converts by itself; else at the device's rate, and the worklet converts.
 * @param {MediaStream} stream
 * @returns {Promise<[AudioContext, MediaStreamAudioSourceNode]>}
 */
async function openSource(stream) {
  const context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: 'interactive' });
  try {
    return [context, context.createMediaStreamSource(stream)];
  } catch {
    await context.close();
    const native = new AudioContext({ latencyHint: 'interactive' });
    return [native, native.createMediaStreamSource(stream)];
  }
}
