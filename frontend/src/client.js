// @ts-check
/**
 * The socket and its session: waits for a ready server, connects, reconnects after a loss, finds out why a connection
 * was refused. Knows no sound and no page.
 */
import { WireError, decode, encode } from './codec.js';

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/** @typedef {import('./state.js').State} State */
/**
 * @typedef {object} Options
 * @property {URL} base where the page came from
 * @property {State} state `connection` and `detail` are written here
 * @property {() => string | null} key the API key, if there is one
 * @property {() => void} onChange the state has changed
 * @property {(event: WireEvent) => void} onEvent
 * @property {(event: WireEvent) => void} onSent
 * @property {(resumed: boolean) => void} onOpen the session exists; `resumed`: there was one before that was lost
 * @property {(why: string) => void} onLost the session has ended without being asked to
 */

const POLL_MS = 1_000;
const NORMAL_CLOSURE = 1_000;
/** Waits between attempts to reconnect; the last is repeated. */
const BACKOFF_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];
/** A socket with more than this waiting is not given more sound: the network does not take it. */
const MAX_BUFFERED_BYTES = 1_000_000;
/** Error codes that end a session; other errors do not say why a socket closes. */
const ENDING = new Set([
  'invalid_api_key',
  'server_full',
  'session_expired',
  'slow_reader',
  'insufficient_quota',
  'server_draining',
  'internal_error',
  'session_ended',
]);
/** Error codes after which connecting again cannot help. */
const FINAL = new Set(['invalid_api_key', 'insufficient_quota', 'origin_not_allowed']);

/** Why there is no session: `code` is the API's error code, or `unreachable` or `closed`. */
export class ConnectionRefused extends Error {
  /**
   * @param {string} code
   * @param {string} message for the person at the page
   */
  constructor(code, message) {
    super(message);
    this.name = 'ConnectionRefused';
    this.code = code;
  }
}

export class RealtimeClient {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {Promise<void> | null} */
    this.connecting = null;
    /** The last error event, which says why the server closes. @type {{code?: string, message: string} | null} */
    this.lastError = null;
    this.hadSession = false;
    this.wanted = false;
  }

  get open() {
    return this.options.state.connection === 'open';
  }

  /** Asks the server until it can answer; shows why it cannot yet. */
  async waitUntilReady() {
    for (;;) {
      const reason = await this.reasonNotReady();
      if (reason === null) break;
      this.become('waiting', reason);
      await sleep(POLL_MS);
    }
    if (this.options.state.connection === 'waiting') this.become('ready', '');
  }

  /**
   * Resolves when the session exists. Calls while it is being made share one attempt.
   * @returns {Promise<void>}
   */
  connect() {
    if (this.open) return Promise.resolve();
    this.wanted = true;
    this.connecting ??= this.attempt().finally(() => (this.connecting = null));
    return this.connecting;
  }

  async attempt() {
    this.become(this.hadSession ? 'reconnecting' : 'connecting', '');
    try {
      await this.dial();
    } catch (error) {
      this.become('closed', /** @type {Error} */ (error).message);
      throw error;
    }
  }

  /** One connection. */
  async dial() {
    this.lastError = null;
    const url = new URL('v1/realtime?wait=events', this.options.base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url, this.subprotocols());
    this.socket = socket;
    /** @type {{code: number} | null} */
    const refused = await new Promise((resolve) => {
      socket.onclose = ({ code }) => resolve({ code });
      socket.onmessage = ({ data }) => {
        const event = this.receive(data);
        if (event?.type === 'session.queued') this.become('queued', `You are number ${event.position} in the queue.`);
        if (event?.type === 'session.created') resolve(null);
      };
    });
    if (refused !== null) throw await this.reasonRefused(refused.code);
    this.live(socket);
  }

  /** @param {WebSocket} socket its session exists */
  live(socket) {
    const resumed = this.hadSession;
    this.hadSession = true;
    socket.onmessage = ({ data }) => void this.receive(data);
    socket.onclose = ({ code, reason }) => {
      if (this.socket === socket) this.lost(code, reason);
    };
    this.become('open', '');
    this.options.onOpen(resumed);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  lost(code, reason) {
    const why = this.whyClosed(code, reason);
    const final = !this.wanted || FINAL.has(this.lastError?.code ?? '') || code === 3_000;
    this.become(final ? 'closed' : 'reconnecting', why);
    this.options.onLost(why);
    if (!final) this.connecting ??= this.reconnect().finally(() => (this.connecting = null));
  }

  async reconnect() {
    for (let attempt = 0; this.wanted; attempt += 1) {
      await sleep(BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)]);
      if (!this.wanted) return;
      try {
        await this.dial();
        return;
      } catch (error) {
        const { code, message } = /** @type {ConnectionRefused} */ (error);
        this.become(FINAL.has(code) ? 'closed' : 'reconnecting', message);
        if (FINAL.has(code)) throw error;
      }
    }
  }

  /** Ends the session; the next `connect` begins a new one that has no past. */
  close() {
    this.wanted = false;
    this.hadSession = false;
    const socket = this.socket;
    this.socket = null;
    socket?.close(NORMAL_CLOSURE);
    this.become('ready', '');
  }

  /**
   * @param {WireEvent} event
   * @returns {boolean} false: dropped, because there is no session or the network does not take more
   */
  send(event) {
    const socket = this.socket;
    if (!this.open || socket?.readyState !== WebSocket.OPEN) return false;
    if (event.type === 'input_audio_buffer.append' && socket.bufferedAmount > MAX_BUFFERED_BYTES) return false;
    socket.send(encode(event));
    this.options.onSent(event);
    return true;
  }

  /** @param {unknown} data */
  receive(data) {
    try {
      const event = decode(data);
      if (event.type === 'error' && ENDING.has(event.error.code)) this.lastError = event.error;
      this.options.onEvent(event);
      return event;
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.options.onEvent({
        type: 'error',
        error: { type: 'client_error', message: `From the server: ${error.message}` },
      });
      return null;
    }
  }

  subprotocols() {
    // A browser cannot set headers on a WebSocket: the key travels as an offered subprotocol.
    const key = this.options.key();
    return key === null ? [] : ['realtime', `openai-insecure-api-key.${key}`];
  }

  /**
   * A browser does not tell a page why a handshake was refused; the HTTP routes do.
   * @param {number} code of the close
   * @returns {Promise<ConnectionRefused>}
   */
  async reasonRefused(code) {
    const { lastError } = this;
    if (lastError?.code === 'invalid_api_key' || code === 3_000)
      return new ConnectionRefused('invalid_api_key', this.wrongKey());
    if (lastError !== null) return new ConnectionRefused(lastError.code ?? 'closed', lastError.message);
    try {
      const models = await this.fetch('v1/models');
      if (models.status === 401) return new ConnectionRefused('invalid_api_key', this.wrongKey());
      if (!models.ok) return refusalIn(await models.json(), models.status);
      const ready = await this.fetch('readyz');
      if (!ready.ok)
        return new ConnectionRefused('server_full', `The server has no place now: ${(await ready.json()).reason}.`);
    } catch {
      return new ConnectionRefused(
        'unreachable',
        'The server does not answer. It may have been stopped, or the network is down.',
      );
    }
    return new ConnectionRefused('closed', `The server closed the connection (${code}) and gave no reason.`);
  }

  wrongKey() {
    return this.options.key() === null
      ? 'This server requires an API key.'
      : 'The server does not accept this API key.';
  }

  /** @returns {Promise<string | null>} null: ready */
  async reasonNotReady() {
    try {
      const response = await this.fetch('healthz');
      return response.ok ? null : reasonFrom(await response.text()) || `It answered ${response.status}.`;
    } catch {
      return 'It does not answer.';
    }
  }

  /**
   * @param {string} path
   * @returns {Promise<Response>}
   */
  fetch(path) {
    const key = this.options.key();
    /** @type {Record<string, string>} */
    const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
    return fetch(new URL(path, this.options.base), { cache: 'no-store', headers });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  whyClosed(code, reason) {
    if (this.lastError?.code === 'session_expired') return 'The session has reached its maximum age.';
    if (this.lastError !== null && code !== 1_006) return this.lastError.message;
    return `The connection was lost${reason ? `: ${reason}` : ''} (${code}).`;
  }

  /**
   * @param {import('./state.js').Connection} connection
   * @param {string} detail
   */
  become(connection, detail) {
    this.options.state.connection = connection;
    this.options.state.detail = detail;
    this.options.onChange();
  }
}

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * @param {any} body
 * @param {number} status
 */
function refusalIn(body, status) {
  const { code, message } = body?.error ?? {};
  return new ConnectionRefused(code ?? 'closed', message ?? `The server answered ${status}.`);
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
