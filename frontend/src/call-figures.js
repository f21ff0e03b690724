// @ts-check
/** What a call's network does, from the browser's statistics. Pure. */

/**
 * @typedef {object} Figures null: not known (yet)
 * @property {number | null} rttMs there and back
 * @property {number | null} jitterMs of the packets that arrive
 * @property {number | null} lostPercent of the packets that should have arrived since the last look
 * @property {number | null} concealedPercent of the sound that was played since then, made up for what did not arrive
 * @property {number | null} sendLostPercent of the packets that were sent, as the server reports
 * @property {number | null} bufferMs how long sound waits here before it is played, since then
 */
/** @typedef {{received: number, lost: number, concealed: number, samples: number, bufferS: number, emitted: number}} Counters */

/** @type {Counters} */
const NONE = { received: 0, lost: 0, concealed: 0, samples: 0, bufferS: 0, emitted: 0 };

/**
 * @param {{forEach: (visit: (report: any) => void) => void}} stats an `RTCStatsReport`
 * @param {Counters | null} before the counters of the last look
 * @returns {{figures: Figures, counters: Counters}}
 */
export function figuresOf(stats, before) {
  const last = before ?? NONE;
  /** @type {any} */
  let inbound = {};
  /** @type {any} */
  let remote = {};
  /** @type {any} */
  let pair = {};
  stats.forEach((report) => {
    if (report.type === 'inbound-rtp' && report.kind === 'audio') inbound = report;
    if (report.type === 'remote-inbound-rtp' && report.kind === 'audio') remote = report;
    if (report.type === 'candidate-pair' && report.nominated && report.state === 'succeeded') pair = report;
  });
  const counters = {
    received: inbound.packetsReceived ?? 0,
    lost: inbound.packetsLost ?? 0,
    // Silence that was made up while nothing was sent is no loss.
    concealed: (inbound.concealedSamples ?? 0) - (inbound.silentConcealedSamples ?? 0),
    samples: inbound.totalSamplesReceived ?? 0,
    bufferS: inbound.jitterBufferDelay ?? 0,
    emitted: inbound.jitterBufferEmittedCount ?? 0,
  };
  const of = (/** @type {keyof Counters} */ name) => counters[name] - last[name];
  const percent = (/** @type {number} */ part, /** @type {number} */ whole) =>
    whole > 0 ? (100 * Math.max(0, part)) / whole : null;
  const seconds = remote.roundTripTime ?? pair.currentRoundTripTime;
  return {
    counters,
    figures: {
      rttMs: seconds === undefined ? null : 1_000 * seconds,
      jitterMs: inbound.jitter === undefined ? null : 1_000 * inbound.jitter,
      lostPercent: percent(of('lost'), of('lost') + of('received')),
      concealedPercent: percent(of('concealed'), of('samples')),
      sendLostPercent: remote.fractionLost === undefined ? null : 100 * remote.fractionLost,
      bufferMs: of('emitted') > 0 ? (1_000 * of('bufferS')) / of('emitted') : null,
    },
  };
}
