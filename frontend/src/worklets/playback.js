// @ts-check
/**
 * A queue of answers, played at the context's rate. Runs on the audio thread.
 *
 * In:  {kind: 'push', key: string, samples: Float32Array}   append; `key` names the answer it belongs to
 *      {kind: 'hold'}                                       fade out within one quantum and keep the queue
 *      {kind: 'release'}                                    go on from the very sample
 *      {kind: 'stop', request: number}                      fade out within one quantum and forget the queue
 *      {kind: 'position', request: number}
 * Out: {request: number, key: string | null, played: number, queued: number}
 *      answers 'stop' and 'position': samples played of the answer `key`, and samples waiting. For 'stop' as they were
 *      just before it.
 */

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
    this.held = false;
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  /** @param {any} message */
  receive(message) {
    if (message.kind === 'push') {
      this.queue.push(message);
      this.queued += message.samples.length;
      return;
    }
    if (message.kind === 'hold' || message.kind === 'release') {
      this.held = message.kind === 'hold';
      return;
    }
    this.port.postMessage({ request: message.request, key: this.key, played: this.played, queued: this.queued });
    if (message.kind === 'stop') this.forget();
  }

  forget() {
    this.queue.length = 0;
    this.offset = 0;
    this.queued = 0;
    this.key = null;
    this.played = 0;
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   */
  process(_inputs, [[output]]) {
    for (let i = 0; i < output.length; i += 1) {
      // With nothing to play the last value decays instead of jumping to zero: a jump is heard as a click.
      this.last = this.queue.length > 0 && !this.held ? this.next() : this.last * 0.95;
      output[i] = this.last;
    }
    return true;
  }

  next() {
    const { key, samples } = this.queue[0];
    if (key !== this.key) {
      this.key = key;
      this.played = 0;
    }
    const sample = samples[this.offset];
    this.offset += 1;
    this.played += 1;
    this.queued -= 1;
    if (this.offset === samples.length) {
      this.queue.shift();
      this.offset = 0;
    }
    return sample;
  }
}

registerProcessor('playback', Playback);
