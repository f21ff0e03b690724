// @ts-check
/** What every page of the server is: drawn at most once a frame, light or dark. */
import { always } from '../storage.js';

export class ThemedPage {
  constructor() {
    /** @type {string} */
    this.theme = always.read('theme', matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
    this.scheduled = false;
  }

  /** Draws soon; any number of calls in a frame draw once. */
  draw() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.drawNow();
    });
  }

  drawNow() {
    throw new Error('a page must say how it is drawn');
  }

  toggleTheme() {
    this.theme = this.theme === 'dark' ? 'light' : 'dark';
    always.write('theme', this.theme);
    this.applyTheme();
    this.draw();
  }

  applyTheme() {
    document.documentElement.dataset.theme = this.theme;
    document
      .querySelector('meta[name="theme-color"]')
      ?.setAttribute('content', getComputedStyle(document.documentElement).getPropertyValue('--surface').trim());
  }
}
