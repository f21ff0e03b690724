// @ts-check
/** Tabs that obey the arrow keys. */
import { html } from '../../vendor/lit-html.js';

/**
 * @param {string} id of the group
 * @param {[string, string][]} tabs name and label
 * @param {string} chosen
 * @param {(name: string) => void} choose
 * @param {unknown} content of the chosen tab
 */
export function tabs(id, tabs, chosen, choose, content) {
  const names = tabs.map(([name]) => name);
  const onkeydown = (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = names[(names.indexOf(chosen) + step + names.length) % names.length];
    choose(next);
    requestAnimationFrame(() => document.getElementById(`${id}-tab-${next}`)?.focus());
  };
  return html`
    <div class="tabs" role="tablist" @keydown=${onkeydown}>
      ${tabs.map(
        ([name, label]) => html`<button type="button" role="tab" id="${id}-tab-${name}" aria-controls="${id}-tabpanel"
          aria-selected=${String(name === chosen)} tabindex=${name === chosen ? 0 : -1} @click=${() => choose(name)}>${label}</button>`,
      )}
    </div>
    <div class="tabpanel" role="tabpanel" id="${id}-tabpanel" aria-labelledby="${id}-tab-${chosen}" data-tab=${chosen}>${content}</div>
  `;
}
