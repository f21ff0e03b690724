// @ts-check
/** Talk, stop, type. The state at the microphone is told by word, shape and colour. */
import { html, nothing } from '../../vendor/lit-html.js';
import { PHASE_WORDS, phaseOf, usable } from '../state.js';
import { icon } from './icons.js';

/** What the person can do now, under the state's word. @type {Record<import('../state.js').Phase, string>} */
const HINTS = {
  off: 'Press to talk',
  starting: 'Allow it if asked',
  ready: 'Or hold the space bar',
  listening: 'Say something',
  hearing: 'Go on',
  thinking: 'Making the answer',
  speaking: 'Speak to interrupt',
  held: 'The answer waits',
};

/**
 * @param {import('../console.js').Console} app
 */
export function dock(app) {
  const { state, conversation, imported } = app;
  const phase = phaseOf(state);
  const enabled = usable(state) && !imported;
  return html`
    ${talkButton(app, phase, enabled)}
    <p class="phase" data-phase=${phase}><strong>${PHASE_WORDS[phase]}</strong><span>${HINTS[phase]}</span></p>
    <button type="button" id="stop" class="quiet" ?disabled=${!conversation.replying} aria-keyshortcuts="Escape" @click=${() => app.stop()}>
      ${icon('stop')}<span>Stop</span>
    </button>
    <form id="composer" class="composer" @submit=${(/** @type {SubmitEvent} */ event) => submit(app, event)}>
      <label class="visually-hidden" for="text">Message</label>
      <input id="text" name="text" autocomplete="off" enterkeyhint="send" placeholder="Or type a message" ?disabled=${imported} />
      <button id="send" type="submit" aria-label="Send" ?disabled=${imported || state.connection === 'waiting'}>${icon('send')}<span>Send</span></button>
    </form>
  `;
}

/**
 * @param {import('../console.js').Console} app
 * @param {import('../state.js').Phase} phase
 * @param {boolean} enabled
 */
function talkButton(app, phase, enabled) {
  const { state, microphone } = app;
  if (!state.pushToTalk) {
    return html`<button type="button" id="microphone" class="talk" aria-label="Microphone" aria-pressed=${String(microphone.wanted)}
      data-phase=${phase} ?disabled=${!enabled && !microphone.wanted} @click=${() => app.toggleMicrophone()}>${icon(phase)}</button>`;
  }
  const down = (/** @type {PointerEvent} */ event) => {
    /** @type {HTMLElement} */ (event.currentTarget).setPointerCapture(event.pointerId);
    void app.press();
  };
  return html`<button type="button" id="microphone" class="talk" aria-label="Hold to talk" aria-pressed=${String(state.talking)}
    data-phase=${phase} ?disabled=${!enabled} @pointerdown=${down} @pointerup=${() => app.release()} @pointercancel=${() => app.release()}
    @contextmenu=${(/** @type {Event} */ event) => event.preventDefault()}>${icon(phase)}</button>`;
}

/**
 * The text stays in the field until it is sent.
 * @param {import('../console.js').Console} app
 * @param {SubmitEvent} event
 */
async function submit(app, event) {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.target);
  const field = /** @type {HTMLInputElement} */ (form.elements.namedItem('text'));
  const text = field.value.trim();
  if (text === '' || form.dataset.sending) return;
  form.dataset.sending = 'yes';
  const sent = await app.sendText(text);
  delete form.dataset.sending;
  if (sent && field.value.trim() === text) field.value = '';
}

/** @param {import('../console.js').Console} app */
export function notice(app) {
  const { notice, imported } = app;
  if (imported)
    return html`<p class="notice-text" data-tone="info">This is a saved session. Start a new conversation to talk.</p>`;
  if (notice === null) return nothing;
  return html`<p class="notice-text" data-tone=${notice.tone}>${notice.text}</p>
    <button type="button" class="quiet" @click=${() => {
      app.notice = null;
      app.onChange();
    }}>Dismiss</button>`;
}
