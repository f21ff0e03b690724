// `OpenAIRealtimeWS` of the openai package, which takes TLS only.
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { KEY, URL as ADDRESS, WEATHER, drive, heardAudio, seen, speech, until } from './driver.mjs';

let turns = 0;

async function connected(session = {}) {
  const baseURL = ADDRESS.replace(/^wss/, 'https').replace(/\/realtime$/, '');
  const realtime = new OpenAIRealtimeWS({ model: 'gpt-realtime' }, new OpenAI({ apiKey: KEY, baseURL }));
  realtime.on('error', (error) => seen.errors.push(error.message));
  realtime.on('response.created', () => (seen.transcript = ''));
  realtime.on('response.output_audio.delta', (event) => heardAudio(Buffer.from(event.delta, 'base64').length));
  realtime.on('response.output_audio_transcript.delta', (event) => (seen.transcript += event.delta));
  realtime.on('input_audio_buffer.speech_started', () => (seen.interrupted = turns === 0));
  realtime.on('conversation.item.input_audio_transcription.completed', (event) => (seen.heard = event.transcript));
  realtime.on('response.done', (event) => {
    turns += 1;
    for (const item of event.response.output) if (item.type === 'function_call') answer(realtime, item);
  });
  await new Promise((resolve) => realtime.on('session.created', resolve));
  realtime.send({ type: 'session.update', session: { type: 'realtime', instructions: 'Be brief.', ...session } });
  await new Promise((resolve) => realtime.on('session.updated', resolve));
  return realtime;
}

function answer(realtime, item) {
  const output = `21 degrees in ${JSON.parse(item.arguments).city}`;
  seen.calls.push([item.name, output]);
  realtime.send({ type: 'conversation.item.create', item: { type: 'function_call_output', call_id: item.call_id, output } });
  realtime.send({ type: 'response.create' });
}

function write(realtime, text) {
  const content = [{ type: 'input_text', text }];
  realtime.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
  realtime.send({ type: 'response.create' });
}

async function speak(realtime) {
  for await (const frame of speech()) {
    realtime.send({ type: 'input_audio_buffer.append', audio: frame.toString('base64') });
  }
}

await drive({
  async spoken() {
    const realtime = await connected({ audio: { input: { transcription: { model: 'whisper-1' } } } });
    await speak(realtime);
    await until(() => turns === 1 && seen.heard, 'an answer and the transcript of the question');
    realtime.close();
  },
  async barge_in() {
    const realtime = await connected();
    write(realtime, 'tell me a story');
    await until(() => seen.audio_seconds > 1, 'a second of the story');
    await speak(realtime);
    await until(() => seen.interrupted && turns === 2, 'an interruption and an answer');
    realtime.close();
  },
  async tool() {
    const realtime = await connected({ tools: [{ type: 'function', ...WEATHER }] });
    write(realtime, 'What is the weather in Paris?');
    await until(() => seen.transcript.includes('21') && turns === 2, 'the answer after the call');
    realtime.close();
  },
});
