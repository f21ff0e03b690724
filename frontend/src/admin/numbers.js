// @ts-check
/** Numbers in words, and their places in small charts. Pure. */

export const NONE = '–';

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds == null) return NONE;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** @param {number | null | undefined} value milliseconds */
export function milliseconds(value) {
  if (value == null) return NONE;
  return value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(value < 10_000 ? 2 : 1)} s`;
}

/**
 * A quantile of the histogram with these bounds: at its last bound it may be anything above.
 * @param {number | null} value milliseconds
 * @param {number[]} bounds
 */
export function quantile(value, bounds) {
  const last = bounds[bounds.length - 1];
  return value !== null && value >= last ? `> ${Math.round(last / 1_000)} s` : milliseconds(value);
}

/** @param {number | null | undefined} value */
export function bytes(value) {
  if (value == null) return NONE;
  if (value < 1_000) return `${Math.round(value)} B`;
  for (const [unit, size] of /** @type {[string, number][]} */ ([
    ['kB', 1e3],
    ['MB', 1e6],
    ['GB', 1e9],
  ]))
    if (value < 1_000 * size) return `${(value / size).toFixed(value < 10 * size ? 1 : 0)} ${unit}`;
  return `${(value / 1e12).toFixed(1)} TB`;
}

/** @param {number | null | undefined} value */
export const factor = (value) => (value == null ? NONE : value.toFixed(2));

/** @param {number} value */
export const count = (value) => Math.round(value).toLocaleString('en');

/**
 * @param {number} value
 * @param {string} what its plural ends in s
 */
export const several = (value, what) => `${count(value)} ${what}${value === 1 ? '' : 's'}`;

/**
 * @param {number} part
 * @param {number} whole
 */
export function share(part, whole) {
  if (whole === 0) return NONE;
  const percent = (100 * part) / whole;
  return `${percent > 0 && percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** @param {(number | null)[]} values */
export const sum = (values) => values.reduce((/** @type {number} */ all, one) => all + (one ?? 0), 0);

/**
 * The lines of a series in a box of 100 × 100, y downwards; a gap where there is no value. A value alone is a line of
 * the width of one step.
 * @param {(number | null)[]} values
 * @param {number} top the value at the upper edge; 0 is at the lower
 * @returns {string[]} points of polylines
 */
export function lines(values, top) {
  const step = 100 / Math.max(1, values.length - 1);
  /** @type {string[][]} */
  const runs = [];
  let open = false;
  values.forEach((value, index) => {
    if (value !== null) {
      if (!open) runs.push([]);
      runs[runs.length - 1].push(point(index * step, 100 - (100 * value) / (top || 1)));
    }
    open = value !== null;
  });
  return runs.map((run) => (run.length > 1 ? run : alone(run[0], step)).join(' '));
}

/**
 * @param {string} only
 * @param {number} step
 */
function alone(only, step) {
  const [x, y] = only.split(',').map(Number);
  return [point(Math.max(0, x - step / 2), y), point(Math.min(100, x + step / 2), y)];
}

/**
 * @param {number} x
 * @param {number} y
 */
const point = (x, y) => `${x.toFixed(2)},${Math.min(100, Math.max(0, y)).toFixed(2)}`;

/**
 * The bars of a histogram whose buckets have equal ratios, on a logarithmic axis.
 * @param {number[]} bounds upper ends; the counts have one bucket more
 * @param {number[]} counts
 * @param {number} merged so many buckets are one bar
 * @returns {{from: number, to: number, count: number}[]} the first bar begins at 0, the last ends at Infinity
 */
export function bars(bounds, counts, merged) {
  const made = [{ from: 0, to: bounds[0], count: counts[0] }];
  for (let first = 1; first < bounds.length; first += merged) {
    const last = Math.min(first + merged, bounds.length);
    made.push({ from: bounds[first - 1], to: bounds[last - 1], count: sum(counts.slice(first, last)) });
  }
  made.push({ from: bounds[bounds.length - 1], to: Infinity, count: counts[counts.length - 1] });
  return made;
}

/**
 * Where a value lies on the axis of `bars`, in percent of its width.
 * @param {{from: number, to: number}[]} made
 * @param {number} value
 */
export function place(made, value) {
  const index = made.findIndex(({ to }) => value <= to);
  const { from, to } = made[index];
  let within = 0.5;
  if (from > 0 && Number.isFinite(to)) within = Math.log(value / from) / Math.log(to / from);
  return (100 * (index + within)) / made.length;
}
