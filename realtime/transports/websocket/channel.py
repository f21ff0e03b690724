"""The WebSocket transport: `/v1/realtime` as a session's `Channel`.

Text frames are JSON events. Inbound binary frames are raw audio in the session's input format. Outbound frames are
text, because no stock client expects binary frames. With ``?output_audio=binary`` the replies' audio is sent as binary
frames, each after its delta.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Generator
from typing import Protocol

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from realtime.errors import ChannelClosed, PeerError
from realtime.ports.channel import Inbound
from realtime.protocol.beta import older_dialect
from realtime.protocol.codec import MAX_SETTINGS_CHARACTERS
from realtime.protocol.dialect import GA, Connection
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import (
    ClientEvent,
    Error,
    ErrorDetails,
    InputAudioBufferAppend,
    ResponseCreate,
    ResponseDone,
    ServerEvent,
    SessionUpdate,
)
from realtime.protocol.ids import Ids
from realtime.transports.websocket.rate_limit import RateLimiter

logger = logging.getLogger(__name__)

SUBPROTOCOL = "realtime"
"""Browsers offer this beside entries with their key. The server selects exactly this one, never a key."""

BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
BETA_HEADER = ("openai-beta", "realtime=v1")
"""Two ways to ask for the beta shape in the handshake. The header may name other features, too."""

AZURE_BETA_PATH = "/openai/realtime"
"""A third way: Azure's path of the beta, with ``?api-version=…&deployment=…``."""

MAX_HELD_CHARACTERS = 1024 * 1024
"""Limit of the messages kept for a client that waits in the queue. Beyond it nothing more is read."""


def chosen_subprotocol(websocket: WebSocket) -> str | None:
    """`realtime` if the client offers it, else None: a client that offered nothing must get nothing."""
    return SUBPROTOCOL if SUBPROTOCOL in websocket.scope.get("subprotocols", ()) else None


def asks_for_beta(websocket: HTTPConnection) -> bool:
    """Whether the handshake asks for the beta shape. StepFun's console does not; its first message shows its
    dialect."""
    name, feature = BETA_HEADER
    features = [one.strip() for value in websocket.headers.getlist(name) for one in value.split(",")]
    offered = BETA_SUBPROTOCOL in websocket.scope.get("subprotocols", ())
    return feature in features or offered or websocket.url.path == AZURE_BETA_PATH


def asked_model(websocket: WebSocket) -> str | None:
    """The model in the URL; Azure calls it a deployment."""
    return websocket.query_params.get("model") or websocket.query_params.get("deployment")


CLOSE_SECONDS = 2.0
"""Limit of sending the close frame. A peer that does not read gets none; the socket's own limit ends it."""


BAD_KEY_CLOSE_CODE = 3000
"""The API's close code for a browser's wrong key; the reason is the error's type and code."""


class ChannelMetrics(Protocol):
    """Counts what passes over connections."""

    def response_done(self, status: str) -> None: ...

    def message_rejected(self, code: str) -> None: ...

    def message_paced(self) -> None: ...


class WebSocketChannel:
    """`realtime.ports.channel.Channel` over an accepted WebSocket."""

    def __init__(self, websocket: WebSocket, ids: Ids, metrics: ChannelMetrics | None = None) -> None:
        """``ids``: the session's, which number the events. ``metrics``: where to count; None: nowhere."""
        self._websocket = websocket
        self._metrics = metrics
        self._pace = RateLimiter()
        self._held: deque[str | bytes] = deque()
        older = older_dialect(asked_model(websocket), ids.conversation())
        binary = websocket.query_params.get("output_audio") == "binary"
        if asks_for_beta(websocket):
            self._connection = Connection(ids, older, binary_audio=binary)
        else:
            self._connection = Connection(ids, GA, suspected=older, binary_audio=binary)

    async def receive(self) -> Inbound:
        message = self._held.popleft() if self._held else await self._receive_message()
        try:
            event = await _others_between(self._connection.decode_slowly(message))
        except asyncio.CancelledError:
            self._held.appendleft(message)
            raise
        except ProtocolError:
            self._pace.took_settings(len(message) if len(message) <= MAX_SETTINGS_CHARACTERS else 0)
            raise
        if isinstance(event, SessionUpdate | ResponseCreate):
            self._pace.took_settings(len(message))
        elif isinstance(event, InputAudioBufferAppend):
            self._pace.took_audio(len(message))
        return event

    async def hold(self) -> None:
        """Keep incoming messages for later. Returns at the limit; raises `ChannelClosed`."""
        held = 0
        while held < MAX_HELD_CHARACTERS:
            message = await self._receive_message()
            self._held.append(message)
            held += len(message) + 64  # a flood of empty messages is a flood, too

    async def send(self, event: ServerEvent) -> None:
        self._count(event)
        try:
            for message in self._connection.encode(event):
                if isinstance(message, str):
                    await self._websocket.send_text(message)
                else:
                    await self._websocket.send_bytes(message)
        except (
            WebSocketDisconnect,
            RuntimeError,
            OSError,
        ) as error:  # starlette raises each of them on a dead socket
            raise ChannelClosed("the peer is gone") from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
            logger.debug("the peer was gone before the close frame, or does not read")

    def _count(self, event: ServerEvent) -> None:
        if self._metrics is not None and isinstance(event, ResponseDone):
            self._metrics.response_done(event.response.status)
        elif self._metrics is not None and isinstance(event, Error):
            self._metrics.message_rejected(event.error.code or "")

    async def _receive_message(self) -> str | bytes:
        if self._websocket.client_state is not WebSocketState.CONNECTED:
            raise ChannelClosed("the peer is gone")
        if await self._pace.ready() and self._metrics is not None:
            self._metrics.message_paced()
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise ChannelClosed(f"the peer closed the connection (code {message.get('code')})")
        content: str | bytes = message["text"] if message.get("text") is not None else message["bytes"]
        self._pace.took(len(content))
        return content


async def _others_between(steps: Generator[None, None, ClientEvent]) -> ClientEvent:
    """The result of the steps. Other tasks run between two of them."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            event: ClientEvent = stop.value
            return event
        await asyncio.sleep(0)


async def turn_away(websocket: WebSocket, fault: PeerError) -> None:
    """Refuse a browser. It cannot see an HTTP answer to its handshake, only events and close reasons."""
    await websocket.accept(subprotocol=chosen_subprotocol(websocket))
    channel = WebSocketChannel(websocket, Ids())
    details = ErrorDetails(type=fault.type, code=fault.code, message=fault.message, param=None, event_id=None)
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await channel.send(Error(error=details))
    except (ChannelClosed, TimeoutError):
        logger.debug("the peer was gone before it was told why it is refused")
    await channel.close(BAD_KEY_CLOSE_CODE, f"{fault.type}.{fault.code}")
