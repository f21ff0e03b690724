// @ts-check
/** The event log: chronological, only the visible rows are in the document; the whole event is shown below. */
import { html, nothing } from '../../vendor/lit-html.js';
import { summaryOf } from '../log.js';

/** @typedef {import('../console.js').Console} Console */
/** @typedef {import('../log.js').Row} Row */

const ROW_PX = 28;
/** Rows drawn beyond the visible ones. */
const MARGIN = 8;

export class EventsView {
  /**
   * @param {Console} app
   * @param {import('./page.js').Page} page
   */
  constructor(app, page) {
    this.app = app;
    this.page = page;
    /** @type {import('../log.js').Filter} */
    this.filter = { direction: 'all', text: '', sound: false, turn: null };
    /** Rows as they were when the log was paused. @type {Row[] | null} */
    this.frozen = null;
    /** @type {number | null} number of the chosen row */
    this.chosen = null;
    this.scrollTop = 0;
    this.height = 400;
    this.follow = true;
  }

  get rows() {
    return this.frozen ?? this.app.log.filtered(this.filter);
  }

  render() {
    const { rows } = this;
    const chosen = rows.find(({ number }) => number === this.chosen);
    return html`<div class="events">
      ${this.tools(rows)}
      ${this.list(rows)}
      <pre class="event-detail" tabindex="0" role="region" aria-label="Chosen event">${chosen ? JSON.stringify(chosen.event, null, 2) : 'Choose an event to see all of it.'}</pre>
      ${this.sender()}
    </div>`;
  }

  /** @param {Row[]} rows */
  tools(rows) {
    const { filter } = this;
    const set = (/** @type {Partial<typeof filter>} */ change) => {
      Object.assign(filter, change);
      this.frozen = null;
      this.page.draw();
    };
    const value = (/** @type {Event} */ event) => /** @type {HTMLInputElement} */ (event.target).value;
    return html`<div class="row">
        <input type="search" aria-label="Filter by type or text" placeholder="Filter by type or text" .value=${filter.text} @input=${(/** @type {Event} */ event) => set({ text: value(event) })} />
        <select aria-label="Direction" @change=${(/** @type {Event} */ event) => set({ direction: /** @type {any} */ (value(event)) })}>
          <option value="all">Both ways</option><option value="in">Received</option><option value="out">Sent</option>
        </select>
      </div>
      <div class="row wrap">
        <button type="button" class="quiet" aria-pressed=${String(this.frozen !== null)} @click=${() => this.pause()}>Pause</button>
        <button type="button" class="quiet" aria-pressed=${String(filter.sound)} @click=${() => set({ sound: !filter.sound })}>Sound</button>
        <button type="button" class="quiet" ?disabled=${rows.length === 0} @click=${() => this.page.copy(rows.map((row) => JSON.stringify(row.event)).join('\n'), 'Events copied.')}>Copy</button>
        ${filter.turn === null ? nothing : html`<button type="button" class="quiet" aria-pressed="true" @click=${() => set({ turn: null })}>One turn</button>`}
        <span class="hint count">${rows.length} of ${this.app.log.rows.length}</span>
      </div>`;
  }

  /** @param {Row[]} rows */
  list(rows) {
    const first = Math.max(0, Math.floor(this.scrollTop / ROW_PX) - MARGIN);
    const visible = rows.slice(first, first + Math.ceil(this.height / ROW_PX) + 2 * MARGIN);
    return html`<div class="event-list" id="event-list" role="listbox" tabindex="0" aria-label="Events between this page and the server"
        aria-activedescendant=${this.chosen === null ? nothing : `event-${this.chosen}`}
        @scroll=${(/** @type {Event} */ event) => this.scrolled(/** @type {HTMLElement} */ (event.target))} @keydown=${(/** @type {KeyboardEvent} */ event) => this.key(event, rows)}>
      <div class="event-space" role="presentation" style="height:${rows.length * ROW_PX}px">${visible.map((row, index) => this.row(row, (first + index) * ROW_PX))}</div>
    </div>`;
  }

  /**
   * @param {Row} row
   * @param {number} top
   */
  row(row, top) {
    const seconds = ((row.at - this.app.track.origin) / 1000).toFixed(2);
    const speaker =
      row.type === 'error'
        ? 'error'
        : row.type.startsWith('response') || row.type.startsWith('output_audio')
          ? 'assistant'
          : 'user';
    return html`<div class="event" id="event-${row.number}" role="option" aria-selected=${String(row.number === this.chosen)} style="top:${top}px" data-of=${speaker}
      @click=${() => this.choose(row)}><time>${seconds}</time><span class="arrow">${row.direction === 'in' ? '←' : '→'}<span class="visually-hidden">${row.direction === 'in' ? 'received' : 'sent'}</span></span><b>${row.type}</b>${row.count > 1 ? html`<i>×${row.count}</i>` : nothing}<span>${summaryOf(row)}</span></div>`;
  }

  sender() {
    const send = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      const field = /** @type {HTMLTextAreaElement} */ (
        /** @type {HTMLFormElement} */ (event.target).elements.namedItem('raw')
      );
      void this.app.act(async () => {
        const parsed = JSON.parse(field.value);
        await this.app.join();
        this.app.client.send(parsed);
      });
    };
    return html`<form class="row sender" @submit=${send}>
      <textarea name="raw" rows="1" class="code" spellcheck="false" aria-label="Event to send, as JSON" placeholder='{"type": "response.create"}' required></textarea>
      <button type="submit" class="quiet">Send event</button>
    </form>`;
  }

  pause() {
    this.frozen = this.frozen === null ? this.app.log.filtered(this.filter) : null;
    this.page.draw();
  }

  /** @param {Row} row */
  choose(row) {
    this.chosen = row.number;
    this.follow = false;
    this.page.draw();
  }

  /**
   * @param {KeyboardEvent} event
   * @param {Row[]} rows
   */
  key(event, rows) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || rows.length === 0) return;
    event.preventDefault();
    const index = rows.findIndex(({ number }) => number === this.chosen);
    const next = Math.max(0, Math.min(rows.length - 1, index + step));
    this.choose(rows[next]);
    const list = /** @type {HTMLElement} */ (event.currentTarget);
    const top = next * ROW_PX;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + ROW_PX > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_PX - list.clientHeight;
  }

  /** @param {HTMLElement} list */
  scrolled(list) {
    this.scrollTop = list.scrollTop;
    this.height = list.clientHeight;
    this.follow = list.scrollHeight - list.scrollTop - list.clientHeight < 2 * ROW_PX;
    this.page.draw();
  }

  /** After drawing: keeps to the end, unless the person looks at something. */
  settle() {
    const list = document.getElementById('event-list');
    if (list === null) return;
    this.height = list.clientHeight || this.height;
    if (this.follow && this.frozen === null) list.scrollTop = list.scrollHeight;
    this.scrollTop = list.scrollTop;
  }
}
