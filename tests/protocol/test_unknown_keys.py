"""Keys that the protocol does not know: found, refused with the right place, or dropped."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.protocol.codec import decode, drop_unknown_settings
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import ConversationItemCreate, ResponseCreate
from realtime.protocol.session_config import Session
from realtime.protocol.unknown_keys import drop_unknown, find_unknown
from tests.protocol.wire_files import CLIENT_EXAMPLES, FLOWS, Example

SESSION = FLOWS["session"][0].event["session"]


def response(**fields: Any) -> dict[str, Any]:
    return {"type": "response.create", "response": fields}


def item(**fields: Any) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": fields}


def message(content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [content]} | fields


TEXT = {"type": "input_text", "text": "Hi."}

REFUSED: tuple[tuple[dict[str, Any], str, str], ...] = (
    (response(voice="anna"), "response.voice", "'response.audio.output.voice'"),
    (response(modalities=["text"]), "response.modalities", "'response.output_modalities'"),
    (response(max_response_output_tokens=9), "response.max_response_output_tokens", "'response.max_output_tokens'"),
    (response(output_modalites=["text"]), "response.output_modalites", "'response.output_modalities'"),
    (response(audio={"output": {"speed": 1.2}}), "response.audio.output.speed", ""),
    (response(audio={"voice": "anna"}), "response.audio.voice", "'response.audio.output.voice'"),
    (response(input=[message(TEXT | {"txt": "x"})]), "response.input[0].content[0].txt", ".text"),
    (response(tools=[{"type": "function", "name": "f", "args": {}}]), "response.tools[0].args", ""),
    ({"type": "response.create", "respones": {}}, "respones", "'response'"),
    (item(**message(TEXT), rol="user"), "item.rol", "'item.role'"),
    (item(**message(TEXT | {"transcrpt": "x"})), "item.content[0].transcrpt", ""),
    (item(type="function_call_output", call_id="c", output="x", name="f"), "item.name", ""),
    (item(type="function_call", call_id="c", name="f", arguments="{}", argument="x"), "item.argument", ".arguments"),
    ({"type": "conversation.item.create", "item": message(TEXT), "previous_item": "x"}, "previous_item", "_item_id'"),
    ({"type": "session.update", "session": {}, "sesion": {}}, "sesion", "'session'"),
)


@pytest.mark.parametrize(("event", "param", "hint"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_key_that_is_not_known_is_refused(event: dict[str, Any], param: str, hint: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        decode(json.dumps(event | {"event_id": "c1"}))
    assert (refused.value.code, refused.value.param, refused.value.event_id) == ("unknown_parameter", param, "c1")
    assert hint in str(refused.value)


def test_free_objects_are_not_searched() -> None:
    schema = {"type": "object", "properties": {"a": {"typ": "string"}}}
    asked = decode(
        json.dumps(response(metadata={"any": "x"}, tools=[{"type": "function", "name": "f", "parameters": schema}]))
    )
    assert isinstance(asked, ResponseCreate)


def test_a_null_is_not_given() -> None:
    assert isinstance(decode(json.dumps(item(**message(TEXT | {"audio": None}), call_id=None))), ConversationItemCreate)


@pytest.mark.parametrize("example", CLIENT_EXAMPLES, ids=str)
def test_no_example_has_an_unknown_key(example: Example) -> None:
    document = copy.deepcopy(example.event)
    drop_unknown_settings(document)
    assert document == example.event


@given(st.dictionaries(st.text(max_size=4), st.integers(), max_size=3), st.sampled_from(["", "audio", "tools"]))
def test_what_is_found_is_dropped(extra: dict[str, int], place: str) -> None:
    document = copy.deepcopy(SESSION) | {"tools": [{"type": "function", "name": "f"}]}
    owner = {"": document, "audio": document["audio"]["input"], "tools": document["tools"][0]}[place]
    added = {key for key in extra if key not in owner}
    owner |= {key: extra[key] for key in added}
    assert {unknown.path[-1] for unknown in find_unknown(document, Session)} == added
    drop_unknown(document, Session)
    assert not added & owner.keys()
