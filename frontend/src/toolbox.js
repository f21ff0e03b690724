// @ts-check
/** What the model may call: the page's functions and MCP servers, and the server's own tools; the answers to calls. */
import { approval, createResponse, functionOutput } from './codec.js';
import { toDeclarations } from './functions.js';
import { always } from './storage.js';

/** @typedef {import('./functions.js').Tool} Tool */
/** @typedef {import('./conversation.js').Entry} Entry */
/** @typedef {import('./codec.js').WireEvent} WireEvent */
/**
 * A tool that the server runs, as /v1/models lists it.
 * @typedef {{name: string, description: string, offered: boolean}} ServerTool `offered`: sessions have it unnamed
 */

/** Tools of the server that this page asks for although the operator does not offer them: small models cannot do sums. */
const ASKED = ['calculate'];

export class Toolbox {
  /**
   * @param {object} owner
   * @param {(event: WireEvent) => boolean} owner.send
   * @param {() => void} owner.onChange
   * @param {() => boolean} owner.busy a response runs, or a call has no result yet
   */
  constructor({ send, onChange, busy }) {
    this.send = send;
    this.onChange = onChange;
    this.busy = busy;
    /** A result was given, and the model has not been asked to continue. */
    this.owesReply = false;
    /** @type {Tool[]} */
    this.tools = always.read('tools', []);
    /** @type {ServerTool[]} */
    this.serverTools = [];
    /** The person's choice among them, by name. @type {Record<string, boolean>} */
    this.chosen = always.read('serverTools', {});
  }

  declarations() {
    return toDeclarations(this.tools);
  }

  /**
   * Naming a tool of the server replaces what its operator offers, so those are named as well.
   * @returns {{tools: any[], server_tools?: string[]}} fields of the session
   */
  session() {
    const tools = this.declarations();
    if (this.serverTools.length === 0) return { tools };
    return { tools, server_tools: this.serverTools.filter((tool) => this.uses(tool)).map(({ name }) => name) };
  }

  /** @param {ServerTool} tool */
  uses({ name, offered }) {
    return this.chosen[name] ?? (offered || ASKED.includes(name));
  }

  /**
   * @param {string} name of a tool of the server
   * @param {boolean} used
   */
  choose(name, used) {
    this.chosen = { ...this.chosen, [name]: used };
    always.write('serverTools', this.chosen);
    this.onChange();
  }

  /** @param {Tool[]} tools */
  set(tools) {
    this.tools = tools;
    always.write('tools', tools);
    this.onChange();
  }

  /**
   * The model has called a function. Those of the page with a saved answer are answered at once; the server answers its
   * own; the rest waits for the person.
   * @param {Entry} entry
   */
  called(entry) {
    const tool = this.tools.find((tool) => tool.type === 'function' && tool.name === entry.name);
    if (!tool) entry.by = 'server';
    else if (tool.type === 'function' && tool.mock !== '') this.answer(entry, tool.mock);
  }

  /**
   * @param {Entry} entry
   * @param {string} output
   */
  answer(entry, output) {
    this.send(functionOutput(entry.callId ?? '', output));
    entry.output = output;
    entry.open = false;
    this.owesReply = true;
    this.continue();
  }

  /** Asks for the reply to the results once nothing else is to come. */
  continue() {
    if (!this.owesReply || this.busy()) return;
    this.owesReply = false;
    this.send(createResponse());
  }

  /**
   * @param {Entry} entry
   * @param {boolean} approve
   */
  approve(entry, approve) {
    entry.approved = approve;
    entry.open = false;
    this.send(approval(entry.id, approve));
    this.onChange();
  }
}
