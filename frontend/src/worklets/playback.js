// @ts-check
/**
 * A queue of answers, played at the context's rate. Runs on the audio thread.
 *
 * In:  {kind: 'push', key: string, samples: Float32Array}   append; `key` names the answer it belongs to
 *      {kind: 'end'}                                        all of the answer has come: what follows is no underrun
 *      {kind: 'hold'}                                       fade out within one quantum and keep the queue
 *      {kind: 'release'}                                    continue from the same sample, faded in
 *      {kind: 'stop', request: number}                      fade out within one quantum and forget the queue
 * Out: {request: number | null, key: string | null, played: number, queued: number, peak: number, underruns: number}
 *      answers 'stop', with the figures of just before it, and comes by itself every 20 ms while something plays:
 *      samples played of the answer `key`, samples waiting, the loudest sample since the last report, and how often
 *      the queue ran dry in the middle of an answer.
 */

const REPORT_SAMPLES = 480;
/** After an underrun playback waits for so many samples: one longer gap is less disturbing than several short ones. */
const REFILL_SAMPLES = 2_400;
/** Length of a fade-in: 2.7 ms. The fade-out is the decay of the last value. */
const FADE_SAMPLES = 64;

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    /** @type {{key: string, samples: Float32Array}[]} */
    this.queue = [];
    this.offset = 0;
    this.queued = 0;
    /** @type {string | null} */
    this.key = null;
    this.played = 0;
    this.last = 0;
    this.gain = 1;
    this.held = false;
    this.ended = true;
    this.refilling = false;
    this.underruns = 0;
    this.peak = 0;
    this.sinceReport = 0;
    this.reported = true;
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  /** @param {any} message */
  receive(message) {
    if (message.kind === 'push') {
      this.queue.push(message);
      this.queued += message.samples.length;
      this.ended = false;
      this.reported = false;
      if (this.queued >= REFILL_SAMPLES) this.refilling = false;
    } else if (message.kind === 'end') {
      this.ended = true;
      this.refilling = false;
    } else if (message.kind === 'stop') {
      this.report(message.request);
      this.forget();
    } else {
      this.held = message.kind === 'hold';
      this.gain = 0;
    }
  }

  forget() {
    this.queue.length = 0;
    this.offset = 0;
    this.queued = 0;
    this.key = null;
    this.played = 0;
    this.ended = true;
    this.refilling = false;
    this.reported = true;
  }

  /** @param {number | null} request */
  report(request) {
    const { key, played, queued, peak, underruns } = this;
    this.port.postMessage({ request, key, played, queued, peak, underruns });
    this.peak = 0;
    this.sinceReport = 0;
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   */
  process(_inputs, [[output]]) {
    for (let i = 0; i < output.length; i += 1) {
      // With nothing to play the last value decays instead of jumping to zero: a jump is heard as a click.
      this.last = this.queue.length > 0 && !this.held && !this.refilling ? this.next() : this.last * 0.95;
      output[i] = this.last;
      const size = Math.abs(this.last);
      if (size > this.peak) this.peak = size;
    }
    this.sinceReport += output.length;
    if (!this.reported && this.sinceReport >= REPORT_SAMPLES) {
      this.reported = this.queued === 0; // the last one tells that all has been played
      this.report(null);
    }
    return true;
  }

  next() {
    const { key, samples } = this.queue[0];
    if (key !== this.key) {
      this.key = key;
      this.played = 0;
    }
    const sample = samples[this.offset] * this.gain;
    if (this.gain < 1) this.gain = Math.min(1, this.gain + 1 / FADE_SAMPLES);
    this.offset += 1;
    this.played += 1;
    this.queued -= 1;
    if (this.offset === samples.length) this.advance();
    return sample;
  }

  advance() {
    this.queue.shift();
    this.offset = 0;
    if (this.queue.length > 0 || this.ended) return;
    this.underruns += 1;
    this.refilling = true;
    this.gain = 0;
  }
}

registerProcessor('playback', Playback);
