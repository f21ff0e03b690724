// @ts-check
/** What survives a reload of the tab, and a saved session that is opened. */
import { tab } from './storage.js';

/** @typedef {import('./console.js').Console} Console */

/**
 * Keeps the conversation for a reload of this tab.
 * @param {Console} app
 */
export function keep(app) {
  if (app.imported || !app.unkept) return;
  app.unkept = false;
  const { entries } = app.conversation;
  tab.write('conversation', entries.length === 0 ? null : { entries, turns: app.turns.list });
}

/**
 * Takes up what `keep` kept.
 * @param {Console} app
 */
export function restore(app) {
  app.state.pushToTalk = app.settings.byHand;
  const kept = tab.read('conversation', /** @type {any} */ (null));
  if (kept === null) return;
  app.conversation.entries = kept.entries;
  app.turns.list = kept.turns;
  app.conversation.end();
  const { entries } = app.conversation;
  if (entries.at(-1)?.kind !== 'divider') app.conversation.divide(`Page loaded again at ${timeOfDay()}`);
}

/**
 * Shows a saved session as it was.
 * @param {Console} app
 * @param {import('./exports.js').SavedSession} saved
 */
export async function open(app, saved) {
  await app.newConversation();
  app.imported = true;
  app.conversation.entries = saved.entries;
  app.turns.list = saved.turns;
  app.log.rows = saved.rows;
  app.track.load(saved);
  app.onChange();
}

export const timeOfDay = () => new Date().toLocaleTimeString('en-GB');
