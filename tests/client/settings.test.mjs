// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';
import { fromJsonLines, toJsonLines, toMarkdown } from '../../frontend/src/exports.js';
import { NEW_FUNCTION, NEW_MCP, faultsOf, toDeclarations } from '../../frontend/src/functions.js';
import { FIELDS, fieldOf, fromSession, initialValues, toSession } from '../../frontend/src/settings.js';
import { snippet } from '../../frontend/src/snippets.js';
import { Track } from '../../frontend/src/track.js';
import { Turns } from '../../frontend/src/turns.js';

const SESSION = {
  type: 'realtime',
  instructions: 'Be kind.',
  output_modalities: ['audio'],
  tool_choice: 'auto',
  max_output_tokens: 'inf',
  audio: {
    input: {
      transcription: { model: 'default' },
      noise_reduction: null,
      turn_detection: {
        type: 'server_vad',
        threshold: 0.5,
        prefix_padding_ms: 300,
        silence_duration_ms: 500,
        idle_timeout_ms: null,
        interruption: 'pause',
      },
    },
    output: { voice: 'default', speed: 1 },
  },
};

test('a session is opened with what differs from its defaults, and asks for pauses and transcripts', () => {
  assert.deepEqual(toSession(initialValues()), {
    type: 'realtime',
    audio: { input: { transcription: { model: 'default' }, turn_detection: { interruption: 'pause' } } },
  });
});

test('a change sends its own field only', () => {
  const values = { ...initialValues(), speed: 1.1, silence: 300, noise: 'far_field' };
  assert.deepEqual(toSession(values, ['speed']), { type: 'realtime', audio: { output: { speed: 1.1 } } });
  assert.deepEqual(toSession(values, ['silence', 'noise']).audio.input, {
    turn_detection: { silence_duration_ms: 300 },
    noise_reduction: { type: 'far_field' },
  });
});

test('a turn that is ended by hand has no detection, whatever its other fields were', () => {
  const values = { ...initialValues(), detection: 'none', silence: 300 };
  assert.equal(toSession(values).audio.input.turn_detection, null);
});

test('what the server accepted is what the fields show', () => {
  const session = structuredClone(SESSION);
  session.audio.input.turn_detection.silence_duration_ms = 700;
  session.audio.output.speed = 1.2;
  const values = fromSession(session, initialValues());
  assert.deepEqual([values.silence, values.speed, values.voice], [700, 1.2, '']);
});

test('every field reads back what it wrote', () => {
  const wanted = {
    ...initialValues(),
    voice: 'deep',
    instructions: 'x',
    speed: 1.1,
    maxTokens: 200,
    silence: 300,
    noise: 'near_field',
    language: 'en',
    toolChoice: 'none',
    interruption: 'immediate',
  };
  const written = toSession(wanted);
  const session = structuredClone(SESSION);
  Object.assign(session, {
    instructions: written.instructions,
    tool_choice: written.tool_choice,
    max_output_tokens: written.max_output_tokens,
  });
  Object.assign(session.audio.output, written.audio.output);
  Object.assign(session.audio.input, {
    ...written.audio.input,
    turn_detection: { ...session.audio.input.turn_detection, ...written.audio.input.turn_detection },
  });
  assert.deepEqual(fromSession(session, wanted), wanted);
});

test('an error belongs to the field with the longest path that fits', () => {
  assert.equal(fieldOf('session.audio.input.turn_detection.silence_duration_ms'), 'silence');
  assert.equal(fieldOf('session.audio.input.turn_detection'), 'detection');
  assert.equal(fieldOf('audio.output.voice'), 'voice');
  assert.equal(fieldOf('session.tools.0.name'), null);
  for (const { name, param } of FIELDS) assert.equal(fieldOf(`session.${param}`), name);
});

test('a schema that cannot be is told at its field', () => {
  assert.deepEqual(faultsOf(NEW_FUNCTION), {});
  for (const parameters of [
    '{',
    '[]',
    '{"type":"string"}',
    '{"type":"object","required":["x"]}',
    '{"type":"object","properties":3}',
  ]) {
    assert.ok(faultsOf({ ...NEW_FUNCTION, parameters }).parameters, parameters);
  }
  assert.ok(faultsOf({ ...NEW_FUNCTION, name: 'a b' }).name);
  assert.ok(faultsOf(NEW_MCP).url);
});

test('tools with faults are not offered', () => {
  const tools = toDeclarations([NEW_FUNCTION, NEW_MCP, { ...NEW_MCP, url: 'https://mcp.example.org/mcp' }]);
  assert.deepEqual(
    tools.map(({ type }) => type),
    ['function', 'mcp'],
  );
  assert.equal(tools[1].require_approval, 'always');
});

test('the session as code keeps its values', () => {
  const session = toSession({ ...initialValues(), noise: 'far_field' });
  assert.deepEqual(JSON.parse(snippet(session, 'json', new URL('http://h/'))).session, session);
  assert.match(snippet(session, 'python', new URL('https://h:1/')), /wss:\/\/h:1\/v1/);
  assert.match(snippet({ a: null, b: true }, 'python', new URL('http://h/')), /"a": None,\n {4}"b": True,/);
});

test('a saved session is read back as it was', () => {
  const track = new Track(100);
  track.put('user', 500, 0.5);
  track.mark('decided', 600, 'end of turn', 'u1');
  const turns = new Turns();
  turns.sent('text', 200, 200);
  const rows = [
    {
      number: 1,
      at: 1,
      until: 1,
      direction: /** @type {const} */ ('in'),
      type: 'error',
      count: 1,
      event: { type: 'error' },
    },
  ];
  const saved = fromJsonLines(toJsonLines({ entries: [], turns: turns.list, rows, track }, 0));
  assert.deepEqual([saved.turns, saved.rows, saved.marks], [turns.list, rows, track.marks]);
  const again = new Track(0);
  again.load(saved);
  assert.equal(again.peak('user', 480, 520), track.peak('user', 480, 520));
});

test('another file is refused in words', () => {
  for (const text of ['', '{}', 'hello', '{"format":"x"}']) assert.throws(() => fromJsonLines(text), /not a session/);
});

test('the text strikes what was not heard', () => {
  const entry = /** @type {any} */ ({
    id: 'a',
    kind: 'message',
    role: 'assistant',
    text: 'one two three four',
    cut: true,
    open: false,
    spoken: true,
    whole: true,
    audioMs: 1_000,
    heardMs: 300,
  });
  assert.match(toMarkdown([entry], new Turns()), /\*\*Assistant:\*\* one two ~~three four~~/);
});
