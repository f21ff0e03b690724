"""The HTTP part of calls over WebRTC: an offer comes by POST, its answer goes back, and the session then runs beside
the request until the call ends.

`offers.OfferAnswerer` answers the offer and carries audio and events. The rest of a call is here: admission, quota, the
first settings, hanging up. It is the same as for a WebSocket.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack

from realtime.admission.manager import SessionLease
from realtime.errors import ChannelClosed, PeerError
from realtime.ports.channel import Channel
from realtime.protocol.beta import older_dialect
from realtime.protocol.dialect import GA, Connection
from realtime.protocol.ids import Ids, webrtc_call_id
from realtime.session.quota import Quota
from realtime.session.session import Session
from realtime.transports.http.access import Access, Caller
from realtime.transports.http.host import Host
from realtime.transports.http.refusal import Refused
from realtime.transports.webrtc.call_requests import CallRequest
from realtime.transports.webrtc.offers import Answered, OfferAnswerer
from realtime.transports.websocket.endpoint import check_quota, find_session, not_ready

ANSWER_SECONDS = 10.0
"""Limit of the answer to an offer, which includes gathering candidates."""

logger = logging.getLogger(__name__)


class Calls:
    """The running calls of this server."""

    def __init__(self, host: Host, access: Access) -> None:
        self._host = host
        self._access = access
        self._running: set[asyncio.Task[None]] = set()
        self._channels: dict[str, Channel] = {}

    def check_ready(self) -> OfferAnswerer:
        """Raises `Refused` when no call can be answered, whatever its request."""
        if self._host.health.state != "ready":
            raise not_ready(self._host)
        if (answerer := self._host.offers) is None:
            message = (
                "This server answers no WebRTC offers: WebRTC is not installed or not switched on here. Its operator "
                "can run pip install 'realtime-voice[webrtc]' (and not --no-webrtc). Or connect a WebSocket to "
                "/v1/realtime."
            )
            raise Refused(501, PeerError("webrtc_not_available", message, type="server_error"))
        return answerer

    async def open(self, request: CallRequest, caller: Caller, *, beta: bool) -> tuple[str, str]:
        """Answer an offer and start its session; gives the call's id and the answer. ``beta``: the data channel speaks
        beta.

        Raises `Refused`, `PeerError`, and `CapacityError` when all sessions are taken: calls do not wait in the queue.
        """
        answerer = self.check_ready()
        quota = self._host.quotas.of(caller.name)
        check_quota(quota)
        ids, call_id = Ids(), webrtc_call_id()
        older = older_dialect(request.model, ids.conversation())
        connection = Connection(ids, older) if beta else Connection(ids, GA, suspected=older)
        with ExitStack() as held:
            seat = held.enter_context(self._host.admit())
            held.enter_context(quota.session())
            answered = await _answer(answerer, request.sdp, connection)
            work = self._serve(held.pop_all(), seat, answered.channel, request, ids, caller, quota, call_id)
        task = asyncio.create_task(work, name=f"call {call_id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self._channels[call_id] = answered.channel
        task.add_done_callback(lambda _: self._channels.pop(call_id, None))
        return call_id, answered.sdp

    def renegotiate(self, call_id: str, caller: Caller, offer: str) -> str:
        """The answer to another offer of a call that runs. Raises `Refused` and `PeerError`."""
        answerer = self.check_ready()
        self.find(call_id, caller)
        if call_id not in self._channels:
            message = f"The session {call_id[:80]!r} is no call over WebRTC: it takes no offers."
            raise Refused(400, PeerError("invalid_value", message, param="call_id"))
        return answerer.renegotiate(self._channels[call_id], offer)

    def find(self, call_id: str, caller: Caller) -> Session:
        """The session of this caller's call. Raises `Refused`."""
        return find_session(self._host, self._access, call_id, caller)

    def hang_up(self, call_id: str, caller: Caller) -> None:
        """End a call. Raises `Refused` when this caller has no such call."""
        self.find(call_id, caller).end(ChannelClosed("the call was hung up by an HTTP request"))

    async def _serve(
        self,
        held: ExitStack,
        seat: SessionLease,
        channel: Channel,
        request: CallRequest,
        ids: Ids,
        caller: Caller,
        quota: Quota,
        call_id: str,
    ) -> None:
        self._host.metrics.session_began()
        try:
            with held:
                await seat.serve(
                    channel,
                    model=request.model,
                    settings=request.settings,
                    ids=ids,
                    owner=caller.name,
                    secret_id=caller.secret_id,
                    quota=quota,
                    call_id=call_id,
                )
        except Exception:  # the task's border: no other task awaits it
            logger.exception("a call failed")
            await channel.close(1011, "internal_error")
        finally:
            self._host.metrics.session_ended()


async def _answer(answerer: OfferAnswerer, sdp: str, connection: Connection) -> Answered:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await answerer.answer(sdp, connection)
    except TimeoutError:
        message = f"The offer could not be answered within {ANSWER_SECONDS:g} s. Try again."
        raise Refused(503, PeerError("webrtc_timeout", message, type="server_error")) from None
