"""uvicorn's two protocols with additional limits against hostile peers.

* A connection that does not send its request in time (slowloris) is closed, also at a later request. The number of
  connections that have sent nothing is limited.
* A WebSocket that sends pings and reads no pongs, or one message in endless fragments, is closed. The limit of a
  message's size does not cover these.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

REQUEST_SECONDS = 10.0
"""Limit from the connection, or the last answer, to the end of a request's head. Mobile networks need seconds."""
MAX_SILENT = 512
"""The most connections that have not sent a request; more are closed at once. Far below the usual limit of files."""
MAX_UNREAD_PONGS_BYTES = 64 * 1024
MAX_FRAGMENTS = 16 * 1024
"""Limit of one message: 15 MiB of audio in pieces of 1 kB."""


class GuardedHttp(H11Protocol):
    """One connection until its upgrade to a WebSocket, or all its requests. h11 bounds a head to 64 KiB."""

    silent: ClassVar[set[GuardedHttp]] = set()
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.silent) >= MAX_SILENT:
            transport.abort()
            return
        self._await_request()

    def handle_events(self) -> None:
        answered = self.cycle
        super().handle_events()
        if self.cycle is not answered or self.transport.get_protocol() is not self:  # a request, or an upgrade
            self._request_came()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():  # else one more was waiting already
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._request_came()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        self._request_came()
        self.silent.add(self)
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _request_came(self) -> None:
        self.silent.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self.silent.discard(self)
        self.transport.abort()  # it may not read either


class GuardedWebSocket(WebSocketsSansIOProtocol):
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
