// @ts-check
/**
 * The API key and what it is used for: it goes to this server's HTTP routes in a header, nowhere else. Sessions are
 * opened with client secrets, which the key buys and which are worth nothing a minute later.
 */

/** A secret only has to live until its session is open. */
const SECRET_SECONDS = 60;

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

export class Access {
  /**
   * @param {URL} base of the server
   * @param {string | null} key
   */
  constructor(base, key) {
    this.base = base;
    this.key = key;
  }

  /**
   * A request to a route of the server, with the key where there is one.
   * @param {string} path
   * @param {{method?: string, body?: string}} [init]
   * @returns {Promise<Response>}
   */
  fetch(path, init = {}) {
    /** @type {Record<string, string>} */
    const headers = this.key === null ? {} : { Authorization: `Bearer ${this.key}` };
    if (init.body !== undefined) headers['Content-Type'] = 'application/json';
    return fetch(new URL(path, this.base), { cache: 'no-store', ...init, headers });
  }

  /**
   * @returns {Promise<string | null>} a new client secret; null: there is no key, as on a server without keys
   * @throws {ConnectionRefused}
   */
  async secret() {
    if (this.key === null) return null;
    const body = JSON.stringify({ expires_after: { anchor: 'created_at', seconds: SECRET_SECONDS } });
    let response;
    try {
      response = await this.fetch('v1/realtime/client_secrets', { method: 'POST', body });
    } catch {
      throw unreachable();
    }
    if (response.status === 401) throw this.wrongKey();
    if (!response.ok) throw await refusalIn(response);
    return (await response.json()).value;
  }

  /** What the person is told when the server wants a key, or another one. */
  wrongKey() {
    const message = this.key === null ? 'This server requires an API key.' : 'The server does not accept this API key.';
    return new ConnectionRefused('invalid_api_key', message);
  }
}

export function unreachable() {
  const message = 'The server does not answer. It may have been stopped, or the network is down.';
  return new ConnectionRefused('unreachable', message);
}

/**
 * @param {Response} response that is no success
 * @returns {Promise<ConnectionRefused>}
 */
export async function refusalIn(response) {
  const body = await response.json().catch(() => null);
  const { code, message } = body?.error ?? {};
  return new ConnectionRefused(code ?? 'closed', message ?? `The server answered ${response.status}.`);
}
