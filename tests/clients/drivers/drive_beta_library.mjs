// `RealtimeClient` of openai-realtime-api: the beta's JavaScript library, published as a package.
import { RealtimeClient } from 'openai-realtime-api';
import { KEY, URL, WEATHER, arrayBuffer, drive, heardAudio, seen, speech, until } from './driver.mjs';

let turns = 0;

async function connected(sessionConfig) {
  const client = new RealtimeClient({ url: URL, apiKey: KEY, sessionConfig, debug: false });
  client.realtime.on('server.error', (event) => seen.errors.push(event.error.message));
  client.realtime.on('server.response.done', () => (turns += 1));
  client.on('conversation.interrupted', () => (seen.interrupted = true));
  client.on('conversation.updated', ({ item, delta }) => {
    if (delta?.audio) heardAudio(delta.audio.byteLength);
    if (delta?.transcript && item.role === 'assistant') seen.transcript = item.formatted.transcript;
    if (item.role === 'user' && item.formatted.transcript) seen.heard = item.formatted.transcript;
  });
  await client.connect();
  await client.waitForSessionCreated();
  return client;
}

async function speak(client, silenceSeconds) {
  for await (const frame of speech(silenceSeconds)) client.appendInputAudio(arrayBuffer(frame));
}

await drive({
  async spoken() {
    const client = await connected({ turn_detection: { type: 'server_vad' } });
    await speak(client);
    await until(() => turns === 1 && seen.heard, 'an answer and the transcript of the question');
    client.disconnect();
  },
  async by_hand() {
    const client = await connected({});
    await speak(client, 0);
    client.createResponse();
    await until(() => turns === 1 && seen.heard, 'an answer and the transcript of the question');
    seen.items = client.conversation.getItems().map((item) => [item.type, item.role, item.status]);
    client.disconnect();
  },
  async barge_in() {
    const client = await connected({ turn_detection: { type: 'server_vad' } });
    client.sendUserMessageContent([{ type: 'input_text', text: 'tell me a story' }]);
    await until(() => seen.audio_seconds > 1, 'a second of the story');
    const story = client.conversation.getItems().find((item) => item.role === 'assistant');
    await speak(client);
    await until(() => seen.interrupted && turns === 2, 'an interruption and an answer');
    client.realtime.send('conversation.item.truncate', { item_id: story.id, content_index: 0, audio_end_ms: 1000 });
    await until(() => story.formatted.transcript === '', 'the truncated item');
    client.disconnect();
  },
  async tool() {
    const client = await connected({});
    client.addTool(WEATHER, async ({ city }) => {
      seen.calls.push(['get_weather', `21 degrees in ${city}`]);
      return `21 degrees in ${city}`;
    });
    client.sendUserMessageContent([{ type: 'input_text', text: 'What is the weather in Paris?' }]);
    await until(() => seen.transcript.includes('21') && turns === 2, 'the answer after the call');
    client.disconnect();
  },
});
