// @ts-check
/** Which sessions are listed, and in which order. Pure. */

/** @typedef {import('./api.js').Session} Session */
/** @typedef {'age' | 'latency' | 'waiting' | 'errors'} Order greatest first */

/** @type {Record<Order, (session: Session) => number>} */
const RANKS = {
  age: ({ age_s }) => age_s,
  latency: ({ first_audio_p50_ms }) => first_audio_p50_ms ?? -1,
  waiting: ({ pending_inputs, outbox_bytes }) => pending_inputs * 1e9 + outbox_bytes,
  errors: ({ errors }) => errors,
};

/**
 * @param {Session[]} sessions
 * @param {Order} order
 * @param {string} search part of an id or a caller, in any case
 * @returns {Session[]}
 */
export function listed(sessions, order, search) {
  const wanted = search.trim().toLowerCase();
  const rank = RANKS[order];
  return sessions
    .filter(({ id, caller }) => `${id}\n${caller}`.toLowerCase().includes(wanted))
    .sort((one, other) => rank(other) - rank(one));
}
