"""The dialects of carriers' and PBXs' media streams, as a table of pure functions.

A vendor's message -> typed messages; a command -> the vendor's messages. They keep no state and do no I/O.

Unknown events and fields are ignored. A message that cannot be read raises `PeerError`, which ends the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime.audio.streams import AudioFormat
from realtime.transports.phone.json_fields import (
    content_type,
    digit_of,
    encoded,
    format_of,
    inner,
    media_of,
    number_of,
    parameters_of,
    parse,
    payload,
    required,
    text_of,
)
from realtime.transports.phone.messages import (
    Clear,
    Command,
    HangUp,
    Mark,
    Marked,
    Media,
    Message,
    Play,
    Started,
    Stopped,
    wrong,
)

Wire = str | bytes
Read = Callable[[Wire, AudioFormat], tuple[Message, ...]]
"""A message and the format to assume where the vendor names none -> what it says."""
Write = Callable[[Command, Started], tuple[Wire, ...]]
"""A command and the stream's start -> messages to send."""

MULAW_8K = AudioFormat("mulaw", 8000)
PCM_8K = AudioFormat("pcm16", 8000)
PCM_16K = AudioFormat("pcm16", 16_000)

FRAME_MS = 20
ASTERISK_BYTES = 65_500
"""A longer message ends the call."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One vendor's. ``format``: assumed where the vendor names none. ``marks``: it tells the played position.
    ``lead_s``: how much audio may wait at the far end. ``binary_start``: the stream may begin with audio.
    ``subprotocol``: of the WebSocket, selected where the client offers it. ``settle_s``: silence after a clear, because
    the far end may drop audio that comes right behind it."""

    name: str
    title: str
    read: Read
    write: Write
    format: AudioFormat = MULAW_8K
    marks: bool = True
    lead_s: float = 1.0
    binary_start: bool = False
    subprotocol: str | None = None
    settle_s: float = 0.0

    def assumed(self, rate: int) -> AudioFormat:
        """The assumed format at another rate. Raises `PeerError`."""
        return format_of("", rate, self.format)

    def frame_bytes(self, format: AudioFormat) -> int:
        """Bytes of 20 ms."""
        return format.rate * FRAME_MS // 1000 * format.sample_bytes


# Twilio, and others in its shape


def _read_twilio(message: Wire, default: AudioFormat) -> tuple[Message, ...]:
    fields = parse(message)
    match fields.get("event"):
        case "start":
            start = inner(fields, "start")
            media = inner(start, "mediaFormat", "media_format")
            stream_id = text_of(start, "streamSid", "stream_sid") or required(fields, "streamSid", "stream_sid")
            return (
                Started(
                    format_of(text_of(media, "encoding"), number_of(media, "sampleRate", "sample_rate"), default),
                    stream_id,
                    text_of(start, "callSid", "call_sid"),
                    parameters_of(inner(start, "customParameters", "custom_parameters")),
                ),
            )
        case "media":
            return _inbound(inner(fields, "media"))
    return _read_common(fields)


def _inbound(media: Mapping[str, Any], chunk: int | None = None) -> tuple[Message, ...]:
    """The caller's track; a stream may carry ours, too."""
    return () if text_of(media, "track").startswith("outbound") else (media_of(media, chunk=chunk),)


def _read_common(fields: Mapping[str, Any]) -> tuple[Message, ...]:
    """What Twilio, Telnyx and Plivo have in common."""
    match fields.get("event"):
        case "dtmf":
            return digit_of(inner(fields, "dtmf"), "digit")
        case "mark":
            return (Marked(text_of(inner(fields, "mark"), "name")),)
        case "stop":
            return (Stopped("the carrier ended the stream"),)
    return ()


def _twilio_writer(key: str) -> Write:
    """``key``: how the stream is named."""

    def write(command: Command, start: Started) -> tuple[Wire, ...]:
        stream = {key: start.stream_id}
        match command:
            case Play(audio):
                return (encoded(event="media", **stream, media={"payload": payload(audio)}),)
            case Mark(name):
                return (encoded(event="mark", **stream, mark={"name": name}),)
            case Clear():
                return (encoded(event="clear", **stream),)
        return ()

    return write


# Telnyx


def _read_telnyx(message: Wire, default: AudioFormat) -> tuple[Message, ...]:
    fields = parse(message)
    match fields.get("event"):
        case "start":
            start = inner(fields, "start")
            media = inner(start, "media_format")
            return (
                Started(
                    format_of(text_of(media, "encoding"), number_of(media, "sample_rate"), default),
                    text_of(fields, "stream_id"),
                    text_of(start, "call_control_id", "call_session_id"),
                    parameters_of(inner(start, "custom_parameters")),
                ),
            )
        case "media":
            media = inner(fields, "media")
            return _inbound(media, number_of(media, "chunk"))
        case "error":
            return (Stopped("the carrier reported an error"),)
    return _read_common(fields)


def _write_telnyx(command: Command, start: Started) -> tuple[Wire, ...]:
    match command:
        case Play(audio):
            return (encoded(event="media", media={"payload": payload(audio)}),)
        case Mark(name):
            return (encoded(event="mark", mark={"name": name}),)
        case Clear():
            return (encoded(event="clear"),)
    return ()


# Plivo


def _read_plivo(message: Wire, default: AudioFormat) -> tuple[Message, ...]:
    fields = parse(message)
    match fields.get("event"):
        case "start":
            start = inner(fields, "start")
            media = inner(start, "mediaFormat")
            stream_id = text_of(start, "streamId") or required(fields, "streamId")
            pairs = (pair.partition("=") for pair in text_of(fields, "extra_headers").split(";"))
            return (
                Started(
                    format_of(text_of(media, "encoding"), number_of(media, "sampleRate"), default),
                    stream_id,
                    text_of(start, "callId"),
                    parameters_of({name.strip(): value.strip() for name, _, value in pairs}),
                ),
            )
        case "media":
            return _inbound(inner(fields, "media"))
        case "playedStream":
            return (Marked(text_of(fields, "name")),)
    return _read_common(fields)


def _write_plivo(command: Command, start: Started) -> tuple[Wire, ...]:
    stream = {"streamId": start.stream_id}
    match command:
        case Play(audio):
            kind = {"mulaw": "audio/x-mulaw", "alaw": "audio/x-alaw", "pcm16": "audio/x-l16"}[start.format.encoding]
            media = {"contentType": kind, "sampleRate": start.format.rate, "payload": payload(audio)}
            return (encoded(event="playAudio", **stream, media=media),)
        case Mark(name):
            return (encoded(event="checkpoint", **stream, name=name),)
        case Clear():
            return (encoded(event="clearAudio", **stream),)
    return ()


# Vonage


def _read_vonage(message: Wire, default: AudioFormat) -> tuple[Message, ...]:
    if isinstance(message, bytes):
        return (Media(message),)
    fields = parse(message)
    match fields.get("event"):
        case "websocket:connected":
            format = content_type(text_of(fields, "content-type"), default)
            own = {name: value for name, value in fields.items() if name not in ("event", "content-type")}
            own |= inner(fields, "headers")
            return (Started(format, call_id=text_of(own, "call_id", "uuid"), parameters=parameters_of(own)),)
        case "websocket:notify":
            return (Marked(text_of(inner(fields, "payload"), "mark")),)
        case "websocket:dtmf":
            return digit_of(fields, "digit") or digit_of(inner(fields, "dtmf"), "digit")
        case "websocket:disconnected":
            return (Stopped("the carrier ended the stream"),)
    return ()


def _write_vonage(command: Command, start: Started) -> tuple[Wire, ...]:
    match command:
        case Play(audio):
            size = VONAGE.frame_bytes(start.format)
            return tuple(audio[at : at + size] for at in range(0, len(audio), size))
        case Mark(name):
            return (encoded(action="notify", payload={"mark": name}),)
        case Clear():
            return (encoded(action="clear"),)
    return ()


# Asterisk's chan_websocket

_ASTERISK_RATES = {"slin": 8000, "slin16": 16_000, "slin24": 24_000, "ulaw": 8000, "alaw": 8000}


def _read_asterisk(message: Wire, default: AudioFormat) -> tuple[Message, ...]:
    if isinstance(message, bytes):
        return (Media(message),)
    plain = not message.lstrip().startswith("{")
    if plain:
        name, _, rest = message.strip().partition(" ")
        words = rest.split()
        fields: Mapping[str, Any] = {key: value for key, _, value in (word.partition(":") for word in words)}
    else:
        fields = parse(message)
        name, words = text_of(fields, "event"), []
    match name:
        case "MEDIA_START":
            codec = text_of(fields, "format")
            if codec not in _ASTERISK_RATES:
                raise wrong(f"The codec {codec[:60]!r} is not supported. Dial with c(slin16), c(slin) or c(ulaw).")
            format = format_of(codec.rstrip("0123456789"), _ASTERISK_RATES[codec], default)
            call_id = text_of(fields, "channel_id", "connection_id")
            return (Started(format, "", call_id, parameters_of(inner(fields, "channel_variables")), plain),)
        case "MEDIA_MARK_PROCESSED":
            return (Marked(text_of(fields, "correlation_id") or " ".join(words)),)
        case "DTMF_END":
            return digit_of(fields, "digit")
        case "HANGUP" | "MEDIA_STOP":
            return (Stopped("Asterisk ended the stream"),)
    return ()


def _write_asterisk(command: Command, start: Started) -> tuple[Wire, ...]:
    match command:
        case Play(audio):
            most = ASTERISK_BYTES - ASTERISK_BYTES % ASTERISK.frame_bytes(start.format)
            return tuple(audio[at : at + most] for at in range(0, len(audio), most))
        case Mark(name):
            return (f"MARK_MEDIA {name}" if start.plain else encoded(command="MARK_MEDIA", correlation_id=name),)
        case Clear():
            return ("FLUSH_MEDIA" if start.plain else encoded(command="FLUSH_MEDIA"),)
        case HangUp():
            return ("HANGUP" if start.plain else encoded(command="HANGUP"),)


# jambonz, drachtio mod_audio_fork, FreeSWITCH mod_audio_stream


def _metadata(fields: Mapping[str, Any], default: AudioFormat) -> Started:
    """The first message: what the user has set, and of jambonz the call."""
    format = format_of("", number_of(fields, "sampleRate"), default)
    own = {**fields, **inner(fields, "metadata", "customParameters")}
    return Started(format, call_id=text_of(fields, "callSid", "call_sid", "uuid"), parameters=parameters_of(own))


def _read_jambonz(message: Wire, default: AudioFormat) -> tuple[Message, ...]:
    if isinstance(message, bytes):
        return (Media(message),)
    fields = parse(message)
    if fields.get("event") == "dtmf":
        return digit_of(fields, "dtmf", "digit")
    match fields.get("type"):
        case "mark":
            data = inner(fields, "data")
            return () if text_of(data, "event") == "cleared" else (Marked(text_of(data, "name")),)
        case "disconnect":
            return (Stopped("the far end ended the stream"),)
    return (_metadata(fields, default),)


def _write_jambonz(command: Command, start: Started) -> tuple[Wire, ...]:
    match command:
        case Play(audio):
            return (audio,)
        case Mark(name):
            return (encoded(type="mark", data={"name": name}),)
        case Clear():
            return (encoded(type="killAudio"),)
        case HangUp():
            return (encoded(type="disconnect"),)


def _read_freeswitch(message: Wire, default: AudioFormat) -> tuple[Message, ...]:
    if isinstance(message, bytes):
        return (Media(message),)
    if not message.lstrip().startswith("{"):  # the user's metadata may be any text
        return (Started(default),)
    return (_metadata(parse(message), default),)


def _write_freeswitch(command: Command, start: Started) -> tuple[Wire, ...]:
    match command:
        case Play(audio):
            data = {"audioDataType": "raw", "sampleRate": start.format.rate, "audioData": payload(audio)}
            return (encoded(type="streamAudio", data=data),)
        case Clear():
            return (encoded(type="killAudio"),)
    return ()


TWILIO = Dialect("twilio", "Twilio Media Streams, SignalWire, Fonoster", _read_twilio, _twilio_writer("streamSid"))
EXOTEL = Dialect("exotel", "Exotel Voicebot", _read_twilio, _twilio_writer("stream_sid"), PCM_8K)
TELNYX = Dialect("telnyx", "Telnyx", _read_telnyx, _write_telnyx)
PLIVO = Dialect("plivo", "Plivo, Vobiz", _read_plivo, _write_plivo)
VONAGE = Dialect("vonage", "Vonage Voice", _read_vonage, _write_vonage, PCM_16K)
ASTERISK = Dialect("asterisk", "Asterisk chan_websocket", _read_asterisk, _write_asterisk, PCM_16K)
JAMBONZ = Dialect(
    "jambonz", "jambonz listen, drachtio mod_audio_fork", _read_jambonz, _write_jambonz, PCM_8K,
    subprotocol="audio.jambonz.org", settle_s=0.1,
)  # fmt: skip
FREESWITCH = Dialect(
    "freeswitch", "FreeSWITCH mod_audio_stream", _read_freeswitch, _write_freeswitch, PCM_8K,
    marks=False, lead_s=0.2, binary_start=True,
)  # fmt: skip

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect for dialect in (TWILIO, EXOTEL, TELNYX, PLIVO, VONAGE, ASTERISK, JAMBONZ, FREESWITCH)
}
