// @ts-check
/** The functions and MCP servers that the page offers to the model. Pure. */

/**
 * @typedef {object} FunctionTool
 * @property {'function'} type
 * @property {string} name
 * @property {string} description
 * @property {string} parameters JSON as it was typed
 * @property {string} mock the saved answer; empty: answered by hand
 */
/**
 * @typedef {object} McpTool
 * @property {'mcp'} type
 * @property {string} label
 * @property {string} url
 * @property {string} authorization
 * @property {boolean} ask every call needs an approval
 */
/** @typedef {FunctionTool | McpTool} Tool */

/** @type {FunctionTool} */
export const NEW_FUNCTION = {
  type: 'function',
  name: 'get_weather',
  description: 'The weather in a city.',
  parameters: JSON.stringify({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }, null, 2),
  mock: '21 degrees and sunny',
};

/** @type {McpTool} */
export const NEW_MCP = { type: 'mcp', label: 'docs', url: 'https://', authorization: '', ask: true };

/**
 * @param {Tool} tool
 * @returns {Record<string, string>} faults by field; empty: none
 */
export function faultsOf(tool) {
  /** @type {Record<string, string>} */
  const faults = {};
  if (tool.type === 'mcp') {
    if (!/^[a-zA-Z0-9_-]{1,64}$/.test(tool.label)) faults.label = 'Letters, digits, _ and -, at most 64.';
    if (!URL.canParse(tool.url) || !/^https?:/.test(tool.url) || tool.url === 'https://')
      faults.url = 'A URL that begins with https://';
    return faults;
  }
  if (!/^[a-zA-Z0-9_-]{1,64}$/.test(tool.name)) faults.name = 'Letters, digits, _ and -, at most 64.';
  const fault = schemaFault(tool.parameters);
  if (fault !== null) faults.parameters = fault;
  return faults;
}

/**
 * @param {string} text
 * @returns {string | null} what is wrong with a JSON schema of arguments
 */
function schemaFault(text) {
  if (text.trim() === '') return null;
  let schema;
  try {
    schema = JSON.parse(text);
  } catch (error) {
    return `No JSON: ${/** @type {Error} */ (error).message}`;
  }
  if (schema === null || typeof schema !== 'object' || Array.isArray(schema))
    return 'A schema is an object: {"type": "object", …}';
  if (schema.type !== 'object') return 'The type of the arguments is "object".';
  if (schema.properties !== undefined && (schema.properties === null || typeof schema.properties !== 'object'))
    return '"properties" is an object.';
  const missing = (schema.required ?? []).filter((/** @type {string} */ name) => !(name in (schema.properties ?? {})));
  return missing.length > 0 ? `"required" names ${missing.join(', ')}, which "properties" does not have.` : null;
}

/**
 * @param {readonly Tool[]} tools
 * @returns {any[]} `tools` of a session; those with faults are left out
 */
export function toDeclarations(tools) {
  return tools
    .filter((tool) => Object.keys(faultsOf(tool)).length === 0)
    .map((tool) => {
      if (tool.type === 'mcp') {
        const { label: server_label, url: server_url, authorization, ask } = tool;
        return {
          type: 'mcp',
          server_label,
          server_url,
          require_approval: ask ? 'always' : 'never',
          ...(authorization ? { authorization } : {}),
        };
      }
      const { name, description, parameters } = tool;
      return {
        type: 'function',
        name,
        description,
        ...(parameters.trim() === '' ? {} : { parameters: JSON.parse(parameters) }),
      };
    });
}
