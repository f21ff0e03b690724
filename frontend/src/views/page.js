// @ts-check
/** The page around the console: what is open, chosen and coloured how; draws everything at most once a frame. */
import { html, render } from '../../vendor/lit-html.js';
import { fromJsonLines, toJsonLines, toMarkdown } from '../exports.js';
import { open } from '../kept.js';
import { wavOf } from '../recording.js';
import { phaseOf } from '../state.js';
import { announce } from './announcer.js';
import { audioPanel } from './audio-panel.js';
import { dock, notice } from './dock.js';
import { EventsView } from './events-panel.js';
import { icon } from './icons.js';
import { showKeyDialog } from './key-dialog.js';
import { sessionPanel, undoRefused } from './session-panel.js';
import { tabs } from './tabs.js';
import { ThemedPage } from './themed-page.js';
import { TimelineView } from './timeline-view.js';
import { toolsPanel } from './tools-panel.js';
import { top } from './top.js';
import { transcript } from './transcript.js';
import { turnsPanel } from './turns-panel.js';

/** @typedef {import('../console.js').Console} Console */
/** @typedef {import('../turns.js').Turn} Turn */
/** @typedef {'session' | 'inspector'} Sheet */

/** Within so many pixels of its end the conversation follows what is added. */
const FOLLOW_PX = 96;
/** The panels are drawn less often than the conversation. */
const PANEL_MS = 120;

export class Page extends ThemedPage {
  /** @param {Console} app */
  constructor(app) {
    super();
    this.app = app;
    this.sessionTab = 'session';
    this.inspectorTab = 'turns';
    /** The panel that is open over the conversation on narrow pages. @type {Sheet | null} */
    this.sheet = null;
    this.showAll = false;
    this.copied = '';
    /** @type {MediaDeviceInfo[]} */
    this.devices = [];
    this.events = new EventsView(app, this);
    this.timeline = new TimelineView(app, this);
    this.parts = Object.fromEntries(
      ['top', 'session', 'conversation', 'timeline', 'notice', 'dock', 'inspector'].map((id) => [id, part(id)]),
    );
    this.panelsDrawnAt = -Infinity;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.drawPanelsLater = undefined;
    this.frames = 0;
    /** What had the focus when a sheet was opened. @type {HTMLElement | null} */
    this.opener = null;
    this.applyTheme();
    this.animate();
  }

  drawNow() {
    const { app, parts } = this;
    const scroller = parts.conversation;
    const follow = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < FOLLOW_PX;
    render(top(app, this), parts.top);
    render(transcript(app, this), scroller);
    render(this.timeline.render(), parts.timeline);
    render(notice(app), parts.notice);
    render(dock(app), parts.dock);
    if (follow && app.conversation.entries.length > 0) scroller.scrollTop = scroller.scrollHeight;
    document.documentElement.dataset.phase = phaseOf(app.state);
    showKeyDialog(app);
    announce(app);
    const now = performance.now();
    if (now - this.panelsDrawnAt >= PANEL_MS) this.drawPanels(now);
    else this.drawPanelsLater ??= setTimeout(() => this.drawPanels(performance.now()), PANEL_MS);
  }

  /** @param {number} now */
  drawPanels(now) {
    clearTimeout(this.drawPanelsLater);
    this.drawPanelsLater = undefined;
    this.panelsDrawnAt = now;
    const { app, parts, sheet } = this;
    const left = { session: sessionPanel, tools: toolsPanel, audio: audioPanel }[this.sessionTab] ?? sessionPanel;
    const choose = (/** @type {string} */ name) => {
      this.sessionTab = name;
      this.drawPanels(performance.now());
    };
    render(
      this.panel(
        'session',
        'Session',
        tabs(
          'session',
          [
            ['session', 'Session'],
            ['tools', 'Tools'],
            ['audio', 'Audio'],
          ],
          this.sessionTab,
          choose,
          left(app, this),
        ),
      ),
      parts.session,
    );
    const right = this.inspectorTab === 'events' ? this.events.render() : turnsPanel(app, this);
    const inspect = (/** @type {string} */ name) => {
      this.inspectorTab = name;
      this.drawPanels(performance.now());
    };
    render(
      this.panel(
        'inspector',
        'Inspector',
        tabs(
          'inspector',
          [
            ['turns', 'Turns'],
            ['events', 'Events'],
          ],
          this.inspectorTab,
          inspect,
          right,
        ),
      ),
      parts.inspector,
    );
    undoRefused(app.settings);
    if (this.inspectorTab === 'events') this.events.settle();
    for (const name of /** @type {Sheet[]} */ (['session', 'inspector']))
      parts[name].toggleAttribute('data-open', sheet === name);
  }

  /**
   * @param {Sheet} name
   * @param {string} title
   * @param {unknown} content
   */
  panel(name, title, content) {
    return html`<div class="panel-head narrow-only"><h2>${title}</h2>
        ${name === 'session' ? html`<button type="button" class="quiet" @click=${() => this.toggleTheme()}>${icon(this.theme === 'dark' ? 'sun' : 'moon')}<span>${this.theme === 'dark' ? 'Light' : 'Dark'}</span></button>` : ''}
        <button type="button" class="quiet square" aria-label="Close" @click=${() => this.closeSheet()}>${icon('close')}</button></div>${content}`;
  }

  /** The timeline moves while anything happens. */
  animate() {
    const frame = () => {
      const { state, imported } = this.app;
      const moving = state.microphone !== 'off' || state.floor !== 'free' || state.connection === 'open';
      if (moving || imported || this.app.track.end > performance.now() - 2_000 || this.frames % 30 === 0)
        this.timeline.draw();
      this.frames += 1;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  // ---- Sheets, choices, colours ----

  /** @param {Sheet} name */
  openSheet(name) {
    if (this.sheet === name) return this.closeSheet();
    this.opener = /** @type {HTMLElement} */ (document.activeElement);
    this.sheet = name;
    this.drawPanels(performance.now());
    this.draw();
    if (name === 'session') void this.listDevices();
    /** @type {HTMLElement | null} */ (this.parts[name].querySelector('[aria-label="Close"]'))?.focus();
  }

  closeSheet() {
    this.sheet = null;
    this.drawPanels(performance.now());
    this.draw();
    this.opener?.focus();
  }

  /** @param {string} id of an item or response */
  select(id) {
    this.app.selected = id;
    this.inspectorTab = 'turns';
    const { at } = this.app.turns.of(id) ?? {};
    if (at?.start !== undefined && this.app.imported)
      this.timeline.at = Math.max(at.done ?? 0, at.heard ?? 0, at.start);
    if (this.sheet !== 'inspector' && matchMedia('(max-width: 1099px)').matches) this.openSheet('inspector');
    document.querySelector(`[data-id="${CSS.escape(id)}"]`)?.scrollIntoView({ block: 'nearest' });
    this.draw();
  }

  /** @param {Turn} turn */
  showEventsOf(turn) {
    this.events.filter.turn = new Set([...turn.items, ...turn.responses]);
    this.events.frozen = null;
    this.inspectorTab = 'events';
    this.drawPanels(performance.now());
  }

  applyTheme() {
    super.applyTheme();
    this.timeline.forgetColours();
  }

  async listDevices() {
    this.devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    this.draw();
  }

  // ---- Clipboard and files ----

  /**
   * @param {string} text
   * @param {string} done
   */
  async copy(text, done) {
    await this.app.act(() => navigator.clipboard.writeText(text));
    this.copied = this.app.notice === null ? done : '';
    this.draw();
  }

  /**
   * @param {'jsonl' | 'md' | 'wav'} kind
   * @param {Turn} [turn] only this one
   */
  download(kind, turn) {
    const { conversation, turns, log, track, recording } = this.app;
    const files = {
      jsonl: () =>
        toJsonLines(
          { entries: conversation.entries, turns: turns.list, rows: log.rows, track },
          performance.timeOrigin,
        ),
      md: () => toMarkdown(conversation.entries, turns),
      wav: () => wavOf(recording.stereo((id) => turn === undefined || turn.items.includes(id))),
    };
    const types = { jsonl: 'application/x-ndjson', md: 'text/markdown', wav: 'audio/wav' };
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([/** @type {any} */ (files[kind]())], { type: types[kind] }));
    link.download = `${turn ? `turn-${turn.number}` : 'session'}-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  /** @param {HTMLInputElement} input */
  async import(input) {
    const [file] = input.files ?? [];
    input.value = '';
    if (!file) return;
    await this.app.act(async () => open(this.app, fromJsonLines(await file.text())));
    this.timeline.at = null;
    this.draw();
  }
}

/** @param {string} id */
function part(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}
