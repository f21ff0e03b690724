// @ts-check
/**
 * What the server's events mean for this page: who said what, who has the floor, how long the answer took. Pure: the time
 * comes in, effects go out, so a whole conversation is tested without a browser.
 *
 *   idle -> listening -> hearing -> thinking -> speaking -> listening
 *
 * An answer is over for us when its `response.done` came and its sound has been played. Until then the user's voice (or the
 * Stop button) interrupts it: the sound stops, what is still on the way is dropped, and the server is told what was heard.
 *
 * A voice that may be nothing (a cough, "mhm") first holds the sound: the server says `output_audio_buffer.paused`, and
 * within a second either `resumed`, and it goes on from the very sample, or `speech_started`, which interrupts. While it is
 * held everything else goes on, also what a later answer brings: only the loudspeaker waits.
 */
import { floatFromPcm } from './audio.js';
import { pcmFromBase64 } from './codec.js';

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/** @typedef {'idle' | 'listening' | 'hearing' | 'thinking' | 'speaking'} Phase */
/**
 * @typedef {object} Entry
 * @property {string} id the item's
 * @property {'user' | 'assistant'} role
 * @property {string} text
 * @property {number | null} spokenMs length of the user's speech, whose text may come late or never
 * @property {boolean} open more text may come
 * @property {boolean} interrupted
 * @property {number | null} latencyMs end of the user's turn, as the server told it -> first sound here
 */
/**
 * @typedef {{kind: 'play', itemId: string, contentIndex: number, samples: Float32Array}
 *   | {kind: 'interrupt', itemId: string | null}
 *   | {kind: 'hold'} | {kind: 'release'}
 *   | {kind: 'error', message: string}} Effect
 */

export class Conversation {
  constructor() {
    /** @type {Entry[]} in the order of the conversation */
    this.entries = [];
    /** @type {Phase} */
    this.phase = 'idle';
    /** The response whose deltas we follow. @type {string | null} */
    this.responseId = null;
    this.responseActive = false;
    this.soundQueued = false;
    /** The server waits to see what a voice over the answer wants; nothing is to be heard of us until then. */
    this.held = false;
    /** The answer whose sound came last. @type {string | null} */
    this.speakingItemId = null;
    /** Responses cut off here: what still arrives of them is dropped. @type {Set<string>} */
    this.cutOff = new Set();
    /** @type {number | null} */
    this.turnEndedAt = null;
    this.speechStartMs = 0;
  }

  get replying() {
    return this.responseActive || this.soundQueued;
  }

  /** The socket is open and the session is there. */
  begin() {
    this.phase = 'listening';
  }

  /** The socket is gone; the transcript stays. */
  end() {
    this.phase = 'idle';
    this.responseActive = false;
    this.soundQueued = false;
    this.held = false;
    for (const entry of this.entries) entry.open = false;
  }

  /**
   * The user has ended the turn by hand: sent a text, or switched the microphone off.
   * @param {number} now in ms
   */
  userDone(now) {
    this.turnEndedAt = now;
    this.phase = 'thinking';
  }

  /** All sound that was handed out has been played. */
  drained() {
    this.soundQueued = false;
    this.settle();
  }

  /**
   * The user cuts the answer off, by voice or by button.
   * @returns {Effect[]}
   */
  interrupt() {
    if (!this.replying) return [];
    if (this.responseId !== null) this.cutOff.add(this.responseId);
    const entry = this.find(this.speakingItemId);
    if (entry && this.soundQueued) entry.interrupted = true;
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
    return this.entries.find((entry) => entry.id === id);
  }

  /**
   * @param {string} id
   * @param {'user' | 'assistant'} role
   */
  ensure(id, role) {
    const known = this.find(id);
    if (known) return known;
    /** @type {Entry} */
    const entry = { id, role, text: '', spokenMs: null, open: true, interrupted: false, latencyMs: null };
    this.entries.push(entry);
    return entry;
  }

  settle() {
    if (!this.replying && this.phase !== 'hearing' && this.phase !== 'idle') this.phase = 'listening';
  }
}

/** @typedef {(conversation: Conversation, event: WireEvent, now: number) => Effect[] | void} Handler */

/** @type {Record<string, Handler>} */
const HANDLERS = {
  'input_audio_buffer.speech_started': (conversation, event) => {
    const effects = [...conversation.interrupt(), ...release(conversation)];
    conversation.phase = 'hearing';
    conversation.ensure(event.item_id, 'user');
    conversation.speechStartMs = event.audio_start_ms;
    return effects;
  },

  'input_audio_buffer.speech_stopped': (conversation, event, now) => {
    const entry = conversation.ensure(event.item_id, 'user');
    entry.spokenMs = event.audio_end_ms - conversation.speechStartMs;
    entry.open = false;
    conversation.phase = 'thinking';
    conversation.turnEndedAt = now;
  },

  'conversation.item.added': (conversation, { item }) => {
    if (item.type !== 'message' || item.role === 'system') return;
    const entry = conversation.ensure(item.id, item.role);
    entry.text = textOf(item) || entry.text;
    entry.open = item.status === 'in_progress';
  },

  'conversation.item.done': (conversation, { item }) => {
    const entry = conversation.find(item.id);
    if (!entry || entry.role !== 'assistant') return;
    entry.open = false;
    if (item.status === 'incomplete') entry.interrupted = true;
  },

  'conversation.item.deleted': (conversation, { item_id }) => {
    conversation.entries = conversation.entries.filter((entry) => entry.id !== item_id);
  },

  'conversation.item.input_audio_transcription.delta': (conversation, { item_id, delta }) => {
    conversation.ensure(item_id, 'user').text += delta;
  },

  'conversation.item.input_audio_transcription.completed': (conversation, { item_id, transcript }) => {
    conversation.ensure(item_id, 'user').text = transcript.trim();
  },

  'response.created': (conversation, { response }) => {
    conversation.responseId = response.id;
    conversation.responseActive = true;
    if (conversation.phase !== 'hearing') conversation.phase = 'thinking';
  },

  'response.output_audio_transcript.delta': addText,
  'response.output_text.delta': addText,

  'response.output_audio.delta': (conversation, event, now) => {
    const entry = conversation.ensure(event.item_id, 'assistant');
    if (conversation.turnEndedAt !== null) {
      entry.latencyMs = now - conversation.turnEndedAt;
      conversation.turnEndedAt = null;
    }
    conversation.soundQueued = true;
    conversation.speakingItemId = event.item_id;
    if (conversation.phase !== 'hearing') conversation.phase = 'speaking';
    const samples = floatFromPcm(pcmFromBase64(event.delta));
    return [{ kind: 'play', itemId: event.item_id, contentIndex: event.content_index, samples }];
  },

  'output_audio_buffer.paused': (conversation) => {
    conversation.held = true;
    return [{ kind: 'hold' }];
  },

  'output_audio_buffer.resumed': release,

  'response.done': (conversation, { response }) => {
    conversation.responseActive = false;
    conversation.cutOff.delete(response.id);
    conversation.settle();
    if (response.status !== 'failed') return [];
    const reason = response.status_details?.error?.message ?? 'no reason was given';
    return [{ kind: 'error', message: `The answer failed: ${reason}` }];
  },

  error: (_conversation, { error }) => {
    // An honest race: our cancel crosses the end of the answer.
    if (error.code === 'response_cancel_not_active') return [];
    return [{ kind: 'error', message: error.message }];
  },
};

/** @type {Handler} */
function addText(conversation, { item_id, delta }) {
  conversation.ensure(item_id, 'assistant').text += delta;
}

/**
 * After an interruption, which empties the loudspeaker's queue: what was held must not be heard.
 * @param {Conversation} conversation
 * @returns {Effect[]}
 */
function release(conversation) {
  if (!conversation.held) return [];
  conversation.held = false;
  return [{ kind: 'release' }];
}

/** @param {any} item */
function textOf(item) {
  return item.content.map((/** @type {any} */ part) => part.text ?? part.transcript ?? '').join('');
}
