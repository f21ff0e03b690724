// @ts-check
/** Small charts: lines over the last hour, and the histogram of the first audio. */
import { html, nothing, svg } from '../../../vendor/lit-html.js';
import { bars, count, factor, lines, milliseconds, place, quantile } from '../numbers.js';

/** @typedef {import('../api.js').Series} Series */

/** Buckets of the server that are one bar. */
const MERGED = 4;
const TICKS_MS = [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/**
 * A line without axes. Its label says what it shows.
 * @param {Series} values
 * @param {string} label
 */
export function sparkline(values, label) {
  const known = values.filter((value) => value !== null);
  const top = Math.max(0, ...known) * 1.1;
  if (known.length === 0) return html`<svg class="spark" role="img" aria-label="${label}: no values"></svg>`;
  return html`<svg class="spark" viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label=${label}>${lines(
    values,
    top,
  ).map(
    (points) => svg`<polyline class="spark-area" points="${areaUnder(points)}" /><polyline points="${points}" />`,
  )}</svg>`;
}

/** @param {string} points */
function areaUnder(points) {
  const each = points.split(' ');
  const edge = (/** @type {string} */ one) => `${one.split(',')[0]},100`;
  return [edge(each[0]), ...each, edge(each[each.length - 1])].join(' ');
}

/**
 * Real-time factors of the last hour, with the line at 1, above which speech is made slower than it is played.
 * @param {Series} decoder
 * @param {Series} vocoder
 */
export function factors(decoder, vocoder) {
  const highest = Math.max(0, ...[...decoder, ...vocoder].map((value) => value ?? 0));
  const top = Math.max(1.2, highest * 1.1);
  const named = /** @type {[string, Series][]} */ ([
    ['decoder', decoder],
    ['vocoder', vocoder],
  ]);
  const label = `Real-time factors over the last hour, at most ${factor(highest)}`;
  return html`<div class="line-chart">
      <span class="limit" style="top:${100 - 100 / top}%"><span>1, as fast as playback</span></span>
      <svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label=${label}>${named.map(([name, values]) =>
        lines(values, top).map((points) => svg`<polyline data-of=${name} points="${points}" />`),
      )}</svg>
    </div>
    <p class="axis"><span>60 min ago</span><span>30 min</span><span>now</span></p>`;
}

/** @param {import('../api.js').Hour['first_audio']} firstAudio */
export function histogram({ bounds_ms, counts, count: all, p50_ms, p95_ms }) {
  const made = bars(bounds_ms, counts, MERGED);
  const most = Math.max(1, ...made.map((bar) => bar.count));
  const marks = /** @type {[string, number | null][]} */ ([
    ['p50', p50_ms],
    ['p95', p95_ms],
  ]);
  const label = `Time to the first audio of ${count(all)} replies: half within ${quantile(p50_ms, bounds_ms)}, 95 % within ${quantile(p95_ms, bounds_ms)}`;
  return html`<div class="histogram" role="img" aria-label=${label}>
      ${made.map((bar) => html`<i style="--height:${(100 * bar.count) / most}%" title="${range(bar)}: ${count(bar.count)}"></i>`)}
      ${marks.map(([name, value]) => (value === null ? nothing : html`<b data-mark=${name} style="left:${place(made, value)}%"></b>`))}
    </div>
    <p class="ticks" aria-hidden="true">${TICKS_MS.map((tick) => html`<span style="left:${place(made, tick)}%">${tick < 1_000 ? `${tick} ms` : `${tick / 1_000} s`}</span>`)}</p>`;
}

/** @param {{from: number, to: number}} bar */
const range = ({ from, to }) =>
  Number.isFinite(to) ? `${milliseconds(from)} to ${milliseconds(to)}` : `over ${milliseconds(from)}`;
