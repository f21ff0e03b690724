// @ts-check
/** The functions and MCP servers that the person offers to the model, and the answers to its calls. */
import { CALCULATOR, calculate } from './calculator.js';
import { approval, createResponse, functionOutput } from './codec.js';
import { toDeclarations } from './functions.js';
import { always } from './storage.js';

/** @typedef {import('./functions.js').Tool} Tool */
/** @typedef {import('./conversation.js').Entry} Entry */
/** @typedef {import('./codec.js').WireEvent} WireEvent */

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
    this.tools = always.read('tools', [CALCULATOR]);
  }

  declarations() {
    return toDeclarations(this.tools);
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
    else if (tool.type === 'function' && tool.builtin) this.answer(entry, calculate(entry.text));
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
