// @ts-check
/** Samples: PCM16 <-> float, loudness, conversion of the rate. Pure; the browser's half of realtime/audio.py. */

/** Rate of all sound on the wire, in Hz. */
export const SAMPLE_RATE = 24_000;

/**
 * @param {Int16Array} pcm
 * @returns {Float32Array<ArrayBuffer>} in [-1, 1)
 */
export function floatFromPcm(pcm) {
  const samples = new Float32Array(pcm.length);
  for (let i = 0; i < pcm.length; i += 1) samples[i] = pcm[i] / 32768;
  return samples;
}

/**
 * @param {number} sample beyond [-1, 1] it is clipped
 * @returns {number} a 16-bit integer
 */
export function pcmFromFloat(sample) {
  return Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
}

/** Zero crossings on each side of the filter's centre: -60 dB of alias, and 0.7 ms of delay at 24 kHz. */
const HALF_WIDTH = 16;

/**
 * Streaming rate conversion with a windowed sinc, one filter a phase. Needed only where a browser refuses to run the
 * microphone at 24 kHz (Firefox binds a context to the device's rate).
 */
export class Resampler {
  /**
   * @param {number} fromRate in Hz
   * @param {number} toRate in Hz
   */
  constructor(fromRate, toRate) {
    const divisor = greatestCommonDivisor(fromRate, toRate);
    /** Output k sits at input position k * step / phases. */
    this.step = fromRate / divisor;
    this.phases = toRate / divisor;
    this.filters = designFilters(this.step, this.phases);
    this.taps = this.filters[0].length;
    this.history = new Float32Array(this.taps);
    this.phase = 0;
    this.cursor = 0;
  }

  /**
   * Takes one input sample and hands each finished output sample to `emit`. Allocates nothing.
   * @param {number} sample
   * @param {(sample: number) => void} emit
   */
  push(sample, emit) {
    this.history[this.cursor] = sample;
    this.cursor = (this.cursor + 1) % this.taps;
    for (; this.phase < this.phases; this.phase += this.step) emit(this.convolve(this.filters[this.phase]));
    this.phase -= this.phases;
  }

  /** @param {Float32Array} filter */
  convolve(filter) {
    let sum = 0;
    let at = this.cursor; // the oldest sample
    for (let tap = 0; tap < this.taps; tap += 1) {
      sum += filter[tap] * this.history[at];
      at = at + 1 === this.taps ? 0 : at + 1;
    }
    return sum;
  }
}

/**
 * @param {number} step
 * @param {number} phases
 * @returns {Float32Array[]} [phases][taps], each summing to one
 */
function designFilters(step, phases) {
  const cutoff = 0.92 * Math.min(1, phases / step); // of the input's Nyquist rate: the rest is the transition band
  const half = Math.ceil(HALF_WIDTH / cutoff);
  return Array.from({ length: phases }, (_, phase) => {
    const filter = Float32Array.from({ length: 2 * half }, (__, tap) => {
      const distance = tap - half + 1 - phase / phases;
      return sinc(cutoff * distance) * hann(distance / half);
    });
    const sum = filter.reduce((total, value) => total + value, 0);
    return filter.map((value) => value / sum);
  });
}

/** @param {number} x */
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** @param {number} x */
const hann = (x) => (Math.abs(x) >= 1 ? 0 : 0.5 + 0.5 * Math.cos(Math.PI * x));

/**
 * @param {number} a
 * @param {number} b
 * @returns {number}
 */
const greatestCommonDivisor = (a, b) => (b === 0 ? a : greatestCommonDivisor(b, a % b));

/**
 * @param {Int16Array} frame
 * @returns {number} in dB of full scale; digital silence is -90
 */
export function decibels(frame) {
  let energy = 0;
  for (const sample of frame) energy += (sample / 32768) ** 2;
  return 10 * Math.log10(energy / frame.length + 1e-9);
}

/**
 * @param {Int16Array} frame
 * @returns {number} the largest sample, 0..1
 */
export function peakOf(frame) {
  let peak = 0;
  for (const sample of frame) peak = Math.max(peak, Math.abs(sample));
  return Math.min(1, peak / 32768);
}
