// @ts-check
/** Wires the parts: microphone -> socket -> conversation -> loudspeaker and page. */
import { loudness } from './audio.js';
import { RealtimeClient } from './client.js';
import { appendAudio, cancelResponse, commitAudio, createResponse, truncateItem, userText } from './codec.js';
import { Conversation } from './conversation.js';
import { Microphone } from './mic.js';
import { Player } from './player.js';
import { View } from './view.js';

// A server with keys: open /#key=KEY. A fragment never leaves the browser by itself.
const apiKey = new URLSearchParams(location.hash.slice(1)).get('key');

const view = new View();
const conversation = new Conversation();
const player = new Player(() => {
  conversation.drained();
  draw();
});
const client = new RealtimeClient({
  base: new URL('.', location.href),
  apiKey,
  onState(state, why) {
    detail = why;
    if (state === 'open') conversation.begin();
    if (state === 'closed') void hangUp(why);
    draw();
  },
  onSent: (event) => view.logEvent('out', event),
  onEvent(event) {
    view.logEvent('in', event);
    for (const effect of conversation.receive(event, performance.now())) void carryOut(effect);
    draw();
  },
});
const microphone = new Microphone({
  onFrame(frame) {
    view.showLevel(loudness(frame));
    client.send(appendAudio(frame));
  },
  onEnded: () => act(() => microphone.stop()),
});
let detail = '';

function draw() {
  view.showState(client.state, detail, conversation.phase);
  view.showReplying(conversation.replying);
  view.showMicrophone(microphone.active);
  view.showEntries(conversation.entries);
}

/** @param {import('./conversation.js').Effect} effect */
async function carryOut(effect) {
  if (effect.kind === 'play') player.push(effect.itemId, effect.contentIndex, effect.samples);
  if (effect.kind === 'hold') player.hold();
  if (effect.kind === 'release') player.release();
  if (effect.kind === 'error') view.showError(effect.message);
  if (effect.kind === 'interrupt') {
    const heard = await player.stop();
    if (heard?.itemId === effect.itemId) client.send(truncateItem(heard.itemId, heard.contentIndex, heard.playedMs));
  }
}

/**
 * Runs a user's action: what fails is shown, and the page is drawn anew.
 * @param {() => Promise<void>} action
 */
async function act(action) {
  view.showError(null);
  try {
    await action();
  } catch (error) {
    view.showError(error instanceof Error ? error.message : String(error));
  }
  draw();
}

async function join() {
  await player.start();
  if (!client.open) await client.connect();
}

async function toggleMicrophone() {
  if (microphone.active) return muteMicrophone();
  await microphone.start();
  await join();
}

async function muteMicrophone() {
  await microphone.stop();
  if (conversation.phase !== 'hearing') return;
  // Switched off in mid-sentence: no silence will follow that could end the turn.
  conversation.userDone(performance.now());
  client.send(commitAudio());
  client.send(createResponse());
}

/** @param {string} text */
async function sendText(text) {
  await join();
  const cut = conversation.interrupt();
  if (cut.length > 0) client.send(cancelResponse());
  await Promise.all(cut.map(carryOut));
  conversation.userDone(performance.now());
  client.send(userText(text));
  client.send(createResponse());
}

async function stopAnswer() {
  if (conversation.responseActive) client.send(cancelResponse());
  await Promise.all(conversation.interrupt().map(carryOut));
}

/** @param {string} why */
async function hangUp(why) {
  view.showError(why);
  conversation.end();
  await Promise.all([player.stop(), microphone.stop()]);
  player.release();
  draw();
}

async function reconnect() {
  await client.waitUntilReady();
  await join();
}

view.bind({
  microphone: () => act(toggleMicrophone),
  text: (text) => act(() => sendText(text)),
  stop: () => act(stopAnswer),
  reconnect: () => act(reconnect),
});
void client.waitUntilReady();
