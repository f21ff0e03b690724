"""`/v1/phone/DIALECT[/SECRET]`: a carrier's or PBX's media stream from the handshake to the end of its call.

A call does not wait in the queue: where all sessions are taken the handshake is refused with 503, and the carrier goes
on with what its instructions say next.
"""

from __future__ import annotations

import logging

from starlette.websockets import WebSocket

from realtime.admission.manager import SessionLease
from realtime.errors import CapacityError, ChannelClosed, PeerError
from realtime.protocol.ids import Ids, webrtc_call_id
from realtime.session.quota import Quota
from realtime.transports.http.access import Access, Caller
from realtime.transports.http.host import Host
from realtime.transports.http.refusal import Refused, refusal
from realtime.transports.http.secret_requests import check_settings, overlay
from realtime.transports.phone.access import PhoneAccess, PhoneConfig, settings_of
from realtime.transports.phone.channel import PhoneChannel
from realtime.transports.phone.dialects import DIALECTS, Dialect
from realtime.transports.phone.media_stream import WRONG_MESSAGE, MediaSocket, MediaStreamLink, close_reason
from realtime.transports.phone.messages import Started
from realtime.transports.websocket.endpoint import check_quota, not_ready

logger = logging.getLogger(__name__)

PATH = "/v1/phone"


class PhoneSocket:
    """The endpoint of media streams."""

    def __init__(self, host: Host, access: Access, config: PhoneConfig) -> None:
        self._host = host
        self._server_access = access
        self._access = PhoneAccess(config, access)
        self._config = config

    async def __call__(self, websocket: WebSocket) -> None:
        try:
            dialect = _dialect(websocket.path_params["dialect"])
            caller = self._access.check(websocket, websocket.path_params.get("secret", ""))
            if self._host.health.state != "ready":
                raise not_ready(self._host)
            socket = _socket(websocket, dialect)
            quota = self._host.quotas.of(caller.name)
            check_quota(quota)
            with quota.session(), self._host.admit() as seat:
                offered = websocket.scope.get("subprotocols", ())
                await websocket.accept(dialect.subprotocol if dialect.subprotocol in offered else None)
                await self._serve(socket, dialect, seat, caller, quota)
        except (CapacityError, Refused) as error:
            code = error.code if isinstance(error, CapacityError) else error.fault.code
            self._host.metrics.refused(code)
            logger.info("a phone call was refused: %s", code)
            await websocket.send_denial_response(refusal(error))

    async def _serve(
        self, socket: MediaSocket, dialect: Dialect, seat: SessionLease, caller: Caller, quota: Quota
    ) -> None:
        try:
            start = await socket.start()
            settings = overlay(
                caller.secret.settings if caller.secret is not None else {},
                settings_of(start.parameters, self._config.parameters),
            )
            assert self._host.session_config is not None
            check_settings(settings, self._host.session_config)
        except ChannelClosed:
            logger.info("a phone call ended before its stream began")
            return
        except PeerError as error:
            self._host.metrics.refused(error.code)
            logger.warning("a phone call is refused: its stream does not begin as it should: %s", error.code)
            await socket.close(WRONG_MESSAGE, close_reason(error))
            return
        logger.info("phone call: %s, %s at %d Hz", dialect.name, start.format.encoding, start.format.rate)
        link = MediaStreamLink(socket, dialect, start)
        channel = PhoneChannel(link, greets=self._config.greets, metrics=self._host.metrics)
        link.run()
        self._host.metrics.session_began()
        try:
            await seat.serve(
                channel,
                settings=settings,
                ids=Ids(),
                owner=self._server_access.operator or caller.name,
                secret_id=caller.secret_id,
                quota=quota,
                call_id=self._call_id(start),
            )
        finally:
            self._host.metrics.session_ended()
            await link.close(1000, "")

    def _call_id(self, start: Started) -> str:
        """The carrier's, by which back ends know the call. It must not stand for another session."""
        own = start.call_id
        if 0 < len(own) <= 200 and own.isprintable() and self._host.find_session(own) is None:
            return own
        return webrtc_call_id()


def _dialect(name: str) -> Dialect:
    if name not in DIALECTS:
        message = f"There is no media stream dialect {name[:40]!r}, only {', '.join(DIALECTS)}."
        raise Refused(404, PeerError("not_found", message))
    return DIALECTS[name]


def _socket(websocket: WebSocket, dialect: Dialect) -> MediaSocket:
    """``?rate=``: of the audio, where the vendor does not tell it."""
    socket = MediaSocket(websocket, dialect)
    rate = websocket.query_params.get("rate")
    if rate is not None:
        if not rate.isascii() or not rate.isdecimal() or len(rate) > 6:
            raise Refused(400, PeerError("invalid_value", f"The rate is {rate[:20]!r}, expected 8000 or 16000."))
        try:
            socket.assume_rate(int(rate))
        except PeerError as error:
            raise Refused(400, error) from None
    return socket
