// @ts-check
/**
 * What the server's events mean for this page: who said what, who has the floor. Pure: the time comes in, effects go out,
 * so a whole conversation is tested without a browser.
 *
 *   free -> hearing -> thinking -> speaking -> free
 *
 * An answer is over for us when its `response.done` came and its sound has been played. Until then the user's voice (or
 * the Stop button) interrupts it: the sound stops, what is still on the way is dropped, and the server is told what was
 * heard.
 *
 * In a call over WebRTC the server plays the sound itself and tells so: `output_audio_buffer.started`, then `stopped`
 * or `cleared`. No audio deltas come, and how much was heard is counted where the call's sound is.
 *
 * With interruption mode `pause` speech over a reply first holds the sound: `output_audio_buffer.paused`, then within a
 * second either `resumed`, and it continues from the same sample, or `speech_started`, which interrupts.
 */
import { SAMPLE_RATE } from './audio.js';
import { RACE, pcmFromBase64 } from './codec.js';

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/** @typedef {import('./state.js').State} State */
/**
 * @typedef {object} Entry
 * @property {string} id the item's
 * @property {'message' | 'tool' | 'approval' | 'divider'} kind
 * @property {'user' | 'assistant'} role
 * @property {string} text the words; of a divider its label; of a tool call its arguments
 * @property {boolean} open more may come
 * @property {boolean} lost the connection broke while it was open
 * @property {boolean} cut it was interrupted
 * @property {number | null} spokenMs length of the user's speech, whose text may come late or never
 * @property {boolean} spoken the reply has sound, or will have
 * @property {number} audioMs sound of the reply that has arrived
 * @property {boolean} whole all of its sound has arrived
 * @property {number} heardMs sound of the reply that has been played
 * @property {string} [name] of the tool
 * @property {string} [callId]
 * @property {string | null} [output] of the tool; null: none yet
 * @property {'server' | 'client' | 'mcp'} [by] who runs the tool
 * @property {number} [calledAt] ms
 * @property {number} [tookMs]
 * @property {boolean} [approved]
 */
/**
 * @typedef {{kind: 'play', itemId: string, contentIndex: number, pcm: Int16Array}
 *   | {kind: 'playEnd', itemId: string}
 *   | {kind: 'interrupt', itemId: string | null}
 *   | {kind: 'hold'} | {kind: 'release'}
 *   | {kind: 'played'}
 *   | {kind: 'endTurn'}
 *   | {kind: 'call', entry: Entry}
 *   | {kind: 'error', message: string, param: string | null, eventId: string | null}} Effect
 */

/** Key of `metadata` that marks a response as a voice preview: it is played and written nowhere. */
export const PREVIEW = 'console_preview';

export class Conversation {
  /** @param {State} state `floor` and `held` are written here, `microphone` is read */
  constructor(state) {
    this.state = state;
    /** @type {Entry[]} in the order of the conversation */
    this.entries = [];
    /** The response whose deltas we follow. @type {string | null} */
    this.responseId = null;
    this.responseActive = false;
    this.soundQueued = false;
    /** The server plays the sound. */
    this.inCall = false;
    /** The answer whose sound came last. @type {string | null} */
    this.speakingItemId = null;
    /** Responses cut off here: what still arrives of them is dropped. @type {Set<string>} */
    this.cutOff = new Set();
    /** Responses that only preview a voice. @type {Set<string>} */
    this.previews = new Set();
    this.speechStartMs = 0;
    this.dividers = 0;
  }

  get replying() {
    return this.responseActive || this.soundQueued;
  }

  /** The socket is gone; the transcript stays, and what was not finished is marked. */
  end() {
    const playing = this.soundQueued ? this.find(this.speakingItemId) : undefined;
    if (playing) playing.lost = true;
    this.state.floor = 'free';
    this.state.held = false;
    this.responseActive = false;
    this.soundQueued = false;
    for (const entry of this.entries) {
      if (!entry.open) continue;
      entry.open = false;
      entry.lost = true;
    }
  }

  /** @param {string} label */
  divide(label) {
    if (this.entries.length === 0) return;
    const id = `divider_${(this.dividers += 1)}_${this.entries.length}`;
    this.entries.push({ ...blank(id, 'assistant'), kind: 'divider', text: label, open: false });
  }

  /** The user has ended the turn by hand: sent a text, released the button, or switched the microphone off. */
  userDone() {
    this.state.floor = 'thinking';
  }

  /**
   * @param {string} responseId
   * @returns {number} ms of its sound that have arrived
   */
  receivedMs(responseId) {
    return responseId === this.responseId ? (this.find(this.speakingItemId)?.audioMs ?? 0) : 0;
  }

  /** All sound that was handed out has been played. */
  drained() {
    this.soundQueued = false;
    this.settle();
  }

  /**
   * @param {string} itemId
   * @param {number} ms of its sound have been played
   */
  heard(itemId, ms) {
    const entry = this.find(itemId);
    if (entry && !entry.cut) entry.heardMs = Math.max(entry.heardMs, ms);
  }

  /**
   * The user cuts the answer off, by voice or by button.
   * @returns {Effect[]}
   */
  interrupt() {
    if (!this.replying) return [];
    if (this.responseId !== null) this.cutOff.add(this.responseId);
    const entry = this.find(this.speakingItemId);
    if (entry && this.soundQueued) {
      entry.cut = true;
      entry.open = false;
    }
    this.soundQueued = false;
    this.settle();
    return [{ kind: 'interrupt', itemId: this.speakingItemId }];
  }

  /**
   * @param {WireEvent} event from the server
   * @param {number} now in ms
   * @returns {Effect[]} to carry out, in order
   */
  receive(event, now) {
    if (this.cutOff.has(event.response_id) && event.type.endsWith('.delta')) return [];
    return HANDLERS[event.type]?.(this, event, now) ?? [];
  }

  /** @param {string | null} id */
  find(id) {
    return this.entries.findLast((entry) => entry.id === id);
  }

  /**
   * @param {string} id
   * @param {'user' | 'assistant'} role
   */
  ensure(id, role) {
    const known = this.find(id);
    if (known) return known;
    const entry = blank(id, role);
    this.entries.push(entry);
    return entry;
  }

  settle() {
    if (!this.replying && this.state.floor !== 'hearing') this.state.floor = 'free';
  }
}

/**
 * @param {string} id
 * @param {'user' | 'assistant'} role
 * @returns {Entry}
 */
function blank(id, role) {
  return {
    id,
    kind: 'message',
    role,
    text: '',
    open: true,
    lost: false,
    cut: false,
    spokenMs: null,
    spoken: false,
    audioMs: 0,
    whole: false,
    heardMs: 0,
  };
}

/** @typedef {(conversation: Conversation, event: WireEvent, now: number) => Effect[] | void} Handler */

/** @type {Record<string, Handler>} */
const HANDLERS = {
  'input_audio_buffer.speech_started': (conversation, event) => {
    const effects = [...conversation.interrupt(), ...release(conversation)];
    conversation.state.floor = 'hearing';
    conversation.ensure(event.item_id, 'user');
    conversation.speechStartMs = event.audio_start_ms;
    // Speech over a reply is confirmed late: the microphone may be off by now, and no silence will end the turn.
    if (conversation.state.microphone === 'off') effects.push({ kind: 'endTurn' });
    return effects;
  },

  'input_audio_buffer.speech_stopped': (conversation, event) => {
    const entry = conversation.ensure(event.item_id, 'user');
    entry.spokenMs = event.audio_end_ms - conversation.speechStartMs;
    entry.open = false;
    conversation.state.floor = 'thinking';
  },

  'input_audio_buffer.committed': (conversation, { item_id }) => {
    conversation.ensure(item_id, 'user').open = false;
    if (conversation.state.floor === 'hearing') conversation.state.floor = 'thinking';
  },

  'conversation.item.added': (conversation, event, now) => {
    const { item } = event;
    if (item.type === 'message' && item.role !== 'system') {
      const entry = conversation.ensure(item.id, item.role);
      entry.text = textOf(item) || entry.text;
      entry.open = item.status === 'in_progress';
    }
    if (item.type === 'function_call' || item.type === 'mcp_call') callAdded(conversation, item, now);
    if (item.type === 'function_call_output') outputAdded(conversation, item, now);
    if (item.type === 'mcp_approval_request') approvalAdded(conversation, item);
  },

  'conversation.item.done': (conversation, { item }, now) => {
    const entry = conversation.find(item.id);
    if (!entry) return [];
    if (item.type === 'function_call') return callDone(conversation, entry, item);
    if (item.type === 'mcp_call') mcpDone(entry, item, now);
    if (entry.role !== 'assistant' || item.type !== 'message') return [];
    entry.open = false;
    entry.whole = item.status === 'completed' && !conversation.inCall;
    if (item.status === 'incomplete') entry.cut = true;
    return [{ kind: 'playEnd', itemId: item.id }];
  },

  'conversation.item.deleted': (conversation, { item_id }) => {
    conversation.entries = conversation.entries.filter((entry) => entry.id !== item_id);
  },

  'conversation.item.input_audio_transcription.delta': (conversation, { item_id, delta }) => {
    conversation.ensure(item_id, 'user').text += delta;
  },

  'conversation.item.input_audio_transcription.completed': (conversation, { item_id, transcript }) => {
    const entry = conversation.find(item_id);
    if (entry) entry.text = transcript.trim();
  },

  'response.created': (conversation, { response }) => {
    if (response.metadata?.[PREVIEW]) {
      conversation.previews.add(response.id);
      return;
    }
    conversation.responseId = response.id;
    conversation.responseActive = true;
    if (conversation.state.floor !== 'hearing') conversation.state.floor = 'thinking';
  },

  'response.output_audio_transcript.delta': addText,
  'response.output_text.delta': addText,

  'response.output_audio.delta': (conversation, event) => {
    const pcm = pcmFromBase64(event.delta);
    if (!conversation.previews.has(event.response_id)) {
      const entry = conversation.ensure(event.item_id, 'assistant');
      entry.audioMs += (1_000 * pcm.length) / SAMPLE_RATE;
      entry.spoken = true;
      conversation.speakingItemId = event.item_id;
    }
    conversation.soundQueued = true;
    if (conversation.state.floor !== 'hearing') conversation.state.floor = 'speaking';
    return [{ kind: 'play', itemId: event.item_id, contentIndex: event.content_index, pcm }];
  },

  'output_audio_buffer.started': (conversation) => {
    conversation.soundQueued = true;
    if (conversation.state.floor !== 'hearing') conversation.state.floor = 'speaking';
  },

  'output_audio_buffer.stopped': (conversation) => {
    const entry = conversation.find(conversation.speakingItemId);
    if (entry && !entry.cut) entry.whole = true;
    return [{ kind: 'played' }];
  },

  'output_audio_buffer.cleared': (conversation) => {
    const entry = conversation.find(conversation.speakingItemId);
    if (entry && conversation.soundQueued) Object.assign(entry, { cut: true, open: false });
    conversation.soundQueued = false;
    conversation.settle();
  },

  'conversation.item.truncated': (conversation, { item_id, audio_end_ms }) => {
    const entry = conversation.find(item_id);
    if (!entry || !conversation.inCall) return;
    Object.assign(entry, { cut: true, open: false, heardMs: audio_end_ms });
  },

  'output_audio_buffer.paused': (conversation) => {
    conversation.state.held = true;
    return [{ kind: 'hold' }];
  },

  'output_audio_buffer.resumed': release,

  'response.done': (conversation, { response }) => {
    conversation.cutOff.delete(response.id);
    if (conversation.previews.delete(response.id)) return [];
    conversation.responseActive = false;
    conversation.settle();
    if (response.status !== 'failed') return [];
    const reason = response.status_details?.error?.message ?? 'no reason was given';
    return [{ kind: 'error', message: `The answer failed: ${reason}`, param: null, eventId: null }];
  },

  error: (_conversation, { error }) => {
    if (error.event_id?.startsWith(RACE) || error.code === 'response_cancel_not_active') return [];
    return [{ kind: 'error', message: error.message, param: error.param ?? null, eventId: error.event_id ?? null }];
  },
};

/** @type {Handler} */
function addText(conversation, { type, response_id, item_id, delta }) {
  if (conversation.previews.has(response_id)) return;
  const entry = conversation.ensure(item_id, 'assistant');
  entry.text += delta;
  entry.spoken = type === 'response.output_audio_transcript.delta';
  if (entry.spoken && conversation.inCall) conversation.speakingItemId = item_id;
}

/**
 * @param {Conversation} conversation
 * @param {any} item
 * @param {number} now
 */
function callAdded(conversation, item, now) {
  const entry = conversation.ensure(item.id, 'assistant');
  // Given back to a new session, it keeps who ran it.
  const by = entry.by ?? (item.type === 'mcp_call' ? 'mcp' : 'client');
  Object.assign(entry, {
    kind: 'tool',
    name: item.name,
    callId: item.call_id ?? item.id,
    output: null,
    by,
    calledAt: now,
  });
  entry.text = item.arguments || entry.text;
  entry.open = true;
}

/**
 * @param {Conversation} conversation
 * @param {Entry} entry
 * @param {any} item
 * @returns {Effect[]}
 */
function callDone(conversation, entry, item) {
  entry.text = item.arguments;
  // A call that was given back to a new session has its result already.
  return entry.output === null && conversation.responseActive ? [{ kind: 'call', entry }] : [];
}

/**
 * @param {Conversation} conversation
 * @param {any} item
 * @param {number} now
 */
function outputAdded(conversation, item, now) {
  const entry = conversation.entries.findLast(({ callId }) => callId === item.call_id);
  if (!entry) return;
  entry.output = item.output;
  entry.open = false;
  entry.tookMs ??= now - (entry.calledAt ?? now);
}

/**
 * @param {Entry} entry
 * @param {any} item
 * @param {number} now
 */
function mcpDone(entry, item, now) {
  entry.text = item.arguments ?? entry.text;
  entry.output = item.error ? `Failed: ${item.error.message ?? JSON.stringify(item.error)}` : (item.output ?? '');
  entry.open = false;
  entry.tookMs = now - (entry.calledAt ?? now);
}

/**
 * @param {Conversation} conversation
 * @param {any} item
 */
function approvalAdded(conversation, item) {
  const entry = conversation.ensure(item.id, 'assistant');
  Object.assign(entry, {
    kind: 'approval',
    name: `${item.server_label}: ${item.name}`,
    text: item.arguments,
    open: true,
  });
}

/**
 * After an interruption, which empties the loudspeaker's queue: what was held must not be heard.
 * @param {Conversation} conversation
 * @returns {Effect[]}
 */
function release(conversation) {
  if (!conversation.state.held) return [];
  conversation.state.held = false;
  return [{ kind: 'release' }];
}

/** @param {any} item */
function textOf(item) {
  return item.content.map((/** @type {any} */ part) => part.text ?? part.transcript ?? '').join('');
}
