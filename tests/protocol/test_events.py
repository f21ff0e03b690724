"""Every event class against its examples, and against the SDK's types."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from realtime.protocol.codec import decode, decode_server_event, encode
from realtime.protocol.events import (
    ClientEvent,
    ConversationItemAdded,
    ConversationItemCreate,
    Error,
    ErrorDetails,
    ResponseOutputAudioDelta,
    ServerEvent,
    SessionUpdate,
)
from realtime.protocol.items import FunctionCall, UserMessage
from tests.protocol.sdk import CLIENT, EXTENSIONS, SERVER, unknown_fields
from tests.protocol.wire_files import CLIENT_EXAMPLES, SERVER_EXAMPLES, Example

SESSION_ONLY = {".session.id", ".session.object", ".session.expires_at", ".session.tracing"}
"""The SDK types ``session.created`` as the request to create one, without the fields that the answer adds."""
BEYOND_THE_CONTRACT = SESSION_ONLY | {
    ".event_id",  # of input_audio_buffer.dtmf_event_received alone: clients in general need one in every event
    ".item.object",  # of MCP items
}


def members(union: Any) -> list[type[BaseModel]]:
    return list(get_args(get_args(union)[0]))


def type_of(event_class: type[BaseModel]) -> str:
    return str(event_class.model_fields["type"].default)


def _of_the_contract(examples: list[Example]) -> list[Example]:
    return [example for example in examples if example.event["type"] not in EXTENSIONS]


@pytest.mark.parametrize("example", SERVER_EXAMPLES, ids=str)
def test_server_event_survives_decoding_and_encoding(example: Example) -> None:
    event = decode_server_event(json.dumps(example.event))
    assert json.loads(encode(event)) == example.event
    assert decode_server_event(encode(event)) == event


@pytest.mark.parametrize("example", CLIENT_EXAMPLES, ids=str)
def test_client_event_survives_decoding_and_encoding(example: Example) -> None:
    event = decode(json.dumps(example.event))
    assert event.type == example.event["type"]
    assert decode(encode(event)) == event


def test_every_event_class_has_an_example() -> None:
    shown = {example.event["type"] for example in SERVER_EXAMPLES} | {"error"}
    assert {type_of(event_class) for event_class in members(ServerEvent)} == shown
    shown = {example.event["type"] for example in CLIENT_EXAMPLES}
    assert {type_of(event_class) for event_class in members(ClientEvent)} == shown


def test_unions_have_every_event_of_the_contract() -> None:
    ours = {type_of(event_class) for event_class in members(ServerEvent)}
    assert {get_args(event.model_fields["type"].annotation)[0] for event in _sdk_members(SERVER)} == ours - EXTENSIONS
    ours = {type_of(event_class) for event_class in members(ClientEvent)}
    assert {get_args(event.model_fields["type"].annotation)[0] for event in _sdk_members(CLIENT)} == ours


@pytest.mark.parametrize("example", _of_the_contract(SERVER_EXAMPLES), ids=str)
def test_server_event_is_what_the_sdk_types_say(example: Example) -> None:
    text = encode(decode_server_event(json.dumps(example.event)))
    parsed = SERVER.validate_json(text, strict=True)
    assert parsed.type == example.event["type"]
    assert unknown_fields(parsed) <= BEYOND_THE_CONTRACT


@pytest.mark.parametrize(
    "event_class", [member for member in members(ServerEvent) if type_of(member) not in EXTENSIONS], ids=type_of
)
def test_what_the_contract_requires_we_require_or_default(event_class: type[BaseModel]) -> None:
    theirs = {get_args(event.model_fields["type"].annotation)[0]: event for event in _sdk_members(SERVER)}
    contract = theirs[type_of(event_class)].model_fields
    assert set(contract) <= set(event_class.model_fields)
    required = {name for name, field in contract.items() if field.is_required()}
    optional_here = {
        name for name, field in event_class.model_fields.items() if not field.is_required() and field.default is None
    }
    assert not required & optional_here


def test_absent_fields_are_omitted_and_listed_nulls_stay() -> None:
    event = ConversationItemAdded(item=FunctionCall(id="item_1", name="f", call_id="call_1", arguments=""))
    document = json.loads(encode(event))
    assert document["previous_item_id"] is None
    assert None not in document["item"].values()
    details = json.loads(encode(Error(error=ErrorDetails(type="server_error", message="Sorry."))))["error"]
    assert details["event_id"] is None


@pytest.mark.parametrize("example", SERVER_EXAMPLES, ids=str)
def test_null_stands_only_where_sdks_accept_it(example: Example) -> None:
    accepted = {"previous_item_id", "transcript", "usage", "status_details", "metadata", "conversation_id"}
    session = {"tracing", "prompt", "include", "transcription", "noise_reduction", "turn_detection"}
    text = encode(decode_server_event(json.dumps(example.event)))
    assert set(_null_keys(json.loads(text))) <= accepted | session | {"idle_timeout_ms", "default"}


def test_unknown_keys_are_ignored() -> None:
    event = decode('{"type":"response.cancel","obfuscation":"xyz","response_id":"resp_1"}')
    assert json.loads(encode(event)) == {"type": "response.cancel", "response_id": "resp_1"}


def test_null_in_an_optional_place_means_not_given() -> None:
    given = decode(
        '{"type":"conversation.item.create","event_id":null,"previous_item_id":null,"item":{"id":null,"object":null,'
        '"status":null,"type":"message","role":"user","content":[{"type":"input_image","image_url":"u","detail":null}]}}'
    )
    plain = decode(
        '{"type":"conversation.item.create","item":'
        '{"type":"message","role":"user","content":[{"type":"input_image","image_url":"u"}]}}'
    )
    assert given == plain
    given = decode('{"type":"response.create","response":{"instructions":null,"tools":null,"metadata":null}}')
    assert given == decode('{"type":"response.create","response":{}}')


def test_session_patches_keep_nulls_and_free_json() -> None:
    patch = {"type": "realtime", "audio": {"input": {"turn_detection": None}}, "tools": [{"parameters": {"a": None}}]}
    event = decode(json.dumps({"type": "session.update", "session": patch}))
    assert isinstance(event, SessionUpdate)
    assert event.session == patch


def test_audio_is_bytes_inside_and_standard_base64_outside() -> None:
    event = ResponseOutputAudioDelta(
        response_id="r", item_id="i", output_index=0, content_index=0, delta=bytes([0xFB, 0xFF, 0xFE])
    )
    assert json.loads(encode(event))["delta"] == "+//+"
    assert decode_server_event(encode(event)) == event


def test_events_cannot_be_changed() -> None:
    item = UserMessage(id="item_1", content=())
    with pytest.raises(ValueError, match="frozen"):
        item.id = "item_2"


def _sdk_members(adapter: Any) -> tuple[type[BaseModel], ...]:
    return get_args(get_args(adapter._type)[0])


def _null_keys(value: Any) -> list[str]:
    if isinstance(value, list):
        return [key for element in value for key in _null_keys(element)]
    if not isinstance(value, dict):
        return []
    inner = [key for element in value.values() for key in _null_keys(element)]
    return [key for key, element in value.items() if element is None] + inner


def test_assistant_text_may_have_its_beta_name() -> None:
    parts = [{"type": "text", "text": "Hello."}, {"type": "audio", "transcript": "Again."}]
    event = decode(
        json.dumps(
            {"type": "conversation.item.create", "item": {"type": "message", "role": "assistant", "content": parts}}
        )
    )
    assert isinstance(event, ConversationItemCreate)
    shown = event.item.model_dump(mode="json")["content"]
    assert [part["type"] for part in shown] == ["output_text", "output_audio"]
