"""How updates change the session."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol.codec import decode
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import ResponseCreate
from realtime.protocol.responses import ResponseParams, configure_response
from realtime.protocol.session_config import (
    Pcm,
    Pcma,
    Pcmu,
    SemanticVad,
    ServerVad,
    Session,
    TranscriptionSession,
    merge,
    merge_transcription,
    served_voice,
)
from tests.protocol.wire_files import FLOWS

SESSION = Session.model_validate(FLOWS["session"][0].event["session"])


def input_patch(**fields: Any) -> dict[str, Any]:
    return {"type": "realtime", "audio": {"input": fields}}


def output_patch(**fields: Any) -> dict[str, Any]:
    return {"type": "realtime", "audio": {"output": fields}}


def refused(
    update: dict[str, Any],
    session: Session = SESSION,
    *,
    audio_produced: bool = False,
    response_active: bool = False,
) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        merge(session, update, audio_produced=audio_produced, response_active=response_active, event_id="c1")
    assert caught.value.event_id == "c1"
    return caught.value


def test_an_update_changes_what_the_example_shows() -> None:
    _, update, updated, _ = (example.event for example in FLOWS["session"])
    assert merge(SESSION, update["session"]) == Session.model_validate(updated["session"])


def test_an_empty_update_changes_nothing() -> None:
    assert merge(SESSION, {"type": "realtime"}) == SESSION
    assert merge(SESSION, {}) == SESSION


def test_turn_detection_without_type_keeps_other_fields() -> None:
    changed = merge(SESSION, input_patch(turn_detection={"threshold": 0.7}))
    assert changed.turn_detection == ServerVad(threshold=0.7)
    changed = merge(changed, input_patch(turn_detection={"silence_duration_ms": 200, "create_response": False}))
    assert changed.turn_detection == ServerVad(threshold=0.7, silence_duration_ms=200, create_response=False)


def test_another_turn_detection_takes_over_what_both_have() -> None:
    quiet = merge(SESSION, input_patch(turn_detection={"threshold": 0.9, "interrupt_response": False}))
    semantic = merge(quiet, input_patch(turn_detection={"type": "semantic_vad"}))
    assert semantic.turn_detection == SemanticVad(interrupt_response=False)
    server = merge(semantic, input_patch(turn_detection={"type": "server_vad"}))
    assert server.turn_detection == ServerVad(interrupt_response=False)


def test_the_echo_states_both_automatic_response_settings() -> None:
    for type_ in ("server_vad", "semantic_vad"):
        shown = merge(SESSION, input_patch(turn_detection={"type": type_})).model_dump()
        detection = shown["audio"]["input"]["turn_detection"]
        assert detection["create_response"] is True and detection["interrupt_response"] is True


def test_null_clears_what_can_be_off() -> None:
    full = merge(
        SESSION,
        {
            "tracing": "auto",
            "audio": {"input": {"transcription": {"model": "whisper-1"}, "noise_reduction": {"type": "far_field"}}},
        },
    )
    cleared = merge(
        full,
        {"tracing": None} | input_patch(transcription=None, noise_reduction=None, turn_detection=None),
    )
    assert cleared.tracing is None
    assert cleared.audio.input.transcription is None
    assert cleared.audio.input.noise_reduction is None
    assert cleared.turn_detection is None
    assert merge(cleared, {"instructions": "x"}).turn_detection is None


def test_idle_timeout_is_cleared_by_null_alone() -> None:
    timed = merge(SESSION, input_patch(turn_detection={"idle_timeout_ms": 6000}))
    assert merge(timed, input_patch(turn_detection={"threshold": 0.4})).turn_detection == ServerVad(
        threshold=0.4, idle_timeout_ms=6000
    )
    assert merge(timed, input_patch(turn_detection={"idle_timeout_ms": None})).turn_detection == ServerVad()


def test_null_elsewhere_means_not_given() -> None:
    nulls = ("instructions", "tools", "tool_choice", "max_output_tokens", "truncation", "audio")
    assert merge(SESSION, {"type": "realtime"} | dict.fromkeys(nulls)) == SESSION
    assert merge(SESSION, output_patch(voice=None, speed=None, format=None)) == SESSION
    assert merge(SESSION, input_patch(turn_detection={"threshold": None, "type": None})) == SESSION


def test_empty_values_clear_instructions_and_tools() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "default": None}}
    full = merge(SESSION, {"instructions": "Be brief.", "tools": [tool]})
    assert full.model_dump(mode="json")["tools"] == [tool]
    assert merge(full, {"instructions": "", "tools": []}).tools == ()
    assert merge(full, {"instructions": ""}).instructions == ""


def test_tools_are_replaced_as_a_whole() -> None:
    first = merge(SESSION, {"tools": [{"type": "function", "name": "a"}, {"type": "function", "name": "b"}]})
    second = merge(first, {"tools": [{"type": "function", "name": "c"}]})
    assert [tool.model_dump()["name"] for tool in second.tools] == ["c"]


def test_transcription_fields_merge() -> None:
    asked = merge(SESSION, input_patch(transcription={"model": "any-model", "language": "en"}))
    asked = merge(asked, input_patch(transcription={"language": None, "prompt": "names"}))
    assert asked.model_dump(mode="json")["audio"]["input"]["transcription"] == {
        "model": "any-model",
        "prompt": "names",
    }


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"type": "audio/pcm", "rate": 16000}, Pcm(rate=16000)),
        ({"rate": 8000}, Pcm(rate=8000)),
        ({"type": "audio/pcm"}, Pcm()),
        ({"type": "audio/pcmu"}, Pcmu()),
        ({"type": "audio/pcma", "rate": 8000}, Pcma()),
    ],
)
def test_formats(patch: dict[str, Any], expected: object) -> None:
    assert merge(SESSION, input_patch(format=patch)).audio.input.format == expected
    assert merge(SESSION, output_patch(format=patch)).audio.output.format == expected


def test_the_model_and_the_identity_never_change() -> None:
    update = {"model": "gpt-realtime", "id": "sess_x", "object": "x", "expires_at": "x", "unknown": None}
    assert merge(SESSION, update) == SESSION


UNKNOWN: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"voice": "anna"}, "session.voice", "session.audio.output.voice"),
    ({"modalities": ["text"]}, "session.modalities", "session.output_modalities"),
    ({"turn_detection": None}, "session.turn_detection", "session.audio.input.turn_detection"),
    ({"audio": {"turn_detection": None}}, "session.audio.turn_detection", "session.audio.input.turn_detection"),
    ({"input_audio_transcription": None}, "session.input_audio_transcription", "session.audio.input.transcription"),
    ({"max_response_output_tokens": 9}, "session.max_response_output_tokens", "session.max_output_tokens"),
    ({"instrutions": "Be brief."}, "session.instrutions", "session.instructions"),
    (
        input_patch(turn_detection={"silence_duration": 200}),
        "session.audio.input.turn_detection.silence_duration",
        "session.audio.input.turn_detection.silence_duration_ms",
    ),
    (input_patch(transcription={"modle": "x"}), "session.audio.input.transcription.modle", ".transcription.model"),
    (output_patch(voice={"id": "x", "name": "y"}), "session.audio.output.voice.name", ""),
    ({"tools": [{"type": "function", "name": "f", "params": {}}]}, "session.tools[0].params", ""),
    ({"tools": [{"type": "mcp", "server_label": "a", "url": "x"}]}, "session.tools[0].url", ""),
    ({"tool_choice": {"type": "function", "name": "f", "nam": "g"}}, "session.tool_choice.nam", ".name"),
    ({"truncation": {"type": "retention_ratio", "retention_ratio": 1, "ratio": 1}}, "session.truncation.ratio", ""),
    ({"reasoning": {"efort": "low"}}, "session.reasoning.efort", "session.reasoning.effort"),
    ({"nothing_like_it": 1}, "session.nothing_like_it", ""),
)


@pytest.mark.parametrize(
    ("update", "param", "hint"), UNKNOWN, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_unknown_key_is_named_with_its_place(update: dict[str, Any], param: str, hint: str) -> None:
    error = refused(update)
    assert (error.code, error.param) == ("unknown_parameter", param)
    assert hint in str(error)


@pytest.mark.parametrize("key", ["threshold", "prefix_padding_ms", "silence_duration_ms", "idle_timeout_ms"])
def test_semantic_vad_refuses_the_fields_of_server_vad(key: str) -> None:
    error = refused(input_patch(turn_detection={"type": "semantic_vad", key: 1}))
    assert (error.code, error.param) == ("unknown_parameter", f"session.audio.input.turn_detection.{key}")
    assert "'server_vad'" in str(error)
    merge(SESSION, input_patch(turn_detection={"type": "semantic_vad", key: None}))


def test_server_vad_refuses_eagerness() -> None:
    assert "'semantic_vad'" in str(refused(input_patch(turn_detection={"eagerness": "low"})))


def test_another_type_keeps_what_both_have() -> None:
    timed = merge(SESSION, input_patch(turn_detection={"idle_timeout_ms": 6000, "create_response": False}))
    semantic = merge(timed, input_patch(turn_detection={"type": "semantic_vad"}))
    assert semantic.turn_detection == SemanticVad(create_response=False)
    assert merge(semantic, input_patch(turn_detection={"type": "server_vad"})).turn_detection == ServerVad(
        create_response=False
    )


@pytest.mark.parametrize("milliseconds", [0, 1, 4999, 30_001])
def test_an_idle_timeout_has_bounds(milliseconds: int) -> None:
    error = refused(input_patch(turn_detection={"idle_timeout_ms": milliseconds}))
    assert (error.code, error.param) == ("invalid_value", "session.audio.input.turn_detection.idle_timeout_ms")


@pytest.mark.parametrize("name", ["", "get weather", "get.weather", "wetter_für", "a" * 65, "f\n"])
def test_function_names_have_the_form_of_the_api(name: str) -> None:
    error = refused({"tools": [{"type": "function", "name": name}]})
    assert (error.code, error.param) == ("invalid_value", "session.tools[0].name")


@pytest.mark.parametrize(
    "update",
    [
        {"client_secret": {"value": "ek_1", "expires_at": 1}},
        {"tools": [{"type": "function", "name": "f", "strict": True}]},
        {"tracing": "auto", "include": None, "prompt": None, "max_output_tokens": "inf", "voice": None},
    ],
)
def test_what_has_no_effect_is_taken(update: dict[str, Any]) -> None:
    merge(SESSION, update)


def test_g711_has_one_rate() -> None:
    assert refused(input_patch(format={"type": "audio/pcmu", "rate": 24000})).code == "invalid_value"
    assert merge(SESSION, input_patch(format={"type": "audio/pcmu"})).audio.input.format == Pcmu()


def test_the_whole_echo_may_be_sent_back() -> None:
    _, update, _, _ = (example.event for example in FLOWS["session"])
    changed = merge(SESSION, update["session"])
    assert merge(SESSION, changed.model_dump(mode="json")) == changed


def test_the_type_cannot_change() -> None:
    assert refused({"type": "transcription"}).param == "session.type"
    assert refused({"type": "x"}).code == "invalid_value"


def test_the_voice_freezes_once_the_assistant_has_spoken() -> None:
    assert merge(SESSION, output_patch(voice="anna")).voice == "anna"
    assert merge(SESSION, output_patch(voice={"id": "voice_1"})).voice == "voice_1"
    error = refused(output_patch(voice="anna"), audio_produced=True)
    assert (error.code, error.param) == ("cannot_update_voice", "session.audio.output.voice")
    assert merge(SESSION, output_patch(voice=SESSION.voice), audio_produced=True) == SESSION
    assert merge(SESSION, output_patch(voice=""), audio_produced=True) == SESSION


def test_a_rejected_field_rejects_the_whole_update() -> None:
    update = output_patch(voice="anna") | {"tools": [{"type": "function", "name": "f"}], "instructions": "new"}
    refused(update, audio_produced=True)
    assert merge(SESSION, {}) == Session.model_validate(FLOWS["session"][0].event["session"])


def test_the_speed_stays_while_a_response_runs() -> None:
    assert merge(SESSION, output_patch(speed=1.2)).audio.output.speed == 1.2
    assert refused(output_patch(speed=1.2), response_active=True).param == "session.audio.output.speed"
    assert merge(SESSION, output_patch(speed=1), response_active=True) == SESSION


@pytest.mark.parametrize(
    "update",
    [
        {"type": "realtime", "tracing": "auto"},
        {"tracing": {"workflow_name": "w", "metadata": {"a": 1}}},
        {"reasoning": {"effort": "low"}, "prompt": None, "parallel_tool_calls": True},
        {"include": ["item.input_audio_transcription.logprobs"]},
        input_patch(turn_detection={"type": "semantic_vad", "eagerness": "high"}),
        input_patch(transcription={"model": "gpt-4o-mini-transcribe"}, noise_reduction={"type": "near_field"}),
        output_patch(speed=1, voice="marin"),
    ],
)
def test_harmless_settings_are_accepted_and_shown(update: dict[str, Any]) -> None:
    shown = merge(SESSION, update).model_dump(mode="json")
    assert _contains(shown, update)


@pytest.mark.parametrize(
    ("update", "code", "param"),
    [
        (input_patch(turn_detection={"type": "x"}), "invalid_value", "session.audio.input.turn_detection.type"),
        (
            input_patch(turn_detection={"threshold": 2}),
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            input_patch(turn_detection={"threshold": "0.5"}),
            "invalid_type",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            input_patch(turn_detection={"create_response": 1}),
            "invalid_type",
            "session.audio.input.turn_detection.create_response",
        ),
        (input_patch(format={"rate": 44100}), "invalid_value", "session.audio.input.format.rate"),
        (input_patch(format="pcm16"), "invalid_type", "session.audio.input.format"),
        (output_patch(speed=3), "invalid_value", "session.audio.output.speed"),
        (output_patch(voice=7), "invalid_type", "session.audio.output.voice"),
        ({"audio": []}, "invalid_type", "session.audio"),
        ({"instructions": 5}, "invalid_type", "session.instructions"),
        ({"output_modalities": ["text", "audio"]}, "invalid_value", "session.output_modalities"),
        ({"output_modalities": ["video"]}, "invalid_value", "session.output_modalities[0]"),
        ({"max_output_tokens": 5000}, "invalid_value", "session.max_output_tokens"),
        ({"max_output_tokens": True}, "invalid_type", "session.max_output_tokens"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
        ({"tools": [{"type": "web"}]}, "invalid_value", "session.tools[0].type"),
        ({"tools": [{}]}, "missing_required_parameter", "session.tools[0].type"),
        ({"tool_choice": "always"}, "invalid_value", "session.tool_choice"),
        ({"prompt": {"id": "pmpt_1"}}, "invalid_value", "session.prompt"),
        (
            {"truncation": {"type": "retention_ratio"}},
            "missing_required_parameter",
            "session.truncation.retention_ratio",
        ),
    ],
)
def test_faults_are_named_by_their_path(update: dict[str, Any], code: str, param: str) -> None:
    error = refused(update)
    assert (error.code, error.param) == (code, param)


def test_turn_detection_needs_a_type_if_none_was() -> None:
    off = merge(SESSION, input_patch(turn_detection=None))
    error = refused(input_patch(turn_detection={"threshold": 0.5}), off)
    assert (error.code, error.param) == (
        "missing_required_parameter",
        "session.audio.input.turn_detection.type",
    )


def test_transcription_sessions_know_only_their_fields() -> None:
    session = TranscriptionSession(id="sess_2", expires_at=1)
    changed = merge_transcription(
        session, {"type": "transcription", "model": "x"} | {"audio": {"input": {"turn_detection": None}}}
    )
    assert changed.turn_detection is None
    for update in ({"instructions": "x"}, {"audio": {"output": {"voice": "default"}}}, {"output_modalities": ["text"]}):
        with pytest.raises(ProtocolError, match="Unknown parameter"):
            merge_transcription(session, update)
    with pytest.raises(ProtocolError, match="Connect anew"):
        merge_transcription(session, {"type": "realtime"})


def test_an_unknown_voice_is_served_by_the_default() -> None:
    assert served_voice("marin", ("default", "anna")) == "default"
    assert served_voice("anna", ("default", "anna")) == "anna"


def test_responses_take_unset_values_from_the_session() -> None:
    config = configure_response(SESSION)
    assert config.speech and not config.out_of_band
    assert (config.instructions, config.voice, config.max_output_tokens) == (
        SESSION.instructions,
        SESSION.voice,
        "inf",
    )
    assert config.input is None


def test_a_response_overrides_the_session() -> None:
    event = decode(
        '{"type":"response.create","response":{"instructions":"","tools":[],"tool_choice":"none","input":[],'
        '"output_modalities":["text"],"max_output_tokens":9,"metadata":{"a":"b"},"conversation":"none",'
        '"audio":{"output":{"voice":"anna","format":{"type":"audio/pcmu"}}}}}'
    )
    assert isinstance(event, ResponseCreate)
    config = configure_response(merge(SESSION, {"instructions": "x"}), event.response)
    assert not config.speech and config.out_of_band
    assert (config.instructions, config.tools, config.tool_choice) == ("", (), "none")
    assert (config.voice, config.output_format, config.max_output_tokens) == ("anna", Pcmu(), 9)
    assert (config.metadata, config.input) == ({"a": "b"}, ())
    response = config.response("resp_1", "conv_1")
    assert response.conversation_id is None and response.metadata == {"a": "b"}


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"conversation": "conv_other"}, "invalid_value", "response.conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "invalid_value", "response.prompt"),
        ({"audio": {"output": {"voice": "anna"}}}, "cannot_update_voice", "response.audio.output.voice"),
    ],
)
def test_a_response_that_cannot_be_is_refused(params: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        configure_response(SESSION, ResponseParams.model_validate(params), audio_produced=True)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_a_response_may_name_the_conversation() -> None:
    params = ResponseParams(conversation="conv_1")
    assert not configure_response(SESSION, params, conversation_id="conv_1").out_of_band


@pytest.mark.parametrize(
    "metadata", [{str(n): "" for n in range(17)}, {"k" * 65: ""}, {"k": "v" * 513}], ids=["17", "key", "value"]
)
def test_metadata_has_limits(metadata: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="should have"):
        ResponseParams(metadata=metadata)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["", "auto", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "id", "a"]), inner),
    max_leaves=4,
)
FIELDS = sorted(Session.model_fields)
NESTED = [
    ("audio", "input", "turn_detection", "type"),
    ("audio", "input", "turn_detection", "idle_timeout_ms"),
    ("audio", "input", "transcription", "language"),
    ("audio", "input", "noise_reduction", "strength"),
    ("audio", "input", "format", "rate"),
    ("audio", "output", "voice", "id"),
    ("audio", "output", "speed"),
    ("reasoning", "effort"),
]


@given(st.sampled_from([(field,) for field in FIELDS] + NESTED), st.integers(1, 4), JSON)
def test_any_patch_is_merged_or_refused_whole(path: tuple[str, ...], depth: int, value: object) -> None:
    update: Any = value
    for key in reversed(path[:depth]):
        update = {key: update}
    before = SESSION.model_dump(mode="json")
    try:
        changed = merge(SESSION, update)
    except ProtocolError as error:
        assert error.param is not None and error.param.startswith("session")
    else:
        assert Session.model_validate(changed.model_dump(mode="json")) == changed
        assert merge(changed, update) == changed
    assert SESSION.model_dump(mode="json") == before


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return all(_contains(whole.get(key), value) for key, value in part.items())
    return bool(whole == part)
