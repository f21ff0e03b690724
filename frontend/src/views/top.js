// @ts-check
/** The page's head: the name, the connection in words, and what concerns the whole conversation. */
import { html } from '../../vendor/lit-html.js';
import { CONNECTION_WORDS } from '../state.js';
import { icon } from './icons.js';

/**
 * @param {import('../console.js').Console} app
 * @param {import('./page.js').Page} page
 */
export function top(app, page) {
  const { state, model, imported } = app;
  const words = imported ? 'Saved session' : CONNECTION_WORDS[state.connection];
  const dark = page.theme === 'dark';
  return html`
    <h1>${MARK}<span>realtime</span></h1>
    <p id="status" class="connection" role="status" data-connection=${imported ? 'imported' : state.connection}>
      <strong>${words}</strong><span class="detail">${state.detail || model}</span>
    </p>
    <div class="actions">
      <button type="button" id="new" class="quiet" aria-label="New conversation" ?disabled=${app.conversation.entries.length === 0}
        @click=${() => app.newConversation()}>${icon('plus')}<span>New conversation</span></button>
      <button type="button" class="quiet square wide-only" aria-label=${dark ? 'Light colours' : 'Dark colours'} title=${dark ? 'Light colours' : 'Dark colours'}
        @click=${() => page.toggleTheme()}>${icon(dark ? 'sun' : 'moon')}</button>
      <button type="button" class="quiet square narrow-only" aria-label="Session" aria-expanded=${String(page.sheet === 'session')}
        @click=${() => page.openSheet('session')}>${icon('sliders')}</button>
      <button type="button" class="quiet square narrow-only" aria-label="Inspector" aria-expanded=${String(page.sheet === 'inspector')}
        @click=${() => page.openSheet('inspector')}>${icon('inspect')}</button>
    </div>
  `;
}

const MARK = html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path d="M5 13v6M11 8v16M17 4v12" class="mark-user" /><path d="M17 16v12M23 11v10M29 14v4" class="mark-reply" /></svg>`;
