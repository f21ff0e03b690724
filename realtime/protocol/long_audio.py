"""Decodes long base64 in pieces, so that a message of megabytes does not block the event loop.

`lift` takes long strings out of the text before it is parsed. `decode_pieces` decodes one; it is a generator that
yields where other tasks may run. `put_back` puts the bytes into the parsed message; audio fields accept bytes.
"""

from __future__ import annotations

import binascii
from collections.abc import Generator
from typing import Any

from realtime.protocol.wire import MAX_AUDIO_BYTES

LONG_CHARACTERS = 64 * 1024
"""Longer strings are decoded in pieces. 64 KiB take a third of a millisecond."""
_PIECE_CHARACTERS = 512 * 1024
"""Takes 2 ms. A multiple of 4, since four characters are three bytes."""
_KEY = '"audio"'
_MARK = "\x00audio"
_SPACES = " \t\r\n"


def lift(message: str) -> tuple[str, list[str]]:
    """The message with a mark in place of each long string with the key ``audio``, and these strings."""
    kept: list[str] = []
    lifted: list[str] = []
    done = at = 0
    while (at := message.find(_KEY, at)) >= 0:
        at += len(_KEY)
        opening = _skip_spaces(message, at)
        if message[opening : opening + 1] != ":":
            continue
        opening = _skip_spaces(message, opening + 1)
        if message[opening : opening + 1] != '"':
            continue
        closing = message.find('"', opening + 1)
        if closing - opening <= LONG_CHARACTERS or message.find("\\", opening, closing) >= 0:
            continue
        kept += [message[done : opening + 1], f"\\u0000audio{len(lifted)}"]
        lifted.append(message[opening + 1 : closing])
        done = at = closing
    return "".join((*kept, message[done:])), lifted


def _skip_spaces(message: str, at: int) -> int:
    while message[at : at + 1] and message[at] in _SPACES:
        at += 1
    return at


def decode_pieces(text: str) -> Generator[None, None, bytes | str]:
    """The bytes of a base64 string; the string itself if it is too long or invalid. The reader of the field then
    reports the error."""
    if len(text) > MAX_AUDIO_BYTES * 4 // 3 + 4 or len(text) % 4:
        return text
    decoded = bytearray()
    last = len(text) - _PIECE_CHARACTERS
    for start in range(0, len(text), _PIECE_CHARACTERS):
        piece = text[start : start + _PIECE_CHARACTERS]
        if start < last and piece.endswith("="):
            return text
        try:
            decoded += binascii.a2b_base64(piece, strict_mode=True)
        except ValueError:
            return text
        yield
    return bytes(decoded)


def put_back(value: Any, audio: list[bytes | str]) -> Any:
    """The parsed message with the bytes in place of its marks."""
    if isinstance(value, dict):
        return {key: put_back(inner, audio) for key, inner in value.items()}
    if isinstance(value, list):
        return [put_back(inner, audio) for inner in value]
    if isinstance(value, str) and value.startswith(_MARK):
        number = value.removeprefix(_MARK)
        if number.isascii() and number.isdecimal() and len(number) < 6 and int(number) < len(audio):
            return audio[int(number)]
    return value
