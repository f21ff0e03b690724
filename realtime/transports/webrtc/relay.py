"""An address on a TURN server, for a server that no client can send UDP to. Each call has one of its own.

A TURN server passes on only what comes from addresses that were permitted. The addresses in the offer are, before the
client's first check; nothing is sent to them (`realtime.transports.webrtc.ice`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable

from aioice import stun, turn

from realtime.addresses import TurnServer
from realtime.errors import log_text
from realtime.transports.webrtc.sdp import Candidate
from realtime.transports.webrtc.udp import RELAYED, UdpMux, UdpSocket, candidate_priority

logger = logging.getLogger(__name__)

OPEN_S = 3.0
"""A caller waits for its answer meanwhile."""
REFRESH_S = 240
"""Permissions last 5 minutes (RFC 8656 section 9)."""
_DISCARD_PORT = 9


class Relay:
    """One call's address on the TURN server. ``candidate``: for the answer."""

    def __init__(self, socket: UdpSocket, candidate: Candidate) -> None:
        self._socket = socket
        self.candidate = candidate

    async def close(self) -> None:
        """Give the address back."""
        with contextlib.suppress(TimeoutError, stun.TransactionError):
            async with asyncio.timeout(OPEN_S):
                await self._socket.close()


async def open_relay(server: TurnServer, mux: UdpMux, permitted: Iterable[str]) -> Relay | None:
    """None when the TURN server does not give one: the call goes on without. ``permitted``: the client's addresses."""
    socket: UdpSocket | None = None
    try:
        async with asyncio.timeout(OPEN_S):
            transport, socket = await turn.create_turn_endpoint(
                lambda: UdpSocket(mux),
                (server.host, server.port),
                server.username or None,
                server.password or None,
                channel_refresh_time=REFRESH_S,
                ssl=server.tls,
                transport=server.transport,
            )
            client = getattr(transport, "_TurnTransport__inner_protocol")  # noqa: B009 - the only way to it
            await asyncio.gather(*(_permit(client, address) for address in permitted if ":" not in address))
    except (OSError, TimeoutError, stun.TransactionError, ValueError) as error:
        logger.warning("no address on the TURN server %s: %s", server.host, log_text(error))
        if socket is not None:
            await Relay(socket, Candidate("", 0)).close()
        return None
    address, port = socket.address
    return Relay(socket, Candidate(address, port, "relay", candidate_priority(RELAYED)))


async def _permit(client: turn.TurnClientMixin, address: str) -> None:
    """Bind a channel to the address, which permits all its ports: aioice passes on nothing from any other."""
    number, peer = client.channel_number, (address, _DISCARD_PORT)
    client.channel_number += 1
    with contextlib.suppress(stun.TransactionError):  # a TURN server may forbid addresses, such as private ones
        await client.channel_bind(number, peer)
        client.channel_refresh_at[number] = time.time() + REFRESH_S
        client.channel_to_peer[number], client.peer_to_channel[peer] = peer, number
