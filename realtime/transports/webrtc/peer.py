"""One client's connection: a proven ICE path, DTLS with the certificate of the offer, SRTP and a data channel.

DTLS, SRTP and SCTP are aiortc's. Its peer connection, ICE agent, jitter buffer and decoder thread are not used: the
server shares one UDP port, sends no checks of its own, and has its own receive path. `_Dtls` and `_Sctp` override
methods that aiortc does not document; the version is pinned and a test names each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from aiortc import RTCCertificate, RTCDataChannel, RTCDtlsTransport, RTCSctpTransport
from aiortc.exceptions import InvalidStateError
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcsctptransport import DataChunk, RTCSctpCapabilities

from realtime.errors import log_text
from realtime.transports.webrtc.ice import IceAgent
from realtime.transports.webrtc.sdp import Fingerprint, IceCredentials, Offer
from realtime.transports.webrtc.udp import Receiver, UdpMux

logger = logging.getLogger(__name__)

CONNECT_S = 15.0
"""From the answer to the first event: ICE, DTLS and the data channel. Browsers give up after 15 to 30 s."""
TICK_S = 0.5
CLOSE_S = 1.0
"""How long the last events may take to arrive."""
MAX_WAITING = 512
"""Datagrams between the socket and DTLS, which the same loop reads."""
MAX_CHANNELS = 8
"""Data channels that a client may open; the first carries the events."""
MAX_FRAGMENTS = 1024
"""Parts of messages that are not complete yet; a message of 64 KiB has 55."""


class _Link:
    """What DTLS sees of ICE: datagrams both ways."""

    role = "controlled"

    def __init__(self) -> None:
        self.agent: IceAgent | None = None
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue()

    def arrived(self, data: bytes) -> None:
        if self._arrived.qsize() < MAX_WAITING:
            self._arrived.put_nowait(data)

    def close(self) -> None:
        self._arrived.put_nowait(None)

    async def _recv(self) -> bytes:
        data = await self._arrived.get()
        if data is None:
            raise ConnectionError("the call is over")
        return data

    async def _send(self, data: bytes) -> None:
        if self.agent is not None and self.agent.selected is not None:
            socket, address = self.agent.selected
            socket.send(data, address)


class _Dtls(RTCDtlsTransport):
    """Hands over RTP and RTCP as they are."""

    def __init__(
        self,
        link: _Link,
        certificate: RTCCertificate,
        on_rtp: Callable[[bytes], None],
        on_rtcp: Callable[[bytes], None],
    ) -> None:
        super().__init__(link, [certificate])  # type: ignore[arg-type]
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self._on_rtp(data)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self._on_rtcp(data)

    async def _send_data(self, data: bytes) -> None:
        if self.state == "connected":  # aiortc's tasks of their own send behind the end, too
            await super()._send_data(data)

    async def finish(self) -> None:
        """Say goodbye and stop."""
        task = self._task
        await self.stop()
        if task is not None:
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await task


class _Sctp(RTCSctpTransport):
    """Survives what a hostile client sends, in bounded memory."""

    def __init__(self, dtls: _Dtls, on_fault: Callable[[str], None]) -> None:
        super().__init__(dtls)
        self._on_fault = on_fault

    @property
    def drained(self) -> bool:
        """Whether the client has acknowledged everything."""
        return not (self._data_channel_queue or self._outbound_queue or self._sent_queue)

    async def _handle_data(self, data: bytes) -> None:
        try:
            await super()._handle_data(data)
        except Exception as error:  # aiortc asserts what a peer may send
            self._on_fault(f"its data channel broke the protocol ({log_text(error)})")

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        await super()._receive_data_chunk(chunk)
        streams = self._inbound_streams
        waiting = len(streams) + sum(len(one.reassembly) for one in streams.values())
        if self._advertised_rwnd < 0 or waiting > MAX_FRAGMENTS:
            self._on_fault("it leaves messages incomplete")


class Peer:
    """One client. `run` it until it is over; `connected` is set when media and events can flow."""

    def __init__(
        self,
        offer: Offer,
        mux: UdpMux,
        on_rtp: Callable[[bytes], None],
        on_rtcp: Callable[[bytes], None],
        on_message: Callable[[str | bytes], None],
    ) -> None:
        self.connected = asyncio.Event()
        self._offer = offer
        self._mux = mux
        self._loop = asyncio.get_running_loop()
        self._certificate = RTCCertificate.generateCertificate()
        self._link = _Link()
        self._dtls = _Dtls(self._link, self._certificate, on_rtp, on_rtcp)
        self._sctp: _Sctp | None = None
        self._events: RTCDataChannel | None = None
        self._channels = 0
        self._on_message = on_message
        self._receiver = Receiver(self._link.arrived)
        self._reachable = asyncio.Event()
        self._room = asyncio.Event()
        self._over = asyncio.Event()
        self.reason = ""
        self._agents: list[IceAgent] = [self._new_agent(offer.ice)]

    @property
    def ice(self) -> IceCredentials:
        """The server's, for the answer."""
        return self._agents[-1].local

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the server's certificate."""
        one = self._certificate.getFingerprints()[0]
        return Fingerprint(one.algorithm, one.value)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def end(self, reason: str) -> None:
        """It is over; ``reason``: in words, for the log. The first one counts."""
        if not self._over.is_set():
            self.reason = reason
            self._over.set()
            self._room.set()

    async def run(self) -> None:
        """Connect, then watch over the connection until it ends. Frees everything that it holds."""
        connecting = asyncio.create_task(self._connect(), name="webrtc connect")
        began = self._loop.time()
        try:
            while not self._over.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._over.wait()
                self._watch(began)
        finally:
            await self._free(connecting)

    def _watch(self, began: float) -> None:
        now = self._loop.time()
        for agent in self._agents:
            agent.tick(now)
        if not self.connected.is_set():
            if now - began >= CONNECT_S:
                self.end(f"it did not connect within {CONNECT_S:g} s")
        elif all(agent.is_gone(now) for agent in self._agents):
            self.end("it vanished")

    async def _connect(self) -> None:
        try:
            await self._reachable.wait()
            fingerprints = [RTCDtlsFingerprint(one.algorithm, one.value) for one in self._offer.fingerprints]
            self._dtls._set_role("client" if self._offer.server_begins else "server")
            self._dtls.on("statechange", self._dtls_changed)
            await self._dtls.start(RTCDtlsParameters(fingerprints))
            if self._dtls.state != "connected":
                return
            if self._offer.data is not None:
                self._sctp = _Sctp(self._dtls, self.end)
                self._sctp.on("datachannel", self._channel_opened)
                capabilities = RTCSctpCapabilities(self._offer.data.max_message)
                await self._sctp.start(capabilities, self._offer.data.sctp_port)
            self.connected.set()
        except Exception as error:  # the task's border: its end is the connection's
            self.end(f"it could not be connected ({log_text(error)})")

    def _dtls_changed(self) -> None:
        if self._dtls.state == "closed":
            self.end("it closed the connection")
        elif self._dtls.state == "failed":
            self.end("the DTLS handshake failed")

    # The path

    def _new_agent(self, remote: IceCredentials) -> IceAgent:
        agent: IceAgent

        def selected() -> None:
            self._use(agent)

        agent = IceAgent(remote, self._mux, self._loop.time(), selected)
        self._mux.add(agent, self._receiver)
        return agent

    def _use(self, agent: IceAgent) -> None:
        """The agent has found a path: older ones are not needed any more."""
        self._link.agent = agent
        for old in self._agents[: self._agents.index(agent)]:
            self._mux.remove(old)
        del self._agents[: self._agents.index(agent)]
        self._reachable.set()

    def restart(self, remote: IceCredentials) -> None:
        """Look for a new path with new credentials (`ice`); the old one is used until then."""
        for unused in self._agents[1:]:
            self._mux.remove(unused)
        del self._agents[1:]
        self._agents.append(self._new_agent(remote))

    # Media and events

    async def send_rtp(self, data: bytes) -> None:
        """Encrypt and send an RTP or RTCP packet; none is sent once it is over."""
        with contextlib.suppress(ConnectionError):
            await self._dtls._send_rtp(data)

    async def send_event(self, message: str) -> bool:
        """Send a message over the data channel; waits until it is open and has room. False: the message is too long for
        the client. Raises `ConnectionError` when it is over."""
        while not self._over.is_set() and (self._events is None or self._events.bufferedAmount > 0):
            self._room.clear()
            await self._room.wait()
        if self._over.is_set() or self._events is None:
            raise ConnectionError(self.reason)
        try:
            self._events.send(message)
        except ValueError:
            return False
        except InvalidStateError:
            raise ConnectionError("the data channel is closed") from None
        return True

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        self._channels += 1
        if self._channels > MAX_CHANNELS:
            self.end(f"it opened more than {MAX_CHANNELS} data channels")
        if self._events is not None:
            return
        self._events = channel
        channel.on("message", self._on_message)
        channel.on("bufferedamountlow", self._room.set)
        channel.on("close", lambda: self.end("it closed the data channel"))
        self._room.set()

    async def drain(self) -> None:
        """Give the last events some time to arrive."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while not self._over.is_set() and self._sctp is not None and not self._sctp.drained:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)  # aiortc tells nobody when it has sent everything

    async def _free(self, connecting: asyncio.Task[None]) -> None:
        connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await connecting
        self.end("it was closed")
        if self._sctp is not None:
            with contextlib.suppress(ConnectionError):
                await self._sctp.stop()
        await self._dtls.finish()
        self._dtls.remove_all_listeners()
        self._link.close()
        for agent in self._agents:
            self._mux.remove(agent)
