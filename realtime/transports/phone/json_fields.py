"""Reads fields of vendors' JSON: numbers may be strings, anything may be missing or of another type."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, get_args

from realtime.audio.streams import AudioFormat, Encoding
from realtime.protocol.events import TelephoneKey
from realtime.transports.phone.messages import Digit, Media, wrong

Fields = Mapping[str, Any]

RATES = (8000, 16_000, 24_000)
MAX_PARAMETERS = 64
KEYS: Mapping[str, TelephoneKey] = {key: key for key in get_args(TelephoneKey)}
_NAMES: Mapping[Encoding, str] = {
    "mulaw": "audio/x-mulaw audio/mulaw audio/pcmu pcmu mulaw ulaw",
    "alaw": "audio/x-alaw audio/alaw audio/pcma pcma alaw",
    "pcm16": "audio/x-l16 audio/l16 audio/pcm l16 linear16 pcm pcm16 slin raw raw/slin base64",
}
_ENCODINGS: Mapping[str, Encoding] = {name: kind for kind, names in _NAMES.items() for name in names.split()}


def parse(text: str | bytes) -> Fields:
    """The object of a message. Raises `PeerError`."""
    if isinstance(text, bytes):
        raise wrong("A binary message came; this dialect sends its audio as base64 in JSON.")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise wrong("The message is not JSON.") from None
    if not isinstance(document, dict):
        raise wrong(f"The message is a JSON {type(document).__name__}, expected an object.")
    return document


def inner(fields: Fields, *names: str) -> Fields:
    """The object under the first of the names that has one, else an empty one."""
    return next((fields[name] for name in names if isinstance(fields.get(name), dict)), {})


def text_of(fields: Fields, *names: str) -> str:
    """The text or number under the first of the names that has one, else an empty text."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value)
    return ""


def number_of(fields: Fields, *names: str) -> int | None:
    """The whole number under the first of the names that has one, also as text."""
    text = text_of(fields, *names).strip().removesuffix(".0")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def required(fields: Fields, *names: str) -> str:
    """As `text_of`. Raises `PeerError` where it is empty."""
    text = text_of(fields, *names)
    if not text:
        raise wrong(f"The message lacks {names[0]!r}.")
    return text


def parameters_of(fields: Fields) -> dict[str, str]:
    """The texts and numbers of an object."""
    found = {name: text_of(fields, name) for name in fields}
    return {name: text for name, text in list(found.items())[:MAX_PARAMETERS] if text}


def media_of(fields: Fields, *, chunk: int | None = None) -> Media:
    """The audio of ``payload``. Raises `PeerError`."""
    payload = fields.get("payload")
    if not isinstance(payload, str):
        raise wrong("The media message lacks 'payload'.")
    try:
        return Media(base64.b64decode(payload, validate=True), chunk)
    except (binascii.Error, ValueError):
        raise wrong("The payload of the media message is not base64.") from None


def digit_of(fields: Fields, *names: str) -> tuple[Digit, ...]:
    """The key, or nothing where it is none of a telephone's."""
    key = KEYS.get(text_of(fields, *names).strip().upper())
    return () if key is None else (Digit(key),)


def format_of(encoding: str, rate: int | None, default: AudioFormat) -> AudioFormat:
    """A format by its name and rate, each as in ``default`` where it is missing. Raises `PeerError`."""
    kind = _ENCODINGS.get(encoding.strip().lower()) if encoding else default.encoding
    if kind is None:
        raise wrong(f"The encoding {encoding[:60]!r} is not supported. Use u-law, A-law or linear PCM of 16 bits.")
    rate = default.rate if rate is None else rate
    if rate not in RATES or (kind != "pcm16" and rate != 8000):
        shown = ", ".join(map(str, RATES)) if kind == "pcm16" else "8000"
        raise wrong(f"The sample rate {rate} Hz is not supported for {kind}. Use {shown}.")
    return AudioFormat(kind, rate)


def content_type(text: str, default: AudioFormat) -> AudioFormat:
    """``audio/l16;rate=16000`` -> a format. Raises `PeerError`."""
    kind, _, rest = text.partition(";")
    options = dict(option.strip().partition("=")[::2] for option in rest.split(";"))
    return format_of(kind, number_of(options, "rate"), default)


def encoded(**fields: Any) -> str:
    """A message, without spaces."""
    return json.dumps(fields, separators=(",", ":"))


def payload(audio: bytes) -> str:
    """Audio as base64."""
    return base64.b64encode(audio).decode()
