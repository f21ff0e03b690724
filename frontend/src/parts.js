// @ts-check
/** The console's parts that live as long as the page, connected to it. */
import { callFrame } from './call.js';
import { CallSound } from './call-sound.js';
import { RealtimeClient } from './client.js';
import { Microphone } from './microphone.js';
import { Player } from './player.js';
import { fetchNames } from './server.js';
import { Toolbox } from './toolbox.js';

/** @typedef {import('./console.js').Console} Console */

export const NOTHING_ARRIVES =
  'Nothing arrives from the microphone. Is it muted by its own switch, or used by another program?';

/** @param {Console} app */
export function clientOf(app) {
  return new RealtimeClient({
    access: app.access,
    state: app.state,
    transport: () => app.transport,
    prepare: () => fetchNames(app),
    onSound: (stream) => void app.callSound.play(stream),
    onChange: () => app.onChange(),
    onEvent: (event) => app.receive(event),
    onSent: (event) => app.log.add('out', event, performance.now()),
    onOpen: () => app.opened(),
    onLost: (why) => void app.lost(why),
    onGivenUp: (error) => void app.refused(error, () => app.join()),
  });
}

/** @param {Console} app */
export function callSoundOf(app) {
  const sound = new CallSound((frame) => callFrame(app, frame));
  sound.setVolume(app.audio.volume);
  sound.sinkId = app.audio.sinkId;
  return sound;
}

/** @param {Console} app */
export function playerOf(app) {
  const player = new Player({
    onPosition: (heard, report) => app.played(heard, report),
    onDrained: () => app.drained(),
  });
  player.setVolume(app.audio.volume);
  player.sinkId = app.audio.sinkId;
  return player;
}

/** @param {Console} app */
export function microphoneOf(app) {
  return new Microphone({
    state: app.state,
    options() {
      const { deviceId, echoCancellation, noiseSuppression, autoGainControl } = app.audio;
      return { deviceId, echoCancellation, noiseSuppression, autoGainControl };
    },
    onFrame: (frame) => app.frame(frame),
    onChange: () => app.onChange(),
    onMuted: () => app.show(NOTHING_ARRIVES),
    onEnded: () =>
      void app.act(async () => {
        await app.setMicrophone(false);
        throw new Error('The microphone went away. It was unplugged, or its permission was withdrawn.');
      }),
  });
}

/** @param {Console} app */
export function toolboxOf(app) {
  return new Toolbox({
    send: (event) => app.client.send(event),
    onChange: () => app.onChange(),
    busy: () =>
      app.conversation.responseActive ||
      app.conversation.entries.some(({ kind, open, by }) => kind === 'tool' && by === 'client' && open),
  });
}
