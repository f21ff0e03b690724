// `RealtimeSession` of @openai/agents-realtime over its WebSocket transport, with its own defaults.
import { RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { KEY, URL, WEATHER, arrayBuffer, drive, heardAudio, seen, speech, until } from './driver.mjs';

let turns = 0;

async function connected(tools = []) {
  const agent = new RealtimeAgent({ name: 'assistant', instructions: 'Be brief.', tools });
  const session = new RealtimeSession(agent, { transport: 'websocket', model: 'gpt-realtime' });
  session.on('error', (error) => seen.errors.push(JSON.stringify(error, Object.getOwnPropertyNames(error.error ?? error))));
  session.on('audio', (event) => heardAudio(event.data.byteLength));
  session.on('audio_interrupted', () => (seen.interrupted = true));
  session.on('agent_end', (_context, _agent, output) => {
    turns += 1;
    seen.transcript = output;
  });
  session.on('agent_tool_end', (_context, _agent, called, result) => seen.calls.push([called.name, result]));
  session.on('history_updated', (history) => {
    const spoken = history.find((item) => item.role === 'user' && item.content[0]?.type === 'input_audio');
    seen.heard = spoken?.content[0].transcript ?? seen.heard;
    seen.history = history.map((item) => [item.type, item.role ?? null, item.status]);
  });
  await session.connect({ apiKey: KEY, url: URL });
  return session;
}

async function speak(session) {
  for await (const frame of speech()) session.sendAudio(arrayBuffer(frame));
}

await drive({
  async spoken() {
    const session = await connected();
    await speak(session);
    await until(() => turns === 1 && seen.heard, 'an answer and the transcript of the question');
    session.close();
  },
  async barge_in() {
    const session = await connected();
    session.sendMessage('tell me a story');
    await until(() => seen.audio_seconds > 1, 'a second of the story');
    await speak(session);
    await until(() => seen.interrupted && turns === 2, 'an interruption and an answer');
    session.close();
  },
  async tool() {
    const weather = tool({ ...WEATHER, strict: true, execute: async ({ city }) => `21 degrees in ${city}` });
    const session = await connected([weather]);
    session.sendMessage('What is the weather in Paris?');
    await until(() => seen.transcript.includes('21'), 'the answer after the call');
    session.close();
  },
});
