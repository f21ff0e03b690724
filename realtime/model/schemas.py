"""JSON schemas of function arguments as grammars. Imports no torch: `realtime.sandbox.schema_child` runs this.

The grammar library is llguidance, see `realtime.model.constraints`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from llguidance import LLMatcher, LLParserLimits

from realtime.model.tokenizer import TextTokenizer
from realtime.ports.tool_calls import CallableFunction

MAX_SCHEMA_CHARS = 65_536
"""The longest schema of one function's arguments, as JSON text."""

MAX_PROPERTIES = 1024
"""Properties in one schema, at all depths. 2 000 optional ones take 260 ms to compile, and the time grows with the
square of the number."""

MAX_DEPTH = 64
"""Nesting of one schema."""

_CHECKED_SCHEMAS = 512
"""Schemas whose check is remembered: clients send the same ones with every change of the session."""

_COMPOSED = ("$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties", "propertyNames", "minProperties")
"""Keywords whose meaning would change if no other properties were allowed beside them."""

_STYLE = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?", "lenient": True}
"""JSON on one line, with or without a space behind comma and colon; keywords unknown to llguidance hold nobody up."""


def shape_problem(schema: Any) -> str | None:
    """Why this is no schema of a function's parameters, or too large a one; None: it may be compiled. Takes time in
    proportion to the schema's length, so it is safe in any thread."""
    if schema is None:
        return None
    if not isinstance(schema, dict):
        return f"expected a JSON schema object, got {type(schema).__name__}"
    types = schema.get("type", "object")
    if types != "object" and not (isinstance(types, list) and "object" in types):
        return f"arguments are always an object, but the schema's type is {str(types)[:60]!r}"
    properties, depth = _measure(schema)
    if depth > MAX_DEPTH:
        return f"the schema is nested more than {MAX_DEPTH} levels deep"
    if properties > MAX_PROPERTIES:
        return f"the schema has {properties} properties, the most are {MAX_PROPERTIES}"
    length = len(json.dumps(schema))
    if length > MAX_SCHEMA_CHARS:
        return f"the schema has {length} characters, the most are {MAX_SCHEMA_CHARS}"
    return None


def schema_problem(schema: Any) -> str | None:
    """Why arguments cannot be held to this schema of a function's parameters; None: they can.

    Keywords that the grammar does not know (``not``, ``if``, ``uniqueItems``, an unknown ``format``) are no problem:
    they are not enforced. A hostile schema takes any time and memory here, with the interpreter's lock held: a server
    asks `realtime.sandbox.schemas.SchemaSandbox` instead.
    """
    if schema is None:
        return None
    return shape_problem(schema) or _grammar_problem(styled(schema))


@lru_cache(_CHECKED_SCHEMAS)
def _grammar_problem(schema: str) -> str | None:
    fault = LLMatcher.validate_grammar(f"start: %json {schema}", limits=parser_limits())
    return first_line(fault) if fault and not fault.startswith("WARNING") else None


def calls_grammar(functions: Sequence[CallableFunction], schemas: Sequence[dict[str, Any]]) -> str:
    """The grammar of one call of any of these functions, behind ``<tool_call>``."""
    calls = [
        f"call_{index}: {json.dumps(function.name + chr(10))} %json {styled(schema)}"
        for index, (function, schema) in enumerate(zip(functions, schemas, strict=True))
    ]
    any_call = " | ".join(f"call_{index}" for index in range(len(functions)))
    return "\n".join([f'start: "function\\n" ({any_call})', *calls])


def schema_of(function: CallableFunction) -> dict[str, Any]:
    """The schema of its arguments; one without properties where it declares none."""
    if not function.parameters:
        return {"type": "object", "properties": {}}
    schema = json.loads(function.parameters)
    assert isinstance(schema, dict)
    return schema


def styled(schema: dict[str, Any]) -> str:
    """The schema as llguidance takes it: an object, without properties that nobody declared, in our style."""
    closed = {} if any(word in schema for word in _COMPOSED) else {"additionalProperties": False}
    return json.dumps({**closed, **schema, "type": "object", "x-guidance": _STYLE})


def parser_limits() -> LLParserLimits:
    """Bounds of one grammar. The lexer's states are made while a reply is decoded too, at 1 to 2 kB each."""
    return LLParserLimits(max_grammar_size=100_000, max_lexer_states=50_000, verbose_errors=False)


def first_line(fault: str) -> str:
    """Without the excerpt of the grammar, which the caller did not write."""
    lines = fault.split("\n   1 | ")[0].splitlines()
    return " ".join(" ".join(lines).removeprefix("at 1(8): ").split())[:300]


class Vocabulary:
    """Our tokenizer as llguidance wants to see it."""

    bos_token_id = None

    def __init__(self, tokenizer: TextTokenizer, end_of_text: int) -> None:
        """``end_of_text``: the id that ends a call."""
        self._tokenizer = tokenizer
        self.eos_token_id = end_of_text
        self.tokens = [tokenizer.token_bytes(id_) for id_ in range(len(tokenizer))]
        self.special_token_ids = sorted(tokenizer.ids.values())

    def __call__(self, text: bytes | str) -> list[int]:
        """The ids of exactly these characters, none of them special."""
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        ids = self._tokenizer.encode(text, special=False)
        if self._tokenizer.decode(ids) == text:
            return ids
        # The tokenizer writes characters in their composed form; byte by byte they stay as they are.
        by_byte = {data: id_ for id_, data in enumerate(self.tokens) if len(data) == 1}
        return [by_byte[bytes((byte,))] for byte in text.encode()]


def _measure(schema: dict[str, Any]) -> tuple[int, int]:
    """Properties at all depths, and the depth; without recursion, which a client could exhaust."""
    properties, deepest = 0, 0
    waiting: list[tuple[Any, int]] = [(schema, 1)]
    while waiting:
        value, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(value, dict):
            named = value.get("properties")
            properties += len(named) if isinstance(named, dict) else 0
            waiting += [(one, depth + 1) for one in value.values() if isinstance(one, dict | list)]
        elif isinstance(value, list):
            waiting += [(one, depth + 1) for one in value if isinstance(one, dict | list)]
    return properties, deepest
