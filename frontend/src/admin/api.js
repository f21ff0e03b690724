// @ts-check
/** The operators' routes of the server, called with the admin key. */

/** @typedef {{id: string, caller: string, transport: string, kind: string, model: string, voice: string, floor: string, busy: boolean, age_s: number, turns: number, replies: number, late_chunks: number, first_audio_p50_ms: number | null, first_audio_ms: number[], pending_inputs: number, outbox_bytes: number, outbox_audio_ms: number, playback_ms: number, input_audio_ms: number, items: number, side_connections: number, errors: number, last_error: string, last_error_s: number | null}} Session */
/** @typedef {(number | null)[]} Series one value a minute, oldest first */
/** @typedef {{first_audio: {bounds_ms: number[], counts: number[], count: number, p50_ms: number | null, p95_ms: number | null}, decoder_rtf: number | null, vocoder_rtf: number | null, series: Record<string, Series>}} Hour */
/**
 * @typedef {object} ServerState what `GET /admin/state` answers
 * @property {number} at
 * @property {{status: string, reason: string, model: string, uptime_s: number}} server
 * @property {{running: number, limit: number | null, list: Session[]}} sessions
 * @property {{waiting: number, limit: number | null, list: {caller: string, seconds: number}[]}} queue
 * @property {Record<string, {state: string, seconds: number, restarts?: number}>} workers
 * @property {{memory_bytes: number, threads: number, open_files: number | null, client_secrets: number, loop_lag_ms: number}} process
 * @property {Record<string, any> & {voices: string[]}} model
 * @property {Hour} hour
 */

const WRONG_KEY_CLOSE = 3000;

/** The server has answered no. `code` is its error code; `unreachable` where it does not answer. */
export class Refused extends Error {
  /**
   * @param {string} code
   * @param {string} message for the person at the page
   */
  constructor(code, message) {
    super(message);
    this.name = 'Refused';
    this.code = code;
  }
}

export class AdminApi {
  /**
   * @param {URL} base of the page
   * @param {() => string | null} key
   */
  constructor(base, key) {
    this.base = base;
    this.key = key;
  }

  /** @returns {Promise<ServerState>} */
  async state() {
    return (await this.fetch('admin/state')).json();
  }

  /** The text of `/metrics`. */
  async metrics() {
    return (await this.fetch('metrics')).text();
  }

  /** @param {string} id of a session, as it is shown */
  async end(id) {
    await this.fetch(`admin/sessions/${encodeURIComponent(id)}/end`, 'POST');
  }

  /**
   * Reads the events of a session until it ends or the returned function is called.
   * @param {string} id
   * @param {(event: any) => void} onEvent
   * @param {(why: string) => void} onEnd called once, not after the returned function
   */
  watch(id, onEvent, onEnd) {
    const url = new URL(`admin/sessions/${encodeURIComponent(id)}/events`, this.base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const key = this.key();
    const socket = new WebSocket(url, key === null ? ['realtime'] : ['realtime', `openai-insecure-api-key.${key}`]);
    let begun = false;
    socket.onmessage = ({ data }) => {
      begun = true;
      onEvent(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => onEnd(whyClosed(code, reason, begun));
    return () => {
      socket.onmessage = socket.onclose = null;
      socket.close(1000);
    };
  }

  /**
   * @param {string} path
   * @param {string} [method]
   * @returns {Promise<Response>}
   */
  async fetch(path, method = 'GET') {
    const key = this.key();
    /** @type {Record<string, string>} */
    const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
    let response;
    try {
      response = await fetch(new URL(path, this.base), { method, headers, cache: 'no-store' });
    } catch {
      throw new Refused('unreachable', 'The server does not answer. It may have been stopped, or the network is down.');
    }
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({ error: {} }));
    throw new Refused(error?.code ?? 'unknown', error?.message ?? `The server answered ${response.status}.`);
  }
}

/**
 * @param {number} code
 * @param {string} reason an error code of the API
 * @param {boolean} begun whether any event came
 */
function whyClosed(code, reason, begun) {
  if (code === WRONG_KEY_CLOSE) return 'The server does not accept this admin key.';
  if (!begun) return 'The session has ended, or its events could not be opened.';
  return `The session has ended${reason ? ` (${reason})` : ''}.`;
}
