// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';
import { figuresOf } from '../../frontend/src/call-figures.js';
import { Conversation } from '../../frontend/src/conversation.js';
import { Recording } from '../../frontend/src/recording.js';
import { initialState } from '../../frontend/src/state.js';

const inbound = (/** @type {Record<string, number>} */ counters) => ({
  type: 'inbound-rtp',
  kind: 'audio',
  ...counters,
});
const PAIR = { type: 'candidate-pair', nominated: true, state: 'succeeded', currentRoundTripTime: 0.02 };

test('loss and concealment are those since the last look', () => {
  const first = {
    jitter: 0.004,
    packetsReceived: 90,
    packetsLost: 10,
    concealedSamples: 900,
    totalSamplesReceived: 1000,
  };
  const second = {
    ...first,
    packetsReceived: 180,
    packetsLost: 20,
    concealedSamples: 1000,
    totalSamplesReceived: 2000,
  };
  const { figures, counters } = figuresOf([inbound(first), PAIR], null);
  assert.deepEqual([figures.lostPercent, figures.concealedPercent, figures.jitterMs, figures.rttMs], [10, 90, 4, 20]);
  const later = figuresOf([inbound(second), PAIR], counters).figures;
  assert.deepEqual([later.lostPercent, later.concealedPercent], [10, 10]);
});

test('the server’s reports go before the checks of the connection', () => {
  const remote = { type: 'remote-inbound-rtp', kind: 'audio', roundTripTime: 0.05, fractionLost: 0.25 };
  const { figures } = figuresOf([PAIR, remote], null);
  assert.deepEqual([figures.rttMs, figures.sendLostPercent], [50, 25]);
});

test('what is not measured is not shown as nothing', () => {
  assert.deepEqual(new Set(Object.values(figuresOf([], null).figures)), new Set([null]));
});

function call() {
  const conversation = new Conversation(initialState());
  conversation.inCall = true;
  const where = { response_id: 'r', item_id: 'a', content_index: 0 };
  const item = { id: 'a', type: 'message', role: 'assistant', content: [] };
  const take = (/** @type {any} */ event) => conversation.receive(event, 0);
  take({ type: 'response.created', response: { id: 'r' } });
  take({ type: 'conversation.item.added', item: { ...item, status: 'in_progress' } });
  take({ type: 'response.output_audio_transcript.delta', ...where, delta: 'It is noon.' });
  take({ type: 'output_audio_buffer.started', response_id: 'r' });
  take({ type: 'conversation.item.done', item: { ...item, status: 'completed' } });
  take({ type: 'response.done', response: { id: 'r', status: 'completed' } });
  return { conversation, take, entry: /** @type {any} */ (conversation.find('a')) };
}

test('a call speaks until its playback has stopped', () => {
  const { conversation, take, entry } = call();
  assert.deepEqual([conversation.state.floor, conversation.replying, entry.whole], ['speaking', true, false]);
  assert.deepEqual(take({ type: 'output_audio_buffer.stopped', response_id: 'r' }), [{ kind: 'played' }]);
  assert.equal(entry.whole, true);
});

test('a call that is cut tells how much was heard', () => {
  const { conversation, take, entry } = call();
  take({ type: 'output_audio_buffer.cleared', response_id: 'r' });
  take({ type: 'conversation.item.truncated', item_id: 'a', content_index: 0, audio_end_ms: 340 });
  assert.deepEqual(
    [entry.cut, entry.heardMs, conversation.replying, conversation.state.floor],
    [true, 340, false, 'free'],
  );
});

test('time in which a call sent nothing counts as silence', () => {
  const recording = new Recording();
  recording.heardUser(new Int16Array(480).fill(1));
  recording.skipTo(1_000);
  assert.equal(recording.sentMs, 1_000);
  recording.skipTo(900);
  recording.skipTo(200_000); // longer than what is kept
  assert.equal(recording.sentMs, 200_000);
});
