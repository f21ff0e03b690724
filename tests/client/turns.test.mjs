// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';
import { replay, splitHeard } from '../../frontend/src/heard.js';
import { EventLog } from '../../frontend/src/log.js';
import { Recording, wavOf } from '../../frontend/src/recording.js';
import { Track } from '../../frontend/src/track.js';
import { Turns, latencyFrom, latencyOf, latencySummary } from '../../frontend/src/turns.js';
import { VoiceTrace } from '../../frontend/src/voice.js';

/** @typedef {import('../../frontend/src/conversation.js').Entry} Entry */

/** A spoken turn whose last voiced sample was at 500 ms. */
function spokenTurn() {
  const turns = new Turns();
  turns.receive({ type: 'input_audio_buffer.speech_stopped', item_id: 'u1' }, 1_000, 500);
  turns.receive({ type: 'response.created', response: { id: 'r1' } }, 1_004, null);
  turns.receive({ type: 'conversation.item.added', item: { id: 'a1', type: 'message' } }, 1_005, null);
  turns.receive({ type: 'response.output_audio.delta', response_id: 'r1' }, 1_010, null);
  turns.heard('a1', 1_058);
  return turns;
}

test('latency counts from the last voiced sample, the end-of-turn silence included', () => {
  const [turn] = spokenTurn().list;
  assert.equal(latencyOf(turn), 558);
  assert.equal(latencyFrom(turn), 'after your last word');
  assert.deepEqual(turn.at, { start: 500, decided: 1_000, created: 1_004, firstAudio: 1_010, heard: 1_058 });
});

test('p50 and p95 are those of the turns that were answered', () => {
  const turns = [100, 200, 300, 400, 1_000].map((heard, index) => ({
    ...spokenTurn().list[0],
    number: index,
    spoken: true,
    at: { start: 0, heard },
  }));
  assert.deepEqual(latencySummary(/** @type {any} */ ([...turns, { at: { start: 0 } }])), {
    count: 5,
    p50: 300,
    p95: 1_000,
  });
  assert.deepEqual(latencySummary([]), { count: 0, p50: null, p95: null });
});

test('a reply to a tool result belongs to the turn that called the tool', () => {
  const turns = spokenTurn();
  turns.receive(
    { type: 'response.done', response: { id: 'r1', status: 'completed', output: [{ type: 'function_call' }] } },
    1_100,
    null,
  );
  turns.receive({ type: 'response.created', response: { id: 'r2' } }, 1_200, null);
  assert.deepEqual(turns.list[0].responses, ['r1', 'r2']);
  turns.receive(
    { type: 'response.done', response: { id: 'r2', status: 'completed', output: [{ type: 'message' }] } },
    1_300,
    null,
  );
  turns.receive({ type: 'response.created', response: { id: 'r3' } }, 1_400, null);
  assert.equal(turns.list.length, 2);
});

test('the last voiced frame is found above the noise, at any level of noise', () => {
  for (const [noise, voice] of [
    [-90, -30],
    [-50, -25],
    [-60, -45],
  ]) {
    const trace = new VoiceTrace();
    for (let n = 0; n < 100; n += 1) trace.push(n >= 30 && n < 60 ? voice : noise + (n % 3), 20 * n);
    assert.equal(trace.lastVoiced(), 20 * 59, `${noise} dB`);
  }
});

test('without a voice there is no last voiced frame', () => {
  const trace = new VoiceTrace();
  assert.equal(trace.lastVoiced(), null);
  for (let n = 0; n < 50; n += 1) trace.push(-60, n);
  assert.equal(trace.lastVoiced(), null);
});

/** @param {Partial<Entry>} part */
const reply = (part) =>
  /** @type {Entry} */ ({
    id: 'a1',
    kind: 'message',
    role: 'assistant',
    text: 'one two three four',
    open: false,
    lost: false,
    cut: false,
    spokenMs: null,
    spoken: true,
    audioMs: 1_000,
    whole: true,
    heardMs: 0,
    ...part,
  });

test('words are split between those that were heard and the rest', () => {
  assert.deepEqual(splitHeard(reply({ heardMs: 1_000 })), ['one two three four', '']);
  assert.deepEqual(splitHeard(reply({ heardMs: 300 })), ['one two', ' three four']);
  assert.deepEqual(splitHeard(reply({ heardMs: 0 })), ['', 'one two three four']);
  assert.deepEqual(splitHeard(reply({ spoken: false, audioMs: 0 })), ['one two three four', '']);
  assert.deepEqual(splitHeard(reply({ cut: true, whole: false, audioMs: 0 })), ['', 'one two three four']);
});

test('a new session is given what was heard, in order', () => {
  const entries = [
    reply({ id: 'u1', role: 'user', text: 'count', spoken: false, audioMs: 0 }),
    reply({ cut: true, heardMs: 300 }),
    reply({ id: 'd', kind: 'divider', text: 'lost' }),
    reply({ id: 'c1', kind: 'tool', name: 'f', callId: 'k', text: '{}', output: 'yes', by: 'client' }),
    reply({ id: 'u2', role: 'user', text: '', audioMs: 0 }),
  ];
  const items = replay(entries).map(({ item }) => item.content?.[0].text ?? item.output ?? item.name);
  assert.deepEqual(items, ['count', 'one two', 'f', 'yes']);
});

test('the log is in the order of time, and a stream shares a row until something else happens', () => {
  const log = new EventLog();
  log.add('out', { type: 'input_audio_buffer.append', audio: '' }, 1);
  log.add('out', { type: 'input_audio_buffer.append', audio: '' }, 2);
  log.add('in', { type: 'response.created', response: { id: 'r1' } }, 3);
  log.add('out', { type: 'input_audio_buffer.append', audio: '' }, 4);
  assert.deepEqual(
    log.rows.map(({ at, count }) => [at, count]),
    [
      [1, 2],
      [3, 1],
      [4, 1],
    ],
  );
  const times = log.rows.map(({ at }) => at);
  assert.deepEqual(
    times,
    [...times].sort((a, b) => a - b),
  );
});

test('the log is filtered by direction, text, sound and turn', () => {
  const log = new EventLog();
  log.add('out', { type: 'input_audio_buffer.append', audio: '' }, 1);
  log.add('in', { type: 'response.created', response: { id: 'r1' } }, 2);
  log.add('out', { type: 'response.cancel' }, 3);
  const all = { direction: /** @type {const} */ ('all'), text: '', sound: false, turn: null };
  assert.equal(log.filtered(all).length, 2);
  assert.equal(log.filtered({ ...all, sound: true }).length, 3);
  assert.equal(log.filtered({ ...all, direction: 'out' }).length, 1);
  assert.equal(log.filtered({ ...all, text: 'R1' }).length, 1);
  assert.equal(log.filtered({ ...all, turn: new Set(['r1']) }).length, 1);
});

test('the log forgets its oldest rows beyond five thousand', () => {
  const log = new EventLog();
  for (let n = 0; n < 12_000; n += 1) log.add('in', { type: 'error', error: { message: '' } }, n);
  assert.ok(log.rows.length <= 5_000);
  assert.equal(log.rows.at(-1)?.at, 11_999);
});

test('both sides are recorded at their times, a cut reply to its cut', () => {
  const recording = new Recording();
  recording.heardUser(new Int16Array(24_000).fill(1));
  recording.speechStarted(500);
  recording.speechEnded('u1', 1_000);
  recording.reply('a1', new Int16Array(24_000).fill(2));
  recording.replyHeard('a1', 1_500);
  recording.cut('a1', 250);
  const [user, assistant] = recording.stereo();
  assert.equal(recording.samplesOf('u1')?.length, 0.8 * 24_000, 'with 300 ms before the detected start');
  assert.deepEqual(
    [assistant.findIndex((v) => v === 2), assistant.filter((v) => v === 2).length],
    [1.3 * 24_000, 6_000],
  );
  assert.equal(user.length, assistant.length);
});

test('a recording keeps twenty minutes at most', () => {
  const recording = new Recording();
  for (let n = 0; n < 30; n += 1) recording.reply(`a${n}`, new Int16Array(60 * 24_000));
  assert.deepEqual(
    [recording.clips.size, recording.samplesOf('a9'), recording.samplesOf('a10')?.length],
    [20, null, 60 * 24_000],
  );
});

test('a WAV file is stereo PCM16 at 24 kHz', () => {
  const view = new DataView(wavOf([Int16Array.of(1, 2), Int16Array.of(-1, -2)]).buffer);
  assert.equal(view.byteLength, 52);
  assert.deepEqual(
    [
      view.getUint16(22, true),
      view.getUint32(24, true),
      view.getInt16(44, true),
      view.getInt16(46, true),
      view.getInt16(48, true),
    ],
    [2, 24_000, 1, -1, 2],
  );
});

test('the timeline remembers an hour in less than a megabyte, and finds its loudest step', () => {
  const track = new Track(0);
  for (let at = 0; at < 3_600_000; at += 20) track.put('user', at, 0.1);
  track.put('assistant', 3_599_000, 0.5);
  assert.ok(track.lanes.user.length + track.lanes.assistant.length < 1_000_000);
  assert.ok(Math.abs(track.peak('assistant', 3_598_000, 3_600_000) - 0.5) < 0.01);
});
