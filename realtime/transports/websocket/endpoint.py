"""`/v1/realtime` from the handshake to the session: authentication, admission, and running the session.

A handshake is refused in HTTP before anything is accepted. When all sessions are taken and the server has a queue, the
handshake waits for a limited time, which every client supports. A client that asks for it (``?wait=events``) is
accepted at once and gets its position (`session.queued`) until its session begins. ``?call_id=`` makes a second
connection to a running session.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from starlette.websockets import WebSocket

from realtime.admission.manager import SessionLease
from realtime.admission.queue import QueueEntry
from realtime.errors import AdmissionClosed, CapacityError, ChannelClosed, Draining, PeerError
from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError
from realtime.protocol.ids import Ids
from realtime.session.quota import Quota
from realtime.session.session import Session
from realtime.transports.http.access import Access, Caller, reads_status
from realtime.transports.http.host import Host
from realtime.transports.http.refusal import Refused, refusal
from realtime.transports.websocket.channel import WebSocketChannel, asked_model, chosen_subprotocol, turn_away

logger = logging.getLogger(__name__)

TRY_AGAIN_LATER = 1013
"""The close code when the queue timed out."""


class RealtimeSocket:
    """The endpoint of the WebSocket."""

    def __init__(self, host: Host, access: Access) -> None:
        self._host = host
        self._access = access

    async def __call__(self, websocket: WebSocket) -> None:
        try:
            caller = self._check_caller(websocket)
            call_id = websocket.query_params.get("call_id")
            if call_id is not None:
                await self._serve_sideband(websocket, self._find(call_id, caller))
            else:
                await self._serve_caller(websocket, caller)
        except CapacityError as error:
            self._host.metrics.refused(error.code)
            await websocket.send_denial_response(refusal(error))
        except Refused as error:
            self._host.metrics.refused(error.fault.code)
            logger.info("a caller was refused: %s", error.fault.code)
            await refuse_handshake(websocket, error)

    def _check_caller(self, websocket: WebSocket) -> Caller:
        self._access.check_origin(websocket)
        caller = self._access.check_caller(websocket)
        if self._host.health.state != "ready":
            raise not_ready(self._host)
        return caller

    # A session

    async def _serve_caller(self, websocket: WebSocket, caller: Caller) -> None:
        quota = self._host.quotas.of(caller.name)
        check_quota(quota)
        with quota.session():  # from here on: who waits for a seat counts as well
            await self._seat_caller(websocket, caller, quota)

    async def _seat_caller(self, websocket: WebSocket, caller: Caller, quota: Quota) -> None:
        ids = Ids()
        try:
            seat = self._host.admit()
        except CapacityError:
            wait = websocket.query_params.get("wait")
            if wait in ("0", "false"):
                raise
            with self._host.join_queue(caller.name) as ticket:
                if wait == "events":
                    await websocket.accept(subprotocol=chosen_subprotocol(websocket))
                    channel = self._channel(websocket, ids)
                    waited_for = await self._wait(channel, ticket)
                else:
                    waited_for = await self._hold_handshake(websocket, ticket)
            if waited_for is None:
                return
            with waited_for:
                if wait != "events":
                    await websocket.accept(subprotocol=chosen_subprotocol(websocket))
                    channel = self._channel(websocket, ids)
                await self._run(websocket, channel, waited_for, ids, caller, quota)
        else:
            with seat:
                await websocket.accept(subprotocol=chosen_subprotocol(websocket))
                await self._run(websocket, self._channel(websocket, ids), seat, ids, caller, quota)

    def _channel(self, websocket: WebSocket, ids: Ids) -> WebSocketChannel:
        return WebSocketChannel(websocket, ids, self._host.metrics)

    async def _run(
        self,
        websocket: WebSocket,
        channel: WebSocketChannel,
        seat: SessionLease,
        ids: Ids,
        caller: Caller,
        quota: Quota,
    ) -> None:
        secret = caller.secret
        settings = secret.settings if secret is not None else {}
        if not settings and websocket.query_params.get("intent") == "transcription":
            settings = {"type": "transcription"}
        model = secret.model if secret is not None and secret.model else asked_model(websocket)
        self._host.metrics.session_began()
        try:
            await seat.serve(
                channel,
                model=model,
                settings=settings,
                ids=ids,
                owner=caller.name,
                secret_id=caller.secret_id,
                quota=quota,
            )
        finally:
            self._host.metrics.session_ended()

    # Waiting

    async def _hold_handshake(self, websocket: WebSocket, ticket: QueueEntry[SessionLease]) -> SessionLease | None:
        """The client's lease; None when it has hung up. Raises `CapacityError` when there is none in time."""
        await websocket.receive()  # that it connects
        gone = asyncio.create_task(websocket.receive(), name="hang up")
        coming = asyncio.create_task(ticket.called(), name="wait for a seat")
        limit = min(self._host.handshake_s, self._host.waiting_s)
        try:
            await asyncio.wait({gone, coming}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                await coming
                return ticket.take()
            if gone.done():
                logger.info("a caller has left the waiting line")
                return None
            message = f"No session became free within {limit:g} s; yours was place {ticket.place} in the queue."
            raise CapacityError(f"{message} Try again later.", position=ticket.place)
        finally:
            for task in (gone, coming):
                task.cancel()
                with suppress(asyncio.CancelledError, CapacityError):
                    await task

    async def _wait(self, channel: WebSocketChannel, ticket: QueueEntry[SessionLease]) -> SessionLease | None:
        """The client's lease; None when it has hung up, or was told that there is none."""
        holding = asyncio.create_task(channel.hold(), name="hold")
        telling = asyncio.create_task(self._tell_place(channel, ticket), name="tell place")
        coming = asyncio.create_task(ticket.called(), name="wait for a seat")
        try:
            async with asyncio.timeout(self._host.waiting_s):
                watched = {holding, telling, coming}
                while not coming.done():
                    done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                    for task in done - {coming}:
                        task.result()
            await coming
            return ticket.take()
        except ChannelClosed:
            logger.info("a caller has left the waiting line")
            return None
        except TimeoutError:
            fault = CapacityError(f"No session became free within {self._host.waiting_s:g} s. Try again later.")
            await self._give_up(channel, fault)
            return None
        except CapacityError as fault:
            await self._give_up(channel, fault)
            return None
        finally:
            for task in (holding, telling, coming):
                task.cancel()
                with suppress(asyncio.CancelledError, ChannelClosed, CapacityError):
                    await task

    async def _tell_place(self, channel: WebSocketChannel, ticket: QueueEntry[SessionLease]) -> None:
        while (place := ticket.place) > 0:
            await channel.send(wire.SessionQueued(position=place, timeout_ms=int(self._host.waiting_s * 1000)))
            await ticket.moved()

    async def _give_up(self, channel: WebSocketChannel, fault: CapacityError) -> None:
        self._host.metrics.refused(fault.code)
        details = wire.ErrorDetails(type=fault.type, code=fault.code, message=str(fault))
        with suppress(ChannelClosed):
            await channel.send(wire.Error(error=details))
        code = Draining.close_code if isinstance(fault, AdmissionClosed) else TRY_AGAIN_LATER
        await channel.close(code, fault.code)

    # A side connection

    def _find(self, call_id: str, caller: Caller) -> Session:
        """The session to attach to. A page with a client secret may not attach."""
        if caller.secret is not None:
            raise _call_not_found(call_id)
        return find_session(self._host, self._access, call_id, caller)

    async def _serve_sideband(self, websocket: WebSocket, session: Session) -> None:
        await websocket.accept(subprotocol=chosen_subprotocol(websocket))
        channel = WebSocketChannel(websocket, Ids())
        wants_audio = websocket.query_params.get("audio") in ("1", "true")
        try:
            await session.attach(channel, audio=wants_audio)
        except CapacityError as fault:
            await self._give_up(channel, fault)


async def refuse_handshake(websocket: WebSocket, error: Refused) -> None:
    """Answer a handshake with the refusal: in HTTP, or a wrong key of a browser by an event and a close code."""
    if error.status == 401 and not reads_status(websocket):
        await turn_away(websocket, error.fault)
    else:
        await websocket.send_denial_response(refusal(error))


def find_session(host: Host, access: Access, call_id: str, caller: Caller) -> Session:
    """The running session of this id, if it belongs to ``caller``: a key has the sessions that it or its client secrets
    opened, a secret only its own. Without keys, knowing the id is enough: it cannot be guessed. Others learn nothing of
    the session. Raises `Refused`.
    """
    seat = host.find_session(call_id)
    if seat is None or seat.session is None:
        raise _call_not_found(call_id)
    of_other_key = access.has_keys and seat.owner != caller.name
    of_other_secret = caller.secret is not None and seat.secret_id != caller.secret.id
    if of_other_key or of_other_secret:
        raise _call_not_found(call_id)
    return seat.session


def _call_not_found(call_id: str) -> Refused:
    message = f"There is no session {call_id[:80]!r} of this key. Give the id that its session.created shows."
    return Refused(404, PeerError("call_not_found", message, param="call_id"))


def not_ready(host: Host) -> Refused:
    if host.health.state == "draining":
        closed = AdmissionClosed()
        return Refused(503, ProtocolError(closed.code, str(closed), type=closed.type))
    return Refused(503, ProtocolError("server_not_ready", host.health.reason, type="server_error"))


def check_quota(quota: Quota) -> None:
    """Raises `Refused` when the key may open no further session."""
    if not quota.session_is_free:
        message = f"This key has {quota.limits.sessions} sessions open, as many as it may. Close one."
        raise Refused(429, PeerError("rate_limit_exceeded", message, type="rate_limit_error"))
    if wait := quota.audio_wait:
        message = f"This key has used all its audio of this hour. Some is free again in {wait:.0f} s."
        fault = PeerError("insufficient_quota", message, type="rate_limit_error")
        raise Refused(429, fault, retry_after_s=wait)
