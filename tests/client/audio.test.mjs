// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';
import { Resampler, decibels, pcmFromFloat, peakOf } from '../../frontend/src/audio.js';

/**
 * @param {number} frequency in Hz
 * @param {number} rate in Hz
 * @param {number} seconds
 */
function tone(frequency, rate, seconds) {
  return Float32Array.from({ length: rate * seconds }, (_, n) => Math.sin((2 * Math.PI * frequency * n) / rate));
}

/**
 * @param {Float32Array} samples
 * @param {number} from
 * @param {number} to
 */
function resample(samples, from, to) {
  /** @type {number[]} */
  const out = [];
  const resampler = new Resampler(from, to);
  for (const sample of samples) resampler.push(sample, (value) => out.push(value));
  return Float32Array.from(out);
}

/** @param {Float32Array} samples */
const power = (samples) => samples.reduce((sum, value) => sum + value * value, 0) / samples.length;

for (const rate of [48_000, 44_100, 96_000, 16_000]) {
  test(`a voice keeps its length and level from ${rate} Hz to 24 kHz`, () => {
    const out = resample(tone(1_000, rate, 0.5), rate, 24_000);
    assert.ok(Math.abs(out.length - 12_000) <= 1, `${out.length} samples`);
    assert.ok(Math.abs(power(out.subarray(2_000)) - 0.5) < 0.005);
  });
}

test('what 24 kHz cannot carry is filtered out, not folded back', () => {
  const out = resample(tone(15_000, 48_000, 0.5), 48_000, 24_000);
  assert.ok(10 * Math.log10(power(out.subarray(500)) / 0.5) < -55);
});

test('a resampled tone is the same tone', () => {
  const out = resample(tone(440, 44_100, 0.5), 44_100, 24_000).subarray(1_000, 11_000);
  let sine = 0;
  let cosine = 0;
  out.forEach((value, n) => {
    sine += value * Math.sin((2 * Math.PI * 440 * n) / 24_000);
    cosine += value * Math.cos((2 * Math.PI * 440 * n) / 24_000);
  });
  const explained = (2 * (sine ** 2 + cosine ** 2)) / out.length ** 2;
  assert.ok(Math.abs(explained / power(out) - 1) < 1e-3);
});

test('samples beyond full scale are clipped, not wrapped', () => {
  assert.equal(pcmFromFloat(1.5), 32767);
  assert.equal(pcmFromFloat(-1.5), -32768);
  assert.equal(pcmFromFloat(0.5), 16384);
});

test('levels run from digital silence to full scale', () => {
  assert.equal(Math.round(decibels(new Int16Array(480))), -90);
  assert.ok(decibels(new Int16Array(480).fill(32767)) > -0.01);
  assert.equal(peakOf(Int16Array.of(0, -16384, 100)), 0.5);
});
