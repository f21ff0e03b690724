// @ts-check
/** Both voices on one moving axis of time: above the user, below the reply; right of "now" the sound that waits to be played. */
import { html } from '../../vendor/lit-html.js';
import { STEP_MS } from '../track.js';
import { latencyOf } from '../turns.js';
import { icon } from './icons.js';

/** @typedef {import('../console.js').Console} Console */

/** Bars are 2 px wide with 1 px between them. */
const BAR_PX = 3;
const ZOOMS = [20, 40, 80, 160]; // pixels per second
/** Marks after which playback is no longer held. */
const ENDS_HELD = new Set(['resumed', 'cut', 'decided', 'lost']);
/** Height of the line of the clock. */
const CLOCK_PX = 14;
/** Share of the width that lies behind now. */
const NOW_SHARE = 0.8;

export class TimelineView {
  /**
   * @param {Console} app
   * @param {import('./page.js').Page} page
   */
  constructor(app, page) {
    this.app = app;
    this.page = page;
    this.zoom = 2;
    /** Time at the now line while the person looks back; null: the present. @type {number | null} */
    this.at = null;
    this.colours = new Map();
    this.drawnAt = -1;
  }

  render() {
    const { at } = this;
    const step = 4_000 / (ZOOMS[this.zoom] / 40);
    return html`
      <canvas id="timeline-canvas" role="img" aria-label="Timeline of both voices" @click=${(/** @type {MouseEvent} */ event) => this.click(event)}
        @wheel=${{ handleEvent: (/** @type {WheelEvent} */ event) => this.pan(event.deltaX + event.deltaY), passive: true }}></canvas>
      <div class="timeline-tools">
        <button type="button" class="quiet square" aria-label="Earlier" @click=${() => this.move(-step)}>${icon('earlier')}</button>
        <button type="button" class="quiet" aria-pressed=${String(at === null)} @click=${() => this.go(null)}>Now</button>
        <button type="button" class="quiet square" aria-label="Later" ?disabled=${at === null} @click=${() => this.move(step)}>${icon('later')}</button>
        <button type="button" class="quiet square" aria-label="Show more time" ?disabled=${this.zoom === 0} @click=${() => this.setZoom(-1)}>${icon('out')}</button>
        <button type="button" class="quiet square" aria-label="Show less time" ?disabled=${this.zoom === ZOOMS.length - 1} @click=${() => this.setZoom(1)}>${icon('plus')}</button>
      </div>`;
  }

  /** @param {number} by */
  setZoom(by) {
    this.zoom = Math.max(0, Math.min(ZOOMS.length - 1, this.zoom + by));
    this.page.draw();
  }

  get present() {
    return this.app.imported ? this.app.track.end : performance.now();
  }

  /** @param {number} ms */
  move(ms) {
    const to = (this.at ?? this.present) + ms;
    this.go(to >= this.present ? null : Math.max(this.app.track.origin, to));
  }

  /** @param {number | null} at */
  go(at) {
    this.at = at;
    this.page.draw();
  }

  /** @param {number} pixels */
  pan(pixels) {
    this.move((1_000 * pixels) / ZOOMS[this.zoom]);
  }

  /** The theme has changed. */
  forgetColours() {
    this.colours.clear();
  }

  /** @param {string} name of a custom property */
  colour(name) {
    let value = this.colours.get(name);
    if (value === undefined) {
      value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
      this.colours.set(name, value);
    }
    return value;
  }

  /** Draws a frame. Its cost depends on the width, not on the length of the session. */
  draw() {
    const canvas = /** @type {HTMLCanvasElement | null} */ (document.getElementById('timeline-canvas'));
    const context = canvas?.getContext('2d');
    if (!canvas || !context || canvas.clientWidth === 0) return;
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const now = this.at ?? this.present;
    const view = { context, width, height, now, nowX: Math.round(width * NOW_SHARE), perMs: ZOOMS[this.zoom] / 1_000 };
    this.drawAxis(view);
    this.drawHeld(view);
    this.drawVoices(view);
    this.drawLatencies(view);
    this.drawMarks(view);
    this.drawNow(view);
  }

  /** @param {View} view */
  drawAxis({ context, width, height, now, nowX, perMs }) {
    context.fillStyle = this.colour('line');
    context.fillRect(0, middle(height), width, 1);
    context.font = `11px ${this.colour('font')}`;
    context.fillStyle = this.colour('muted');
    context.textAlign = 'left';
    const every = perMs < 0.05 ? 5_000 : perMs < 0.15 ? 2_000 : 1_000;
    const { origin } = this.app.track;
    for (let t = Math.ceil((now - nowX / perMs - origin) / every) * every; ; t += every) {
      const x = nowX + (t + origin - now) * perMs;
      if (x > nowX - 44) break;
      if (t < 0) continue;
      context.fillRect(Math.round(x), height - 14, 1, 4);
      context.fillText(clock(t), Math.round(x) + 4, height - 4);
    }
  }

  /**
   * Amber bands while the playback is held.
   * @param {View} view
   */
  drawHeld({ context, height, now, nowX, perMs }) {
    context.fillStyle = this.colour('held-ground');
    let from = /** @type {number | null} */ (null);
    const band = (/** @type {number} */ start, /** @type {number} */ end) =>
      context.fillRect(
        nowX + (start - now) * perMs,
        middle(height) + 1,
        Math.max(1, (end - start) * perMs),
        middle(height) - 4,
      );
    for (const { kind, at } of this.app.track.marks) {
      if (kind === 'held') from = at;
      else if (from !== null && ENDS_HELD.has(kind)) {
        if (at > from) band(from, at);
        from = null;
      }
    }
    if (from !== null && this.app.state.held) band(from, now);
  }

  /** @param {View} view */
  drawVoices({ context, height, now, nowX, perMs, width }) {
    const { track } = this.app;
    const top = middle(height);
    const room = top - 16;
    const barMs = BAR_PX / perMs;
    // Bars keep their place in time: the picture moves, it does not flicker.
    for (let bar = Math.floor(now / barMs); ; bar -= 1) {
      const x = nowX + (bar * barMs - now) * perMs;
      if (x < -BAR_PX || bar * barMs < track.origin - barMs) break;
      this.bar(context, 'user', x, top, -room * seen(track.peak('user', bar * barMs, (bar + 1) * barMs)));
      this.bar(context, 'assistant', x, top + 1, room * seen(track.peak('assistant', bar * barMs, (bar + 1) * barMs)));
    }
    if (this.at !== null) return;
    context.globalAlpha = 0.4;
    const stepPx = STEP_MS * perMs;
    const group = Math.max(1, Math.round(BAR_PX / stepPx));
    for (let step = 0; step < track.ahead.length; step += group) {
      const x = nowX + 3 + step * stepPx;
      if (x > width) break;
      this.bar(context, 'assistant', x, top + 1, room * seen(Math.max(...track.ahead.slice(step, step + group))));
    }
    // What the server has made and not sent: its length only.
    const from = nowX + 3 + track.ahead.length * stepPx;
    context.fillStyle = this.colour('assistant');
    context.fillRect(from, top + 1, Math.max(0, Math.min(width - from, track.madeMs * perMs)), 3);
    context.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {'user' | 'assistant'} lane
   * @param {number} x
   * @param {number} y
   * @param {number} size
   */
  bar(context, lane, x, y, size) {
    if (Math.abs(size) < 0.75) return;
    context.fillStyle = this.colour(lane);
    context.fillRect(x, y, BAR_PX - 1, size);
  }

  /**
   * Brackets from the last voiced sample to the first sound.
   * @param {View} view
   */
  drawLatencies({ context, height, now, nowX, perMs }) {
    const y = middle(height);
    context.textAlign = 'center';
    for (const turn of this.app.turns.list.slice(-60)) {
      const { start, heard } = turn.at;
      const latency = latencyOf(turn);
      if (start === undefined || heard === undefined || latency === null) continue;
      const from = nowX + (start - now) * perMs;
      const to = nowX + (heard - now) * perMs;
      if (to < 0 || from > nowX) continue;
      context.fillStyle = this.colour('text');
      context.fillRect(from, y - 1, Math.max(2, to - from), 3);
      const label = `${Math.round(latency)} ms`;
      if (to - from > context.measureText(label).width + 8) {
        context.font = `600 11px ${this.colour('font')}`;
        context.fillText(label, (from + to) / 2, y - 6);
      }
    }
  }

  /** @param {View} view */
  drawMarks({ context, height, now, nowX, perMs }) {
    context.font = `11px ${this.colour('font')}`;
    context.textAlign = 'left';
    const free = { top: Infinity, bottom: Infinity };
    const { marks } = this.app.track;
    for (let index = marks.length - 1; index >= 0; index -= 1) {
      const { at, kind, label } = marks[index];
      const x = Math.round(nowX + (at - now) * perMs);
      if (x > nowX + 2) continue;
      if (x < -120) break;
      const { colour, side } = MARKS[kind];
      context.fillStyle = this.colour(colour);
      const top = side === 'top';
      context.fillRect(x, top ? 0 : middle(height), 1, middle(height));
      // From right to left: a label that would run into its neighbour is left out.
      const width = context.measureText(label).width + 8;
      if (x + width > free[side]) continue;
      context.fillText(label, x + 4, top ? 10 : height - 18);
      free[side] = x;
    }
  }

  /** @param {View} view */
  drawNow({ context, height, nowX }) {
    context.fillStyle = this.colour('text');
    context.fillRect(nowX, 0, 1, height - CLOCK_PX);
    context.textAlign = 'left';
    context.fillText(this.at === null ? 'now' : clock(this.at - this.app.track.origin), nowX + 4, height - 4);
  }

  /** @param {MouseEvent} event */
  click(event) {
    const canvas = /** @type {HTMLCanvasElement} */ (event.currentTarget);
    const at =
      (this.at ?? this.present) + (1_000 * (event.offsetX - canvas.clientWidth * NOW_SHARE)) / ZOOMS[this.zoom];
    const turns = this.app.turns.list.filter(({ at: { start } }) => start !== undefined);
    // A turn lasts from the user's first word to the next turn; its times begin at the last word.
    const turn =
      turns.find(({ at: { done, heard, start } }) => at <= Math.max(done ?? 0, heard ?? 0, start ?? 0) + 1_500) ??
      turns.at(-1);
    if (turn) this.page.select(turn.items[0] ?? turn.responses[0]);
  }
}

/**
 * Quiet speech is seen as well as loud speech.
 * @param {number} peak 0..1
 */
const seen = (peak) => peak ** 0.7;

/** @typedef {{context: CanvasRenderingContext2D, width: number, height: number, now: number, nowX: number, perMs: number}} View */

/** @type {Record<import('../track.js').MarkKind, {colour: string, side: 'top' | 'bottom'}>} */
const MARKS = {
  speech: { colour: 'user', side: 'top' },
  decided: { colour: 'user', side: 'top' },
  sent: { colour: 'user', side: 'top' },
  pause: { colour: 'muted', side: 'top' },
  draft: { colour: 'muted', side: 'top' },
  kept: { colour: 'assistant', side: 'top' },
  dropped: { colour: 'muted', side: 'top' },
  sound: { colour: 'assistant', side: 'bottom' },
  tool: { colour: 'assistant', side: 'bottom' },
  held: { colour: 'held', side: 'bottom' },
  resumed: { colour: 'held', side: 'bottom' },
  cut: { colour: 'error', side: 'bottom' },
  error: { colour: 'error', side: 'top' },
  lost: { colour: 'error', side: 'top' },
};

/**
 * The axis, above the line of the clock.
 * @param {number} height
 */
const middle = (height) => Math.round((height - CLOCK_PX) / 2);

/** @param {number} ms */
function clock(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
