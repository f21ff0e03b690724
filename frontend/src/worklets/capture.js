// @ts-check
/**
 * Microphone -> frames of PCM16. Runs on the audio thread.
 *
 * Options: {targetRate: number, frameSamples: number}
 * Out:     Int16Array of `frameSamples` at `targetRate`
 */
import { Resampler, pcmFromFloat } from '../audio.js';

class Capture extends AudioWorkletProcessor {
  /** @param {{processorOptions: {targetRate: number, frameSamples: number}}} options */
  constructor({ processorOptions: { targetRate, frameSamples } }) {
    super();
    this.resampler = sampleRate === targetRate ? null : new Resampler(sampleRate, targetRate);
    this.frame = new Int16Array(frameSamples);
    this.filled = 0;
    /** @param {number} sample */
    this.collect = (sample) => {
      this.frame[this.filled] = pcmFromFloat(sample);
      this.filled += 1;
      if (this.filled === this.frame.length) {
        this.port.postMessage(this.frame); // cloned, so the frame is ours again
        this.filled = 0;
      }
    };
  }

  /** @param {Float32Array[][]} inputs */
  process([[samples]]) {
    if (samples === undefined) return true; // the track has not begun, or is muted
    for (let i = 0; i < samples.length; i += 1) {
      if (this.resampler === null) this.collect(samples[i]);
      else this.resampler.push(samples[i], this.collect);
    }
    return true;
  }
}

registerProcessor('capture', Capture);
