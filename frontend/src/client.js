// @ts-check
/** The socket and its session: waits for a ready server, connects, sends and receives events. Knows no sound and no page. */
import { WireError, decode, encode, sessionUpdate } from './codec.js';

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/** @typedef {'waiting' | 'ready' | 'connecting' | 'open' | 'closed'} ConnectionState */
/**
 * @typedef {object} Options
 * @property {URL} base where the page came from
 * @property {string | null} apiKey
 * @property {(state: ConnectionState, detail: string) => void} onState
 * @property {(event: WireEvent) => void} onEvent
 * @property {(event: WireEvent) => void} onSent
 */

const RETRY_MS = 1_000;
/** A close with this code is an orderly end. */
const NORMAL_CLOSURE = 1_000;
/** A browser is not told why a handshake was refused. */
const NOT_TAKEN = 'The server did not take the call. It may be full: try again in a moment.';

export class RealtimeClient {
  /** @param {Options} options */
  constructor({ base, apiKey, onState, onEvent, onSent }) {
    this.base = base;
    this.apiKey = apiKey;
    this.onState = onState;
    this.onEvent = onEvent;
    this.onSent = onSent;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {ConnectionState} */
    this.state = 'waiting';
  }

  get open() {
    return this.state === 'open';
  }

  /** Asks the server until it can answer; shows why it cannot yet. */
  async waitUntilReady() {
    for (;;) {
      const reason = await this.reasonNotReady();
      if (reason === null) break;
      this.become('waiting', reason);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    this.become('ready', '');
  }

  /**
   * One connection; resolves when the session exists.
   * @returns {Promise<void>}
   */
  connect() {
    this.become('connecting', '');
    const url = new URL('v1/realtime', this.base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url, this.subprotocols());
    this.socket = socket;
    return new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => {
        const event = this.receive(data);
        if (event?.type !== 'session.created') return;
        this.become('open', '');
        this.send(sessionUpdate());
        resolve();
      };
      socket.onclose = ({ code, reason }) => {
        const why = this.state === 'connecting' ? NOT_TAKEN : whyClosed(code, reason);
        if (this.socket === socket) this.become('closed', why);
        reject(new Error(why));
      };
    });
  }

  close() {
    this.socket?.close(NORMAL_CLOSURE);
  }

  /** @param {WireEvent} event dropped when there is no session */
  send(event) {
    if (!this.open || this.socket?.readyState !== WebSocket.OPEN) return;
    this.socket.send(encode(event));
    this.onSent(event);
  }

  /** @param {unknown} data */
  receive(data) {
    try {
      const event = decode(data);
      this.onEvent(event);
      return event;
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.onEvent({ type: 'error', error: { type: 'client_error', message: `From the server: ${error.message}` } });
      return null;
    }
  }

  subprotocols() {
    // A browser cannot set headers on a WebSocket: the key travels as an offered subprotocol.
    return this.apiKey === null ? [] : ['realtime', `openai-insecure-api-key.${this.apiKey}`];
  }

  /** @returns {Promise<string | null>} null: ready */
  async reasonNotReady() {
    try {
      const response = await fetch(new URL('healthz', this.base), { cache: 'no-store' });
      return response.ok ? null : reasonFrom(await response.text()) || `It answered ${response.status}.`;
    } catch {
      return 'It does not answer.';
    }
  }

  /**
   * @param {ConnectionState} state
   * @param {string} detail
   */
  become(state, detail) {
    this.state = state;
    this.onState(state, detail);
  }
}

/**
 * @param {string} body of /healthz: JSON with a reason, or plain text
 * @returns {string}
 */
function reasonFrom(body) {
  try {
    const { reason, detail, status } = JSON.parse(body);
    return reason ?? detail ?? status ?? '';
  } catch {
    return body.trim();
  }
}

/**
 * @param {number} code
 * @param {string} reason
 */
function whyClosed(code, reason) {
  if (code === NORMAL_CLOSURE) return 'The conversation has ended.';
  return `The connection was lost${reason ? `: ${reason}` : ''} (${code}).`;
}
