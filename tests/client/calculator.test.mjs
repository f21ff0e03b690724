// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';
import { CALCULATOR, calculate } from '../../frontend/src/calculator.js';
import { faultsOf } from '../../frontend/src/functions.js';

const of = (/** @type {string} */ expression) =>
  calculate(JSON.stringify({ expression })).replace(`${expression} = `, '');

test('sums are right', () => {
  for (const [expression, value] of [
    ['12 + 30', '42'],
    ['2 + 3 * 4', '14'],
    ['(2 + 3) * 4', '20'],
    ['7 - 2 - 1', '4'],
    ['100 / 8', '12.5'],
    ['2 ** 3 ** 2', '512'],
    ['-2 ** 2', '-4'],
    ['2 ** -1', '0.5'],
    ['7 // 2', '3'],
    ['-7 % 3', '2'],
    ['12 × 12', '144'],
    ['sqrt(16) + max(1, 5)', '9'],
    ['0.1 + 0.2', '0.3'],
  ])
    assert.equal(of(expression), value, expression);
});

test('what is no sum is told in words', () => {
  for (const expression of ['', '1 +', '(1', 'x', '1 2', 'constructor', 'alert(1)', '1 / 0', '1)'])
    assert.match(of(expression), /[a-z]/, expression);
  assert.match(calculate('{'), /JSON/);
});

test('its declaration is without faults', () => {
  assert.deepEqual(faultsOf(CALCULATOR), {});
});
