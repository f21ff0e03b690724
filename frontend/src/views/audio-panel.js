// @ts-check
/** Devices, levels, switches of the browser's own processing, push-to-talk, and the connection that carries the sound. */
import { html, nothing } from '../../vendor/lit-html.js';
import { setTransport } from '../call.js';
import { TRANSPORT_WORDS } from '../state.js';

/** @typedef {import('../console.js').Console} Console */

/** The browser's processing of the microphone. @type {['echoCancellation' | 'noiseSuppression' | 'autoGainControl', string][]} */
const SWITCHES = [
  ['echoCancellation', 'Echo cancellation'],
  ['noiseSuppression', 'Noise suppression'],
  ['autoGainControl', 'Automatic gain'],
];

/**
 * @param {Console} app
 * @param {import('./page.js').Page} page
 */
export function audioPanel(app, page) {
  const { audio, state, levels } = app;
  const canChooseOutput = typeof app.player.element.setSinkId === 'function';
  return html`
    <h3>Microphone</h3>
    ${devices('deviceId', 'Device', 'audioinput', app, page)}
    ${meter('meter-in', 'Level', levels.in)}
    ${SWITCHES.map(([name, label]) => switchOf(name, label, audio[name], (on) => app.setAudio({ [name]: on })))}
    ${switchOf('push', 'Hold to talk (space bar)', state.pushToTalk, (on) => app.setPushToTalk(on))}
    <h3>Loudspeaker</h3>
    ${canChooseOutput ? devices('sinkId', 'Device', 'audiooutput', app, page) : nothing}
    ${meter('meter-out', 'Level', levels.out)}
    <div class="field" data-kind="range"><label for="volume">Volume</label>
      <div class="row"><input type="range" id="volume" min="0" max="1" step="0.05" .value=${String(audio.volume)}
        @input=${(/** @type {Event} */ event) => app.setAudio({ volume: Number(/** @type {HTMLInputElement} */ (event.target).value) })} />
        <output for="volume">${Math.round(100 * audio.volume)} %</output></div></div>
    <dl class="figures">
      <div><dt>Gaps in the playback</dt><dd id="underruns">${levels.underruns}</dd></div>
      <div><dt>Sound received ahead</dt><dd>${(app.track.ahead.length / 50).toFixed(1)} s</dd></div>
      <div><dt>Loudspeaker latency</dt><dd>${Math.round(app.player.latencyMs)} ms</dd></div>
    </dl>
    ${connection(app)}
  `;
}

/** A call's figures. @type {[keyof import('../call-figures.js').Figures, string, string, number][]} name, label, unit, decimals */
const FIGURES = [
  ['rttMs', 'Round trip', 'ms', 0],
  ['jitterMs', 'Jitter', 'ms', 1],
  ['bufferMs', 'Jitter buffer', 'ms', 0],
  ['lostPercent', 'Lost on the way here', '%', 1],
  ['sendLostPercent', 'Lost on the way there', '%', 1],
  ['concealedPercent', 'Concealed', '%', 1],
];

/** @param {Console} app */
function connection(app) {
  const { transport, network } = app;
  const change = (/** @type {Event} */ event) =>
    setTransport(app, /** @type {any} */ (/** @type {HTMLSelectElement} */ (event.target).value));
  return html`<h3>Connection</h3>
    <div class="field"><label for="transport">Transport</label>
      <select id="transport" ?disabled=${app.state.connection === 'connecting'} @change=${change}>
        ${Object.entries(TRANSPORT_WORDS).map(([name, word]) => html`<option value=${name} ?selected=${name === transport}>${word}</option>`)}
      </select></div>
    ${
      transport === 'webrtc'
        ? html`<dl class="figures" id="network">${FIGURES.map(([name, label, unit, decimals]) => {
            const value = network?.[name];
            return html`<div><dt>${label}</dt><dd>${value == null ? '–' : `${value.toFixed(decimals)} ${unit}`}</dd></div>`;
          })}</dl>`
        : nothing
    }`;
}

/**
 * @param {'deviceId' | 'sinkId'} name
 * @param {string} label
 * @param {MediaDeviceKind} kind
 * @param {Console} app
 * @param {import('./page.js').Page} page
 */
function devices(name, label, kind, app, page) {
  const found = page.devices.filter(
    (device) => device.kind === kind && device.deviceId !== '' && device.deviceId !== 'default',
  );
  return html`<div class="field"><label for="device-${name}">${label}</label>
    <select id="device-${name}" @change=${(/** @type {Event} */ event) => app.setAudio({ [name]: /** @type {HTMLSelectElement} */ (event.target).value })}>
      <option value="" ?selected=${app.audio[name] === ''}>System’s default</option>
      ${found.map(({ deviceId, label: title }, index) => html`<option value=${deviceId} ?selected=${app.audio[name] === deviceId}>${title || `Device ${index + 1}`}</option>`)}
    </select></div>`;
}

/**
 * @param {string} id
 * @param {string} label
 * @param {number} level 0..1
 */
function meter(id, label, level) {
  // Half of the bar is -30 dB: speech moves in its upper half.
  const share = Math.max(0, Math.min(1, 1 + (20 * Math.log10(level + 1e-4)) / 60));
  return html`<div class="field" data-kind="meter"><label for=${id}>${label}</label><meter id=${id} min="0" max="1" .value=${share}></meter></div>`;
}

/**
 * @param {string} name
 * @param {string} label
 * @param {boolean} on
 * @param {(on: boolean) => void} change
 */
function switchOf(name, label, on, change) {
  return html`<div class="field" data-kind="switch"><label for="switch-${name}">${label}</label>
    <input type="checkbox" role="switch" id="switch-${name}" .checked=${on} @change=${(/** @type {Event} */ event) => change(/** @type {HTMLInputElement} */ (event.target).checked)} /></div>`;
}
