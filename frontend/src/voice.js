// @ts-check
/** When the user's voice was last heard here: the start of every latency. Pure. */

/** Frames that are remembered: 30 s. */
const LENGTH = 1_500;
/** The noise is what a tenth of the frames do not reach. */
const NOISE_SHARE = 0.1;
/** A voiced frame lies at least so far above the noise, and so far up from the noise to the loudest frame. */
const MARGIN_DB = 9;
const MARGIN_SHARE = 0.4;

export class VoiceTrace {
  constructor() {
    this.times = new Float64Array(LENGTH);
    this.levels = new Float32Array(LENGTH).fill(-90);
    this.count = 0;
  }

  /**
   * @param {number} level of one frame, in dB
   * @param {number} at its end, in ms
   */
  push(level, at) {
    const index = this.count % LENGTH;
    this.levels[index] = level;
    this.times[index] = at;
    this.count += 1;
  }

  /** @returns {number | null} the end of the last voiced frame; null: no voice stands out of the noise */
  lastVoiced() {
    const size = Math.min(this.count, LENGTH);
    if (size === 0) return null;
    const sorted = this.levels.slice(0, size).sort();
    const noise = sorted[Math.floor(NOISE_SHARE * size)];
    const threshold = noise + Math.max(MARGIN_DB, MARGIN_SHARE * (sorted[size - 1] - noise));
    for (let back = 1; back <= size; back += 1) {
      const index = (this.count - back) % LENGTH;
      if (this.levels[index] > threshold) return this.times[index];
    }
    return null;
  }
}
