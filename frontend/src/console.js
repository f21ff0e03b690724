// @ts-check
/** The parts wired together: microphone -> socket -> conversation -> loudspeaker, and what the person can do. */
import { Access, ConnectionRefused } from './access.js';
import { SAMPLE_RATE, decibels, peakOf } from './audio.js';
import { measureNetwork, routeMicrophone } from './call.js';
import { FRAME_MS } from './capture.js';
import * as codec from './codec.js';
import { Conversation, PREVIEW } from './conversation.js';
import { replay } from './heard.js';
import { Replayer } from './replayer.js';
import { keep, timeOfDay } from './kept.js';
import { EventLog } from './log.js';
import { callSoundOf, clientOf, microphoneOf, playerOf, toolboxOf } from './parts.js';
import { Recording } from './recording.js';
import { SettingsControl } from './settings-control.js';
import { initialState } from './state.js';
import { always, tab } from './storage.js';
import { Track, markEvent } from './track.js';
import { Turns } from './turns.js';
import { VoiceTrace } from './voice.js';

/** @typedef {import('./codec.js').WireEvent} WireEvent */
/** @typedef {import('./conversation.js').Effect} Effect */
/** @typedef {{text: string, tone: 'error' | 'info'}} Notice */

/** A held button that was released sooner was no speech; the server commits no less. */
const LEAST_TALK_MS = 150;
const CHECK_MS = 2_500;
/** A microphone in a quiet room delivers more than this. */
const SILENT_DB = -70;
const FIGURES_MS = 1_000;

export class Console {
  /**
   * @param {object} options
   * @param {URL} options.base of the server
   * @param {() => void} options.onChange something that is shown has changed
   */
  constructor({ base, onChange }) {
    this.base = base;
    this.onChange = onChange;
    this.state = initialState();
    this.access = new Access(base, tab.read('key', null));
    /** @type {import('./client.js').Transport} */
    this.transport = always.read('transport', 'websocket');
    /** What the network of a call does; null: there is none. @type {import('./call-figures.js').Figures | null} */
    this.network = null;
    /** The server wants a key; what is to be done when there is one. @type {{message: string, retry: () => Promise<void>} | null} */
    this.keyRequest = null;
    /** @type {Notice | null} */
    this.notice = null;
    /** @type {string[]} */
    this.voices = [];
    this.model = '';
    this.imported = false;
    /** There is something that a reload would lose. */
    this.unkept = false;
    /** The item that the person has chosen. @type {string | null} */
    this.selected = null;
    this.levels = { in: 0, out: 0, underruns: 0 };
    this.audio = {
      deviceId: '',
      echoCancellation: true,
      noiseSuppression: true,
      autoGainControl: true,
      sinkId: '',
      volume: 1,
      ...always.read('audio', {}),
    };
    this.lastFrameAt = 0;
    this.talkFrom = 0;
    this.idleFrom = 0;
    this.waitingFrom = 0;
    /** The loudest sample of a microphone check; null: none runs. @type {number | null} */
    this.checked = null;
    this.conversation = new Conversation(this.state);
    this.turns = new Turns();
    this.log = new EventLog();
    this.track = new Track(performance.now());
    this.recording = new Recording();
    this.voice = new VoiceTrace();
    /** When the session began, in ms of the page's clock. */
    this.openedAt = 0;
    this.client = clientOf(this);
    this.callSound = callSoundOf(this);
    this.player = playerOf(this);
    this.microphone = microphoneOf(this);
    this.toolbox = toolboxOf(this);
    this.settings = new SettingsControl({
      send: (event) => this.client.send(event),
      tools: () => this.toolbox.session(),
    });
    this.replayer = new Replayer({ recording: () => this.recording, onChange: () => this.onChange() });
    setInterval(() => void measureNetwork(this), FIGURES_MS);
  }

  /** Forgets the conversation. */
  clear() {
    this.conversation = new Conversation(this.state);
    this.turns = new Turns();
    this.log = new EventLog();
    this.track = new Track(performance.now());
    this.recording = new Recording();
    this.voice = new VoiceTrace();
    this.selected = null;
  }

  // ---- What arrives ----

  /** @param {WireEvent} event */
  receive(event) {
    const now = performance.now();
    this.unkept = true;
    this.log.add('in', event, now);
    this.keepTimes(event, now);
    const atField = this.settings.receive(event);
    this.state.pushToTalk = this.settings.byHand;
    for (const effect of this.conversation.receive(event, now)) {
      if (!(effect.kind === 'error' && atField)) void this.carryOut(effect);
    }
    if (event.type === 'input_audio_buffer.committed') this.noteLength(event.item_id);
    if (event.type === 'response.done') {
      this.toolbox.continue();
      this.track.madeMs = 0;
    }
    this.onChange();
  }

  /**
   * The length of speech whose end no detection has told.
   * @param {string} itemId
   */
  noteLength(itemId) {
    const entry = this.conversation.find(itemId);
    const samples = this.recording.samplesOf(itemId)?.length ?? 0;
    if (entry) entry.spokenMs ??= (1_000 * samples) / SAMPLE_RATE;
  }

  /**
   * Turns, timeline and recording follow the same events.
   * @param {WireEvent} event
   * @param {number} now
   */
  keepTimes(event, now) {
    const { recording, turns, track } = this;
    const audioMs = event.type.startsWith('input_') ? (event.audio_start_ms ?? event.audio_end_ms) : event.audio_ms;
    const audioTime = typeof audioMs === 'number' ? now - (recording.sentMs - audioMs) : null;
    if (event.type === 'input_audio_buffer.speech_started') recording.speechStarted(event.audio_start_ms);
    const ended = event.type === 'input_audio_buffer.speech_stopped';
    if (ended || (event.type === 'input_audio_buffer.committed' && !recording.clips.has(event.item_id))) {
      recording.speechEnded(event.item_id, now);
    }
    turns.receive(event, now, ended ? this.voice.lastVoiced() : null);
    markEvent(track, event, now, audioTime);
    if (event.type !== 'session.timeline') return;
    if (event.kind === 'audio_made')
      track.madeMs = Math.max(0, event.made_ms - this.conversation.receivedMs(event.response_id));
    if (event.kind === 'reply_measured') turns.addServerFigures(event.response_id, event.figures);
  }

  /** @param {Effect} effect */
  async carryOut(effect) {
    if (effect.kind === 'play') {
      if (this.conversation.find(effect.itemId)) this.recording.reply(effect.itemId, effect.pcm);
      this.track.arrived(effect.pcm);
      this.player.push(effect.itemId, effect.contentIndex, effect.pcm);
    }
    if (effect.kind === 'playEnd') this.player.end();
    if (effect.kind === 'hold') this.player.hold();
    if (effect.kind === 'release') this.player.release();
    if (effect.kind === 'played') this.drained();
    if (effect.kind === 'call') this.toolbox.called(effect.entry);
    if (effect.kind === 'endTurn') for (const event of codec.endTurn()) this.client.send(event);
    if (effect.kind === 'error') this.show(effect.message);
    if (effect.kind === 'interrupt') await this.silence(effect.itemId);
  }

  /** @param {string | null} itemId of the reply that is cut off */
  async silence(itemId) {
    const heard = await this.player.stop();
    this.track.played(0);
    this.levels.out = 0;
    if (heard === null || heard.itemId !== itemId) return;
    const entry = this.conversation.find(itemId);
    if (entry) entry.heardMs = heard.playedMs;
    this.recording.cut(itemId, heard.playedMs);
    this.client.send(codec.truncateItem(itemId, heard.contentIndex, heard.playedMs));
    this.onChange();
  }

  /** @param {Int16Array} frame of the microphone, 20 ms */
  frame(frame) {
    const now = performance.now();
    this.lastFrameAt = now;
    const peak = peakOf(frame);
    this.levels.in = Math.max(peak, this.levels.in * 0.8);
    this.voice.push(decibels(frame), now);
    this.track.put('user', now, peak);
    if (this.checked !== null) this.checked = Math.max(this.checked, peak);
    routeMicrophone(this);
    const { call } = this.client;
    if (!this.sending || (call === null ? !this.client.send(codec.appendAudio(frame)) : call.track === null)) return;
    if (call !== null) this.recording.skipTo(now - this.openedAt - FRAME_MS);
    this.recording.heardUser(frame);
  }

  /** Whether the server is to hear the microphone. */
  get sending() {
    const { microphone, pushToTalk, talking } = this.state;
    return microphone === 'on' && this.checked === null && (!pushToTalk || talking);
  }

  /**
   * @param {import('./player.js').Heard} heard
   * @param {import('./player.js').Report} report
   */
  played({ itemId, playedMs }, { queued, peak, underruns }) {
    const now = performance.now();
    this.track.put('assistant', now + this.player.latencyMs, peak);
    this.track.played(queued);
    this.levels.out = Math.max(peak, this.levels.out * 0.8);
    this.levels.underruns = underruns;
    const turn = this.turns.of(itemId);
    if (playedMs > 0 && turn && turn.at.heard === undefined) {
      this.turns.heard(itemId, now - playedMs);
      this.track.mark('sound', now - playedMs, 'first sound', itemId);
    }
    this.recording.replyHeard(itemId, now - playedMs);
    this.conversation.heard(itemId, playedMs);
    this.onChange();
  }

  drained() {
    for (const entry of this.conversation.entries) if (!entry.cut && !entry.open) entry.heardMs = entry.audioMs;
    this.conversation.drained();
    this.levels.out = 0;
    this.onChange();
  }

  // ---- The connection ----

  opened() {
    this.openedAt = performance.now();
    this.conversation.inCall = this.client.call !== null;
    routeMicrophone(this);
    this.recording.restartClock();
    this.settings.open();
    const { entries } = this.conversation;
    if (entries.length === 0) return;
    const events = replay(entries);
    for (const event of events) this.client.send(event);
    const last = entries.at(-1);
    const done = 'The new session knows the conversation above.';
    if (last?.kind === 'divider') last.text = `${last.text.split(' · ')[0]} · ${done}`;
    else this.conversation.divide(`Reconnected at ${timeOfDay()} · ${done}`);
  }

  /** @param {string} why */
  async lost(why) {
    this.conversation.end();
    this.unkept = true;
    this.conversation.divide(`${why.replace(/\.$/, '')} at ${timeOfDay()}`);
    this.track.mark('lost', performance.now(), 'connection lost');
    if (this.state.connection === 'closed') this.show(why);
    await this.silencePlayers();
    if (this.state.connection === 'closed') await this.setMicrophone(false);
    this.onChange();
  }

  /** Nothing that was on its way is heard any more. */
  async silencePlayers() {
    await Promise.all([this.player.stop(), this.callSound.stop()]);
    this.player.release();
    this.track.played(0);
    this.levels.out = 0;
  }

  async join() {
    await Promise.all([this.player.start(), this.client.connect()]);
  }

  /**
   * Says why there is no session; asks for a key where that is the reason.
   * @param {unknown} error
   * @param {() => Promise<void>} retry what is to be done with another key
   */
  async refused(error, retry) {
    if (error instanceof ConnectionRefused && error.code === 'invalid_api_key')
      this.keyRequest = { message: error.message, retry };
    else this.show(error instanceof Error ? error.message : String(error));
    if (this.state.connection === 'closed') await this.setMicrophone(false);
    this.onChange();
  }

  // ---- What the person does ----

  /**
   * Runs a user's action: what fails is shown.
   * @param {() => Promise<void>} action
   * @returns {Promise<boolean>} whether it was done
   */
  async act(action) {
    this.notice = null;
    try {
      await action();
      return true;
    } catch (error) {
      await this.refused(error, action);
      return false;
    } finally {
      this.onChange();
    }
  }

  /**
   * @param {string} text
   * @param {Notice['tone']} tone
   */
  show(text, tone = 'error') {
    this.notice = { text, tone };
    this.onChange();
  }

  toggleMicrophone() {
    return this.act(() => this.setMicrophone(!this.microphone.wanted));
  }

  /** Listens for a moment, sends nothing, and says what it has heard. */
  checkMicrophone() {
    return this.act(async () => {
      this.checked = 0;
      try {
        await this.microphone.set(true);
        await new Promise((resolve) => setTimeout(resolve, CHECK_MS));
        await this.microphone.set(false);
        const heard = Math.round(20 * Math.log10(this.checked + 1e-5));
        if (heard < SILENT_DB)
          throw new Error('The microphone delivers silence. Choose another one under Audio, or look for its switch.');
        this.show(`The microphone works: the loudest sound reached ${heard} dB of full scale.`, 'info');
      } finally {
        this.checked = null;
        this.levels.in = 0;
      }
    });
  }

  /** @param {boolean} on */
  async setMicrophone(on) {
    if (on) {
      await this.microphone.set(true);
      if (!this.microphone.wanted) return;
      try {
        await this.join();
      } catch (error) {
        await this.microphone.set(false);
        throw error;
      }
      return;
    }
    await this.microphone.set(false);
    this.levels.in = 0;
    this.state.talking = false;
    if (this.state.floor === 'hearing') this.endTurn();
    // Speech over a reply is classified at its end: that end must come.
    else if (this.state.held) this.client.send(codec.appendAudio(new Int16Array(SAMPLE_RATE)));
    routeMicrophone(this);
  }

  /** The turn ends here, and no silence that follows needs to tell. */
  endTurn() {
    const now = performance.now();
    this.turns.sent('speech', this.voice.lastVoiced() ?? now, now);
    this.conversation.userDone();
    for (const event of codec.endTurn()) this.client.send(event);
  }

  /** @param {boolean} on */
  setPushToTalk(on) {
    return this.changeSetting('detection', on ? 'none' : 'server_vad');
  }

  /**
   * @param {import('./settings.js').FieldName} name
   * @param {any} value
   */
  async changeSetting(name, value) {
    this.settings.change(name, value);
    if (this.state.pushToTalk === this.settings.byHand) return this.onChange();
    this.state.pushToTalk = this.settings.byHand;
    await this.act(() => this.setMicrophone(false));
  }

  /** The talk button or the space bar goes down. */
  press() {
    return this.act(async () => {
      this.state.talking = true;
      await this.stopReply();
      await this.setMicrophone(true);
      this.client.send({ type: 'input_audio_buffer.clear' });
      this.recording.speechFrom = this.recording.recentCount;
      this.talkFrom = performance.now();
      if (!this.state.talking) this.talkFrom = 0;
    });
  }

  /** It goes up. */
  release() {
    if (!this.state.talking) return;
    this.state.talking = false;
    if (this.talkFrom > 0 && performance.now() - this.talkFrom >= LEAST_TALK_MS) this.endTurn();
    this.talkFrom = 0;
    routeMicrophone(this);
    this.onChange();
  }

  /**
   * @param {string} text
   * @returns {Promise<boolean>} whether it was sent
   */
  sendText(text) {
    return this.act(async () => {
      await this.join();
      await this.stopReply();
      const now = performance.now();
      if (!this.client.send(codec.userText(text)))
        throw new Error('The connection is gone. Your text is kept; send it again.');
      this.turns.sent('text', now, now);
      this.track.mark('sent', now, 'sent');
      this.conversation.userDone();
      this.client.send(codec.createResponse());
    });
  }

  stop() {
    return this.act(() => this.stopReply());
  }

  async stopReply() {
    if (this.conversation.responseActive) this.client.send(codec.cancelResponse());
    if (this.conversation.soundQueued && this.client.call) this.client.send({ type: 'output_audio_buffer.clear' });
    await Promise.all(this.conversation.interrupt().map((effect) => this.carryOut(effect)));
  }

  /** Ends the session; the page is empty again. */
  newConversation() {
    return this.act(async () => {
      await this.setMicrophone(false);
      this.client.close();
      await this.silencePlayers();
      this.conversation.end();
      this.imported = false;
      this.settings.session = null;
      this.settings.errors = {};
      this.clear();
      this.unkept = true;
      keep(this);
    });
  }

  /** @param {string} itemId */
  deleteItem(itemId) {
    const { conversation } = this;
    if (!this.client.send(codec.deleteItem(itemId)))
      conversation.entries = conversation.entries.filter(({ id }) => id !== itemId);
    this.selected = null;
    this.onChange();
  }

  /** @param {string} voice */
  previewVoice(voice) {
    return this.act(async () => {
      await this.join();
      const greeting = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hello' }] };
      const output = voice === '' ? {} : { audio: { output: { voice } } };
      const response = {
        conversation: 'none',
        metadata: { [PREVIEW]: 'voice' },
        output_modalities: ['audio'],
        input: [greeting],
        ...output,
      };
      this.client.send({ type: 'response.create', response });
    });
  }

  /** @param {Partial<typeof this.audio>} change */
  async setAudio(change) {
    this.audio = { ...this.audio, ...change };
    always.write('audio', this.audio);
    this.player.setVolume(this.audio.volume);
    this.callSound.setVolume(this.audio.volume);
    await this.act(async () => {
      if ('sinkId' in change)
        await Promise.all([this.player, this.callSound].map((sound) => sound.setSink(this.audio.sinkId)));
      const { volume: _volume, sinkId: _sink, ...input } = change;
      if (Object.keys(input).length > 0) await this.microphone.restart();
    });
  }
}
