// @ts-check
/** A session's connection over a WebSocket: events and sound are messages. */
import { encode } from './codec.js';

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/**
 * How a connection ends. `code`: of the WebSocket, 0 without one. `reason`: in the peer's words, may be empty.
 * @typedef {{code: number, reason: string}} Ending
 */
/**
 * @typedef {object} LinkListeners
 * @property {(data: unknown) => void} onMessage what the server sends, as it comes
 * @property {(ending: Ending) => void} onClose once, also when the connection never opened
 */
/**
 * What `RealtimeClient` needs of a connection. Whatever happens after `close` is told to nobody.
 * @typedef {object} Link
 * @property {boolean} call the sound does not travel as events
 * @property {(event: WireEvent) => boolean} send false: dropped
 * @property {() => void} close
 */

const NORMAL_CLOSURE = 1_000;
/** A socket with more than this waiting is not given more sound: the network does not take it. */
const MAX_BUFFERED_BYTES = 1_000_000;

/** @implements {Link} */
export class SocketLink {
  /**
   * @param {URL} base of the server
   * @param {string | null} secret
   * @param {LinkListeners} listeners
   */
  constructor(base, secret, { onMessage, onClose }) {
    this.call = false;
    const url = new URL('v1/realtime?wait=events', base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    // A browser cannot set headers on a WebSocket: the secret travels as an offered subprotocol.
    const offered = secret === null ? [] : ['realtime', `openai-insecure-api-key.${secret}`];
    this.socket = new WebSocket(url, offered);
    this.socket.onmessage = ({ data }) => onMessage(data);
    this.socket.onclose = ({ code, reason }) => onClose({ code, reason });
  }

  /** @param {WireEvent} event */
  send(event) {
    const { socket } = this;
    if (socket.readyState !== WebSocket.OPEN) return false;
    if (event.type === 'input_audio_buffer.append' && socket.bufferedAmount > MAX_BUFFERED_BYTES) return false;
    socket.send(encode(event));
    return true;
  }

  close() {
    this.socket.onmessage = null;
    this.socket.onclose = null;
    this.socket.close(NORMAL_CLOSURE);
  }
}
