// @ts-check
/**
 * What a screen reader is told: each sentence once, when it is complete. Spoken replies are told after they were played:
 * the reader must not talk over them.
 */

/** Sentences that were told, by item. @type {WeakMap<import('../conversation.js').Entry, number>} */
const told = new WeakMap();

/** @param {import('../console.js').Console} app */
export function announce(app) {
  const region = document.getElementById('announcer');
  if (region === null) return;
  for (const entry of app.conversation.entries.slice(-4)) {
    if (entry.kind !== 'message' || entry.role !== 'assistant') continue;
    if (entry.spoken && (entry.open || app.conversation.soundQueued)) continue;
    const end = entry.open ? entry.text.search(/[.!?…][^.!?…]*$/) + 1 : entry.text.length;
    const from = told.get(entry) ?? 0;
    if (end <= from) continue;
    told.set(entry, end);
    region.textContent = entry.text.slice(from, end).trim();
  }
}
