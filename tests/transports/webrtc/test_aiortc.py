"""aiortc is pinned: its methods that the server overrides or calls, and that it does not document, are still there."""

from __future__ import annotations

import inspect

import pytest

pytest.importorskip("aiortc")

from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcsctptransport import InboundStream, RTCSctpTransport

from realtime.transports.webrtc.peer import _Dtls, _Link, _Sctp
from realtime.transports.webrtc.rtp import RtpSession


@pytest.mark.parametrize(
    ("kind", "name", "parameters"),
    [
        (RTCDtlsTransport, "_handle_rtp_data", ["self", "data", "arrival_time_ms"]),
        (RTCDtlsTransport, "_handle_rtcp_data", ["self", "data"]),
        (RTCDtlsTransport, "_send_data", ["self", "data"]),
        (RTCDtlsTransport, "_send_rtp", ["self", "data"]),
        (RTCDtlsTransport, "_set_role", ["self", "role"]),
        (RTCSctpTransport, "_handle_data", ["self", "data"]),
        (RTCSctpTransport, "_receive_data_chunk", ["self", "chunk"]),
    ],
)
def test_undocumented_methods_have_not_changed(kind: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(kind, name)).parameters) == parameters


async def test_undocumented_attributes_have_not_changed() -> None:
    link = _Link()
    dtls = _Dtls(link, RTCCertificate.generateCertificate(), lambda data: None, lambda data: None)
    assert {"_recv", "_send", "role"} <= set(dir(link)) and dtls._task is None
    sctp = _Sctp(dtls, lambda reason: None)
    assert sctp.drained and sctp._advertised_rwnd > 0 and sctp._inbound_streams == {}
    assert InboundStream().reassembly == []


def test_packets_are_read_and_written() -> None:
    sender, receiver = RtpSession(111), RtpSession(111)
    first, second = (receiver.read(sender.packet(b"opus", speech=True)) for _ in range(2))
    assert first is not None and second is not None
    assert (second.sequence - first.sequence) % 2**16 == 1
    assert (second.timestamp - first.timestamp) % 2**32 == 960
    assert (first.new_source, second.new_source, first.payload) == (True, False, b"opus")
    assert receiver.read(RtpSession(96).packet(b"opus", speech=True)) is None
    assert receiver.read(b"\x80") is None


def test_the_marker_says_where_speech_begins() -> None:
    session = RtpSession(111)
    markers = [session.packet(b"", speech=speech)[1] >> 7 for speech in (False, True, True, False, True)]
    assert markers == [0, 1, 0, 0, 1]


def test_skipped_frames_pass_in_the_timestamps() -> None:
    sender, receiver = RtpSession(111), RtpSession(111)
    first = receiver.read(sender.packet(b"x", speech=False))
    sender.skip(10)
    second = receiver.read(sender.packet(b"x", speech=False))
    assert first is not None and second is not None
    assert (second.timestamp - first.timestamp) % 2**32 == 11 * 960


def test_round_trip_and_loss_come_from_reports() -> None:
    server, client = RtpSession(111), RtpSession(111)
    for number in range(20):
        packet = server.packet(b"x", speech=True)
        if number % 4:
            client.read(packet)
    client.read_report(server.report())
    server.read_report(client.report())
    assert server.round_trip is not None and 0 <= server.round_trip < 5
    assert 15 <= server.loss_percent <= 30
    server.read_report(b"nonsense")
