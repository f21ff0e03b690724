// @ts-check
/** The fields of the session, live: each change is sent at once, what the server refused is told at the field. */
import { html, nothing } from '../../vendor/lit-html.js';
import { FIELDS, toSession } from '../settings.js';
import { snippet } from '../snippets.js';
import { icon } from './icons.js';

/** @typedef {import('../console.js').Console} Console */
/** @typedef {import('../settings.js').Field} Field */

/**
 * @param {Console} app
 * @param {import('./page.js').Page} page
 */
export function sessionPanel(app, page) {
  const { values } = app.settings;
  const fields = FIELDS.filter(({ shown }) => shown?.(values) ?? true);
  return html`
    ${fields.map((field) => html`${field.group ? html`<h3>${field.group}</h3>` : nothing}${fieldOf(field, app)}`)}
    <h3>As code</h3>
    <div class="row wrap">
      ${
        /** @type {const} */ (['python', 'javascript', 'json']).map(
          (language) =>
            html`<button type="button" class="quiet" @click=${() => copy(app, page, language)}>Copy as ${NAMES[language]}</button>`,
        )
      }
    </div>
    <p class="hint" role="status">${page.copied}</p>
    <div class="row"><button type="button" class="quiet" @click=${() => app.settings.reset()}>Reset to defaults</button></div>
  `;
}

const NAMES = { python: 'Python', javascript: 'JavaScript', json: 'JSON' };

/**
 * @param {Console} app
 * @param {import('./page.js').Page} page
 * @param {keyof typeof NAMES} language
 */
async function copy(app, page, language) {
  const { tools, ...server } = app.toolbox.session();
  const session = { ...toSession(app.settings.values), ...(tools.length > 0 ? { tools } : {}), ...server };
  await page.copy(snippet(session, language, app.base), `${NAMES[language]} copied.`);
}

/**
 * @param {Field} field
 * @param {Console} app
 */
function fieldOf(field, app) {
  const { name, label, kind, unit } = field;
  const error = app.settings.errors[name];
  const id = `field-${name}`;
  return html`<div class="field" data-kind=${kind} ?data-error=${error !== undefined}>
    <label for=${id}>${label}${unit && kind === 'number' ? html` <small>${unit}</small>` : nothing}</label>
    ${control(field, id, app)}
    ${error === undefined ? nothing : html`<p class="error" id="${id}-error" role="alert">${error}</p>`}
  </div>`;
}

/**
 * @param {Field} field
 * @param {string} id
 * @param {Console} app
 */
function control(field, id, app) {
  const { settings } = app;
  const { name } = field;
  const value = settings.values[name];
  const described = settings.errors[name] === undefined ? nothing : `${id}-error`;
  const change = (/** @type {any} */ wanted) => app.changeSetting(name, wanted);
  const text = (/** @type {Event} */ event) => /** @type {HTMLInputElement} */ (event.target).value;
  const number = (/** @type {Event} */ event) => (text(event) === '' ? '' : Number(text(event)));
  if (field.kind === 'select') {
    const select = html`<select id=${id} aria-describedby=${described} @change=${(/** @type {Event} */ event) => change(text(event))}>
      ${optionsOf(field, app).map(([option, label]) => html`<option value=${option} ?selected=${option === value}>${label}</option>`)}
    </select>`;
    return name === 'voice' ? html`<div class="row">${select}${preview(app)}</div>` : select;
  }
  if (field.kind === 'switch') {
    return html`<input type="checkbox" role="switch" id=${id} .checked=${value} @change=${(/** @type {Event} */ event) => change(/** @type {HTMLInputElement} */ (event.target).checked)} />`;
  }
  if (field.kind === 'range') {
    const [least, most, step] = field.range ?? [0, 1, 0.1];
    return html`<div class="row"><input type="range" id=${id} min=${least} max=${most} step=${step} .value=${String(value)} aria-describedby=${described}
      @change=${(/** @type {Event} */ event) => change(number(event))} /><output for=${id}>${Number(value).toFixed(2)}${field.unit ?? ''}</output></div>`;
  }
  if (field.kind === 'long') {
    return html`<textarea id=${id} rows="4" aria-describedby=${described} .value=${value ?? settings.session?.instructions ?? ''}
      placeholder="The server’s own" @change=${(/** @type {Event} */ event) => change(text(event))}></textarea>`;
  }
  return html`<input type=${field.kind === 'number' ? 'number' : 'text'} id=${id} aria-describedby=${described} .value=${String(value)}
    placeholder=${value === '' ? 'none' : ''} @change=${(/** @type {Event} */ event) => change(field.kind === 'number' ? number(event) : text(event))} />`;
}

/**
 * @param {Field} field
 * @param {Console} app
 * @returns {[any, string][]}
 */
function optionsOf({ name, options = [] }, app) {
  return name === 'voice'
    ? [...options, ...app.voices.map((voice) => /** @type {[string, string]} */ ([voice, voice]))]
    : options;
}

/**
 * A choice that the server refused goes back to what is in force: a template alone does not undo what a person chose.
 * @param {import('../settings-control.js').SettingsControl} settings
 */
export function undoRefused({ undone, values }) {
  for (const name of undone) {
    const control = /** @type {HTMLInputElement | null} */ (document.getElementById(`field-${name}`));
    if (control?.type === 'checkbox') control.checked = values[name];
    else if (control) control.value = String(values[name] ?? '');
  }
  undone.clear();
}

/** @param {Console} app */
function preview(app) {
  return html`<button type="button" class="quiet square" aria-label="Hear this voice" title="Hear this voice" ?disabled=${app.imported}
    @click=${() => app.previewVoice(app.settings.values.voice)}>${icon('play')}</button>`;
}
