"""Messages that cannot be read, and the limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol.codec import (
    MAX_DEPTH,
    MAX_MESSAGE_BYTES,
    MAX_SETTINGS_CHARACTERS,
    MAX_VALUES,
    decode,
    decode_server_event,
    encode,
    error_event,
)
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import ConversationItemTruncate, InputAudioBufferAppend, ResponseCancel
from realtime.protocol.wire import MAX_AUDIO_BYTES, encode_base64
from tests.protocol.sdk import SERVER
from tests.protocol.wire_files import CLIENT_EXAMPLES, REFUSED, Example


def refusal(message: str | bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        decode(message)
    return caught.value


def append(audio: str) -> InputAudioBufferAppend:
    event = decode(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
    assert isinstance(event, InputAudioBufferAppend)
    return event


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["sent"][:60])
def test_refusals(case: dict[str, Any]) -> None:
    error, expected = refusal(case["sent"]), case["error"]
    assert error.type == "invalid_request_error"
    assert error.code == expected["code"]
    assert error.param == expected.get("param")
    assert error.event_id == expected.get("event_id")
    assert expected["says"] in error.message


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["sent"][:60])
def test_error_events_equal_those_of_the_sdk(case: dict[str, Any]) -> None:
    error = refusal(case["sent"])
    parsed = SERVER.validate_json(encode(error_event(error), "event_1"), strict=True)
    assert parsed.type == "error"
    assert (parsed.error.code, parsed.error.message) == (error.code, error.message)


def test_errors_take_the_id_of_their_event() -> None:
    error = ProtocolError("invalid_value", "No.")
    assert error_event(error, "c1").error.event_id == "c1"
    error.event_id = "c2"
    assert error_event(error, "c1").error.event_id == "c2"


def test_event_ids_are_stamped_once() -> None:
    event = error_event(ProtocolError("invalid_value", "No."))
    assert json.loads(encode(event, "event_1"))["event_id"] == "event_1"
    named = event.model_copy(update={"event_id": "event_0"})
    assert json.loads(encode(named, "event_1"))["event_id"] == "event_0"


def test_a_binary_message_is_audio() -> None:
    assert decode(b"\x00\x01\x02") == InputAudioBufferAppend(audio=b"\x00\x01\x02")
    assert refusal(bytes(MAX_AUDIO_BYTES + 1)).param == "audio"


@given(st.binary(max_size=100), st.sampled_from(["", "=", "=="]), st.integers(0, 100))
def test_base64_is_read_without_padding_and_across_lines(data: bytes, padding: str, cut: int) -> None:
    text = encode_base64(data)
    assert append(text).audio == data
    assert append(text.rstrip("=")).audio == data
    assert append(text[:cut] + "\r\n" + text[cut:]).audio == data
    assert append(text.rstrip("=") + padding).audio == data


def test_fifteen_mebibytes_of_audio_fit_exactly() -> None:
    most = encode_base64(bytes(MAX_AUDIO_BYTES))
    assert len(append(most).audio) == MAX_AUDIO_BYTES
    error = refusal(json.dumps({"type": "input_audio_buffer.append", "audio": most + "AAAAAAAA"}))
    assert (error.code, error.param) == ("invalid_value", "audio")
    assert "15 MiB" in error.message


def test_long_messages_are_refused_unread() -> None:
    assert "characters" in refusal(" " * (MAX_MESSAGE_BYTES + 1)).message


def test_only_messages_with_audio_may_be_long() -> None:
    text = "x" * MAX_SETTINGS_CHARACTERS
    update = {"type": "session.update", "event_id": "c1", "session": {"tools": [{"name": text}]}}
    assert refusal(json.dumps(update)).event_id == "c1"
    item = {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": text}]}
    assert decode(json.dumps({"type": "conversation.item.create", "item": item})).type == "conversation.item.create"


@pytest.mark.parametrize("piece", ["{},", "[],", "1,", '"",', "["])
def test_messages_of_many_values_are_refused_unread(piece: str) -> None:
    assert "values" in refusal('{"type":"session.update","session":[' + piece * (MAX_VALUES + 1)).message


def test_deep_messages_are_refused() -> None:
    def nested(levels: int) -> str:
        tool = '{"type":"function","name":"f","parameters":' + '{"a":' * levels + "1" + "}" * levels + "}"
        return '{"type":"session.update","session":{"tools":[' + tool + "]}}"

    assert decode(nested(MAX_DEPTH - 5)).type == "session.update"
    assert "deeper" in refusal(nested(MAX_DEPTH)).message
    assert refusal(nested(5000)).code == "invalid_json"


def test_quoted_values_are_cut() -> None:
    assert len(refusal(json.dumps({"type": "x" * 100_000})).message) < 600
    assert len(refusal(json.dumps({"type": "input_audio_buffer.append", "audio": "*" * 100_000})).message) < 600


def test_times_may_be_fractions_or_integral_floats() -> None:
    event = decode('{"type":"conversation.item.truncate","item_id":"i","content_index":0.0,"audio_end_ms":940.7}')
    assert event == ConversationItemTruncate(item_id="i", content_index=0, audio_end_ms=940)


def test_the_last_of_two_equal_keys_counts() -> None:
    assert decode('{"type":"nope","type":"response.cancel"}') == ResponseCancel()


def test_unknown_server_events_are_errors_for_the_client() -> None:
    with pytest.raises(ProtocolError, match="Supported values"):
        decode_server_event('{"type":"response.video.delta"}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged_events(draw: st.DrawFn) -> str:
    """A real event with one value, somewhere in it, replaced by anything."""
    event = json.loads(json.dumps(draw(st.sampled_from(CLIENT_EXAMPLES)).event))
    here = event
    while True:
        key = draw(st.sampled_from(list(here) if isinstance(here, dict) else list(range(len(here)))))
        inner = here[key]
        if not isinstance(inner, (dict, list)) or not inner or draw(st.booleans()):
            here[key] = draw(JSON)
            return json.dumps(event)
        here = inner


@given(damaged_events() | st.text() | JSON.map(json.dumps))
def test_whatever_comes_is_read_or_refused_in_words(message: str) -> None:
    try:
        event = decode(message)
    except ProtocolError as error:
        assert error.message and error.code
        assert encode(error_event(error), "event_1")
    else:
        assert decode(encode(event)) == event


@pytest.mark.parametrize("example", CLIENT_EXAMPLES, ids=str)
def test_every_cut_of_a_message_is_refused(example: Example) -> None:
    text = json.dumps(example.event)
    for end in range(0, len(text) - 1, 7):
        assert refusal(text[:end]).code == "invalid_json"
