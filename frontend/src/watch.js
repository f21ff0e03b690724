// @ts-check
/** What is wrong and tells nobody. */
import { NOTHING_ARRIVES } from './parts.js';

/** A pushed-to-talk microphone is switched off after so long without use. */
const IDLE_MICROPHONE_MS = 20_000;
/** Without frames for so long the microphone is said to deliver nothing. */
const NO_FRAMES_MS = 2_000;
/** An answer that has not begun for so long is told. */
const SLOW_MS = 15_000;

/**
 * Called every second.
 * @param {import('./console.js').Console} app
 */
export function watch(app) {
  const now = performance.now();
  if (app.state.microphone !== 'on') app.lastFrameAt = now;
  else if (now - app.lastFrameAt > NO_FRAMES_MS) app.show(NOTHING_ARRIVES);
  if (app.state.floor !== 'thinking') app.waitingFrom = now;
  else if (now - app.waitingFrom > SLOW_MS)
    app.show('The answer takes long. The server may be busy; Stop ends it.', 'info');
  const closed = app.client.call === null ? app.player.suspended : app.callSound.suspended;
  if (app.conversation.soundQueued && closed)
    app.show('The browser keeps the loudspeaker closed. Click anywhere to hear the reply.', 'info');
  const idle = app.state.pushToTalk && !app.state.talking && app.state.microphone === 'on';
  if (!idle) app.idleFrom = now;
  else if (now - app.idleFrom > IDLE_MICROPHONE_MS) void app.setMicrophone(false);
}
