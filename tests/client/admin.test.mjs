// The operators' page: reading /metrics, numbers in words, places in charts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listed } from '../../frontend/src/admin/listing.js';
import { bars, bytes, duration, lines, milliseconds, place, quantile, share } from '../../frontend/src/admin/numbers.js';
import { byLabel, parseMetrics, total } from '../../frontend/src/admin/prometheus.js';

const PAGE = `# HELP realtime_responses_total Responses that ended, by status.
# TYPE realtime_responses_total counter
realtime_responses_total{status="completed"} 12.0
realtime_responses_total{status="failed"} 1.0
realtime_responses_total{status="cancelled"} 0.0
realtime_first_audio_seconds_bucket{le="+Inf"} 7.0
realtime_first_audio_seconds_count 7.0
odd{name="a \\"quoted\\" \\\\ word",other="x,y={}"} +Inf
`;

test('samples keep their labels and values', () => {
  const series = parseMetrics(PAGE);
  assert.equal(total(series, 'realtime_responses_total'), 13);
  assert.equal(total(series, 'realtime_first_audio_seconds_count'), 7);
  assert.equal(total(series, 'nothing'), 0);
  assert.deepEqual(series.get('odd'), [
    { labels: { name: 'a "quoted" \\ word', other: 'x,y={}' }, value: Infinity },
  ]);
});

test('a series is told by its label, greatest first, without zeros', () => {
  assert.deepEqual(byLabel(parseMetrics(PAGE), 'realtime_responses_total', 'status'), [
    ['completed', 12],
    ['failed', 1],
  ]);
});

test('numbers are told with their units', () => {
  assert.deepEqual([duration(59.9), duration(61), duration(3_660), duration(90_000)], ['59 s', '1 min 1 s', '1 h 1 min', '1 d 1 h']);
  assert.deepEqual([milliseconds(610.4), milliseconds(1_250), milliseconds(null)], ['610 ms', '1.25 s', '–']);
  assert.deepEqual([bytes(999), bytes(1_530_000), bytes(16.6e9)], ['999 B', '1.5 MB', '17 GB']);
  assert.deepEqual([share(0, 0), share(1, 1_000), share(1, 4)], ['–', '0.1 %', '25 %']);
});

test('a quantile beyond the histogram is told as such', () => {
  assert.deepEqual([quantile(610, [50, 9_976]), quantile(9_976, [50, 9_976]), quantile(null, [50])], ['610 ms', '> 10 s', '–']);
});

test('a minute without a value is a gap in the line', () => {
  assert.deepEqual(lines([0, 10, null, null, 5], 10), ['0.00,100.00 25.00,0.00', '87.50,50.00 100.00,50.00']);
});

test('a value above the top stays in the chart', () => {
  assert.deepEqual(lines([5, 20], 10), ['0.00,50.00 100.00,0.00']);
});

test('merged bars keep every count', () => {
  const bounds = [50, 100, 200, 400, 800];
  const made = bars(bounds, [1, 2, 3, 4, 5, 6], 2);
  assert.deepEqual(
    made.map(({ from, to, count }) => [from, to, count]),
    [
      [0, 50, 1],
      [50, 200, 5],
      [200, 800, 9],
      [800, Infinity, 6],
    ],
  );
});

test('places on the axis are logarithmic', () => {
  const made = bars([50, 100, 200, 400, 800], [0, 0, 0, 0, 0, 0], 2);
  assert.equal(place(made, 50.001).toFixed(1), '25.0');
  assert.equal(place(made, 100).toFixed(1), '37.5');
  assert.equal(place(made, 5_000).toFixed(1), '87.5');
});

test('sessions are found by id and caller, and ordered', () => {
  const session = { first_audio_p50_ms: null, pending_inputs: 0, outbox_bytes: 0 };
  /** @type {any[]} */
  const sessions = [
    { ...session, id: 'sess_a', caller: 'key:1', age_s: 9, errors: 0 },
    { ...session, id: 'sess_b', caller: 'key:2', age_s: 5, errors: 2 },
    { ...session, id: 'sess_c', caller: 'key:2', age_s: 7, errors: 0, outbox_bytes: 8 },
  ];
  /** @param {any} order */
  const ids = (order, search = '') => listed(sessions, order, search).map(({ id }) => id.at(-1)).join('');
  assert.equal(ids('age'), 'acb');
  assert.equal(ids('errors')[0], 'b');
  assert.equal(ids('waiting')[0], 'c');
  assert.equal(ids('age', ' KEY:2'), 'cb');
  assert.equal(ids('age', 'sess_a'), 'a');
});
