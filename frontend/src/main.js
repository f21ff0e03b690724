// @ts-check
/** Starts the page: the key in the address, the kept conversation, keys of the keyboard, the screen's lock. */
import { Console } from './console.js';
import { keep, restore } from './kept.js';
import { begin, setKey } from './server.js';
import { Page } from './views/page.js';
import { watch } from './watch.js';

/** @type {Page | undefined} */
export let page;
export const app = new Console({ base: new URL('.', location.href), onChange: () => page?.draw() });

// A fragment never leaves the browser by itself; it is removed so that it is not copied or bookmarked with the address.
const hash = new URLSearchParams(location.hash.slice(1));
const key = hash.get('key');
if (key !== null) {
  history.replaceState(null, '', location.pathname + location.search);
  void setKey(app, key);
}

restore(app);
page = new Page(app);
page.draw();

void begin(app);
setInterval(() => watch(app), 1_000);
setInterval(() => keep(app), 2_000);
addEventListener('pagehide', () => keep(app));
if (navigator.mediaDevices) {
  void page.listDevices();
  navigator.mediaDevices.addEventListener('devicechange', () => void page?.listDevices());
}

// A browser that has kept the loudspeaker closed opens it at a click.
addEventListener('pointerdown', () => {
  if (app.player.suspended) void app.player.start();
  if (app.callSound.suspended) app.callSound.resume();
});

/** @param {EventTarget | null} target */
const takesKeys = (target) =>
  target instanceof HTMLElement &&
  target.closest('input, textarea, select, button, [role="listbox"], [role="tab"]') !== null;

addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && page?.sheet) page.closeSheet();
  else if (event.key === 'Escape') void app.stop();
  const talk = event.target instanceof HTMLElement && event.target.id === 'microphone';
  if (event.key !== ' ' || !app.state.pushToTalk || event.repeat || (takesKeys(event.target) && !talk)) return;
  event.preventDefault();
  void app.press();
});
addEventListener('keyup', (event) => {
  if (event.key === ' ' && app.state.talking) {
    event.preventDefault();
    app.release();
  }
});
addEventListener('blur', () => app.release());

/** The screen stays on while someone talks to it. @type {WakeLockSentinel | null} */
let lock = null;
setInterval(async () => {
  const wanted = app.state.microphone === 'on' && document.visibilityState === 'visible';
  if (!wanted) {
    void lock?.release();
    lock = null;
  } else if (lock === null || lock.released) {
    lock = (await navigator.wakeLock?.request('screen').catch(() => null)) ?? null;
  }
}, 1_000);
