// @ts-check
/** The page's drawings: 24 × 24, lines of 2 units in the colour of the text. */
import { html, svg } from '../../vendor/lit-html.js';

const SHAPES = {
  off: svg`<rect x="9" y="3" width="6" height="11" rx="3" /><path d="M6 11.5a6 6 0 0 0 12 0M12 17.5V21M4 3l16 18" />`,
  starting: svg`<circle cx="12" cy="12" r="8" stroke-dasharray="4 4" />`,
  ready: svg`<rect x="9" y="3" width="6" height="11" rx="3" /><path d="M6 11.5a6 6 0 0 0 12 0M12 17.5V21" />`,
  listening: svg`<rect x="9" y="3" width="6" height="11" rx="3" /><path d="M6 11.5a6 6 0 0 0 12 0M12 17.5V21" />`,
  hearing: svg`<path d="M4 10v4M8 6v12M12 9v6M16 4v16M20 10v4" />`,
  thinking: svg`<circle cx="5" cy="12" r="1.5" fill="currentcolor" /><circle cx="12" cy="12" r="1.5" fill="currentcolor" /><circle cx="19" cy="12" r="1.5" fill="currentcolor" />`,
  speaking: svg`<path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11" />`,
  held: svg`<path d="M9 5v14M15 5v14" />`,
  stop: svg`<rect x="6" y="6" width="12" height="12" rx="2" fill="currentcolor" />`,
  send: svg`<path d="M4 12h15M13 6l6 6-6 6" />`,
  sliders: svg`<path d="M4 7h9M17 7h3M4 17h3M11 17h9" /><circle cx="15" cy="7" r="2" /><circle cx="9" cy="17" r="2" />`,
  inspect: svg`<path d="M4 6h16M4 12h10M4 18h13" />`,
  close: svg`<path d="M6 6l12 12M18 6L6 18" />`,
  sun: svg`<circle cx="12" cy="12" r="4" /><path d="M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6L7 7M17 17l1.4 1.4M18.4 5.6L17 7M7 17l-1.4 1.4" />`,
  moon: svg`<path d="M20 14a8 8 0 0 1-10-10 8 8 0 1 0 10 10z" />`,
  plus: svg`<path d="M12 5v14M5 12h14" />`,
  play: svg`<path d="M8 5l11 7-11 7z" />`,
  download: svg`<path d="M12 4v11M7 10.5l5 5 5-5M5 20h14" />`,
  upload: svg`<path d="M12 16V5M7 9.5l5-5 5 5M5 20h14" />`,
  trash: svg`<path d="M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13" />`,
  earlier: svg`<path d="M15 6l-6 6 6 6" />`,
  later: svg`<path d="M9 6l6 6-6 6" />`,
  out: svg`<path d="M6 12h12" />`,
  tool: svg`<path d="M14 6a4 4 0 0 0-5 5l-5 5 3 3 5-5a4 4 0 0 0 5-5l-2.5 2.5-2-.5-.5-2z" />`,
};

/** @typedef {keyof typeof SHAPES} IconName */

/** @param {IconName} name */
export const icon = (name) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">${SHAPES[name]}</svg>`;
