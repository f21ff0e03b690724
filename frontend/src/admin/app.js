// @ts-check
/** The page's state: what the server last said, what is chosen, and what the operator has asked for. */
import { EventLog } from '../log.js';
import { tab } from '../storage.js';
import { Refused } from './api.js';
import { listed } from './listing.js';
import { parseMetrics } from './prometheus.js';

/** @typedef {import('./api.js').ServerState} ServerState */
/** @typedef {import('./listing.js').Order} Order */

const STATE_MS = 2_000;
/** The counts since the start change little. */
const METRICS_MS = 10_000;
/** Refusals that another key may end. */
const KEY_CODES = new Set(['invalid_api_key']);

/** The session whose events are open. */
export class Watch {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.log = new EventLog();
    this.began = performance.now();
    /** Why no more events come. */
    this.ended = '';
    /** @type {number | null} number of the chosen row */
    this.chosen = null;
    this.stop = () => {};
  }
}

export class Operators {
  /**
   * @param {import('./api.js').AdminApi} api
   * @param {() => void} onChange
   */
  constructor(api, onChange) {
    this.api = api;
    this.onChange = onChange;
    /** @type {ServerState | null} */
    this.state = null;
    /** @type {Map<string, import('./prometheus.js').Sample[]>} */
    this.metrics = new Map();
    /** Why the figures are old or missing. */
    this.fault = '';
    /** What the operator's last order came to. */
    this.notice = '';
    /** @type {{message: string} | null} */
    this.keyRequest = null;
    /** The session that is about to be ended. @type {string | null} */
    this.ending = null;
    /** @type {Watch | null} */
    this.watch = null;
    /** @type {Order} */
    this.order = 'age';
    this.search = '';
    this.metricsAt = -Infinity;
  }

  /** Asks the server again and again, while the page is seen. */
  async run() {
    for (;;) {
      if (document.visibilityState === 'visible' && this.keyRequest === null) await this.refresh();
      await new Promise((resolve) => setTimeout(resolve, STATE_MS));
    }
  }

  async refresh() {
    try {
      this.state = await this.api.state();
      if (performance.now() - this.metricsAt >= METRICS_MS) {
        this.metrics = parseMetrics(await this.api.metrics());
        this.metricsAt = performance.now();
      }
      this.fault = '';
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.fault = error.message;
      if (KEY_CODES.has(error.code)) this.askForKey(error.message);
    }
    this.onChange();
  }

  /** @param {string} message */
  askForKey(message) {
    this.state = null;
    this.keyRequest = { message };
  }

  /** @param {string} key */
  async setKey(key) {
    tab.write('admin-key', key);
    this.keyRequest = null;
    this.metricsAt = -Infinity;
    await this.refresh();
  }

  /** The sessions as they are listed. */
  get sessions() {
    return listed(this.state?.sessions.list ?? [], this.order, this.search);
  }

  // ---- Orders ----

  /** @param {string | null} id null: not after all */
  askToEnd(id) {
    this.ending = id;
    this.onChange();
  }

  async endSession() {
    const id = this.ending;
    this.ending = null;
    if (id === null) return;
    try {
      await this.api.end(id);
      this.notice = `Session ${id} was ended.`;
    } catch (error) {
      this.notice = /** @type {Error} */ (error).message;
    }
    await this.refresh();
  }

  /** @param {string} id */
  openEvents(id) {
    this.closeEvents();
    const watch = new Watch(id);
    this.watch = watch;
    watch.stop = this.api.watch(
      id,
      (event) => {
        watch.log.add('in', event, performance.now());
        this.onChange();
      },
      (why) => {
        watch.ended = why;
        this.onChange();
      },
    );
    this.onChange();
  }

  closeEvents() {
    this.watch?.stop();
    this.watch = null;
    this.onChange();
  }
}
