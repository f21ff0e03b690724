// @ts-check
/** What the server has, and the key that it wants. */
import { tab } from './storage.js';

/** @typedef {import('./console.js').Console} Console */

/**
 * Called once: the page is of use when the server is ready, and has a key where it wants one.
 * @param {Console} app
 */
export async function begin(app) {
  await app.client.waitUntilReady();
  await askForKey(app);
}

/**
 * Asks for a key if the server wants one.
 * @param {Console} app
 */
async function askForKey(app) {
  if ((await fetchNames(app)) === 401) await app.refused(app.access.wrongKey(), () => askForKey(app));
}

/**
 * Model, voices and tools of the server.
 * @param {Console} app
 * @returns {Promise<number>} the HTTP status
 */
export async function fetchNames(app) {
  const response = await app.access.fetch('v1/models');
  if (response.ok) {
    const [model] = (await response.json()).data;
    app.model = model?.id ?? '';
    app.voices = model?.voices ?? [];
    app.toolbox.serverTools = model?.server_tools ?? [];
    app.onChange();
  }
  return response.status;
}

/**
 * @param {Console} app
 * @param {string} key
 */
export async function setKey(app, key) {
  app.access.key = key === '' ? null : key;
  tab.write('key', app.access.key);
  const retry = app.keyRequest?.retry ?? (() => askForKey(app));
  app.keyRequest = null;
  await app.act(retry);
}
