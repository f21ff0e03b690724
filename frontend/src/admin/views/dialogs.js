// @ts-check
/** Asks for the admin key, and whether a session is to be ended. */
import { html, render } from '../../../vendor/lit-html.js';

/** @typedef {import('../app.js').Operators} Operators */

/** @param {string} id */
const dialogOf = (id) => /** @type {HTMLDialogElement} */ (document.getElementById(id));

/**
 * @param {HTMLDialogElement} dialog
 * @param {boolean} open
 */
function show(dialog, open) {
  if (open && !dialog.open) dialog.showModal();
  if (!open && dialog.open) dialog.close();
}

/** @param {Operators} app */
export function keyDialog(app) {
  const dialog = dialogOf('key');
  if (app.keyRequest !== null) {
    const submit = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      const field = /** @type {HTMLInputElement} */ (
        /** @type {HTMLFormElement} */ (event.target).elements.namedItem('key')
      );
      const { value } = field;
      field.value = '';
      void app.setKey(value.trim());
    };
    render(
      html`<form @submit=${submit}>
        <h2 id="key-title">Admin key</h2>
        <p role="alert">${app.keyRequest.message}</p>
        <label for="key-field">Key</label>
        <input id="key-field" name="key" type="password" autocomplete="off" required autofocus />
        <p class="hint">Kept in this tab until it is closed. It is the server's --admin-key, not an API key.</p>
        <div class="row"><button type="submit">Use this key</button></div>
      </form>`,
      dialog,
    );
    dialog.oncancel = (event) => event.preventDefault();
  }
  show(dialog, app.keyRequest !== null);
}

/** @param {Operators} app */
export function endDialog(app) {
  const dialog = dialogOf('confirm');
  if (app.ending !== null) {
    const submit = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      void app.endSession();
      app.onChange();
    };
    render(
      html`<form @submit=${submit}>
        <h2 id="confirm-title">End session <code>${app.ending}</code>?</h2>
        <p>Its client gets the error <code>ended_by_operator</code>, and the connection is closed. It may connect again.</p>
        <div class="row"><button type="submit" class="danger">End session</button>
          <button type="button" class="quiet" @click=${() => app.askToEnd(null)}>Keep it</button></div>
      </form>`,
      dialog,
    );
    dialog.oncancel = () => app.askToEnd(null);
  }
  show(dialog, app.ending !== null);
}
