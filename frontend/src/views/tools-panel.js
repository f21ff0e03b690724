// @ts-check
/** What the model may call: tools of the server, and the functions and MCP servers of this page. */
import { html, nothing } from '../../vendor/lit-html.js';
import { NEW_FUNCTION, NEW_MCP, faultsOf } from '../functions.js';
import { icon } from './icons.js';

/** @typedef {import('../console.js').Console} Console */
/** @typedef {import('../functions.js').Tool} Tool */

/** @param {Console} app */
export function toolsPanel(app) {
  const { toolbox, settings } = app;
  const add = (/** @type {Tool} */ tool) => apply(app, [...toolbox.tools, { ...tool }]);
  return html`
    ${toolbox.serverTools.length > 0 ? html`<h3>Run by the server</h3>` : nothing}
    ${toolbox.serverTools.map((tool) => serverTool(tool, app))}
    <h3>Of this page</h3>
    <p class="hint">The model may call these. A saved answer is given at once; without one, answer in the conversation.</p>
    ${settings.errors.tools ? html`<p class="error" role="alert">${settings.errors.tools}</p>` : nothing}
    ${toolbox.tools.map((tool, index) => toolForm(tool, index, app))}
    <div class="row wrap">
      <button type="button" class="quiet" @click=${() => add(NEW_FUNCTION)}>${icon('plus')}<span>Function</span></button>
      <button type="button" class="quiet" @click=${() => add(NEW_MCP)}>${icon('plus')}<span>MCP server</span></button>
    </div>
  `;
}

/**
 * @param {import('../toolbox.js').ServerTool} tool
 * @param {Console} app
 */
function serverTool(tool, app) {
  const { toolbox, settings } = app;
  const id = `server-tool-${tool.name}`;
  const change = (/** @type {Event} */ event) => {
    toolbox.choose(tool.name, /** @type {HTMLInputElement} */ (event.target).checked);
    settings.changeTools();
  };
  return html`<div class="field" data-kind="switch"><label for=${id}>${tool.name} <small>${tool.description}</small></label>
    <input type="checkbox" role="switch" id=${id} .checked=${toolbox.uses(tool)} @change=${change} /></div>`;
}

/**
 * @param {Console} app
 * @param {Tool[]} tools
 */
function apply(app, tools) {
  app.toolbox.set(tools);
  app.settings.changeTools();
  app.onChange();
}

/** Fields of each kind of tool: name, label, rows (0: one line), example. @type {Record<Tool['type'], [string, string, number, string][]>} */
const FORM = {
  function: [
    ['name', 'Name', 0, 'get_weather'],
    ['description', 'Description', 0, 'What it does'],
    ['parameters', 'Parameters (JSON schema)', 7, '{"type": "object"}'],
    ['mock', 'Saved answer', 2, 'Empty: you answer by hand'],
  ],
  mcp: [
    ['label', 'Label', 0, 'docs'],
    ['url', 'URL', 0, 'https://mcp.example.org/mcp'],
    ['authorization', 'Authorization', 0, 'Token, if it needs one'],
  ],
};

/**
 * @param {Tool} tool
 * @param {number} index
 * @param {Console} app
 */
function toolForm(tool, index, app) {
  const { toolbox } = app;
  const faults = faultsOf(tool);
  const change = (/** @type {Record<string, any>} */ part) =>
    apply(
      app,
      toolbox.tools.map((other, at) => (at === index ? /** @type {Tool} */ ({ ...other, ...part }) : other)),
    );
  const title = tool.type === 'mcp' ? tool.label : tool.name;
  return html`<fieldset class="tool">
    <legend>${tool.type === 'mcp' ? 'MCP server' : 'Function'} ${title}</legend>
    ${FORM[tool.type].map(([name, label, rows, example]) => {
            const id = `tool-${index}-${name}`;
            const value = /** @type {any} */ (tool)[name];
            const changed = (/** @type {Event} */ event) =>
              change({ [name]: /** @type {HTMLInputElement} */ (event.target).value });
            const invalid = String(faults[name] !== undefined);
            const control =
              rows > 0
                ? html`<textarea id=${id} rows=${rows} spellcheck="false" class="code" placeholder=${example} aria-invalid=${invalid} .value=${value} @change=${changed}></textarea>`
                : html`<input id=${id} placeholder=${example} spellcheck="false" aria-invalid=${invalid} .value=${value} @change=${changed} />`;
            return html`<div class="field" ?data-error=${faults[name] !== undefined}><label for=${id}>${label}</label>${control}
        ${faults[name] === undefined ? nothing : html`<p class="error">${faults[name]}</p>`}</div>`;
          })}
    ${
      tool.type === 'mcp'
        ? html`<div class="field" data-kind="switch"><label for="tool-${index}-ask">Ask before each call</label>
      <input type="checkbox" role="switch" id="tool-${index}-ask" .checked=${tool.ask} @change=${(/** @type {Event} */ event) => change({ ask: /** @type {HTMLInputElement} */ (event.target).checked })} /></div>`
        : nothing
    }
    <button type="button" class="quiet" @click=${() =>
      apply(
        app,
        toolbox.tools.filter((_, at) => at !== index),
      )}>${icon('trash')}<span>Remove</span></button>
  </fieldset>`;
}
