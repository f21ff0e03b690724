// @ts-check
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { base64FromPcm } from '../../frontend/src/codec.js';
import { Conversation, PREVIEW } from '../../frontend/src/conversation.js';
import { initialState, phaseOf } from '../../frontend/src/state.js';

/** @typedef {import('../../frontend/src/codec.js').WireEvent} WireEvent */

const spoken = {
  id: 'u1',
  type: 'message',
  role: 'user',
  status: 'completed',
  content: [{ type: 'input_audio', transcript: null }],
};
const answer = { id: 'a1', type: 'message', role: 'assistant', status: 'in_progress', content: [] };

/** @type {[number, WireEvent][]} */
const QUESTION = [
  [0, { type: 'input_audio_buffer.speech_started', item_id: 'u1', audio_start_ms: 0 }],
  [1_000, { type: 'input_audio_buffer.speech_stopped', item_id: 'u1', audio_end_ms: 900 }],
  [1_001, { type: 'input_audio_buffer.committed', item_id: 'u1' }],
  [1_001, { type: 'conversation.item.added', item: spoken }],
  [1_002, { type: 'response.created', response: { id: 'r1', status: 'in_progress' } }],
  [1_003, { type: 'conversation.item.added', item: answer }],
];
/** @type {[number, WireEvent][]} */
const ANSWER = [
  [
    1_200,
    {
      type: 'response.output_audio_transcript.delta',
      response_id: 'r1',
      item_id: 'a1',
      content_index: 0,
      delta: 'Hel',
    },
  ],
  [1_250, sound('r1', 'a1')],
  [
    1_260,
    { type: 'response.output_audio_transcript.delta', response_id: 'r1', item_id: 'a1', content_index: 0, delta: 'lo' },
  ],
];
/** @type {WireEvent} */
const DONE = { type: 'response.done', response: { id: 'r1', status: 'completed' } };

/**
 * @param {string} response
 * @param {string} item
 * @returns {WireEvent}
 */
function sound(response, item) {
  const delta = base64FromPcm(new Int16Array(2_400));
  return { type: 'response.output_audio.delta', response_id: response, item_id: item, content_index: 0, delta };
}

/** A conversation whose microphone is on. */
function started() {
  return new Conversation({ ...initialState(), connection: 'open', microphone: 'on' });
}

/** @param {[number, WireEvent][]} script */
function play(script) {
  const conversation = started();
  const effects = script.flatMap(([now, event]) => conversation.receive(event, now));
  return { conversation, effects };
}

test('both sides are written down in order', () => {
  /** @type {WireEvent} */
  const transcript = {
    type: 'conversation.item.input_audio_transcription.completed',
    item_id: 'u1',
    content_index: 0,
    transcript: ' What time is it? ',
  };
  const { conversation } = play([...QUESTION, ...ANSWER, [1_300, transcript]]);
  assert.deepEqual(
    conversation.entries.map(({ role, text }) => [role, text]),
    [
      ['user', 'What time is it?'],
      ['assistant', 'Hello'],
    ],
  );
});

test('speech without a transcript shows how long it was', () => {
  const { conversation } = play(QUESTION);
  assert.deepEqual(
    [conversation.entries[0].text, conversation.entries[0].spokenMs, conversation.entries[0].open],
    ['', 900, false],
  );
});

test('the floor passes from the user to the answer and back when all has been played', () => {
  const { conversation } = play([QUESTION[0]]);
  assert.equal(phaseOf(conversation.state), 'hearing');
  conversation.receive(QUESTION[1][1], 1_000);
  assert.equal(phaseOf(conversation.state), 'thinking');
  for (const [now, event] of [...QUESTION.slice(2), ...ANSWER]) conversation.receive(event, now);
  assert.equal(phaseOf(conversation.state), 'speaking');
  conversation.receive(DONE, 1_500);
  assert.equal(phaseOf(conversation.state), 'speaking', 'the loudspeaker still plays');
  conversation.drained();
  assert.equal(phaseOf(conversation.state), 'listening');
});

test('a gap in the sound does not end an answer that is still being made', () => {
  const { conversation } = play([...QUESTION, ...ANSWER]);
  conversation.drained();
  assert.equal(phaseOf(conversation.state), 'speaking');
});

test('speech stops the answer at once and drops what is still on the way', () => {
  const { conversation } = play([...QUESTION, ...ANSWER]);
  /** @type {WireEvent} */
  const bargeIn = { type: 'input_audio_buffer.speech_started', item_id: 'u2', audio_start_ms: 2_000 };
  assert.deepEqual(conversation.receive(bargeIn, 2_000), [{ kind: 'interrupt', itemId: 'a1' }]);
  assert.deepEqual(conversation.receive(sound('r1', 'a1'), 2_001), []);
  assert.equal(conversation.find('a1')?.cut, true);
  assert.equal(phaseOf(conversation.state), 'hearing');
});

test('speech during playback of a finished response stops it too', () => {
  const { conversation } = play([...QUESTION, ...ANSWER, [1_500, DONE]]);
  assert.deepEqual(conversation.interrupt(), [{ kind: 'interrupt', itemId: 'a1' }]);
});

test('speech after an answer was heard to its end truncates nothing', () => {
  const { conversation } = play([...QUESTION, ...ANSWER, [1_500, DONE]]);
  conversation.drained();
  assert.deepEqual(conversation.interrupt(), []);
});

/** @type {WireEvent} */
const PAUSED = { type: 'output_audio_buffer.paused', response_id: 'r1' };
/** @type {WireEvent} */
const RESUMED = { type: 'output_audio_buffer.resumed', response_id: 'r1' };

test('a voice that was nothing holds the answer and lets it go on', () => {
  const { conversation } = play([...QUESTION, ...ANSWER]);
  assert.deepEqual(conversation.receive(PAUSED, 2_000), [{ kind: 'hold' }]);
  const [effect] = conversation.receive(sound('r1', 'a1'), 2_100);
  assert.equal(effect.kind, 'play', 'it waits in the queue of the loudspeaker');
  assert.deepEqual(conversation.receive(RESUMED, 2_400), [{ kind: 'release' }]);
  assert.equal(phaseOf(conversation.state), 'speaking');
  assert.equal(conversation.find('a1')?.cut, false);
});

test('a voice that was meant drops what was held', () => {
  const { conversation } = play([...QUESTION, ...ANSWER]);
  conversation.receive(PAUSED, 2_000);
  /** @type {WireEvent} */
  const bargeIn = { type: 'input_audio_buffer.speech_started', item_id: 'u2', audio_start_ms: 1_900 };
  assert.deepEqual(conversation.receive(bargeIn, 2_500), [{ kind: 'interrupt', itemId: 'a1' }, { kind: 'release' }]);
  assert.deepEqual(conversation.receive(sound('r1', 'a1'), 2_501), []);
});

test('the Stop button while an answer is held leaves it to the server when sound may be heard again', () => {
  const { conversation } = play([...QUESTION, ...ANSWER]);
  conversation.receive(PAUSED, 2_000);
  assert.deepEqual(conversation.interrupt(), [{ kind: 'interrupt', itemId: 'a1' }]);
  assert.deepEqual(conversation.receive(RESUMED, 2_400), [{ kind: 'release' }]);
});

test('the next answer is played after an interruption', () => {
  const { conversation } = play([...QUESTION, ...ANSWER]);
  conversation.interrupt();
  conversation.receive({ type: 'response.done', response: { id: 'r1', status: 'cancelled' } }, 2_000);
  conversation.receive({ type: 'response.created', response: { id: 'r2', status: 'in_progress' } }, 2_100);
  const [effect] = conversation.receive(sound('r2', 'a2'), 2_200);
  assert.equal(effect.kind, 'play');
});

test('a failed answer says why', () => {
  /** @type {WireEvent} */
  const failed = {
    type: 'response.done',
    response: { id: 'r1', status: 'failed', status_details: { type: 'failed', error: { message: 'out of memory' } } },
  };
  const { effects } = play([...QUESTION, [1_100, failed]]);
  assert.deepEqual(effects, [
    { kind: 'error', message: 'The answer failed: out of memory', param: null, eventId: null },
  ]);
});

test('a cancel that comes too late is no error for the user', () => {
  const { effects } = play([
    [0, { type: 'error', error: { code: 'response_cancel_not_active', message: 'Cancellation failed' } }],
  ]);
  assert.deepEqual(effects, []);
});

const WIRE = fileURLToPath(new URL('../wire/', import.meta.url));

for (const name of readdirSync(WIRE)) {
  test(`the flow ${name} passes through`, () => {
    const conversation = started();
    for (const { from, event } of JSON.parse(readFileSync(WIRE + name, 'utf8')).messages ?? []) {
      if (from === 'server') conversation.receive(event, 0);
    }
  });
}

test('the interrupted answer of the wire vectors is shown as cut off', () => {
  const conversation = started();
  const { messages } = JSON.parse(readFileSync(`${WIRE}barge_in.json`, 'utf8'));
  for (const { from, event } of messages) if (from === 'server') conversation.receive(event, 0);
  assert.equal(conversation.find('item_a1')?.cut, true);
  assert.equal(conversation.find('item_a1')?.text, 'One two thr');
});

test('a microphone that is off shows neither listening nor hearing', () => {
  const conversation = started();
  conversation.receive(QUESTION[0][1], 0);
  conversation.state.microphone = 'off';
  assert.equal(phaseOf(conversation.state), 'thinking');
  conversation.state.floor = 'free';
  assert.equal(phaseOf(conversation.state), 'off');
});

test('speech confirmed after the microphone went off ends its turn at once', () => {
  const { conversation } = play([...QUESTION, ...ANSWER]);
  conversation.receive(PAUSED, 2_000);
  conversation.state.microphone = 'off';
  const effects = conversation.receive(
    { type: 'input_audio_buffer.speech_started', item_id: 'u2', audio_start_ms: 1_900 },
    2_500,
  );
  assert.deepEqual(
    effects.map(({ kind }) => kind),
    ['interrupt', 'release', 'endTurn'],
  );
  assert.equal(phaseOf(conversation.state), 'thinking');
});

test('a lost connection marks the half answer and frees the floor', () => {
  const { conversation } = play([...QUESTION, ...ANSWER]);
  conversation.end();
  conversation.divide('Connection lost');
  assert.equal(conversation.find('a1')?.lost, true);
  assert.equal(conversation.entries.at(-1)?.kind, 'divider');
  assert.equal(phaseOf(conversation.state), 'listening');
});

test('a call is a card with its arguments, its result and its duration', () => {
  const call = { id: 'c1', type: 'function_call', name: 'get_weather', call_id: 'k1', arguments: '' };
  const { conversation, effects } = play([
    ...QUESTION,
    [1_300, { type: 'conversation.item.added', item: call }],
    [1_310, { type: 'conversation.item.done', item: { ...call, arguments: '{"city":"Paris"}' } }],
    [1_320, DONE],
    [
      1_500,
      {
        type: 'conversation.item.added',
        item: { id: 'o1', type: 'function_call_output', call_id: 'k1', output: '21 degrees' },
      },
    ],
  ]);
  const entry = conversation.find('c1');
  assert.deepEqual(
    [entry?.kind, entry?.text, entry?.output, entry?.tookMs],
    ['tool', '{"city":"Paris"}', '21 degrees', 200],
  );
  assert.equal(effects.filter(({ kind }) => kind === 'call').length, 1);
});

test('a voice preview is heard and written nowhere', () => {
  const conversation = started();
  conversation.receive({ type: 'response.created', response: { id: 'p', metadata: { [PREVIEW]: 'voice' } } }, 0);
  const [effect] = conversation.receive(sound('p', 'x'), 10);
  conversation.receive(
    { type: 'response.output_audio_transcript.delta', response_id: 'p', item_id: 'x', delta: 'Hi' },
    11,
  );
  assert.equal(effect.kind, 'play');
  assert.deepEqual(conversation.entries, []);
});

test('an error of an event that may come too late is not shown', () => {
  assert.deepEqual(
    started().receive(
      { type: 'error', error: { code: 'input_audio_buffer_commit_empty', event_id: 'race_commit' } },
      0,
    ),
    [],
  );
});
