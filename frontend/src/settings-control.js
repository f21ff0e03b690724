// @ts-check
/** The settings of the session: what is wanted, what is in force, and which field the server refused. */
import { FIELDS, fieldOf, fromSession, initialValues, toSession } from './settings.js';
import { always } from './storage.js';

/** @typedef {import('./settings.js').FieldName} FieldName */
/** @typedef {import('./codec.js').WireEvent} WireEvent */

const MAX_ATTEMPTS = 4;
/** Asks for the events that only the timeline needs. */
const TIMELINE = 'session.timeline';

export class SettingsControl {
  /**
   * @param {object} owner
   * @param {(event: WireEvent) => boolean} owner.send
   * @param {() => {tools: any[], server_tools?: string[]}} owner.tools what the model may call
   */
  constructor({ send, tools }) {
    this.send = send;
    this.tools = tools;
    /** @type {import('./settings.js').Values} */
    this.values = { ...initialValues(), ...always.read('settings', {}) };
    /** @type {Partial<Record<FieldName | 'tools', string>>} */
    this.errors = {};
    /** The session as the server shows it. @type {any} */
    this.session = null;
    /** Updates that the server has not answered. @type {Map<string, (FieldName | 'tools')[]>} */
    this.pending = new Map();
    this.updates = 0;
    /** Fields whose control still shows what was refused. @type {Set<FieldName>} */
    this.undone = new Set();
    this.attempts = 0;
  }

  /** Whether the person ends the turns. */
  get byHand() {
    return this.values.detection === 'none';
  }

  /** The first update of a session. */
  open() {
    this.pending.clear();
    this.errors = {};
    this.attempts = 0;
    this.sendAll();
  }

  /** @param {{tools?: boolean}} [what] `tools` false: they were refused, the rest may be accepted */
  sendAll({ tools = true } = {}) {
    this.attempts += 1;
    const session = { ...toSession(this.values), include: [TIMELINE], ...(tools ? this.tools() : {}) };
    this.update(session, [...FIELDS.map(({ name }) => name), 'tools']);
  }

  /**
   * @param {FieldName} name
   * @param {any} value
   */
  change(name, value) {
    this.values = { ...this.values, [name]: value };
    delete this.errors[name];
    this.keep();
    const names = /** @type {FieldName[]} */ ([name]);
    // The fields of the other kind of detection appear with it.
    if (name === 'detection' && value !== 'none')
      names.push(
        ...FIELDS.filter(
          ({ param, initial, name: other }) => param.includes('turn_detection.') && this.values[other] !== initial,
        ).map((field) => field.name),
      );
    this.update(toSession(this.values, names), names);
  }

  /** What the model may call has changed. */
  changeTools() {
    delete this.errors.tools;
    this.update({ type: 'realtime', ...this.tools() }, ['tools']);
  }

  /** Back to the defaults; those of a running session apply with the next one where they name no value. */
  reset() {
    this.values = initialValues();
    this.errors = {};
    this.keep();
    this.update(
      toSession(
        this.values,
        FIELDS.map(({ name }) => name),
      ),
      FIELDS.map(({ name }) => name),
    );
  }

  /**
   * @param {Record<string, any>} session
   * @param {(FieldName | 'tools')[]} names
   */
  update(session, names) {
    const event_id = `set_${(this.updates += 1)}`;
    if (this.send({ type: 'session.update', event_id, session })) this.pending.set(event_id, names);
  }

  /**
   * @param {WireEvent} event from the server
   * @returns {boolean} whether it is an error that is shown at a field
   */
  receive(event) {
    if (event.type === 'session.created') this.session = event.session;
    if (event.type === 'session.updated') this.accepted(event.session);
    if (event.type !== 'error') return false;
    const names = this.pending.get(event.error.event_id ?? '');
    if (!names) return false;
    this.pending.delete(event.error.event_id);
    this.refused(names, event.error);
    return true;
  }

  /** @param {any} session */
  accepted(session) {
    this.session = session;
    const [first] = this.pending.keys(); // updates are answered in order
    const names = this.pending.get(first ?? '') ?? [];
    // After the update that opens a session its refused fields are still told.
    if (names.length < FIELDS.length) for (const name of names) delete this.errors[name];
    if (first !== undefined) this.pending.delete(first);
    if (this.pending.size > 0 || session.type !== 'realtime') return; // newer wishes are on their way
    this.values = fromSession(session, this.values);
    this.keep();
  }

  /**
   * @param {(FieldName | 'tools')[]} names
   * @param {{param?: string | null, message: string}} error
   */
  refused(names, error) {
    const param = error.param ?? null;
    const name = fieldOf(param) ?? (param?.includes('tools') ? 'tools' : names[0]);
    this.errors[name] = error.message;
    if (name !== 'tools') this.undone.add(name);
    if (name === 'tools') {
      if (names.length > 1 && this.attempts < MAX_ATTEMPTS) this.sendAll({ tools: false });
    } else if (this.session?.type === 'realtime' && names.length < FIELDS.length) {
      this.values = { ...this.values, [name]: fromSession(this.session, this.values)[name] };
    } else if (this.attempts < MAX_ATTEMPTS) {
      // Nothing of a refused update is in force: the rest is sent again without the field at fault.
      this.values = { ...this.values, [name]: initialValues()[name] };
      this.sendAll();
    }
    this.keep();
  }

  keep() {
    always.write('settings', this.values);
  }
}
