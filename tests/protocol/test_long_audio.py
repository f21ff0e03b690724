"""Megabytes of audio in JSON are decoded in pieces, to the same events and the same errors."""

from __future__ import annotations

import base64
import json
import time
from random import Random
from typing import Any

import pytest

from realtime.protocol.codec import MAX_SETTINGS_CHARACTERS, at_once, decode, parse_client_message
from realtime.protocol.dialect import Connection
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import ClientEvent, ConversationItemCreate, InputAudioBufferAppend
from realtime.protocol.ids import Ids
from realtime.protocol.items import InputAudio, UserMessage
from realtime.protocol.wire import MAX_AUDIO_BYTES

AUDIO = Random(1).randbytes(1_500_001)
TEXT = base64.b64encode(AUDIO).decode()


def append(audio: str, **more: Any) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio, **more})


def steps_and_event(message: str) -> tuple[int, ClientEvent]:
    work, steps = Connection(Ids("t")).decode_slowly(message), 0
    while True:
        try:
            next(work)
        except StopIteration as stop:
            event: ClientEvent = stop.value
            return steps, event
        steps += 1


def test_a_long_append_is_decoded_in_steps() -> None:
    steps, event = steps_and_event(append(TEXT, event_id="c1"))
    assert steps >= 3
    assert isinstance(event, InputAudioBufferAppend)
    assert (event.audio, event.event_id) == (AUDIO, "c1")


def test_a_short_one_takes_no_steps() -> None:
    assert steps_and_event(append("AAAA"))[0] == 0


@pytest.mark.parametrize("written", [f'{{"audio" :\n"{TEXT}","type":"input_audio_buffer.append"}}', append(TEXT)])
def test_it_is_found_however_it_is_written(written: str) -> None:
    event = decode(written)
    assert isinstance(event, InputAudioBufferAppend) and event.audio == AUDIO


def test_recordings_of_an_item_are_decoded_in_steps() -> None:
    parts = [{"type": "input_audio", "audio": TEXT}, {"type": "input_text", "text": '"audio":"'}]
    item = {"type": "message", "role": "user", "content": [*parts, parts[0]]}
    steps, event = steps_and_event(json.dumps({"type": "conversation.item.create", "item": item}))
    assert steps >= 6 and isinstance(event, ConversationItemCreate) and isinstance(event.item, UserMessage)
    first, text, last = event.item.content
    assert isinstance(first, InputAudio) and isinstance(last, InputAudio)
    assert first.audio == last.audio == AUDIO and text == decode_text('"audio":"')


def decode_text(text: str) -> object:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    event = decode(json.dumps({"type": "conversation.item.create", "item": item}))
    assert isinstance(event, ConversationItemCreate) and isinstance(event.item, UserMessage)
    return event.item.content[0]


@pytest.mark.parametrize(
    "audio", [TEXT[:-4] + "=AAA", TEXT[:600_000] + "=" + TEXT[600_001:], TEXT[:700_000] + "!" * 4 + TEXT[700_004:]]
)
def test_long_invalid_base64_is_refused_with_its_place(audio: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        decode(append(audio, event_id="c1"))
    assert (refused.value.code, refused.value.param, refused.value.event_id) == ("invalid_value", "audio", "c1")


def test_long_audio_is_forgiven_what_short_audio_is() -> None:
    for written in (TEXT.rstrip("="), "\r\n".join((TEXT[:1_000_000], TEXT[1_000_000:]))):
        event = decode(append(written))
        assert isinstance(event, InputAudioBufferAppend) and event.audio == AUDIO


def test_too_much_audio_is_refused() -> None:
    with pytest.raises(ProtocolError, match="15 MiB"):
        decode(append("A" * (MAX_AUDIO_BYTES * 4 // 3 + 8)))


def test_long_kept_messages_are_refused_under_any_name() -> None:
    with pytest.raises(ProtocolError, match="characters") as refused:
        decode(json.dumps({"type": "session.update", "event_id": "c1", "audio": "A" * MAX_SETTINGS_CHARACTERS}))
    assert refused.value.event_id == "c1"


def test_a_client_cannot_pass_a_mark_for_audio() -> None:
    document = at_once(parse_client_message(append(TEXT, forged="\x00audio7", more=["\x00audio", "\x00audio-1"])))
    assert document["audio"] == AUDIO
    assert (document["forged"], document["more"]) == ("\x00audio7", ["\x00audio", "\x00audio-1"])


def test_no_step_takes_a_tenth_of_the_whole() -> None:
    """Of processor time, so that a loaded machine does not matter; the longest of several runs' best steps."""
    message = append(base64.b64encode(Random(2).randbytes(8 * 2**20)).decode())
    best: list[float] = []
    for _ in range(3):
        work, times = Connection(Ids("t")).decode_slowly(message), []
        for _ in range(10_000):
            began = time.thread_time()
            try:
                next(work)
            except StopIteration:
                break
            finally:
                times.append(time.thread_time() - began)
        best = [min(pair) for pair in zip(best or times, times, strict=True)]
    assert sorted(best)[len(best) // 2] < sum(best) / 10
