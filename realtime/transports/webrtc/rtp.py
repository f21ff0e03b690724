"""RTP and RTCP of one call, both ways."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from aiortc.clock import current_ntp_time
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import (
    HeaderExtensionsMap,
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    RtpPacket,
)

from realtime.audio.opus import FRAME_SAMPLES, RTP_RATE

REPORT_S = 5.0
"""Between two reports (RFC 3550 section 6.2)."""
_NO_EXTENSIONS = HeaderExtensionsMap()
_MASK16, _MASK32 = 0xFFFF, 0xFFFFFFFF
_SMOOTHING = 0.125
"""Of the round-trip time, as TCP has it (RFC 6298)."""


@dataclass(frozen=True, slots=True)
class Received:
    """The parts of an RTP packet that matter here. ``new_source``: the first of its SSRC."""

    sequence: int
    timestamp: int
    payload: bytes
    new_source: bool = False


class RtpSession:
    """One call's audio both ways. ``round_trip``: seconds, None before the first report of the client. ``received``:
    packets of audio. ``loss_percent``: as the client reports it."""

    def __init__(self, payload_type: int) -> None:
        self.ssrc = secrets.randbits(32) or 1
        self.round_trip: float | None = None
        self.received = 0
        self.loss_percent = 0
        self._payload_type = payload_type
        self._sequence = secrets.randbits(15)
        self._timestamp = secrets.randbits(32)
        self._sent_at = (0, 0)  # NTP time and RTP time of the last packet
        self._packets = 0
        self._octets = 0
        self._talking = False
        self._source: tuple[int, StreamStatistics] | None = None
        self._sender_report = (0, 0.0)  # the middle of its NTP time, and when it came
        self._reported: dict[int, float] = {}

    @property
    def sent(self) -> int:
        """Packets of audio."""
        return self._packets

    def packet(self, payload: bytes, *, speech: bool) -> bytes:
        """The next packet of 20 ms. The marker says where speech begins behind silence."""
        packet = RtpPacket(
            payload_type=self._payload_type,
            marker=int(speech and not self._talking),
            sequence_number=self._sequence,
            timestamp=self._timestamp,
            ssrc=self.ssrc,
            payload=payload,
        )
        self._talking = speech
        self._sent_at = current_ntp_time(), self._timestamp
        self._sequence = (self._sequence + 1) & _MASK16
        self._packets += 1
        self._octets += len(payload)
        self.skip(1)
        return packet.serialize(_NO_EXTENSIONS)

    def skip(self, frames: int) -> None:
        """So many frames are not sent: time goes on without them."""
        self._timestamp = (self._timestamp + frames * FRAME_SAMPLES) & _MASK32

    def read(self, data: bytes) -> Received | None:
        """An RTP packet of the client; None where it is none, or not the audio that was agreed on."""
        try:
            packet = RtpPacket.parse(data, _NO_EXTENSIONS)
        except ValueError:
            return None
        if packet.payload_type != self._payload_type:
            return None
        source = self._source
        if new_source := source is None or source[0] != packet.ssrc:  # a track that was replaced may have a new one
            source = self._source = packet.ssrc, StreamStatistics(RTP_RATE)
        assert source is not None
        source[1].add(packet)
        self.received += 1
        return Received(packet.sequence_number, packet.timestamp, packet.payload, new_source)

    def read_report(self, data: bytes) -> None:
        """An RTCP packet of the client."""
        try:
            packets = RtcpPacket.parse(data)
        except ValueError:
            return
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                self._sender_report = (packet.sender_info.ntp_timestamp >> 16) & _MASK32, time.monotonic()
            if isinstance(packet, RtcpSrPacket | RtcpRrPacket):
                for report in packet.reports:
                    self._measure(report)

    def report(self) -> bytes:
        """A sender's report with what is known of the client's stream."""
        now, middle = time.monotonic(), (self._sent_at[0] >> 16) & _MASK32
        self._reported[middle] = now
        while len(self._reported) > 4:
            del self._reported[next(iter(self._reported))]
        info = RtcpSenderInfo(self._sent_at[0], self._sent_at[1], self._packets & _MASK32, self._octets & _MASK32)
        description = RtcpSdesPacket([RtcpSourceInfo(self.ssrc, [(1, b"realtime")])])
        return bytes(RtcpSrPacket(self.ssrc, info, self._reception(now))) + bytes(description)

    def goodbye(self) -> bytes:
        """The end of the server's stream."""
        return bytes(RtcpRrPacket(self.ssrc)) + bytes(RtcpByePacket([self.ssrc]))

    def _reception(self, now: float) -> list[RtcpReceiverInfo]:
        if self._source is None:
            return []
        ssrc, stream = self._source
        middle, at = self._sender_report
        return [
            RtcpReceiverInfo(
                ssrc=ssrc,
                fraction_lost=stream.fraction_lost,
                packets_lost=stream.packets_lost,
                highest_sequence=stream.cycles + (stream.max_seq or 0),
                jitter=stream.jitter & _MASK32,
                lsr=middle,
                dlsr=min(int((now - at) * 65_536), _MASK32) if middle else 0,
            )
        ]

    def _measure(self, report: RtcpReceiverInfo) -> None:
        if report.ssrc != self.ssrc:
            return
        self.loss_percent = report.fraction_lost * 100 // 256
        at = self._reported.get(report.lsr)
        if at is None or not report.lsr:
            return
        measured = max(0.0, time.monotonic() - at - report.dlsr / 65_536)
        before = measured if self.round_trip is None else self.round_trip
        self.round_trip = before + _SMOOTHING * (measured - before)
