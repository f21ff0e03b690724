"""Offers of browsers and of attackers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import PeerError
from realtime.transports.webrtc.sdp import (
    Answerer,
    Candidate,
    DataSection,
    Fingerprint,
    IceCredentials,
    read_offer,
    write_answer,
)
from tests.transports.webrtc.offers import CHROMIUM, FINGERPRINT, FIREFOX

SERVER = Answerer(
    ice=IceCredentials("server", "p" * 24),
    fingerprint=Fingerprint("sha-256", "CD:" * 31 + "CD"),
    candidates=(Candidate("198.51.100.7", 40000, "host", 1000), Candidate("2001:db8::1", 40000, "host", 900)),
    session=17,
    ssrc=4711,
)


def answer(offer: str) -> list[str]:
    return write_answer(read_offer(offer), SERVER).split("\r\n")


def test_chromiums_offer_is_read() -> None:
    offer = read_offer(CHROMIUM)
    assert offer.ice == IceCredentials("6hJ1", "wJm0qYvkqVXvR5TQ2PmyXsDX")
    assert offer.fingerprints == (Fingerprint("sha-256", FINGERPRINT),)
    assert (offer.opus.payload_type, offer.opus.direction, offer.opus.mid) == (111, "sendrecv", "0")
    assert offer.data == DataSection("1", 5000, 262_144)
    assert offer.server_begins and offer.sends


def test_answers_have_all_candidates_and_accept_opus() -> None:
    lines = answer(CHROMIUM)
    assert "m=audio 40000 UDP/TLS/RTP/SAVPF 111" in lines
    assert "a=candidate:1 1 udp 1000 198.51.100.7 40000 typ host" in lines
    assert "a=candidate:2 1 udp 900 2001:db8::1 40000 typ host" in lines
    assert lines.count("a=end-of-candidates") == lines.count("a=setup:active") == 2
    assert "a=group:BUNDLE 0 1" in lines and "a=ssrc:4711 cname:realtime" in lines
    assert not any(line.startswith("a=ice-lite") for line in lines)


def test_video_is_rejected_beside_audio() -> None:
    lines = answer(FIREFOX)
    kinds = [line.split()[:2] for line in lines if line.startswith("m=")]
    assert kinds == [["m=audio", "40000"], ["m=video", "0"], ["m=application", "40000"]]
    assert "a=group:BUNDLE 0 2" in lines


@pytest.mark.parametrize(
    ("offered", "answered", "sends"), [("sendonly", "recvonly", False), ("recvonly", "sendonly", True)]
)
def test_directions_are_reversed(offered: str, answered: str, sends: bool) -> None:
    offer = CHROMIUM.replace("a=sendrecv", f"a={offered}")
    assert f"a={answered}" in answer(offer)
    assert read_offer(offer).sends is sends


def test_offers_without_a_data_channel_are_answered() -> None:
    offer = CHROMIUM[: CHROMIUM.index("m=application")]
    assert read_offer(offer).data is None
    assert "a=group:BUNDLE 0" in answer(offer)


VIDEO_ONLY = FIREFOX[: FIREFOX.index("m=audio")] + FIREFOX[FIREFOX.index("m=video") :]


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        (VIDEO_ONLY, "no audio section"),
        (CHROMIUM.replace("m=audio 9", "m=audio 0"), "no audio section"),
        (CHROMIUM + "a=x\r\n" * 2000, "more than 1000"),
        (CHROMIUM + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 20, "more than 16 media sections"),
        (CHROMIUM.replace("opus/48000/2", "opus/16000/1"), "has no Opus"),
        (CHROMIUM.replace("UDP/TLS/RTP/SAVPF 111", "UDP/TLS/RTP/SAVPF"), "has no Opus"),
        (CHROMIUM.replace("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 RTP/AVP"), "the audio profile"),
        (CHROMIUM.replace("minptime=10", "maxplaybackrate=5"), "maxplaybackrate=5 is out of range"),
        (CHROMIUM.replace("minptime=10", "maxaveragebitrate=x"), "maxaveragebitrate=x is out of range"),
        (CHROMIUM.replace("a=rtcp-rsize", "a=maxptime:10"), "'a=maxptime:10' is below"),
        (CHROMIUM.replace("a=rtcp-rsize", "a=maxptime:" + "9" * 5000), "is not a number"),
        (CHROMIUM.replace(" 111 ", " 200 ").replace(":111 ", ":200 "), "payload type 200"),
        (CHROMIUM.replace("a=sendrecv", "a=inactive"), "'inactive'"),
        (CHROMIUM.replace("a=rtcp-mux\r\n", ""), "a=rtcp-mux"),
        (CHROMIUM.replace("a=group:BUNDLE 0 1\r\n", ""), "a=group:BUNDLE"),
        (CHROMIUM.replace("a=ice-ufrag:6hJ1", "a=ice-ufrag:x"), "a=ice-ufrag"),
        (CHROMIUM.replace("wJm0qYvkqVXvR5TQ2PmyXsDX", "short"), "a=ice-pwd"),
        (CHROMIUM.replace("a=setup:actpass", "a=setup:holdconn"), "a=setup:holdconn"),
        (CHROMIUM.replace("sha-256", "md5"), "a=fingerprint"),
        (CHROMIUM.replace(FINGERPRINT, "zz"), "a=fingerprint"),
        (CHROMIUM.replace("s=-", "a=ice-lite"), "ICE lite"),
        (CHROMIUM.replace("a=sctp-port:5000", "a=sctp-port:0"), "a=sctp-port:0"),
        (CHROMIUM.replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000"), "until 2018"),
        (CHROMIUM.replace("a=mid:0", "a=mid:" + "x" * 70_000), "a=mid"),
        (CHROMIUM.replace("m=audio 9", "m=audio nine"), "no media description"),
        ("v=0\r\nhello\r\n", "not of the form"),
    ],
)
def test_unusable_offers_are_refused_with_their_reason(offer: str, reason: str) -> None:
    with pytest.raises(PeerError, match=reason) as raised:
        read_offer(offer)
    assert (raised.value.code, raised.value.param) == ("invalid_value", "sdp")
    assert len(raised.value.message) < 300


LINES = CHROMIUM.split("\r\n")


@given(st.lists(st.sampled_from([*LINES, *FIREFOX.split("\r\n"), "a=rtpmap:", "a=fmtp:111 ;=;", "a=group:BUNDLE"])))
def test_any_mix_of_lines_is_read_or_refused(lines: list[str]) -> None:
    try:
        write_answer(read_offer("\r\n".join(["v=0", *lines])), SERVER)
    except PeerError as error:
        assert error.param == "sdp"


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(PeerError):
        read_offer("v=0\r\n" + text)
