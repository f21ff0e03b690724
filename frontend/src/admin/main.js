// @ts-check
/** Starts the operators' page: the key in the address, the loop that asks the server, drawing at most once a frame. */
import { tab } from '../storage.js';
import { AdminApi } from './api.js';
import { Operators } from './app.js';
import { Page } from './views/page.js';

// A fragment never leaves the browser by itself; it is removed so that it is not copied or bookmarked with the address.
const given = new URLSearchParams(location.hash.slice(1)).get('key');
if (given !== null) {
  history.replaceState(null, '', location.pathname + location.search);
  tab.write('admin-key', given);
}

/** @type {Page | undefined} */
let page;
const api = new AdminApi(new URL('.', location.href), () => tab.read('admin-key', null));
export const app = new Operators(api, () => page?.draw());
page = new Page(app);
page.draw();
void app.run();

document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible' && app.keyRequest === null) void app.refresh();
});
addEventListener('keydown', (event) => {
  const inDialog = document.querySelector('dialog[open]') !== null;
  if (event.key === 'Escape' && !inDialog && app.watch !== null) app.closeEvents();
});
