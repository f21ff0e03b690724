// @ts-check
/** Reads Prometheus' text format. Pure. */

/** @typedef {{labels: Record<string, string>, value: number}} Sample */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
/** @type {Record<string, string>} */
const ESCAPED = { '\\n': '\n', '\\"': '"', '\\\\': '\\' };

/**
 * @param {string} text of /metrics
 * @returns {Map<string, Sample[]>} by the name of the series
 */
export function parseMetrics(text) {
  /** @type {Map<string, Sample[]>} */
  const series = new Map();
  for (const line of text.split('\n')) {
    const found = line.startsWith('#') ? null : LINE.exec(line);
    if (found === null) continue;
    const [, name, inside = '', value] = found;
    /** @type {Record<string, string>} */
    const labels = {};
    for (const [, label, escaped] of inside.matchAll(LABEL))
      labels[label] = escaped.replace(/\\[n"\\]/g, (one) => ESCAPED[one]);
    const samples = series.get(name) ?? [];
    samples.push({ labels, value: numberOf(value) });
    series.set(name, samples);
  }
  return series;
}

/** @param {string} text */
function numberOf(text) {
  if (text === '+Inf') return Infinity;
  return text === '-Inf' ? -Infinity : Number(text);
}

/**
 * The sum of a series, whatever its labels; 0 where there is none.
 * @param {Map<string, Sample[]>} series
 * @param {string} name
 */
export const total = (series, name) => (series.get(name) ?? []).reduce((sum, { value }) => sum + value, 0);

/**
 * A series by one label, greatest first; zeros are left out.
 * @param {Map<string, Sample[]>} series
 * @param {string} name
 * @param {string} label
 * @returns {[string, number][]}
 */
export function byLabel(series, name, label) {
  const entries = (series.get(name) ?? []).map(({ labels, value }) => [labels[label] || 'none', value]);
  return /** @type {[string, number][]} */ (entries)
    .filter(([, value]) => value > 0)
    .sort(([, one], [, other]) => other - one);
}
