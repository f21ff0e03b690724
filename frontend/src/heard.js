// @ts-check
/** Which words of a spoken reply have been heard, and the events that give a conversation to a new session. Pure. */

/** @typedef {import('./conversation.js').Entry} Entry */
/** @typedef {import('./codec.js').WireEvent} WireEvent */

/** Length of speech per character while a reply still arrives; nano speaks 14 characters a second, people 12 to 17. */
const MS_PER_CHARACTER = 68;

/**
 * The wire has no times of words: they are spread over the sound by their length.
 * @param {Entry} entry a reply with sound
 * @returns {[string, string]} heard and not heard, cut between words
 */
export function splitHeard({ text, spoken, audioMs, heardMs, open, whole }) {
  if (!spoken) return [text, ''];
  const total = audioMs > 0 && !whole ? Math.max(audioMs, text.length * MS_PER_CHARACTER) : audioMs;
  if (total === 0) return whole ? [text, ''] : ['', text];
  if (!open && heardMs >= total - 20) return [text, ''];
  const end = Math.round((heardMs / total) * text.length);
  if (end === 0) return ['', text];
  // A word that has begun counts as heard.
  const gap = text.slice(end).search(/\s/);
  const at = gap < 0 ? text.length : end + gap;
  return [text.slice(0, at), text.slice(at)];
}

/**
 * The events that give what was said to a session that has not heard it. Of a reply that was cut off only the words
 * that were heard; of speech without a transcript nothing, because its sound is not kept for that.
 * @param {readonly Entry[]} entries
 * @returns {WireEvent[]}
 */
export function replay(entries) {
  return entries.flatMap((entry) => {
    if (entry.kind === 'message') return replayMessage(entry);
    if (entry.kind === 'tool' && entry.by !== 'mcp' && entry.output != null) return replayCall(entry);
    return [];
  });
}

/**
 * @param {Entry} entry
 * @returns {WireEvent[]}
 */
function replayMessage(entry) {
  const text = (entry.cut || entry.lost ? splitHeard(entry)[0] : entry.text).trim();
  if (text === '') return [];
  const type = entry.role === 'user' ? 'input_text' : 'output_text';
  const item = { id: entry.id, type: 'message', role: entry.role, content: [{ type, text }] };
  return [{ type: 'conversation.item.create', item }];
}

/**
 * @param {Entry} entry
 * @returns {WireEvent[]}
 */
function replayCall({ id, callId, name, text, output }) {
  const call = { id, type: 'function_call', call_id: callId, name, arguments: text };
  const result = { type: 'function_call_output', call_id: callId, output };
  return [call, result].map((item) => ({ type: 'conversation.item.create', item }));
}
