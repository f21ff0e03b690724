// @ts-check
/** A stream as 20 ms frames of PCM16 at 24 kHz. */
import { SAMPLE_RATE } from './audio.js';

export const FRAME_MS = 20;

/**
 * At 24 kHz where the browser converts by itself; else at the device's rate, and the worklet converts.
 * @param {MediaStream} stream
 * @returns {Promise<[AudioContext, MediaStreamAudioSourceNode]>}
 */
export async function openSource(stream) {
  const context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: 'interactive' });
  try {
    return [context, context.createMediaStreamSource(stream)];
  } catch {
    await context.close();
    const native = new AudioContext({ latencyHint: 'interactive' });
    return [native, native.createMediaStreamSource(stream)];
  }
}

/**
 * @param {AudioContext} context
 * @param {AudioNode} source
 * @param {(frame: Int16Array) => void} onFrame
 */
export async function capture(context, source, onFrame) {
  await context.audioWorklet.addModule(new URL('./worklets/capture.js', import.meta.url));
  const node = new AudioWorkletNode(context, 'capture', {
    numberOfOutputs: 0,
    channelCount: 1,
    channelCountMode: 'explicit',
    processorOptions: { targetRate: SAMPLE_RATE, frameSamples: (SAMPLE_RATE * FRAME_MS) / 1000 },
  });
  node.port.onmessage = ({ data }) => onFrame(data);
  source.connect(node);
  await context.resume();
}
