"""A real server that logs all it may is given keys in every place and talked to; its log has no key and no words."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.audio.streams import Resampler
from tests.serving import RunningServer, serving

pytest.importorskip("mcp", reason="the extra 'mcp' is not installed")

from mcp.server.mcpserver import MCPServer
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.tools.test_mcp_client import served

SPEECH = Path(__file__).parents[1] / "data" / "speech" / "what_time_is_it_rms.wav"
KEY = "Zq0serverkey"


class Marks:
    """Words that are sent and must not be in the log."""

    def __init__(self) -> None:
        self.words = [KEY]

    def new(self, place: str) -> str:
        self.words.append(f"Zq{len(self.words)}{place}Zq")
        return self.words[-1]


def ask_http(server: RunningServer, path: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(server.http + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


async def use_http(server: RunningServer, marks: Marks) -> str:
    """Keys in all places of HTTP requests; gives a client secret."""
    bearer = {"Authorization": f"Bearer {KEY}"}
    session = {"type": "realtime", "instructions": marks.new("instructions")}
    made = json.dumps({"session": session}).encode()
    sdp = f"v=0\r\na=ice-pwd:{marks.new('icepwd')}\r\n".encode()
    calls = "/v1/realtime/calls"
    requests: list[tuple[str, dict[str, str], bytes | None]] = [
        ("/v1/models", bearer, None),
        ("/v1/models", {"Authorization": f"Bearer {marks.new('wrongbearer')}"}, None),
        ("/v1/models", {"Authorization": marks.new("scheme")}, None),
        ("/v1/models", {"api-key": marks.new("wrongapikey")}, None),
        (f"/v1/models?api-key={marks.new('query')}&key={marks.new('otherquery')}", {}, None),
        (f"/v1/models/{marks.new('model')}", bearer, None),
        (f"/openai/v1/realtime?api-key={KEY}", {}, None),
        (f"/{marks.new('path')}/v1?{marks.new('bare')}", {"Cookie": f"session={marks.new('cookie')}"}, None),
        (f"/v1/realtime/client_secrets?{marks.new('secretquery')}", bearer, b'{"session": "' + made),
        ("/v1/realtime/client_secrets", bearer, f'{{"session": {{"{marks.new("field")}": 1}}}}'.encode()),
        ("/v1/realtime/sessions", bearer, f'{{"voice": "{marks.new("voice")}"}}'.encode()),
        (calls, bearer | {"Content-Type": "application/sdp"}, sdp),
        (f"{calls}/{marks.new('call')}/hangup", bearer, b""),
        (f"{calls}/{marks.new('call')}/{marks.new('action')}", bearer, marks.new("actionbody").encode()),
    ]
    for path, headers, body in requests:
        await asyncio.to_thread(ask_http, server, path, headers, body)
    status, answer = await asyncio.to_thread(ask_http, server, "/v1/realtime/client_secrets", bearer, made)
    assert status == 200
    secret = str(json.loads(answer)["value"])
    marks.words.append(secret)
    return secret


async def break_http(server: RunningServer, marks: Marks) -> None:
    """Requests that no HTTP library sends, and a handshake that stops half-way."""
    key = marks.new("raw")
    upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer {key}\r\n"
    for raw in (
        f"GET /{key}?{key} NOTHTTP\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {key}\x00\r\n\r\n",
        f"{key} /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET /v1/realtime HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n",
        f"GET /v1/realtime HTTP/1.1\r\nHost: a\r\n{upgrade}Sec-WebSocket-Key: {key}\r\n\r\n",
        f"GET /v1/realtime?{key} HTTP/1.1\r\nHost: a\r\n{upgrade}",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(raw.encode())
        with contextlib.suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(reader.read(), 0.3)
        writer.close()


async def refuse_sockets(server: RunningServer, marks: Marks) -> None:
    """Handshakes with wrong keys in every place."""
    host = f"ws://127.0.0.1:{server.port}"
    attempts: list[tuple[str, dict[str, Any]]] = [
        (f"{host}/openai/v1/realtime?api-key={marks.new('azure')}", {}),
        (f"{host}/openai/realtime?api-version=1&deployment=x&api-key={marks.new('azurebeta')}", {}),
        (server.url, {"additional_headers": {"Authorization": f"Bearer {marks.new('wsbearer')}"}}),
        (server.url, {"additional_headers": {"api-key": marks.new("wsapikey")}}),
        (server.url, {"subprotocols": ["realtime", f"openai-insecure-api-key.{marks.new('subprotocol')}"]}),
        (server.url, {"subprotocols": [f"openai-insecure-api-key.ek_{marks.new('oldsecret')}"]}),
        (f"{server.url}?call_id={marks.new('callid')}&api-key={KEY}", {}),
        (f"{host}/openai/v1/realtime?api-key={KEY}&call_id={marks.new('callid')}", {}),
        (f"{host}/{marks.new('wspath')}?model={marks.new('wsmodel')}", {}),
    ]
    for url, options in attempts:
        with contextlib.suppress(InvalidStatus, ConnectionClosed):
            async with asyncio.timeout(20), connect(url, **options) as ws:
                while True:
                    await ws.recv()


async def tell(ws: ClientConnection, **event: Any) -> None:
    await ws.send(json.dumps(event))


async def answer(ws: ClientConnection, marks: Marks, **response: Any) -> str:
    """Ask for a response; what it said is noted. Gives its status."""
    await tell(ws, type="response.create", response={"max_output_tokens": 60, **response})
    return await read(ws, marks)


async def read(ws: ClientConnection, marks: Marks) -> str:
    async with asyncio.timeout(60):
        while True:
            event = json.loads(await ws.recv())
            said = event.get("transcript") or event.get("text") or event.get("arguments")
            if event["type"].endswith(".done") and isinstance(said, str) and len(said) > 12:
                marks.words.append(said)
            if event["type"] == "response.done":
                return str(event["response"]["status"])


async def mistakes(ws: ClientConnection, marks: Marks) -> None:
    """Messages that are wrong, each with a word."""
    await ws.send('{"type": "' + marks.new("badjson"))
    await ws.send(marks.new("nojson"))
    await tell(ws, type=marks.new("type"))
    await tell(ws, type="session.update", session={"type": marks.new("kind"), marks.new("key"): marks.new("value")})
    await tell(ws, type="session.update", session={"type": "realtime", "audio": {"output": {"voice": marks.new("v")}}})
    await tell(ws, type="input_audio_buffer.append", audio=marks.new("base64"))
    await tell(ws, type="conversation.item.retrieve", item_id=marks.new("item"))
    item = {"type": "function_call_output", "call_id": marks.new("nocall"), "output": marks.new("output")}
    await tell(ws, type="conversation.item.create", item=item)
    pattern = {"type": "object", "properties": {"a": {"type": "string", "pattern": marks.new("pattern") + "("}}}
    tool = {"type": "function", "name": "f", "description": marks.new("description"), "parameters": pattern}
    await tell(ws, type="session.update", session={"type": "realtime", "tools": [tool]})


async def talk(server: RunningServer, marks: Marks, mcp: str) -> None:
    """A conversation with typed and spoken words, functions, and tools of a server."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with connect(server.url, additional_headers=headers, max_size=None) as ws:
        session = json.loads(await ws.recv())["session"]
        marks.words.append(session["id"])
        async with connect(f"{server.url}?call_id={session['id']}", additional_headers=headers) as beside:
            await tell(beside, type=marks.new("besidetype"))
            await mistakes(ws, marks)
            typed = {"type": "input_text", "text": f"Tell me about {marks.new('typed')}."}
            item = {"type": "message", "role": "user", "content": [typed]}
            await tell(ws, type="conversation.item.create", item=item)
            await answer(ws, marks, instructions=marks.new("reply"), metadata={"a": marks.new("metadata")})
        city = {"type": "object", "properties": {"city": {"enum": [marks.new("argument")]}}, "required": ["city"]}
        tool = {"type": "function", "name": marks.new("function"), "description": "d", "parameters": city}
        assert await answer(ws, marks, tools=[tool], tool_choice="required") == "completed"
        item = {"type": "function_call", "name": "f", "call_id": "c", "arguments": f'{{"a": "{marks.new("made")}"}}'}
        await tell(ws, type="conversation.item.create", item=item)
        result = {"type": "function_call_output", "call_id": "c", "output": marks.new("result")}
        await tell(ws, type="conversation.item.create", item=result)
        await answer(ws, marks, output_modalities=["text"])
        await use_mcp(ws, marks, mcp)
        await speak(ws)
        assert await answer(ws, marks) != "failed"
        await ws.close(4000, marks.new("closereason"))


async def use_mcp(ws: ClientConnection, marks: Marks, url: str) -> None:
    """A server that works and whose tool fails, one that is refused, one that answers nonsense."""
    good = {
        "type": "mcp",
        "server_label": marks.new("label"),
        "server_url": f"{url}?token={marks.new('mcpquery')}",
        "authorization": marks.new("mcpauthorization"),
        "headers": {"X-Key": marks.new("mcpheader")},
        "require_approval": "never",
    }
    nonsense = {**good, "server_label": "nonsense", "server_url": url.replace("/mcp", f"/{marks.new('nonsense')}")}
    refused = {**good, "server_label": "refused", "server_url": f"https://x:{marks.new('user')}@example.org/mcp"}
    for servers in ([refused], [nonsense], [good]):
        await tell(ws, type="session.update", session={"type": "realtime", "tools": servers})
        async with asyncio.timeout(30):
            while not (kind := json.loads(await ws.recv())["type"]).startswith("mcp_list_tools.") and kind != "error":
                pass
            while kind == "mcp_list_tools.in_progress":
                kind = json.loads(await ws.recv())["type"]
    for name in ("lookup", "broken"):
        choice = {"type": "mcp", "server_label": good["server_label"], "name": name}
        assert await answer(ws, marks, tool_choice=choice) == "completed"
        await read(ws, marks)  # what is said about the result


async def speak(ws: ClientConnection) -> None:
    by_hand = {"input": {"turn_detection": None}}
    await tell(ws, type="session.update", session={"type": "realtime", "tools": [], "audio": by_hand})
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    resampled = Resampler(rate, 24_000).push(samples)
    pcm = (np.concatenate([resampled, np.zeros(24_000, np.float32)]) * 32767).astype("<i2").tobytes()
    for start in range(0, len(pcm), 9600):
        audio = base64.b64encode(pcm[start : start + 9600]).decode()
        await tell(ws, type="input_audio_buffer.append", audio=audio)
    await tell(ws, type="input_audio_buffer.commit")


async def break_sockets(server: RunningServer, marks: Marks, secret: str) -> None:
    """Frames that break the connection, behind a client secret."""
    for message in (b"\xff" * 7, marks.new("large").encode() * 3_000_000):  # more than a message may have
        options: dict[str, Any] = {"subprotocols": ["realtime", f"openai-insecure-api-key.{secret}"]}
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(20), connect(server.url, **options) as ws:
                while True:
                    await ws.recv()
                    await ws.send(message, text=True)


class WithNonsense:
    """An MCP server that answers nonsense with a word beside its own path."""

    def __init__(self, app: ASGIApp, word: str) -> None:
        self._app = app
        self._word = word

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/mcp":
            body = json.dumps({"jsonrpc": "2.0", "id": self._word, "result": {self._word: self._word}})
            await PlainTextResponse(body, media_type="application/json")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


@contextlib.asynccontextmanager
async def tool_server(marks: Marks) -> AsyncIterator[str]:
    server = MCPServer("example")
    found, fault = marks.new("mcpresult"), marks.new("mcpfault")

    @server.tool(description=marks.new("mcpdescription"))
    async def lookup() -> str:
        return found

    @server.tool()
    async def broken() -> str:
        raise ValueError(fault)

    async with served(WithNonsense(server.streamable_http_app(), marks.new("mcpnonsense"))) as url:
        yield url


async def use_all(server: RunningServer) -> Marks:
    marks = Marks()
    async with tool_server(marks) as mcp:
        secret = await use_http(server, marks)
        await break_http(server, marks)
        await refuse_sockets(server, marks)
        await talk(server, marks, mcp)
        await break_sockets(server, marks, secret)
    return marks


def test_the_log_has_no_keys_and_no_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_API_KEY", KEY)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    flags = ["--port", "{port}", "--log-level", "debug", "--log-format", "json", "--mcp-hosts", "127.0.0.1"]
    with serving("realtime.cli serve", tmp_path / "log", flags) as server:
        marks = asyncio.run(use_all(server))
    log = (tmp_path / "log").read_text()
    assert not [word for word in marks.words if word in log], log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    messages = "\n".join(line["message"] for line in lines)
    for expected in ("GET /v1/models 200", "GET /v1/models 401", "POST /v1/realtime/calls/*/hangup 404"):
        assert expected in messages
    assert {line["status"] for line in lines if "status" in line} >= {101, 200, 400, 401, 404}
    (call,) = [line for line in lines if line.get("replies", 0) > 4]
    assert call["turns"] == 2 and call["reason"] == "channel_closed" and call["first_audio_p50_ms"] > 0
