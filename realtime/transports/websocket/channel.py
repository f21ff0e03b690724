"""The WebSocket transport: `/v1/realtime` frames in and out of a session's `Channel`.

JSON text frames are events of `realtime.protocol`; inbound binary frames are raw audio in the session's input
format. Outbound frames are text: no stock client survives a binary frame that it did not ask for. One that asks
(``?output_audio=binary``) gets the replies' audio as binary frames, each behind its delta.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Generator

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from realtime.errors import ChannelClosed, PeerError
from realtime.ports.channel import Inbound
from realtime.protocol.beta import older_dialect
from realtime.protocol.dialect import GA, Connection
from realtime.protocol.events import ClientEvent, Error, ErrorDetails, ResponseDone, ServerEvent
from realtime.protocol.ids import Ids
from realtime.transports.websocket.rate_limit import RateLimiter

logger = logging.getLogger(__name__)

SUBPROTOCOL = "realtime"
"""Browsers offer this beside entries that carry their key; exactly this one is selected (never a key)."""

BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
BETA_HEADER = ("openai-beta", "realtime=v1")
"""The two ways to ask for the beta shape when connecting; the header may name other features beside it."""

AZURE_BETA_PATH = "/openai/realtime"
"""A third: Azure's path of those years, with ``?api-version=…&deployment=…``."""

MAX_HELD_CHARACTERS = 1024 * 1024
"""Of messages from a caller who waits for a seat; beyond them nothing more is read, and the socket fills up."""


def chosen_subprotocol(websocket: WebSocket) -> str | None:
    """`realtime` when the client offers it, else nothing: a client that offered nothing must get nothing."""
    return SUBPROTOCOL if SUBPROTOCOL in websocket.scope.get("subprotocols", ()) else None


def asks_for_beta(websocket: HTTPConnection) -> bool:
    """Whether the handshake names the beta shape. StepFun's console does not, and is known by what it says."""
    name, feature = BETA_HEADER
    features = [one.strip() for value in websocket.headers.getlist(name) for one in value.split(",")]
    offered = BETA_SUBPROTOCOL in websocket.scope.get("subprotocols", ())
    return feature in features or offered or websocket.url.path == AZURE_BETA_PATH


def asked_model(websocket: WebSocket) -> str | None:
    """The model that the URL names; Azure calls it a deployment."""
    return websocket.query_params.get("model") or websocket.query_params.get("deployment")


CLOSE_SECONDS = 2.0
"""A peer that does not read gets no close frame: the socket's own time limit ends it."""


BAD_KEY_CLOSE_CODE = 3000
"""What the API closes with where a browser's key is wrong; the reason is the error's type and code."""


def ignore(status: str) -> None:
    """Nobody counts the responses."""


class WebSocketChannel:
    """`realtime.ports.channel.Channel` over an accepted WebSocket."""

    def __init__(self, websocket: WebSocket, ids: Ids, on_response: Callable[[str], None] = ignore) -> None:
        """``ids``: the session's, from which the events get theirs. ``on_response``: told the status of each
        response that has ended."""
        self._websocket = websocket
        self._on_response = on_response
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
            return await _others_between(self._connection.decode_slowly(message))
        except asyncio.CancelledError:
            self._held.appendleft(message)
            raise

    async def hold(self) -> None:
        """Keep what comes for later. Returns when that is as much as we keep; raises `ChannelClosed`."""
        held = 0
        while held < MAX_HELD_CHARACTERS:
            message = await self._receive_message()
            self._held.append(message)
            held += len(message) + 64  # a flood of empty messages is a flood, too

    async def send(self, event: ServerEvent) -> None:
        if isinstance(event, ResponseDone):
            self._on_response(event.response.status)
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

    async def _receive_message(self) -> str | bytes:
        if self._websocket.client_state is not WebSocketState.CONNECTED:
            raise ChannelClosed("the peer is gone")
        await self._pace.ready()
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise ChannelClosed(f"the peer closed the connection (code {message.get('code')})")
        content: str | bytes = message["text"] if message.get("text") is not None else message["bytes"]
        self._pace.took(len(content))
        return content


async def _others_between(steps: Generator[None, None, ClientEvent]) -> ClientEvent:
    """The result of the steps; others have their turn between two of them."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            event: ClientEvent = stop.value
            return event
        await asyncio.sleep(0)


async def turn_away(websocket: WebSocket, fault: PeerError) -> None:
    """Refuse a browser: it sees nothing of an HTTP answer to its handshake, but events and close reasons."""
    await websocket.accept(subprotocol=chosen_subprotocol(websocket))
    channel = WebSocketChannel(websocket, Ids())
    details = ErrorDetails(type=fault.type, code=fault.code, message=fault.message, param=None, event_id=None)
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await channel.send(Error(error=details))
    except (ChannelClosed, TimeoutError):
        logger.debug("the peer was gone before it was told why it is refused")
    await channel.close(BAD_KEY_CLOSE_CODE, f"{fault.type}.{fault.code}")
