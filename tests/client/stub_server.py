"""A server that speaks the wire and nothing else: an energy gate for ears, a tone for a voice, a fixed text.

It lets the callers (page, `talk`, `bench`) be tested without a model. Events and their order are those of the
protocol's server-VAD turn, text turn and barge-in.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import mimetypes
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

RATE = 24_000
FRONTEND = Path(__file__).parents[2] / "frontend"
SILENCE_MS = 300


@dataclass
class StubServer:
    """What it will say, and what it was told. ``chunk_gap_s``: time between pieces of sound. ``doubts``: a voice over
    a reply only pauses it, and was nothing. ``call``: the reply is a call of this function until it has a result.
    ``full``: there is no place for a session. ``tools``: the server's own, with whether all sessions have them; None:
    it has no list of them. ``refused``: the path of a session's field that it refuses."""

    text: str = "It is twelve o'clock."
    chunks: int = 5
    chunk_ms: int = 100
    chunk_gap_s: float = 0.02
    doubts: bool = False
    not_ready: str | None = None
    api_key: str | None = None
    full: bool = False
    call: str | None = None
    tools: dict[str, bool] | None = None
    refused: str = ""
    turns: list[dict[str, Any]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    port: int = 0
    sockets: set[ServerConnection] = field(default_factory=set)

    @property
    def page(self) -> str:
        return self.url.replace("ws://", "http://").replace("v1/realtime", "")

    def types(self) -> list[str]:
        """Types of the client's events, a run of the same type once."""
        return [kind for kind, _ in itertools.groupby(event["type"] for event in self.received)]

    def answer_http(self, _: ServerConnection, request: Request) -> Response | None:
        path = request.path.split("?")[0]
        if path == "/v1/realtime":
            return self._refusal(request)
        if path == "/healthz":
            status = HTTPStatus.OK if self.not_ready is None else HTTPStatus.SERVICE_UNAVAILABLE
            return _response(status, "application/json", json.dumps(self.health()).encode())
        if path == "/readyz":
            body = {"status": "full" if self.full else "ready", "reason": "all sessions are taken" if self.full else ""}
            status = HTTPStatus.SERVICE_UNAVAILABLE if self.full else HTTPStatus.OK
            return _response(status, "application/json", json.dumps(body).encode())
        if path == "/v1/models":
            model: dict[str, Any] = {"id": "stub", "voices": ["default", "deep"]}
            if self.tools is not None:
                model["server_tools"] = [_listed(name, offered) for name, offered in self.tools.items()]
            models = {"data": [model]}
            return self._refusal(request) or _response(HTTPStatus.OK, "application/json", json.dumps(models).encode())
        if path == "/v1/realtime/turns":
            return _response(HTTPStatus.OK, "application/json", json.dumps({"data": self.turns}).encode())
        file = FRONTEND / (path.lstrip("/") or "index.html")
        if not file.is_file():
            return _response(HTTPStatus.NOT_FOUND, "text/plain", b"not found")
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return _response(HTTPStatus.OK, kind, file.read_bytes())

    def health(self) -> dict[str, str]:
        return {"status": "loading" if self.not_ready else "ready", "reason": self.not_ready or ""}

    def _refusal(self, request: Request) -> Response | None:
        if self.full and request.path.startswith("/v1/realtime"):
            error = {"type": "server_error", "code": "server_full", "message": "All sessions are taken."}
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, "application/json", json.dumps({"error": error}).encode())
        offered = request.headers.get("Sec-WebSocket-Protocol", "").split(", ")
        if f"openai-insecure-api-key.{self.api_key}" in offered:
            return None
        if self.api_key is None or request.headers.get("Authorization") == f"Bearer {self.api_key}":
            return None
        error = {"type": "authentication_error", "code": "invalid_api_key", "message": "Incorrect API key."}
        return _response(HTTPStatus.UNAUTHORIZED, "application/json", json.dumps({"error": error}).encode())

    async def talk(self, socket: ServerConnection) -> None:
        self.sockets.add(socket)
        with contextlib.suppress(ConnectionClosed):
            await _Session(self, socket).run()
        self.sockets.discard(socket)

    async def drop_all(self) -> None:
        """Close every session with a fault."""
        for socket in tuple(self.sockets):
            await socket.close(1011, "the engine failed")

    async def end_all(self, code: str) -> None:
        """End every session for a reason."""
        for socket in tuple(self.sockets):
            error = {"type": "invalid_request_error", "code": code, "message": "The session was ended."}
            await socket.send(json.dumps({"type": "error", "event_id": "event_end", "error": error}))
            await socket.close(1000)


class _Session:
    def __init__(self, server: StubServer, socket: ServerConnection) -> None:
        self.server = server
        self.socket = socket
        self.ids = itertools.count(1)
        self.samples = 0
        self.quiet_ms = 0
        self.item_id: str | None = None
        self.last_item: str | None = None
        self.reply: asyncio.Task[None] | None = None
        self.paused = False
        self.session = _default_session()

    async def run(self) -> None:
        await self.send("session.created", session=self.session)
        try:
            async for message in self.socket:
                event = json.loads(message)
                self.server.received.append(event)
                await self.take(event)
        finally:
            await self.cancel("client_cancelled")

    async def send(self, type: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": type, "event_id": self.id("ev"), **fields}))

    def id(self, prefix: str) -> str:
        return f"{prefix}_{next(self.ids)}"

    async def take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                await self.update(event)
            case "input_audio_buffer.append":
                await self.hear(np.frombuffer(base64.b64decode(event["audio"]), "<i2"))
            case "conversation.item.create":
                await self.add_item({"id": self.id("item"), **event["item"], "status": "completed"})
            case "conversation.item.delete":
                await self.send("conversation.item.deleted", item_id=event["item_id"])
            case "input_audio_buffer.clear":
                await self.send("input_audio_buffer.cleared")
            case "input_audio_buffer.commit":
                await self.end_of_speech(self.samples * 1000 // RATE, detected=False)
            case "conversation.item.truncate":
                await self.send("conversation.item.truncated", **{k: v for k, v in event.items() if k != "type"})
            case "response.create":
                self.reply = asyncio.create_task(self.respond(), name="reply")
            case "response.cancel":
                await self.cancel("client_cancelled")
            case unknown:
                error = {
                    "type": "invalid_request_error",
                    "code": "invalid_value",
                    "message": f"unknown {unknown}",
                }
                await self.send("error", error=error)

    async def update(self, event: dict[str, Any]) -> None:
        speed = event["session"].get("audio", {}).get("output", {}).get("speed", 1)
        if speed > 1.2:
            return await self.refuse(event, "session.audio.output.speed", "Too fast for the stub.")
        if self.server.refused.removeprefix("session.") in event["session"]:
            return await self.refuse(event, self.server.refused, f"The stub refuses {self.server.refused}.")
        _merge(self.session, event["session"])
        await self.send("session.updated", session=self.session)

    async def refuse(self, event: dict[str, Any], param: str, message: str) -> None:
        error = {"type": "invalid_request_error", "code": "invalid_value", "param": param, "message": message}
        await self.send("error", error={**error, "event_id": event.get("event_id")})

    async def hear(self, pcm: np.ndarray) -> None:
        self.samples += len(pcm)
        ms = self.samples * 1000 // RATE
        loud = bool(np.square(pcm / 32768).mean() > 1e-4)
        self.quiet_ms = 0 if loud else self.quiet_ms + len(pcm) * 1000 // RATE
        if self.server.doubts and self.reply is not None:
            await self.doubt(loud)
        elif loud and self.item_id is None:
            self.item_id = self.id("item")
            await self.send("input_audio_buffer.speech_started", item_id=self.item_id, audio_start_ms=ms)
            await self.cancel("turn_detected")
        elif self.item_id is not None and self.quiet_ms >= SILENCE_MS:
            await self.end_of_speech(ms)

    async def doubt(self, loud: bool) -> None:
        if loud and not self.paused:
            await self.send("output_audio_buffer.paused", response_id="resp")
        elif self.paused and self.quiet_ms >= SILENCE_MS:
            await self.send("output_audio_buffer.resumed", response_id="resp")
        self.paused = loud or (self.paused and self.quiet_ms < SILENCE_MS)

    async def end_of_speech(self, ms: int, *, detected: bool = True) -> None:
        item_id, self.item_id = self.item_id or self.id("item"), None
        if detected:
            await self.send("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=ms)
        await self.send("input_audio_buffer.committed", item_id=item_id, previous_item_id=self.last_item)
        content = [{"type": "input_audio", "transcript": None}]
        await self.add_item(
            {"id": item_id, "type": "message", "role": "user", "status": "completed", "content": content}
        )
        completed = "conversation.item.input_audio_transcription.completed"
        await self.send(completed, item_id=item_id, content_index=0, transcript="What time is it?", usage={})
        if detected:
            self.reply = asyncio.create_task(self.respond(), name="reply")

    async def add_item(self, item: dict[str, Any]) -> None:
        for type in ("conversation.item.added", "conversation.item.done"):
            await self.send(type, item=item, previous_item_id=self.last_item)
        self.last_item = item["id"]

    async def cancel(self, reason: str) -> None:
        if self.reply is None:
            return
        self.reply.cancel(reason)
        await asyncio.gather(self.reply, return_exceptions=True)
        self.reply = None

    async def respond(self) -> None:
        if self.server.call is not None and not any("call_id" in str(e) for e in self.server.received):
            return await self.call_function(self.server.call)
        response, item = self.id("resp"), self.id("item")
        where = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        await self.send("response.created", response={"id": response, "status": "in_progress", "output": []})
        message = {"id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        await self.send("conversation.item.added", item=message, previous_item_id=self.last_item)
        status = "completed"
        try:
            await self.send("response.output_audio_transcript.delta", **where, delta=self.server.text[:5])
            for index in range(self.server.chunks):
                await self.send("response.output_audio.delta", **where, delta=self.tone(index))
                await asyncio.sleep(self.server.chunk_gap_s)
            await self.send("response.output_audio_transcript.delta", **where, delta=self.server.text[5:])
        except asyncio.CancelledError:
            status = "cancelled"
        with contextlib.suppress(ConnectionClosed):
            done = "completed" if status == "completed" else "incomplete"
            content = [{"type": "output_audio", "transcript": self.server.text}]
            await self.send(
                "conversation.item.done",
                item={**message, "status": done, "content": content},
                previous_item_id=self.last_item,
            )
            await self.send("response.done", response={"id": response, "status": status, "output": []})

    async def call_function(self, name: str) -> None:
        response, item = self.id("resp"), self.id("item")
        arguments = '{"city": "Paris"}'
        call = {"id": item, "type": "function_call", "name": name, "call_id": "call_1", "arguments": ""}
        await self.send("response.created", response={"id": response, "status": "in_progress", "output": []})
        await self.send("conversation.item.added", item={**call, "status": "in_progress"}, previous_item_id=None)
        done = {**call, "arguments": arguments, "status": "completed"}
        await self.send("conversation.item.done", item=done, previous_item_id=None)
        await self.send("response.done", response={"id": response, "status": "completed", "output": [done]})

    def tone(self, index: int) -> str:
        n = RATE * self.server.chunk_ms // 1000
        phase = 2 * np.pi * 330 * (np.arange(n) + index * n) / RATE
        return base64.b64encode((3000 * np.sin(phase)).astype("<i2").tobytes()).decode()


def _listed(name: str, offered: bool) -> dict[str, Any]:
    return {"name": name, "description": f"The tool {name}.", "parameters": {"type": "object"}, "offered": offered}


def _default_session() -> dict[str, Any]:
    detection = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    heard = {"turn_detection": detection, "transcription": None, "noise_reduction": None}
    said = {"voice": "default", "speed": 1.0}
    session = {"type": "realtime", "id": "sess_1", "instructions": "Be kind.", "output_modalities": ["audio"]}
    return {
        **session,
        "audio": {"input": heard, "output": said},
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
    }


def _merge(into: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("realtime") if "realtime" in offered else None


def _response(status: HTTPStatus, kind: str, body: bytes) -> Response:
    headers = Headers({"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, body)


@asynccontextmanager
async def running(server: StubServer) -> AsyncIterator[StubServer]:
    """Serve on a free port until the block ends."""
    options: dict[str, Any] = {"process_request": server.answer_http, "select_subprotocol": _subprotocol}
    async with serve(server.talk, "127.0.0.1", server.port, compression=None, **options) as listener:
        port = listener.sockets[0].getsockname()[1]
        server.url, server.port = f"ws://127.0.0.1:{port}/v1/realtime", port
        yield server
