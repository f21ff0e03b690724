"""The beta shape and StepFun's: tables of translations, the SDK's beta types, and messages of any shape."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol.beta import Beta, StepFun, older_dialect, shape
from realtime.protocol.codec import decode_object, decode_server_event, error_event
from realtime.protocol.dialect import Connection
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import (
    CLIENT_EVENTS,
    ConversationItemAdded,
    ConversationItemCreate,
    ConversationItemDone,
    ConversationItemRetrieved,
    Error,
    ErrorDetails,
    ResponseCreate,
    ResponseCreated,
    ResponseDone,
    ResponseOutputItemDone,
    SessionCreated,
    SessionUpdate,
    SessionUpdated,
)
from realtime.protocol.ids import Ids
from realtime.protocol.items import (
    AssistantMessage,
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    McpCall,
    OutputAudio,
    OutputText,
    UserMessage,
)
from realtime.protocol.responses import Response, ResponseParams
from realtime.protocol.session_config import ServerVad, Session, merge
from tests.protocol.sdk import BETA_CLIENT, BETA_SERVER, EXTENSIONS
from tests.protocol.wire_files import CLIENT_EXAMPLES, SERVER_EXAMPLES, WIRE, Example


def table(name: str, key: str = "translations") -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((WIRE / f"{name}.json").read_text())[key]
    return cases


CLIENT, SERVER = table("beta_client"), table("beta_server")


def rule(case: dict[str, Any]) -> str:
    return str(case["rule"])


def beta() -> Beta:
    return Beta("conv_1")


def session(**fields: Any) -> Session:
    return Session(id="sess_1", model="gpt-4o-realtime-preview", expires_at=1764000000, **fields)


@pytest.mark.parametrize("case", CLIENT, ids=rule)
def test_a_client_message_becomes(case: dict[str, Any]) -> None:
    assert beta().translate_in(copy.deepcopy(case["beta"])) == case["ga"]
    decode_object(case["ga"])


@pytest.mark.parametrize("case", SERVER, ids=rule)
def test_a_server_event_becomes(case: dict[str, Any]) -> None:
    event = decode_server_event(json.dumps(case["ga"])).model_dump(mode="json")
    assert event == case["ga"]
    assert list(beta().translate_out(event)) == case["beta"]


def test_what_stepfun_s_clients_send_becomes() -> None:
    stepfun = StepFun("conv_1")
    for case in table("beta_stepfun", "client"):
        assert stepfun.translate_in(copy.deepcopy(case["beta"])) == case["ga"], case["rule"]
        decode_object(case["ga"])


@pytest.mark.parametrize("case", table("beta_stepfun", "server"), ids=rule)
def test_for_stepfun_s_clients_a_server_event_becomes(case: dict[str, Any]) -> None:
    assert list(StepFun("conv_1").translate_out(copy.deepcopy(case["ga"]))) == case["beta"]


BEYOND_THE_SDK = (
    "flat and nested tools",
    "nested tool choice",
    "a named tool choice",
    "turn detection of the type none is off",
    "GA's own places are read, too",
    "the assistant's text and speech",
)
UNKNOWN_TO_THE_SDK = (
    "input_audio_buffer.timeout_triggered",
    *EXTENSIONS,
    "input_audio_buffer.dtmf_event_received",
    "conversation.item.input_audio_transcription.segment",
    "mcp_list_tools.",
    "response.mcp_call",
    "transcription_session.",  # typed with a secret that only the answer to a POST has
)
"""Came after the beta types were frozen, as did MCP items and images; nobody gets them without asking."""


@pytest.mark.parametrize("case", CLIENT, ids=rule)
def test_table_messages_equal_those_of_beta_clients(case: dict[str, Any]) -> None:
    if case["rule"] not in BEYOND_THE_SDK:
        BETA_CLIENT.validate_python(case["beta"])


@pytest.mark.parametrize("example", SERVER_EXAMPLES, ids=str)
def test_server_events_are_what_beta_types_say(example: Example) -> None:
    event = decode_server_event(json.dumps(example.event)).model_dump(mode="json")
    for message in beta().translate_out(event):
        message = {"event_id": "event_1", **message}
        text = json.dumps(message)
        if message["type"].startswith(UNKNOWN_TO_THE_SDK) or '"mcp' in text or '"input_image"' in text:
            continue
        if "session" in message:  # typed as a list of models of that day, and as text alone
            message["session"] |= {"model": "gpt-4o-realtime-preview", "tool_choice": "auto"}
        parsed = BETA_SERVER.validate_json(json.dumps(message), strict=True)
        assert parsed.type == message["type"]


@pytest.mark.parametrize("example", SERVER_EXAMPLES, ids=str)
def test_no_word_of_ga_is_left(example: Example) -> None:
    for message in beta().translate_out(decode_server_event(json.dumps(example.event)).model_dump(mode="json")):
        text = json.dumps(message)
        assert not [
            word
            for word in ("output_text", "output_audio.", '"output_audio"', "output_mod", "audio/pcm")
            if word in text
        ]
        assert message["type"] not in ("conversation.item.added", "conversation.item.done")


@pytest.mark.parametrize("dialect", [beta(), StepFun("conv_1")], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("example", CLIENT_EXAMPLES, ids=str)
def test_ga_messages_are_read_in_older_dialects(dialect: Beta, example: Example) -> None:
    if example.event["type"] == "session.update":
        return  # StepFun's defaults come with the first one
    assert decode_object(dialect.translate_in(copy.deepcopy(example.event))) == decode_object(example.event)


def test_items_are_created_before_events_about_them() -> None:
    """The beta library throws inside its socket handler otherwise."""
    fragments = {"other_events", "out_of_band", "items", "false_alarm", "thinking"}
    for name in {example.flow for example in SERVER_EXAMPLES} - fragments:
        known: set[str] = set()
        for example in SERVER_EXAMPLES:
            if example.flow != name:
                continue
            for message in beta().translate_out(copy.deepcopy(example.event)):
                if message["type"] == "conversation.item.created":
                    assert message["item"]["id"] not in known, "told twice"
                    known.add(message["item"]["id"])
                elif message["type"] == "response.output_item.done":
                    assert message["item"]["id"] in known
                elif message["type"].startswith("response.") and "item_id" in message:
                    assert message["item_id"] in known


# Round trips

FORMATS = st.sampled_from([{"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcmu"}, {"type": "audio/pcma"}])
DETECTIONS = st.none() | st.fixed_dictionaries(
    {"type": st.just("server_vad"), "threshold": st.floats(0, 1), "silence_duration_ms": st.integers(0, 5000)},
    optional={"interrupt_response": st.booleans(), "idle_timeout_ms": st.integers(5000, 30_000)},
)
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
SESSIONS = st.builds(
    session,
    output_modalities=st.sampled_from([("audio",), ("text",)]),
    instructions=st.text(max_size=20),
    tools=st.lists(st.just(TOOL), max_size=2),
    tool_choice=st.sampled_from(["auto", "none", "required", {"type": "function", "name": "f"}]),
    max_output_tokens=st.just("inf") | st.integers(1, 4096),
    audio=st.fixed_dictionaries(
        {
            "input": st.fixed_dictionaries(
                {
                    "format": FORMATS,
                    "turn_detection": DETECTIONS,
                    "transcription": st.sampled_from([None, {"model": "whisper-1"}]),
                    "noise_reduction": st.sampled_from([None, {"type": "far_field"}]),
                }
            ),
            "output": st.fixed_dictionaries(
                {"format": FORMATS, "voice": st.sampled_from(["alloy", "x"]), "speed": st.floats(0.25, 1.5)}
            ),
        }
    ),
)


@given(SESSIONS)
def test_sessions_that_are_sent_back_are_in_force(wanted: Session) -> None:
    shown = beta().translate_out(SessionCreated(session=wanted).model_dump(mode="json"))[0]["session"]
    update = beta().translate_in({"type": "session.update", "session": shown})
    assert merge(session(), update["session"]) == wanted


@given(st.text(max_size=20), st.sampled_from([("audio",), ("text",)]))
def test_beta_clients_get_what_ga_clients_would(text: str, modalities: tuple[Any, ...]) -> None:
    names = ["text", "audio"] if modalities == ("audio",) else ["text"]
    asked = {"type": "response.create", "response": {"modalities": names, "instructions": text}}
    params = ResponseParams(output_modalities=modalities, instructions=text)
    assert decode_object(beta().translate_in(asked)) == ResponseCreate(response=params)


# Messages of any shape

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "modalities voice speed input_audio_format output_audio_format input_audio_transcription turn_detection audio type "
    "max_response_output_tokens tools tool_choice input instructions role content function energy_awakeness_threshold"
).split()
TYPES = ["session.update", "transcription_session.update", "response.create", "conversation.item.create", "message"]
VALUES = st.deferred(lambda: JSON | st.lists(OBJECTS, max_size=2) | OBJECTS)
OBJECTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(KEYS), VALUES | st.sampled_from([*TYPES, "assistant", "function", "none", "pcm16"]), max_size=4
)
CLIENT_MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={"session": VALUES, "response": VALUES, "item": VALUES, "event_id": JSON},
)


@given(CLIENT_MESSAGES, st.sampled_from(["step-audio-2-mini", "gpt-4o-realtime-preview", None]))
def test_no_client_message_breaks_a_dialect(message: dict[str, Any], model: str | None) -> None:
    connection = Connection(Ids("t"), suspected=older_dialect(model, "conv_1"))
    text = json.dumps(message)
    for _ in range(2):
        try:
            CLIENT_EVENTS.dump_json(connection.decode(text))
        except ProtocolError as error:
            assert connection.encode(error_event(error))


@pytest.mark.parametrize("example", SERVER_EXAMPLES, ids=str)
def test_every_server_event_exists_in_every_dialect(example: Example) -> None:
    event = decode_server_event(json.dumps(example.event))
    for dialect in (beta(), StepFun("conv_1")):
        assert all(json.loads(text)["event_id"] for text in Connection(Ids("t"), dialect).encode(event))


TEXT = st.text(max_size=5)
STATUS = st.sampled_from(["in_progress", "completed", "incomplete"])
PARTS = st.builds(OutputText, text=TEXT) | st.builds(OutputAudio, transcript=st.none() | TEXT)
ITEMS = (
    st.builds(AssistantMessage, id=TEXT, status=STATUS, content=st.lists(PARTS, max_size=3))
    | st.builds(UserMessage, content=st.lists(st.builds(InputAudio, transcript=st.none() | TEXT), max_size=2))
    | st.builds(FunctionCall, name=TEXT, call_id=TEXT, arguments=TEXT)
    | st.builds(FunctionCallOutput, call_id=TEXT, output=TEXT)
    | st.builds(McpCall, server_label=TEXT, name=TEXT, arguments=TEXT)
)
RESPONSES = st.builds(
    Response,
    id=TEXT,
    status=st.sampled_from(["in_progress", "completed", "cancelled"]),
    output=st.lists(ITEMS, max_size=3),
    output_modalities=st.sampled_from([("audio",), ("text",)]),
    audio=st.none() | st.fixed_dictionaries({"output": st.fixed_dictionaries({"format": FORMATS, "voice": TEXT})}),
    metadata=st.none() | st.dictionaries(TEXT, TEXT, max_size=2),
)
DETAILS = st.builds(
    ErrorDetails,
    type=TEXT,
    code=st.none() | st.sampled_from(["response_cancel_not_active", "invalid_value"]),
    message=TEXT,
    param=st.none() | TEXT,
)
SERVER_EVENTS = (
    st.builds(ConversationItemAdded, item=ITEMS)
    | st.builds(ConversationItemDone, item=ITEMS)
    | st.builds(ConversationItemRetrieved, item=ITEMS)
    | st.builds(ResponseOutputItemDone, response_id=TEXT, output_index=st.integers(0, 9), item=ITEMS)
    | st.builds(ResponseCreated, response=RESPONSES)
    | st.builds(ResponseDone, response=RESPONSES)
    | st.builds(SessionCreated, session=SESSIONS)
    | st.builds(SessionUpdated, session=SESSIONS)
    | st.builds(Error, error=DETAILS)
)
"""The events with something inside; of the flat ones every class has an example."""


@given(SERVER_EVENTS, st.sampled_from(["step-audio-2-mini", None]))
def test_any_server_event_translates_to_every_dialect(event: Any, model: str | None) -> None:
    texts = Connection(Ids("t"), older_dialect(model, "conv_1")).encode(event)
    assert len(texts) == {"session.created": 2, "conversation.item.done": 0}.get(event.type, 1)
    assert all("type" in json.loads(text) and "event_id" in json.loads(text) for text in texts)


# Detection


@pytest.mark.parametrize("case", CLIENT, ids=rule)
def test_the_shape_of_a_settings_message_is_seen(case: dict[str, Any]) -> None:
    kind = case["beta"]["type"]
    if kind in ("session.update", "transcription_session.update"):
        assert shape(case["beta"]) == ("ga" if "audio" in case["beta"]["session"] else "beta")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"type": "session.update", "session": {"instructions": "x"}}, "beta"),
        ({"type": "session.update", "session": {}}, "beta"),
        ({"type": "session.update", "session": {"type": "realtime", "voice": "alloy"}}, "ga"),
        ({"type": "session.update", "session": {"type": "realtime", "instructions": "x"}}, "ga"),
        ({"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}}, "ga"),
        ({"type": "session.update", "session": 5}, None),
        ({"type": "session.update"}, None),
        ({"type": "response.create"}, None),
        ({"type": "response.create", "response": {"instructions": "x"}}, None),
        ({"type": "response.create", "response": {"modalities": ["text"]}}, "beta"),
        ({"type": "response.create", "response": {"output_modalities": ["text"]}}, "ga"),
        ({"type": "response.create", "session": {"instructions": "x"}}, "beta"),
        ({"type": "conversation.item.create", "item": {"type": "message"}}, None),
        ({"type": ["session.update"], "session": {"voice": "x"}}, None),
    ],
)
def test_a_message_shows_its_shape(message: dict[str, Any], expected: str | None) -> None:
    assert shape(message) == expected


def test_the_first_telling_message_settles_the_dialect() -> None:
    old = Connection(Ids("t"), suspected=beta())
    old.decode('{"type":"response.create"}')
    assert old.dialect.name == "ga"
    old.decode('{"type":"session.update","session":{"voice":"alloy"}}')
    assert old.dialect.name == "beta"
    old.decode('{"type":"session.update","session":{"type":"realtime","output_modalities":["text"]}}')
    assert old.dialect.name == "beta"
    new = Connection(Ids("t"), suspected=beta())
    new.decode('{"type":"session.update","session":{"type":"realtime"}}')
    with pytest.raises(ProtocolError, match="response.output_modalities"):
        new.decode('{"type":"response.create","response":{"modalities":["text"]}}')
    assert new.dialect.name == "ga"


@pytest.mark.parametrize("stray", ["voice", "modalities", "turn_detection", "input_audio_format", "temperature"])
def test_beta_keys_beside_a_type_leave_the_dialect(stray: str) -> None:
    connection = Connection(Ids("t"), suspected=beta())
    update = {"type": "session.update", "event_id": "c1", "session": {"type": "realtime", stray: 0.8}}
    with pytest.raises(ProtocolError) as refused:
        event = connection.decode(json.dumps(update))
        assert isinstance(event, SessionUpdate)
        merge(session(), event.session, event_id=event.event_id)
    assert (refused.value.code, refused.value.param) == ("unknown_parameter", f"session.{stray}")
    assert (refused.value.event_id, connection.dialect.name) == ("c1", "ga")


@pytest.mark.parametrize("dialect", [beta(), StepFun("conv_1")], ids=lambda dialect: dialect.name)
def test_older_dialects_ignore_unknown_keys(dialect: Beta) -> None:
    connection = Connection(Ids("t"), dialect)
    detection = {"type": "server_vad", "eagerness": "low", "energy_awakeness_threshold": 2500, "nope": 1}
    update = connection.decode(
        json.dumps({"type": "session.update", "nope": 1, "session": {"temperature": 0.8, "turn_detection": detection}})
    )
    assert isinstance(update, SessionUpdate)
    assert merge(session(), update.session).turn_detection == ServerVad()
    asked = {"type": "response.create", "response": {"temperature": 0.8, "nope": 1}}
    assert connection.decode(json.dumps(asked)) == ResponseCreate(response=ResponseParams())


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"type": "response.create", "response": {"temperature": 0.8}}, "response.temperature"),
        ({"type": "response.create", "session": {"instructions": "x"}}, "session"),
    ],
)
def test_ga_has_no_place_for_ignored_beta_keys(message: dict[str, Any], param: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        Connection(Ids("t")).decode(json.dumps(message))
    assert (refused.value.code, refused.value.param) == ("unknown_parameter", param)


def test_messages_that_settle_the_dialect_are_read_there() -> None:
    connection = Connection(Ids("t"), suspected=beta())
    event = connection.decode('{"type":"response.create","response":{"modalities":["text"]}}')
    assert event == ResponseCreate(response=ResponseParams(output_modalities=("text",)))
    item = '{"type":"message","role":"assistant","content":[{"type":"text","text":"Hi."}]}'
    assert connection.decode(f'{{"type":"conversation.item.create","item":{item}}}') == ConversationItemCreate(
        item=AssistantMessage(content=(OutputText(text="Hi."),))
    )


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("step-audio-2-mini", "stepfun"),
        ("step-1o-audio", "stepfun"),
        ("gpt-4o-realtime-preview", "beta"),
        (None, "beta"),
    ],
)
def test_model_names_tell_the_older_dialects_apart(model: str | None, name: str) -> None:
    assert older_dialect(model, "conv_1").name == name
