// @ts-check
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import * as codec from '../../frontend/src/codec.js';

const WIRE = fileURLToPath(new URL('../wire/', import.meta.url));

test('pcm survives base64 in both directions', () => {
  const samples = Int16Array.of(0, 1, -1, 32767, -32768, 12345);
  assert.deepEqual(codec.pcmFromBase64(codec.base64FromPcm(samples)), samples);
});

test('pcm is little-endian on the wire', () => {
  assert.equal(codec.base64FromPcm(Int16Array.of(0x0102)), Buffer.from([0x02, 0x01]).toString('base64'));
});

test('a view into a larger buffer sends only its own samples', () => {
  const samples = Int16Array.of(1, 2, 3, 4).subarray(1, 3);
  assert.deepEqual(codec.pcmFromBase64(codec.base64FromPcm(samples)), Int16Array.of(2, 3));
});

test('half a sample is refused', () => {
  assert.throws(() => codec.pcmFromBase64(Buffer.from([1, 2, 3]).toString('base64')), codec.WireError);
});

test('sound that is not base64 is refused', () => {
  assert.throws(() => codec.pcmFromBase64('***'), codec.WireError);
});

test('what is no event is refused in words', () => {
  for (const message of [new ArrayBuffer(2), 'hello', 'null', '[]', '{"event_id":"x"}', '{"type":1}']) {
    assert.throws(() => codec.decode(message), codec.WireError, String(message));
  }
});

test('truncation sends whole milliseconds and never negative ones', () => {
  assert.equal(codec.truncateItem('item', 0, 940.9).audio_end_ms, 940);
  assert.equal(codec.truncateItem('item', 0, -3).audio_end_ms, 0);
});

test('the log shows how long a sound is instead of the sound', () => {
  const event = codec.appendAudio(new Int16Array(480));
  assert.equal(codec.withoutSound(event).audio, '20 ms');
  assert.equal(event.audio.length, 1280);
});

test('client events survive the wire', () => {
  const events = [
    codec.appendAudio(Int16Array.of(1, 2)),
    ...codec.endTurn(),
    codec.userText('what time is it'),
    codec.createResponse(),
    codec.cancelResponse(),
    codec.truncateItem('item_1', 0, 940),
  ];
  for (const event of events) assert.deepEqual(codec.decode(codec.encode(event)), event);
});

const shared = existsSync(WIRE) ? readdirSync(WIRE).filter((name) => name.endsWith('.json')) : [];

test('every message that the Python codec is tested with decodes here', { skip: shared.length === 0 }, () => {
  for (const name of shared) {
    for (const event of eventsIn(JSON.parse(readFileSync(WIRE + name, 'utf8')))) {
      const decoded = codec.decode(JSON.stringify(event));
      assert.equal(decoded.type, event.type, name);
      if (event.type === 'response.output_audio.delta') assert.ok(codec.pcmFromBase64(event.delta).length > 0, name);
    }
  }
});

/**
 * The events of a vector file, however deep they lie in it.
 * @param {any} value
 * @returns {any[]}
 */
function eventsIn(value) {
  if (Array.isArray(value)) return value.flatMap(eventsIn);
  if (value === null || typeof value !== 'object') return [];
  return typeof value.type === 'string' && value.type.includes('.') ? [value] : Object.values(value).flatMap(eventsIn);
}
