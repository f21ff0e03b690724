// @ts-check
/** The function `calculate`, which this page offers and answers itself: small models cannot do sums. Pure. */

/** @typedef {import('./functions.js').FunctionTool} FunctionTool */

/** @type {FunctionTool} The declaration is that of the server's own calculator, with which nano was trained. */
export const CALCULATOR = {
  type: 'function',
  name: 'calculate',
  description: 'Evaluate an arithmetic expression.',
  parameters: JSON.stringify(
    {
      type: 'object',
      properties: {
        expression: {
          type: 'string',
          description: 'Numbers, + - * / // % ** and parentheses; sqrt, log, sin, round and the like; pi, e.',
        },
      },
      required: ['expression'],
      additionalProperties: false,
    },
    null,
    2,
  ),
  mock: '',
  builtin: true,
};

/** @type {Record<string, number>} */
const NAMES = { pi: Math.PI, e: Math.E, tau: 2 * Math.PI };
/** @type {Record<string, (...values: number[]) => number>} */
const FUNCTIONS = {
  abs: Math.abs,
  round: Math.round,
  min: Math.min,
  max: Math.max,
  sqrt: Math.sqrt,
  exp: Math.exp,
  log: Math.log,
  log2: Math.log2,
  log10: Math.log10,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  floor: Math.floor,
  ceil: Math.ceil,
};

/** By precedence, loosest first; `**` is handled apart, because it binds to the right. @type {Record<string, (a: number, b: number) => number>[]} */
const OPERATORS = [
  { '+': (a, b) => a + b, '-': (a, b) => a - b },
  {
    '*': (a, b) => a * b,
    '/': (a, b) => a / b,
    '//': (a, b) => Math.floor(a / b),
    '%': (a, b) => a - b * Math.floor(a / b),
  },
];

/**
 * @param {string} args JSON of the call's arguments
 * @returns {string} the result for the model; an error as well
 */
export function calculate(args) {
  try {
    const expression = String(JSON.parse(args).expression).trim();
    const value = new Parser(expression).value();
    if (!Number.isFinite(value)) return 'The expression has no finite value.';
    return `${expression} = ${Number(value.toPrecision(12))}`;
  } catch (error) {
    return /** @type {Error} */ (error).message;
  }
}

class Parser {
  /** @param {string} text */
  constructor(text) {
    const plain = text.replaceAll('×', '*').replaceAll('÷', '/').replaceAll(/[−–]/g, '-').replaceAll('^', '**');
    this.tokens = plain.match(/\d+\.?\d*(?:e[+-]?\d+)?|\.\d+|\*\*|\/\/|[-+*/%(),]|[a-z]+\d*|\S/gi) ?? [];
    this.at = 0;
  }

  get next() {
    return this.tokens[this.at] ?? '';
  }

  /** @returns {number} of the whole text */
  value() {
    const value = this.chain(0);
    if (this.next !== '') throw new Error(`This is no arithmetic expression at ${this.next}.`);
    return value;
  }

  /**
   * @param {number} level
   * @returns {number}
   */
  chain(level) {
    if (level === OPERATORS.length) return this.signed();
    let value = this.chain(level + 1);
    while (Object.hasOwn(OPERATORS[level], this.next)) {
      const operate = OPERATORS[level][this.next];
      this.at += 1;
      value = operate(value, this.chain(level + 1));
    }
    return value;
  }

  /** @returns {number} */
  signed() {
    const sign = this.next;
    if (sign !== '-' && sign !== '+') return this.power();
    this.at += 1;
    return sign === '-' ? -this.signed() : this.signed();
  }

  /** @returns {number} */
  power() {
    const base = this.single();
    return this.takes('**') ? base ** this.signed() : base;
  }

  /** @returns {number} */
  single() {
    const token = this.next;
    this.at += 1;
    if (/^[\d.]/.test(token)) return Number(token);
    if (token === '(') return this.close(this.chain(0));
    if (Object.hasOwn(NAMES, token)) return NAMES[token];
    if (Object.hasOwn(FUNCTIONS, token) && this.takes('(')) {
      const values = [this.chain(0)];
      while (this.takes(',')) values.push(this.chain(0));
      return this.close(FUNCTIONS[token](...values));
    }
    throw new Error(
      token === ''
        ? 'The expression ends too early.'
        : `${token} is no number, operation or function that this calculator knows.`,
    );
  }

  /** @param {number} value */
  close(value) {
    if (!this.takes(')')) throw new Error('A parenthesis is missing.');
    return value;
  }

  /**
   * @param {string} token
   * @returns {boolean} whether it was the next one, which is behind us then
   */
  takes(token) {
    const found = this.next === token;
    if (found) this.at += 1;
    return found;
  }
}
