// @ts-check
/** The session as code for a client. Pure. */

/**
 * @param {Record<string, any>} session of a `session.update`
 * @param {'python' | 'javascript' | 'json'} language
 * @param {URL} base of the server
 * @returns {string}
 */
export function snippet(session, language, base) {
  if (language === 'json') return JSON.stringify({ type: 'session.update', session }, null, 2);
  const socket = new URL('v1', base);
  socket.protocol = base.protocol === 'https:' ? 'wss:' : 'ws:';
  return language === 'python' ? python(session, String(socket)) : javascript(session, new URL('v1', base).href);
}

/**
 * @param {Record<string, any>} session
 * @param {string} url
 */
function python(session, url) {
  return `import asyncio

from openai import AsyncOpenAI  # pip install 'openai[realtime]'

SESSION = ${pythonLiteral(session, 0)}


async def main() -> None:
    client = AsyncOpenAI(api_key="none", websocket_base_url="${url}")
    async with client.realtime.connect(model="default") as connection:
        await connection.session.update(session=SESSION)
        async for event in connection:
            print(event.type)


asyncio.run(main())
`;
}

/**
 * @param {Record<string, any>} session
 * @param {string} url
 */
function javascript(session, url) {
  return `const url = new URL('${url}/realtime');
url.protocol = url.protocol.replace('http', 'ws');
const socket = new WebSocket(url, ['realtime', 'openai-insecure-api-key.none']);
socket.onopen = () => socket.send(JSON.stringify({ type: 'session.update', session }));
socket.onmessage = ({ data }) => console.log(JSON.parse(data).type);

const session = ${JSON.stringify(session, null, 2)};
`;
}

/**
 * @param {any} value
 * @param {number} depth
 * @returns {string}
 */
function pythonLiteral(value, depth) {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  const pad = '    '.repeat(depth + 1);
  const parts = Array.isArray(value)
    ? value.map((part) => pythonLiteral(part, depth + 1))
    : Object.entries(value).map(([key, part]) => `${JSON.stringify(key)}: ${pythonLiteral(part, depth + 1)}`);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return parts.length === 0
    ? open + close
    : `${open}\n${parts.map((part) => `${pad}${part},\n`).join('')}${'    '.repeat(depth)}${close}`;
}
