// @ts-check
/** Asks for the API key of a server that has keys. */
import { html, render } from '../../vendor/lit-html.js';
import { setKey } from '../server.js';

/** @param {import('../console.js').Console} app */
export function showKeyDialog(app) {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById('key'));
  if (app.keyRequest === null) {
    if (dialog.open) dialog.close();
    return;
  }
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const field = /** @type {HTMLInputElement} */ (
      /** @type {HTMLFormElement} */ (event.target).elements.namedItem('key')
    );
    const { value } = field;
    field.value = '';
    void setKey(app, value.trim());
  };
  render(
    html`<form @submit=${submit}>
      <h2 id="key-title">API key</h2>
      <p role="alert">${app.keyRequest.message}</p>
      <label for="key-field">Key</label>
      <input id="key-field" name="key" type="password" autocomplete="off" required autofocus />
      <p class="hint">Kept in this tab until it is closed, and used only to open sessions with short-lived secrets. A link of the form …/#key=KEY opens the page with a key.</p>
      <div class="row"><button type="submit">Use this key</button>
        <button type="button" class="quiet" @click=${() => {
          app.keyRequest = null;
          app.onChange();
        }}>Cancel</button></div>
    </form>`,
    dialog,
  );
  if (dialog.open) return;
  dialog.oncancel = () => (app.keyRequest = null);
  dialog.showModal();
}
