"""A client's session with a realtime server: sends events and receives events with their time of arrival.

It uses only the documented protocol and shares no class with the server, so any other client can do and measure the
same.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from realtime.errors import RealtimeError

WIRE_RATE = 24_000
"""Sample rate of the audio in both directions, in Hz (the protocol's default, PCM16 mono)."""

DEFAULT_URL = "ws://127.0.0.1:8765/v1/realtime"


class ClientError(RealtimeError):
    """The conversation cannot continue: no connection, an error from the server, or no answer."""


@dataclass(frozen=True, slots=True)
class Received:
    """One server event. ``at``: when it was read from the socket, in seconds of `time.perf_counter`."""

    type: str
    body: dict[str, Any]
    at: float

    def __getitem__(self, path: str) -> Any:
        """The field at a dotted path, e.g. ``response.status``. Raises `ClientError` if it is missing."""
        value: Any = self.body
        for name in path.split("."):
            if not isinstance(value, dict) or name not in value:
                raise ClientError(f"the server's event {self.type} has no field {path!r}")
            value = value[name]
        return value

    def audio(self) -> bytes:
        """PCM16 of a `response.output_audio.delta`."""
        return base64.b64decode(self["delta"])


class RealtimeConnection:
    """An open session. One task may send while another receives. `receive` raises `error` events. ``server_plays``:
    the server owns the playback and tells when it ends."""

    server_plays = False

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, type: str, **fields: object) -> None:
        """Send one client event. Raises `ClientError` if the connection is closed."""
        try:
            await self._socket.send(json.dumps({"type": type, **fields}))
        except ConnectionClosed as closed:
            raise _lost(closed) from closed

    async def append(self, pcm: bytes) -> None:
        """Send microphone audio, PCM16 at `WIRE_RATE`."""
        await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode("ascii"))

    async def ask(self, text: str) -> None:
        """Send a typed turn and request a response."""
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        await self.send("conversation.item.create", item=item)
        await self.send("response.create")

    async def truncate(self, item_id: str, played_ms: int) -> None:
        """Tell the server how much of a spoken answer was played before it was interrupted."""
        await self.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=played_ms)

    async def receive(self) -> Received:
        """The next event. Raises `ClientError` for an `error` event and if the connection is closed."""
        try:
            message = await self._socket.recv(decode=True)
        except ConnectionClosed as closed:
            raise _lost(closed) from closed
        at = time.perf_counter()
        body = json.loads(message)
        return self._checked(Received(body["type"], body, at))

    def _checked(self, event: Received) -> Received:
        if event.type == "error":
            code = event.body["error"].get("code")
            raise ClientError(f"the server refused: {event['error.message']} ({code})")
        return event


@asynccontextmanager
async def open_session(
    url: str, *, api_key: str | None = None, any_certificate: bool = False
) -> AsyncIterator[RealtimeConnection]:
    """Connect to ``ws(s)://HOST/v1/realtime`` and wait for the session. Raises `ClientError`.

    ``any_certificate``: do not verify the certificate of a ``wss`` server (for self-signed certificates).
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else None
    try:
        # No compression: base64 audio gains nothing. No proxy for a server on this machine.
        socket = await connect(
            url,
            additional_headers=headers,
            compression=None,
            max_size=None,
            proxy=None if is_local(url) else True,
            ssl=tls_context(any_certificate) if url.startswith("wss:") else None,
        )
    except (OSError, InvalidHandshake, InvalidURI) as error:
        raise ClientError(_why_not_connected(url, error)) from error
    async with socket:
        connection = RealtimeConnection(socket)
        first = await connection.receive()
        if first.type != "session.created":
            raise ClientError(f"{url} sent {first.type} first, expected session.created: is it a realtime server?")
        yield connection


def tls_context(any_certificate: bool) -> ssl.SSLContext:
    """``any_certificate``: do not verify the server's."""
    context = ssl.create_default_context()
    if any_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def is_local(url: str) -> bool:
    """Whether the server is on this machine."""
    return any(url.split("://")[-1].startswith(host) for host in ("127.", "localhost", "[::1]"))


def _lost(closed: ConnectionClosed) -> ClientError:
    return ClientError(f"the server closed the connection: {closed}")


def _why_not_connected(url: str, error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        return f"{url} answered HTTP {error.response.status_code}: {message_of(error.response.body)}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{url}: its certificate is not trusted ({error.verify_message}); --insecure takes any certificate"
    if isinstance(error, OSError):
        return f"nothing answers at {url} ({error}); start a server with `realtime serve`"
    return f"{url}: {error}"


def message_of(body: bytes | None) -> str:
    """The message of an OpenAI error body, else the body."""
    text = (body or b"").decode("utf-8", "replace")
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip() or "no reason given"
