// @ts-check
/** What is different when a session is a call over WebRTC: tracks carry the sound, and the server plays the reply. */
import { peakOf } from './audio.js';
import { FRAME_MS } from './capture.js';
import { timeOfDay } from './kept.js';
import { TRANSPORT_WORDS } from './state.js';
import { always } from './storage.js';

/** @typedef {import('./console.js').Console} Console */

/** A sample of a call above this is the reply, not the codec's noise. */
const AUDIBLE = 0.003;

/**
 * A call takes the microphone's track itself.
 * @param {Console} app
 */
export function routeMicrophone(app) {
  app.client.call?.setTrack(app.sending ? app.microphone.track : null);
}

/**
 * @param {Console} app
 * @param {Int16Array} frame of the call's sound, 20 ms
 */
export function callFrame(app, frame) {
  const now = performance.now();
  const { conversation } = app;
  const peak = peakOf(frame);
  app.track.put('assistant', now, peak);
  app.levels.out = Math.max(peak, app.levels.out * 0.8);
  const entry = conversation.soundQueued && !app.state.held ? conversation.find(conversation.speakingItemId) : null;
  if (!entry) return;
  const turn = app.turns.of(entry.id);
  if (peak > AUDIBLE && turn && turn.at.heard === undefined) {
    app.turns.heard(entry.id, now);
    app.track.mark('sound', now, 'first sound', entry.id);
  }
  entry.audioMs += FRAME_MS;
  app.recording.reply(entry.id, frame);
  app.recording.replyHeard(entry.id, now - FRAME_MS);
  conversation.heard(entry.id, entry.audioMs);
  app.onChange();
}

/** @param {Console} app */
export async function measureNetwork(app) {
  const network = (await app.client.call?.figures().catch(() => null)) ?? null;
  if (network === null && app.network === null) return;
  app.network = network;
  app.onChange();
}

/**
 * A session goes over the other transport: a new one begins, which is given the conversation.
 * @param {Console} app
 * @param {import('./client.js').Transport} transport
 */
export function setTransport(app, transport) {
  app.transport = transport;
  always.write('transport', transport);
  return app.act(async () => {
    if (!app.client.open) return;
    await app.stopReply();
    app.conversation.end();
    app.conversation.divide(`Changed to ${TRANSPORT_WORDS[transport]} at ${timeOfDay()}`);
    app.client.hangUp();
    await app.silencePlayers();
    await app.join();
  });
}
