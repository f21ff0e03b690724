"""uvicorn's two protocols with additional limits against hostile peers.

* A connection that does not send its request in time (slowloris) is closed, also at a later request, and their number
  is limited (`pending`).
* A WebSocket that sends pings and reads no pongs, one message in endless fragments, or no answer to a close frame, is
  closed. The limit of a message's size does not cover these.
"""

from __future__ import annotations

import asyncio

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from realtime.transports.http.pending import PENDING

MAX_UNREAD_PONGS_BYTES = 64 * 1024
CLOSE_SECONDS = 10.0
"""Limit of a peer's answer to the close frame: until then it holds a connection without a session."""
MAX_FRAGMENTS = 16 * 1024
"""Limit of one message: 15 MiB of audio in pieces of 1 kB."""


class GuardedHttp(H11Protocol):
    """One connection until its upgrade to a WebSocket, or all its requests. h11 bounds a head to 64 KiB."""

    _number = -1

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._number = transport.get_extra_info("socket").fileno()

    def handle_events(self) -> None:
        answered = self.cycle
        super().handle_events()
        if self.transport.get_protocol() is not self:
            PENDING.upgraded(self._number)
        elif self.cycle is not answered:
            PENDING.request_came(self._number)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():  # else one more was waiting already
            PENDING.await_request(self._number)


class GuardedWebSocket(WebSocketsSansIOProtocol):
    _closing: asyncio.TimerHandle | None = None

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.close_sent and self.initial_response is not None:
            self.handshake_complete = True  # uvicorn logs a handshake that was refused as a fault of the application
        if self.close_sent and self._closing is None:
            self._closing = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closing is not None:
            self._closing.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends. Sessions have said so by then; this is for what is left, and uvicorn would close it with
        1012. A peer that reads nothing must not hold the process."""
        if self.handshake_complete and not self.close_sent and not self.transport.is_closing():
            self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.GOING_AWAY})
            self.conn.send_close(CloseCode.GOING_AWAY, "server_draining")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()
        if self.transport.get_write_buffer_size() > 0:
            self.transport.abort()

    def handle_ping(self) -> None:
        if self.transport.get_write_buffer_size() > MAX_UNREAD_PONGS_BYTES:
            self.transport.abort()
            return
        super().handle_ping()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"more than {MAX_FRAGMENTS} fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)
