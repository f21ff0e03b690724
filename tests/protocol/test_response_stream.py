"""The order of a reply's events: the flows of the wire examples, and the invariants for any reply."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import IllegalTransition
from realtime.protocol.codec import decode_server_event, encode
from realtime.protocol.conversation import Conversation
from realtime.protocol.events import ResponseOutputAudioDelta, ServerEvent
from realtime.protocol.response_stream import (
    MAX_AUDIO_DELTA_MS,
    ResponseStream,
    State,
    opening_function_call,
    opening_message,
)
from realtime.protocol.responses import (
    Response,
    ResponseAudio,
    ResponseAudioOut,
    ResponseError,
    Usage,
)
from realtime.protocol.session_config import AudioFormat, Pcm, Pcmu
from tests.protocol.sdk import SERVER
from tests.protocol.wire_files import FLOWS


def response(
    *, speech: bool = True, conversation_id: str | None = "conv_1", audio_format: AudioFormat | None = None
) -> Response:
    return Response(
        id="resp_1",
        conversation_id=conversation_id,
        output_modalities=("audio",) if speech else ("text",),
        audio=ResponseAudio(output=ResponseAudioOut(format=audio_format or Pcm(), voice="default")),
    )


def predecessor(item_id: str) -> str:
    return "item_u1"


def events_of(flow: str, start: str = "response.created") -> list[dict[str, Any]]:
    """The reply in a flow: its server events from ``response.created`` to ``response.done``, without their ids."""
    shown = [message.event for message in FLOWS[flow] if message.sender == "server"]
    first = next(i for i, event in enumerate(shown) if event["type"] == start)
    last = next(i for i, event in enumerate(shown) if event["type"] == "response.done")
    return [
        {key: value for key, value in event.items() if key != "event_id"}
        for event in shown[first : last + 1]
        if not event["type"].startswith("input_audio_buffer.")
    ]


def documents(events: Iterable[ServerEvent]) -> list[dict[str, Any]]:
    return [json.loads(encode(event)) for event in events]


def test_a_spoken_reply_is_the_example() -> None:
    stream = ResponseStream(response(), predecessor)
    events = stream.create() + stream.start_message("item_a1") + stream.text("Hello") + stream.audio(bytes(4))
    usage = Usage.count(input_text=20, input_audio=20, output_text=5, output_audio=15)
    events += stream.finish("completed", usage=usage)
    assert documents(events) == events_of("server_vad_turn")


def test_a_written_reply_is_the_example() -> None:
    stream = ResponseStream(response(speech=False), predecessor)
    events = stream.create() + stream.start_message("item_a1") + stream.text("Hello.") + stream.finish_item()
    events += stream.finish("completed", usage=Usage.count(input_text=20, output_text=4))
    assert documents(events) == events_of("text_turn")


def test_an_interrupted_reply_is_the_example() -> None:
    stream = ResponseStream(response(), predecessor)
    events = stream.create() + stream.start_message("item_a1") + stream.text("One two")
    events += stream.audio(bytes([1, 0, 2, 0])) + stream.text(" thr")
    usage = Usage.count(input_text=20, output_text=2, output_audio=8)
    events += stream.finish("cancelled", reason="turn_detected", usage=usage)
    assert documents(events) == events_of("barge_in")


def test_a_function_call_is_the_example() -> None:
    stream = ResponseStream(response(), predecessor)
    events = stream.create() + stream.start_function_call("item_f1", "call_1", "get_weather")
    events += stream.arguments('{"city":"Paris"}') + stream.finish_item()
    events += stream.finish("completed", usage=Usage.count(input_text=20, output_text=10))
    assert documents(events) == events_of("function_call")


def test_a_reply_out_of_band_is_the_example() -> None:
    outside = response(speech=False, conversation_id=None)
    outside = outside.model_copy(update={"id": "resp_9", "metadata": {"topic": "route"}})
    stream = ResponseStream(outside, predecessor)
    events = stream.create() + stream.start_message("item_9") + stream.text("route")
    events += stream.finish("completed", usage=Usage.count(input_text=30, output_text=2))
    assert documents(events) == events_of("out_of_band")


def test_failed_replies_close_their_item_with_a_reason() -> None:
    stream = ResponseStream(response(), predecessor)
    stream.create()
    stream.start_message("item_a1")
    stream.text("One")
    error = ResponseError(code="engine_failed", message="The model stopped.")
    events = documents(stream.finish("failed", error=error))
    assert [event["type"] for event in events] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert events[-1]["response"]["status_details"] == {
        "type": "failed",
        "error": {"type": "server_error", "code": "engine_failed", "message": "The model stopped."},
    }
    assert events[-1]["response"]["output"][0]["status"] == "incomplete"


def test_long_audio_becomes_several_deltas() -> None:
    stream = ResponseStream(response(), predecessor)
    stream.create()
    stream.start_message("item_a1")
    second = bytes(range(256)) * 187 + bytes(128)
    deltas = [event.delta for event in stream.audio(second) if isinstance(event, ResponseOutputAudioDelta)]
    assert len(deltas) == 1000 / MAX_AUDIO_DELTA_MS
    assert b"".join(deltas) == second


def test_only_whole_samples_are_sent() -> None:
    stream = ResponseStream(response(), predecessor)
    stream.create()
    stream.start_message("item_a1")
    with pytest.raises(ValueError, match="whole samples"):
        stream.audio(bytes(3))
    g711 = ResponseStream(response(audio_format=Pcmu()), predecessor)
    g711.create()
    g711.start_message("item_a1")
    assert len(g711.audio(bytes(3))) == 1


def test_what_the_table_does_not_have_is_refused() -> None:
    stream = ResponseStream(response(), predecessor)
    with pytest.raises(IllegalTransition, match="text came for resp_1 in state new; it is legal in message"):
        stream.text("x")
    stream.create()
    with pytest.raises(IllegalTransition):
        stream.create()
    with pytest.raises(IllegalTransition):
        stream.finish_item()
    stream.start_function_call("item_f1", "call_1", "f")
    with pytest.raises(IllegalTransition):
        stream.audio(b"")
    stream.finish("cancelled", reason="client_cancelled")
    for action in (stream.create, stream.finish_item, lambda: stream.finish("completed")):
        with pytest.raises(IllegalTransition):
            action()


def test_a_written_reply_has_no_audio() -> None:
    stream = ResponseStream(response(speech=False), predecessor)
    stream.create()
    stream.start_message("item_a1")
    with pytest.raises(IllegalTransition):
        stream.audio(bytes(2))


@dataclass(frozen=True)
class Script:
    """Any reply: items with their deltas, and an end that may come in the middle of the last item."""

    speech: bool
    in_conversation: bool
    items: list[tuple[str, list[str | bytes]]]
    last_is_closed: bool
    end: tuple[str, str | None]


DELTAS = st.lists(st.text(max_size=5) | st.binary(max_size=3).map(lambda data: data * 2), max_size=6)
SCRIPTS = st.builds(
    Script,
    speech=st.booleans(),
    in_conversation=st.booleans(),
    items=st.lists(st.tuples(st.sampled_from(["message", "call"]), DELTAS), max_size=4),
    last_is_closed=st.booleans(),
    end=st.sampled_from(
        [
            ("completed", None),
            ("cancelled", "turn_detected"),
            ("cancelled", "client_cancelled"),
            ("incomplete", "max_output_tokens"),
            ("failed", None),
        ]
    ),
)


def play(script: Script) -> tuple[list[ServerEvent], Conversation[None]]:
    conversation: Conversation[None] = Conversation("conv_1")
    made = response(speech=script.speech, conversation_id="conv_1" if script.in_conversation else None)
    stream = ResponseStream(made, conversation.predecessor)
    events = stream.create()
    for number, (kind, deltas) in enumerate(script.items):
        item_id = f"item_{number}"
        if kind == "message":
            conversation.add(opening_message(item_id), None)
            events += stream.start_message(item_id)
        else:
            conversation.add(opening_function_call(item_id, f"call_{number}", "f"), None)
            events += stream.start_function_call(item_id, f"call_{number}", "f")
        assert stream.item_id == item_id
        for delta in deltas:
            if kind == "call":
                events += stream.arguments(str(delta))
            elif isinstance(delta, str):
                events += stream.text(delta)
            elif script.speech:
                events += stream.audio(delta)
        if number < len(script.items) - 1 or script.last_is_closed:
            events += stream.finish_item()
            assert stream.item_id is None
    status, reason = script.end
    events += stream.finish(status, reason=reason, usage=Usage.count(output_text=1))  # type: ignore[arg-type]
    assert stream.state is State.DONE
    return events, conversation


@given(SCRIPTS)
def test_events_of_any_reply_match_the_sdk_types(script: Script) -> None:
    events, _ = play(script)
    for event in events:
        text = encode(event, "event_1")
        SERVER.validate_json(text, strict=True)
        assert decode_server_event(text).model_copy(update={"event_id": ""}) == event


@given(SCRIPTS)
def test_created_comes_first_and_done_last_and_once(script: Script) -> None:
    kinds = [event.type for event in play(script)[0]]
    assert kinds[0] == "response.created" and kinds.count("response.created") == 1
    assert kinds[-1] == "response.done" and kinds.count("response.done") == 1


@given(SCRIPTS)
def test_the_events_of_an_item_come_in_order(script: Script) -> None:
    """Invariant 2, as a pattern: what opens, deltas, what closes; one item at a time."""
    shown = documents(play(script)[0])
    inside = [_item_of(event) for event in shown[1:-1]]
    assert inside == sorted(inside)
    for number, (kind, _) in enumerate(script.items):
        kinds = [event["type"] for event, item in zip(shown[1:-1], inside, strict=True) if item == f"item_{number}"]
        while_open = [name for name in kinds if not name.endswith(".delta")]
        expected = {
            "message": _MESSAGE if script.speech else _TEXT,
            "call": _CALL,
        }[kind]
        if not script.in_conversation:
            expected = [name for name in expected if not name.startswith("conversation.")]
        assert while_open == expected
        first_done = next(i for i, name in enumerate(kinds) if name.endswith("done"))
        assert all(not name.endswith(".delta") for name in kinds[first_done:])


@given(SCRIPTS)
def test_the_deltas_joined_are_the_text_everywhere(script: Script) -> None:
    shown = documents(play(script)[0])
    output = shown[-1]["response"]["output"]
    assert len(output) == len(script.items)
    for number, item in enumerate(output):
        mine = [event for event in shown if event.get("item_id") == item["id"]]
        said = "".join(
            event["delta"] for event in mine if event["type"].endswith(".delta") and "audio.delta" not in event["type"]
        )
        texts = {_text_of(event) for event in mine if event["type"].endswith("done")} - {None}
        assert texts == {said}
        assert _item_text(item) == said
        dones = [e["item"] for e in shown if e["type"].endswith("item.done") and e["item"]["id"] == item["id"]]
        assert all(done == item for done in dones) and len(dones) == 1 + script.in_conversation
        assert [event["output_index"] for event in mine] == [number] * len(mine)


@given(SCRIPTS)
def test_items_start_empty_and_end_with_the_status(script: Script) -> None:
    shown = documents(play(script)[0])
    for event in shown:
        if event["type"].endswith("item.added"):
            assert event["item"]["status"] == "in_progress"
            assert event["item"].get("content", event["item"].get("arguments")) in ([], "")
    statuses = [item["status"] for item in shown[-1]["response"]["output"]]
    cut_off = script.items and not script.last_is_closed and script.end[0] != "completed"
    assert statuses == ["completed"] * (len(statuses) - bool(cut_off)) + ["incomplete"] * bool(cut_off)


@given(SCRIPTS)
def test_the_conversation_is_told_the_true_predecessors(script: Script) -> None:
    events, conversation = play(script)
    told = [event for event in documents(events) if event["type"].startswith("conversation.")]
    assert bool(told) == (script.in_conversation and bool(script.items))
    for event in told:
        assert event["previous_item_id"] == conversation.predecessor(event["item"]["id"])


_CLOSE = ["conversation.item.done", "response.output_item.done"]
_OPEN = ["response.output_item.added", "conversation.item.added"]
_MESSAGE = [
    *_OPEN,
    "response.content_part.added",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    *_CLOSE,
]
_TEXT = [
    *_OPEN,
    "response.content_part.added",
    "response.output_text.done",
    "response.content_part.done",
    *_CLOSE,
]
_CALL = [*_OPEN, "response.function_call_arguments.done", *_CLOSE]


def _item_of(event: dict[str, Any]) -> str:
    return str(event.get("item_id") or event["item"]["id"])


def _text_of(event: dict[str, Any]) -> str | None:
    part = event.get("part", {})
    named = [event.get(key) for key in ("text", "transcript", "arguments")]
    return next((text for text in (*named, part.get("text"), part.get("transcript")) if text is not None), None)


def _item_text(item: dict[str, Any]) -> str:
    if item["type"] == "function_call":
        return str(item["arguments"])
    part = item["content"][0]
    return str(part.get("text", part.get("transcript")))
