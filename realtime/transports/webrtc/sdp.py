"""Session descriptions: reads a client's offer and writes the answer. It knows no sockets.

What is answered: one audio section with Opus, and one data channel section (SCTP over DTLS) where the offer has one,
bundled on one transport with RTP and RTCP multiplexed. All other sections are rejected (port 0). An offer without
usable audio is a `PeerError` that says what is missing.

Nothing is sent to the candidates of an offer: the server answers connectivity checks and sends none of its own
(`realtime.transports.webrtc.ice`). Their addresses are permitted on a TURN server (`.relay`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

from realtime.audio.opus import RTP_RATE
from realtime.errors import PeerError

MAX_LINES = 1000
"""Chromium's offer of audio and a data channel has 60 lines, one with video and many codecs 200."""
MAX_SECTIONS = 16
MAX_ADDRESSES = 8
PACKET_MS = 20
DEFAULT_SCTP_PORT = 5000
DEFAULT_MAX_MESSAGE = 65_536
"""Bytes; where the offer does not say how long a message may be (RFC 8841)."""

_HASHES = ("sha-256", "sha-384", "sha-512")
_ICE_CHARACTERS = "[A-Za-z0-9+/]"
_PROFILES = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF")
_REVERSED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly"}


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """User name fragment and password of one end."""

    ufrag: str
    password: str


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of a DTLS certificate: ``AB:CD:…`` by a hash such as ``sha-256``."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class Opus:
    """How Opus is offered. ``mid``: of its section."""

    mid: str
    payload_type: int
    direction: str


@dataclass(frozen=True, slots=True)
class DataSection:
    """The section of the data channel. ``max_message``: bytes that the client takes in one message; 0: any number."""

    mid: str
    sctp_port: int
    max_message: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What an offer asks for. ``setup``: who begins DTLS, as offered. ``data``: None without a data channel.
    ``rejected``: kind, profile, formats and mid of each section that is not answered, by its index. ``addresses``: of
    the first few candidates."""

    ice: IceCredentials
    fingerprints: tuple[Fingerprint, ...]
    setup: str
    opus: Opus
    data: DataSection | None
    audio_index: int
    data_index: int | None
    rejected: dict[int, tuple[str, str, str, str]] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()

    @property
    def server_begins(self) -> bool:
        """Whether the server is the client of the DTLS handshake."""
        return self.setup in ("actpass", "passive")

    @property
    def layout(self) -> tuple[object, ...]:
        """Which sections there are."""
        data = self.data.mid if self.data is not None else None
        return self.audio_index, self.opus.mid, self.data_index, data, len(self.rejected)

    @property
    def sends(self) -> bool:
        """Whether the client wants to hear."""
        return self.opus.direction in ("sendrecv", "recvonly")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A UDP address at which the server is reached. ``kind``: host, srflx or relay."""

    address: str
    port: int
    kind: str = "host"
    priority: int = 0

    def line(self, number: int) -> str:
        related = " raddr 0.0.0.0 rport 9" if self.kind != "host" else ""
        return f"candidate:{number} 1 udp {self.priority} {self.address} {self.port} typ {self.kind}{related}"


@dataclass(frozen=True, slots=True)
class Answerer:
    """What an answer says of the server."""

    ice: IceCredentials
    fingerprint: Fingerprint
    candidates: Sequence[Candidate]
    session: int
    ssrc: int
    version: int = 1


def _refused(message: str) -> PeerError:
    return PeerError("invalid_value", f"The offer cannot be answered: {message}", param="sdp")


# Reading


@dataclass(slots=True)
class _Section:
    """Lines of an m-section; the session's own attributes first."""

    kind: str
    port: int
    profile: str
    formats: str
    attributes: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> Iterator[str]:
        return (value for key, value in self.attributes if key == name)

    def last(self, name: str) -> str | None:
        value = None
        for value in self.all(name):  # noqa: B007 - the last one counts: a section overrides the session
            pass
        return value

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.attributes)


def read_offer(sdp: str) -> Offer:
    """The offer in an SDP. Raises `PeerError` (``invalid_value``, param ``sdp``)."""
    lines = sdp.splitlines()
    if len(lines) > MAX_LINES:
        raise _refused(f"it has {len(lines)} lines, more than {MAX_LINES}.")
    session, sections = _sections(lines)
    audio_index = next((index for index, one in enumerate(sections) if one.kind == "audio" and one.port), None)
    if audio_index is None:
        raise _refused("it has no audio section. Add a microphone track, or a transceiver of kind 'audio'.")
    audio = sections[audio_index]
    data_index = next((index for index, one in enumerate(sections) if _is_data(one)), None)
    data = sections[data_index] if data_index is not None else None
    if session.has("ice-lite") or audio.has("ice-lite"):
        raise _refused("it comes from an ICE lite agent. The server sends no checks of its own: use a full ICE agent.")
    if not audio.has("rtcp-mux"):
        raise _refused("its audio section lacks 'a=rtcp-mux', which is required.")
    opus = _read_opus(audio, _mid(audio, audio_index))
    if data is not None and data_index is not None:
        bundled = next((value.split()[1:] for value in session.all("group") if value.startswith("BUNDLE ")), [])
        if not {opus.mid, _mid(data, data_index)} <= set(bundled):
            raise _refused("audio and data channel must share one transport: add 'a=group:BUNDLE' with both sections.")
    taken = {audio_index, data_index}
    return Offer(
        ice=_read_ice(audio),
        fingerprints=_read_fingerprints(audio),
        setup=_read_setup(audio),
        opus=opus,
        data=_read_data(data, _mid(data, data_index or 0)) if data is not None else None,
        audio_index=audio_index,
        data_index=data_index,
        rejected={
            index: (one.kind, one.profile, one.formats, _mid(one, index))
            for index, one in enumerate(sections)
            if index not in taken
        },
        addresses=_read_addresses(audio),
    )


def _sections(lines: Sequence[str]) -> tuple[_Section, list[_Section]]:
    session = _Section("", 0, "", "")
    sections: list[_Section] = []
    for line in lines:
        if not line:
            continue
        if line.startswith("m="):
            match = re.fullmatch(r"m=(\w+) (\d{1,5})(?:/\d+)? ([\w/]+) (\S.*)", line)
            if match is None:
                raise _refused(f"the line {line[:80]!r} is no media description (m=KIND PORT PROFILE FORMATS).")
            if len(sections) == MAX_SECTIONS:
                raise _refused(f"it has more than {MAX_SECTIONS} media sections.")
            kind, port, profile, formats = match.groups()
            sections.append(_Section(kind, int(port), profile, formats, list(session.attributes)))
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            (sections[-1] if sections else session).attributes.append((name, value.strip()))
        elif line[1:2] != "=":
            raise _refused(f"the line {line[:80]!r} is not of the form 'x=…'.")
    return session, sections


def _is_data(section: _Section) -> bool:
    return section.kind == "application" and "SCTP" in section.profile and bool(section.port)


def _mid(section: _Section, index: int) -> str:
    mid = section.last("mid") or str(index)
    if not re.fullmatch(r"[\w.+-]{1,64}", mid, re.ASCII):
        raise _refused(f"'a=mid:{mid[:80]}' is not a name of 1 to 64 letters, digits and .+-_")
    return mid


def _read_ice(section: _Section) -> IceCredentials:
    ufrag, password = section.last("ice-ufrag") or "", section.last("ice-pwd") or ""
    if not re.fullmatch(f"{_ICE_CHARACTERS}{{4,256}}", ufrag):
        raise _refused("'a=ice-ufrag' must have 4 to 256 letters, digits, + or /.")
    if not re.fullmatch(f"{_ICE_CHARACTERS}{{22,256}}", password):
        raise _refused("'a=ice-pwd' must have 22 to 256 letters, digits, + or /.")
    return IceCredentials(ufrag, password)


def _read_addresses(section: _Section) -> tuple[str, ...]:
    found = []
    for candidate in section.all("candidate"):
        parts = candidate.split()
        with suppress(ValueError, IndexError):  # names such as xyz.local are no addresses
            found.append(str(ip_address(parts[4])))
    return tuple(dict.fromkeys(found))[:MAX_ADDRESSES]


def _read_fingerprints(section: _Section) -> tuple[Fingerprint, ...]:
    found = [
        Fingerprint(hash.lower(), digest) for hash, _, digest in (v.partition(" ") for v in section.all("fingerprint"))
    ]
    known = tuple(one for one in found if one.algorithm in _HASHES)
    if not known or not all(re.fullmatch("[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31,63}", one.value) for one in known):
        raise _refused(f"it needs an 'a=fingerprint' by one of {', '.join(_HASHES)}.")
    return known


def _read_setup(section: _Section) -> str:
    setup = section.last("setup") or ""
    if setup not in ("actpass", "active", "passive"):
        raise _refused(f"'a=setup:{setup[:40]}' is not actpass, active or passive.")
    return setup


def _read_opus(section: _Section, mid: str) -> Opus:
    if section.profile not in _PROFILES:
        raise _refused(f"the audio profile {section.profile[:40]!r} is not {_PROFILES[0]}.")
    direction = next((one for one in ("sendrecv", "sendonly", "recvonly", "inactive") if section.has(one)), "sendrecv")
    if direction not in _REVERSED:
        raise _refused("its audio is 'inactive': nothing would be heard either way.")
    offered = section.formats.split()
    for rtpmap in section.all("rtpmap"):
        number, _, codec = rtpmap.partition(" ")
        if codec.strip().lower() == f"opus/{RTP_RATE}/2" and number in offered and number.isdecimal():
            if int(number) > 127 or 64 <= int(number) <= 95:  # RTCP's types, as they are seen on one port
                raise _refused(f"the payload type {number} of Opus is not in 0-63 or 96-127.")
            limit = _number(section, "maxptime", PACKET_MS)
            if limit < PACKET_MS:
                raise _refused(f"'a=maxptime:{limit}' is below the {PACKET_MS} ms of the server's packets.")
            _check_opus(section, number)
            return Opus(mid, int(number), direction)
    raise _refused("its audio has no Opus: the server speaks 'opus/48000/2' only.")


def _check_opus(section: _Section, number: str) -> None:
    """Its parameters, as far as the server relies on them; it may send anything that fits a decoder of full
    bandwidth."""
    text = next((rest for one, _, rest in (v.partition(" ") for v in section.all("fmtp")) if one == number), "")
    parameters: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, value = part.partition("=")
        parameters[name.strip().lower()] = value.strip()
    for name, low, high in (("maxplaybackrate", 8000, 48_000), ("maxaveragebitrate", 6000, 510_000)):
        value = parameters.get(name, str(high))
        if not value.isdecimal() or not low <= int(value[:9]) <= high:
            raise _refused(f"Opus with {name}={value[:40]} is out of range; it is {low} to {high}.")


def _read_data(section: _Section, mid: str) -> DataSection:
    if section.profile == "DTLS/SCTP":
        raise _refused(
            "it describes the data channel as browsers did until 2018. Use 'UDP/DTLS/SCTP webrtc-datachannel'."
        )
    port = _number(section, "sctp-port", DEFAULT_SCTP_PORT)
    if not 0 < port < 65_536:
        raise _refused(f"'a=sctp-port:{port}' is not in 1-65535.")
    return DataSection(mid, port, _number(section, "max-message-size", DEFAULT_MAX_MESSAGE))


def _number(section: _Section, name: str, default: int) -> int:
    value = section.last(name)
    if value is None:
        return default
    if not re.fullmatch(r"\d{1,19}", value):
        raise _refused(f"'a={name}:{value[:40]}' is not a number.")
    return int(value)


# Writing


def write_answer(offer: Offer, server: Answerer) -> str:
    """The answer, all candidates inside."""
    count = 1 + (offer.data is not None) + len(offer.rejected)
    mids = [offer.opus.mid, *([offer.data.mid] if offer.data is not None else [])]
    lines = [
        "v=0",
        f"o=- {server.session} {server.version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(mids)}",
        "a=msid-semantic:WMS realtime",
    ]
    for index in range(count):
        if index == offer.audio_index:
            lines += _audio_lines(offer, server)
        elif index == offer.data_index and offer.data is not None:
            lines += _data_lines(offer, offer.data, server)
        else:
            kind, profile, formats, mid = offer.rejected[index]
            lines += [f"m={kind} 0 {profile} {formats}", "c=IN IP4 0.0.0.0", "a=inactive", f"a=mid:{mid}"]
    return "\r\n".join(lines) + "\r\n"


def _audio_lines(offer: Offer, server: Answerer) -> list[str]:
    number = offer.opus.payload_type
    direction = _REVERSED[offer.opus.direction]
    lines = [
        f"m=audio {_port(server)} UDP/TLS/RTP/SAVPF {number}",
        *_transport_lines(offer, server),
        f"a=mid:{offer.opus.mid}",
        f"a={direction}",
        "a=rtcp-mux",
        f"a=rtpmap:{number} opus/{RTP_RATE}/2",
        f"a=fmtp:{number} minptime=10;useinbandfec=1",
        f"a=ptime:{PACKET_MS}",
    ]
    if offer.sends:
        lines += ["a=msid:realtime speech", f"a=ssrc:{server.ssrc} cname:realtime"]
    return lines


def _data_lines(offer: Offer, data: DataSection, server: Answerer) -> list[str]:
    return [
        f"m=application {_port(server)} UDP/DTLS/SCTP webrtc-datachannel",
        *_transport_lines(offer, server),
        f"a=mid:{data.mid}",
        f"a=sctp-port:{DEFAULT_SCTP_PORT}",
        f"a=max-message-size:{DEFAULT_MAX_MESSAGE}",
    ]


def _transport_lines(offer: Offer, server: Answerer) -> list[str]:
    first = server.candidates[0]
    family = "IP6" if ":" in first.address else "IP4"
    return [
        f"c=IN {family} {first.address}",
        *(f"a={one.line(number)}" for number, one in enumerate(server.candidates, 1)),
        "a=end-of-candidates",
        f"a=ice-ufrag:{server.ice.ufrag}",
        f"a=ice-pwd:{server.ice.password}",
        f"a=fingerprint:{server.fingerprint.algorithm} {server.fingerprint.value}",
        f"a=setup:{'active' if offer.server_begins else 'passive'}",
    ]


def _port(server: Answerer) -> int:
    return server.candidates[0].port
