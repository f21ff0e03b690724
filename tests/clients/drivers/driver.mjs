// What the Node drivers share. Each is run as `node DRIVER.mjs URL KEY SCENARIO SPEECH` (raw PCM16, 24 kHz, mono)
// and prints what it saw as one line of JSON.
import { readFileSync } from 'node:fs';

export const [URL, KEY, SCENARIO, SPEECH] = process.argv.slice(2);
export const WEATHER = {
  name: 'get_weather',
  description: 'The weather in a city.',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
};

const BYTES_PER_SECOND = 48_000;
const FRAME = BYTES_PER_SECOND / 50;
const PATIENCE_MS = 60_000;

export const seen = { transcript: '', audio_seconds: 0, heard: null, interrupted: false, calls: [], errors: [] };

// The libraries write what they could not make sense of to the console, and go on.
console.error = console.warn = (...what) => seen.errors.push(what.map(String).join(' '));

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function heardAudio(bytes) {
  seen.audio_seconds += bytes / BYTES_PER_SECOND;
}

// The recording and some silence, in frames of 20 ms, five times as fast as speech.
export async function* speech(silenceSeconds = 2) {
  const pcm = Buffer.concat([readFileSync(SPEECH), Buffer.alloc(silenceSeconds * BYTES_PER_SECOND)]);
  for (let start = 0; start < pcm.length; start += FRAME) {
    yield pcm.subarray(start, start + FRAME);
    await sleep(4);
  }
}

export function arrayBuffer(bytes) {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}

export async function until(condition, what) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for: ${what}; seen: ${JSON.stringify(seen)}`);
    await sleep(10);
  }
}

// Runs one of the scenarios, prints what was seen and ends the process.
export async function drive(scenarios) {
  try {
    await scenarios[SCENARIO]();
  } catch (error) {
    seen.errors.push(String(error.stack ?? error));
  }
  process.stdout.write(JSON.stringify(seen) + '\n', () => process.exit(0));
}
