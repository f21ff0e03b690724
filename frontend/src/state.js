// @ts-check
/** The one state of the page, and the word, shape and colour that show it. Pure. */

/** @typedef {'waiting' | 'ready' | 'connecting' | 'queued' | 'open' | 'reconnecting' | 'closed'} Connection */
/** @typedef {'off' | 'starting' | 'on'} MicrophoneState */
/** @typedef {'free' | 'hearing' | 'thinking' | 'speaking'} Floor who has it: nobody, the user, the model in thought, the reply */
/** @typedef {'off' | 'starting' | 'ready' | 'listening' | 'hearing' | 'thinking' | 'speaking' | 'held'} Phase */

/**
 * @typedef {object} State
 * @property {Connection} connection
 * @property {string} detail why the connection is as it is, in words; may be empty
 * @property {MicrophoneState} microphone
 * @property {Floor} floor
 * @property {boolean} held the server has paused the playback while it classifies speech
 * @property {boolean} pushToTalk the microphone is heard only while a key or the button is held
 * @property {boolean} talking the button is held
 */

/** @returns {State} */
export function initialState() {
  return {
    connection: 'waiting',
    detail: '',
    microphone: 'off',
    floor: 'free',
    held: false,
    pushToTalk: false,
    talking: false,
  };
}

/**
 * The state at the microphone. A microphone that is off never shows as listening or hearing.
 * @param {State} state
 * @returns {Phase}
 */
export function phaseOf({ microphone, floor, held, pushToTalk, talking }) {
  if (microphone === 'starting') return 'starting';
  if (held) return 'held';
  if (floor === 'speaking' || floor === 'thinking') return floor;
  if (microphone === 'off') return floor === 'hearing' ? 'thinking' : 'off';
  if (pushToTalk) return talking ? 'hearing' : 'ready';
  return floor === 'hearing' ? 'hearing' : 'listening';
}

/** @type {Record<Phase, string>} */
export const PHASE_WORDS = {
  off: 'Microphone off',
  starting: 'Starting',
  ready: 'Hold to talk',
  listening: 'Listening',
  hearing: 'Hearing you',
  thinking: 'Thinking',
  speaking: 'Speaking',
  held: 'Paused, listening',
};

/** @type {Record<Connection, string>} */
export const CONNECTION_WORDS = {
  waiting: 'Waiting for the server',
  ready: 'Server ready',
  connecting: 'Connecting',
  queued: 'Waiting for a place',
  open: 'Connected',
  reconnecting: 'Reconnecting',
  closed: 'Disconnected',
};

/** @type {Record<import('./client.js').Transport, string>} */
export const TRANSPORT_WORDS = { websocket: 'WebSocket', webrtc: 'WebRTC' };

/** @param {State} state */
export const usable = ({ connection }) => ['ready', 'open', 'closed'].includes(connection);
