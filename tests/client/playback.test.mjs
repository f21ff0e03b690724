// @ts-check
/** The worklet outside a browser: its two globals are given here. */
import assert from 'node:assert/strict';
import test from 'node:test';

const QUANTUM = 128;
/** Length of the worklet's fade-in, in samples. */
const FADE = 64;

/** @type {any} */
let Playback;
Object.assign(globalThis, {
  AudioWorkletProcessor: class {
    port = {
      sent: /** @type {any[]} */ ([]),
      postMessage(/** @type {any} */ message) {
        this.sent.push(message);
      },
    };
  },
  registerProcessor: (/** @type {string} */ _name, /** @type {any} */ processor) => {
    Playback = processor;
  },
});
await import('../../frontend/src/worklets/playback.js');

/** A worklet, what it played so far, and its answers. */
function device() {
  const worklet = new Playback();
  return {
    push: (/** @type {string} */ key, /** @type {number[]} */ samples) =>
      worklet.receive({ kind: 'push', key, samples: Float32Array.from(samples) }),
    ask(/** @type {string} */ kind) {
      worklet.receive({ kind, request: 1 });
      const { key, played, queued } = worklet.port.sent.at(-1);
      return { key, played, queued };
    },
    tell: (/** @type {string} */ kind) => worklet.receive({ kind }),
    reports: () => worklet.port.sent.filter((/** @type {any} */ { request }) => request === null),
    play() {
      const output = new Float32Array(QUANTUM);
      worklet.process([], [[output]]);
      return output;
    },
  };
}

test('chunks are played without a gap between them', () => {
  const { push, play } = device();
  push('a', Array(100).fill(0.25));
  push('a', Array(100).fill(0.5));
  const output = [...play(), ...play()];
  assert.deepEqual(output.slice(0, 200), [...Array(100).fill(0.25), ...Array(100).fill(0.5)]);
});

test('stop tells what was played, to the sample, and plays nothing more', () => {
  const { push, play, ask } = device();
  push('a', Array(1_000).fill(0.5));
  play();
  play();
  assert.deepEqual(ask('stop'), { key: 'a', played: 256, queued: 744 });
  play();
  assert.ok(Math.max(...play().map(Math.abs)) < 0.01);
  assert.deepEqual(ask('stop'), { key: null, played: 0, queued: 0 });
});

test('stop fades instead of clicking', () => {
  const { push, play, ask } = device();
  push('a', Array(1_000).fill(0.8));
  play();
  ask('stop');
  const output = [0.8, ...play()];
  const steps = output.slice(1).map((value, n) => Math.abs(value - output[n]));
  assert.ok(Math.max(...steps) < 0.05);
});

test('each answer is counted from its own first sample', () => {
  const { push, play, ask } = device();
  push('a', Array(100).fill(0.1));
  push('b', Array(500).fill(0.1));
  play();
  assert.deepEqual(ask('stop'), { key: 'b', played: 28, queued: 472 });
});

test('a finished answer is still known when the queue is empty', () => {
  const { push, play, ask } = device();
  push('a', Array(100).fill(0.1));
  play();
  assert.deepEqual(ask('stop'), { key: 'a', played: 100, queued: 0 });
});

test('what is held goes on from the very sample: nothing is lost, nothing is heard twice', () => {
  const { push, play, tell } = device();
  const ramp = Array.from({ length: 1_000 }, (_, n) => (n + 1) / 1_024);
  push('a', ramp.slice(0, 600));
  const heard = [...play(), ...play()];
  tell('hold');
  const silence = [...play(), ...play()];
  push('a', ramp.slice(600));
  silence.push(...play());
  tell('release');
  for (let n = 0; n < 6; n += 1) heard.push(...play());
  assert.deepEqual(heard.slice(0, 256), ramp.slice(0, 256));
  assert.deepEqual(heard.slice(256 + FADE, 1_000), ramp.slice(256 + FADE));
  assert.ok(heard[256] < 0.01, 'it is faded in');
  assert.ok(Math.abs(/** @type {number} */ (silence.at(-1))) < 1e-3);
});

test('hold fades instead of clicking', () => {
  const { push, play, tell } = device();
  push('a', Array(1_000).fill(0.8));
  play();
  tell('hold');
  const output = [0.8, ...play()];
  const steps = output.slice(1).map((value, n) => Math.abs(value - output[n]));
  assert.ok(Math.max(...steps) < 0.05);
});

test('what is held and then stopped is not heard any more, and was counted to the sample', () => {
  const { push, play, ask, tell } = device();
  push('a', Array(1_000).fill(0.5));
  play();
  tell('hold');
  play();
  assert.deepEqual(ask('stop'), { key: 'a', played: 128, queued: 872 });
  tell('release');
  assert.ok(Math.abs(/** @type {number} */ (play().at(-1))) < 0.01);
});

test('while it is held, a stop does not let the next answer through', () => {
  const { push, play, ask, tell } = device();
  tell('hold');
  push('a', Array(100).fill(0.5));
  ask('stop');
  push('b', Array(100).fill(0.25));
  assert.equal(Math.max(...play()), 0);
  tell('release');
  assert.deepEqual([...play().slice(FADE, 100)], Array(100 - FADE).fill(0.25));
});

test('a queue that runs dry in the middle of an answer is counted, and refilled before it goes on', () => {
  const { push, play, reports } = device();
  push('a', Array(1_200).fill(0.5));
  for (let n = 0; n < 20; n += 1) play();
  assert.equal(reports().at(-1).underruns, 1);
  push('a', Array(1_200).fill(0.5));
  assert.ok(Math.max(...play()) < 0.01, 'too little to go on with');
  push('a', Array(1_200).fill(0.5));
  play();
  assert.ok(Math.max(...play()) > 0.4);
});

test('the end of an answer is no underrun', () => {
  const { push, play, tell, reports } = device();
  push('a', Array(1_200).fill(0.5));
  tell('end');
  for (let n = 0; n < 20; n += 1) play();
  assert.equal(reports().at(-1).underruns, 0);
});

test('what was played is reported every 20 ms, and at last that nothing waits', () => {
  const { push, play, tell, reports } = device();
  push('a', Array(1_200).fill(0.5));
  tell('end');
  for (let n = 0; n < 40; n += 1) play();
  const told = reports();
  assert.equal(told.length, 3);
  assert.deepEqual([told[0].played, told[0].queued, told[0].peak], [512, 688, 0.5]);
  assert.deepEqual([told[2].played, told[2].queued], [1_200, 0]);
});
