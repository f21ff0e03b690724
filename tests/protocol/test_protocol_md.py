"""protocol.md: what it shows is what the codec reads, and what it lists is all there is."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import get_args

import pytest

from realtime.protocol.beta import Beta
from realtime.protocol.codec import decode, decode_server_event, encode
from realtime.protocol.dialect import Connection
from realtime.protocol.events import ClientEvent, SessionUpdated
from realtime.protocol.ids import Ids
from realtime.protocol.session_config import Session, merge
from tests.protocol.sdk import BETA_SERVER, EXTENSIONS, SERVER
from tests.protocol.wire_files import WIRE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "protocol.md").read_text()
EXAMPLES = [line for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
BETA_EXAMPLES = [
    line for block in re.findall(r"```json beta\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]
CLIENT_TYPES = {member.model_fields["type"].default for member in get_args(get_args(ClientEvent)[0])}


def test_it_has_examples() -> None:
    assert len(EXAMPLES) > 40


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda line: json.loads(line)["type"])
def test_every_example_is_an_event(example: str) -> None:
    shown = json.loads(example)
    if shown["type"] in CLIENT_TYPES:
        assert decode(encode(decode(example))) == decode(example)
    else:
        assert json.loads(encode(decode_server_event(example))) == shown
        if shown["type"] not in EXTENSIONS:
            SERVER.validate_json(example, strict=True)


@pytest.mark.parametrize("example", BETA_EXAMPLES, ids=lambda line: json.loads(line)["type"])
def test_every_beta_example_is_an_event(example: str) -> None:
    if json.loads(example)["type"] in CLIENT_TYPES:
        Connection(Ids("t"), Beta("conv_1")).decode(example)
    else:
        BETA_SERVER.validate_json(example, strict=True)


def test_beta_sessions_are_shown_as_documented() -> None:
    update, updated = (json.loads(line) for line in BETA_EXAMPLES[:2])
    assert updated["session"] == updated["session"] | update["session"]
    first = Session(id="sess_1", model="gpt-4o-realtime-preview", expires_at=1764000000)
    session = merge(first, Beta("conv_1").translate_in(update)["session"])
    (told,) = Connection(Ids("t"), Beta("conv_1")).encode(SessionUpdated(session=session))
    assert json.loads(told)["session"] == updated["session"]


def test_every_word_of_the_beta_shape_is_described() -> None:
    table = {case["rule"]: case for case in json.loads((WIRE / "beta_client.json").read_text())["translations"]}
    settings = table["the beta library's first update, whole"]["beta"]["session"]
    assert {key for key in settings if f"`{key}`" not in TEXT} == set()
    told = json.loads((WIRE / "beta_server.json").read_text())["translations"]
    types = {message["type"] for case in told for message in case["beta"]}
    assert {kind for kind in types if f"`{kind}`" not in TEXT} <= {case["ga"]["type"] for case in told}


def test_every_extension_is_shown() -> None:
    assert {json.loads(example)["type"] for example in EXAMPLES} >= EXTENSIONS


def test_every_client_event_is_described() -> None:
    assert {kind for kind in CLIENT_TYPES if f"`{kind}`" not in TEXT} == set()


def test_every_error_code_is_described() -> None:
    described = set(re.findall(r"`([a-z_]+)`", TEXT))
    assert _codes() - described == set()


def _codes() -> set[str]:
    """The codes in our sources: of protocol errors, refusals, failed responses and ends of sessions."""
    found: set[str] = set()
    for path in (ROOT / "realtime").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Name(id="ProtocolError" | "Refuse") | ast.Attribute(attr="Refuse" | "_fail"),
                    args=[ast.Constant(value=str() as code), *_],
                ):
                    found.add(code)
                case ast.ClassDef(name=name, body=body) if name != "ChannelClosed":  # nobody is left to be told
                    found.update(_class_code(body))
    assert "invalid_value" in found
    return found


def _class_code(body: list[ast.stmt]) -> set[str]:
    return {
        statement.value.value
        for statement in body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id == "code"
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    }
