// @ts-check
/**
 * The session and its connection, over a WebSocket or WebRTC: waits for a ready server, connects, reconnects after a
 * loss, finds out why a connection was refused. Knows no sound and no page.
 */
import { ConnectionRefused, refusalIn, unreachable } from './access.js';
import { CallLink } from './call-link.js';
import { WireError, decode } from './codec.js';
import { SocketLink } from './socket-link.js';

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/** @typedef {import('./state.js').State} State */
/** @typedef {'websocket' | 'webrtc'} Transport */
/**
 * @typedef {object} Options
 * @property {import('./access.js').Access} access
 * @property {State} state `connection` and `detail` are written here
 * @property {() => Transport} transport of the next connection
 * @property {() => Promise<unknown>} prepare called before each connection is made
 * @property {(stream: MediaStream) => void} onSound the sound of a call
 * @property {() => void} onChange the state has changed
 * @property {(event: WireEvent) => void} onEvent
 * @property {(event: WireEvent) => void} onSent
 * @property {(resumed: boolean) => void} onOpen the session exists; `resumed`: there was one before that was lost
 * @property {(why: string) => void} onLost the session has ended without being asked to
 * @property {(error: ConnectionRefused) => void} onGivenUp it was lost, and connecting again is refused for good
 */

const POLL_MS = 1_000;
/** Waits between attempts to reconnect; the last is repeated. */
const BACKOFF_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];
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
  'ended_by_operator',
]);
/** Error codes after which connecting again cannot help. */
const FINAL = new Set([
  'invalid_api_key',
  'insufficient_quota',
  'origin_not_allowed',
  'webrtc_not_available',
  'ended_by_operator',
]);
/** Close code of a browser's key that is wrong. */
const WRONG_KEY = 3_000;

export class RealtimeClient {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    /** @type {SocketLink | CallLink | null} */
    this.link = null;
    /** @type {Promise<void> | null} */
    this.connecting = null;
    /** The last error event, which says why the server closes. @type {{code?: string, message: string} | null} */
    this.lastError = null;
    /** Ends the attempt that runs. @type {((error: ConnectionRefused) => void) | null} */
    this.giveUp = null;
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
      if (this.wanted) this.become('closed', /** @type {Error} */ (error).message);
      throw error;
    }
  }

  /** One connection. */
  async dial() {
    this.lastError = null;
    await this.options.prepare().catch(() => {}); // what is wrong is said by what follows
    const secret = await this.options.access.secret();
    if (!this.wanted) throw ended();
    /** @type {import('./socket-link.js').Ending | null} */
    const refused = await new Promise((resolve, reject) => {
      const link = this.makeLink(secret, {
        onMessage: (data) => {
          const event = this.receive(data);
          if (event?.type === 'session.queued') this.become('queued', `You are number ${event.position} in the queue.`);
          if (event?.type === 'session.created') resolve(null);
        },
        onClose: (ending) => {
          if (this.link !== link) return;
          if (this.open) this.lost(ending);
          else resolve(ending);
        },
      });
      this.link = link;
      this.giveUp = reject;
      if (link instanceof CallLink)
        link.opened.catch((error) => {
          link.close();
          reject(error);
        });
    });
    if (refused !== null) throw await this.reasonRefused(refused);
    const resumed = this.hadSession;
    this.hadSession = true;
    this.become('open', '');
    this.options.onOpen(resumed);
  }

  /**
   * @param {string | null} secret
   * @param {import('./socket-link.js').LinkListeners} listeners
   */
  makeLink(secret, listeners) {
    const { access, transport, onSound } = this.options;
    if (transport() === 'webrtc') return new CallLink(access.base, secret, { ...listeners, onSound });
    return new SocketLink(access.base, secret, listeners);
  }

  /** The connection, if it is a call. */
  get call() {
    return this.open && this.link instanceof CallLink ? this.link : null;
  }

  /** @param {import('./socket-link.js').Ending} ending */
  lost(ending) {
    const why = this.whyClosed(ending);
    const final = !this.wanted || FINAL.has(this.lastError?.code ?? '') || ending.code === WRONG_KEY;
    this.become(final ? 'closed' : 'reconnecting', why);
    this.options.onLost(why);
    if (final || this.connecting !== null) return;
    this.connecting = this.reconnect().finally(() => (this.connecting = null));
    this.connecting.catch((error) => this.options.onGivenUp(error));
  }

  async reconnect() {
    for (let attempt = 0; this.wanted; attempt += 1) {
      await sleep(BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)]);
      if (!this.wanted) return;
      try {
        await this.dial();
        return;
      } catch (error) {
        if (!this.wanted) return;
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
    this.hangUp();
    this.become('ready', '');
  }

  /** Ends the connection; the next `connect` goes on with the conversation. */
  hangUp() {
    const { link } = this;
    this.link = null;
    link?.close();
    this.giveUp?.(ended());
    if (this.open) this.become('closed', '');
  }

  /**
   * @param {WireEvent} event
   * @returns {boolean} false: dropped, because there is no session or the network does not take more
   */
  send(event) {
    if (!this.open || !this.link?.send(event)) return false;
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

  /**
   * A browser does not tell a page why a handshake was refused; the HTTP routes do.
   * @param {import('./socket-link.js').Ending} ending
   * @returns {Promise<ConnectionRefused>}
   */
  async reasonRefused({ code, reason }) {
    const { lastError } = this;
    const { access } = this.options;
    if (lastError?.code === 'invalid_api_key' || code === WRONG_KEY) return access.wrongKey();
    if (lastError !== null) return new ConnectionRefused(lastError.code ?? 'closed', lastError.message);
    if (reason !== '') return new ConnectionRefused('closed', `There is no connection: ${reason}.`);
    try {
      const models = await access.fetch('v1/models');
      if (models.status === 401) return access.wrongKey();
      if (!models.ok) return await refusalIn(models);
      const ready = await access.fetch('readyz');
      if (!ready.ok)
        return new ConnectionRefused('server_full', `The server has no place now: ${(await ready.json()).reason}.`);
    } catch {
      return unreachable();
    }
    return new ConnectionRefused('closed', `The server closed the connection (${code}) and gave no reason.`);
  }

  /** @returns {Promise<string | null>} null: ready */
  async reasonNotReady() {
    try {
      const response = await this.options.access.fetch('healthz');
      return response.ok ? null : reasonFrom(await response.text()) || `It answered ${response.status}.`;
    } catch {
      return 'It does not answer.';
    }
  }

  /** @param {import('./socket-link.js').Ending} ending */
  whyClosed({ code, reason }) {
    if (this.lastError?.code === 'session_expired') return 'The session has reached its maximum age.';
    if (this.lastError !== null && code !== 1_006) return this.lastError.message;
    return `The connection was lost${reason ? `: ${reason}` : ''}${code ? ` (${code})` : ''}.`;
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

const ended = () => new ConnectionRefused('closed', 'The connection was ended.');

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

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
