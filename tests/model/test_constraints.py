"""Calls are valid by the way they are decoded, whatever the model would rather say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.model.constraints import MAX_CALL_IDS, MAX_CALLS, CallGrammar
from realtime.model.sampling import Sampler
from realtime.model.schemas import schema_problem
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from realtime.ports.tool_calls import CallableFunction, CallRules, ToolCall, parse_tool_calls
from tests.model.samples import write_tokenizer

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = CallableFunction("get_weather", json.dumps(CITY))
NOW = CallableFunction("now")
LIKELY, UNLIKELY = 50.0, -50.0


@pytest.fixture(scope="module")
def grammar(tmp_path_factory: pytest.TempPathFactory) -> CallGrammar:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    tokenizer = TextTokenizer.load(folder)
    return CallGrammar(tokenizer, SpecialTokens.from_ids(tokenizer.ids), len(tokenizer) + 3)


def decode(
    grammar: CallGrammar,
    rules: CallRules,
    *,
    speech: bool = False,
    room: int = 600,
    seed: int = 0,
    bias: dict[int, float] | None = None,
) -> list[int]:
    """What a model with random weights says, up to its end or ``room`` ids. ``bias``: what it likes or dislikes."""
    constraint = grammar.constrain(rules, speech=speech, room=room)
    vocab_size = len(grammar.words_without_calls)
    sampler = Sampler(vocab_size, seed=seed)
    random = torch.Generator().manual_seed(seed)
    ids: list[int] = []
    while len(ids) < room:
        logits = torch.randn(vocab_size, generator=random)
        for id_, value in (bias or {}).items():
            logits[id_] = value
        id_ = constraint.forced()
        if id_ is None:
            id_ = sampler.next(logits, constraint.allowed())
        constraint.accept(id_)
        if id_ in grammar.tokens.stop_ids:
            break
        ids.append(id_)
    return ids


def calls_in(grammar: CallGrammar, ids: list[int]) -> tuple[ToolCall, ...]:
    return parse_tool_calls(grammar._text.decode(ids)).calls


# Whether there is a call


@pytest.mark.parametrize("speech", [False, True])
def test_without_functions_no_call_can_be_begun(grammar: CallGrammar, speech: bool) -> None:
    tokens = grammar.tokens
    wants_to_call = {tokens.tool_call: LIKELY, tokens.eot: LIKELY - 40}
    ids = decode(grammar, CallRules(), speech=speech, bias=wants_to_call)
    assert ids == [] or tokens.tool_call not in ids


def test_only_calls_or_the_end_may_follow_speech(grammar: CallGrammar) -> None:
    tokens = grammar.tokens
    constraint = grammar.constrain(CallRules((NOW,)), speech=True, room=100)
    constraint.accept(tokens.tts_end)
    allowed = constraint.allowed()
    assert allowed is not None
    assert set(allowed.nonzero().flatten().tolist()) == {tokens.tool_call, *tokens.stop_ids}
    without = grammar.constrain(CallRules(), speech=True, room=100)
    without.accept(tokens.tts_end)
    assert without.forced() == tokens.eot


def test_words_are_free_where_functions_are_offered(grammar: CallGrammar) -> None:
    constraint = grammar.constrain(CallRules((NOW,)), speech=True, room=100)
    assert constraint.forced() is None and constraint.allowed() is None


@pytest.mark.parametrize("speech", [False, True])
def test_a_required_call_comes_whatever_the_model_wants(grammar: CallGrammar, speech: bool) -> None:
    tokens = grammar.tokens
    wants_to_end = {tokens.eot: LIKELY, tokens.tool_call: UNLIKELY}
    ids = decode(grammar, CallRules((WEATHER, NOW), required=True), speech=speech, bias=wants_to_end)
    assert ids[: 2 if speech else 1] == ([tokens.tts_end, tokens.tool_call] if speech else [tokens.tool_call])
    (call,) = calls_in(grammar, ids)
    assert call.name in ("get_weather", "now")


def test_named_functions_are_forced_by_prefix_without_sampling(grammar: CallGrammar) -> None:
    constraint = grammar.constrain(CallRules((NOW,), required=True), speech=False, room=100)
    ids = []
    while (id_ := constraint.forced()) is not None and len(ids) < 50:
        constraint.accept(id_)
        ids.append(id_)
    assert grammar._text.decode(ids).startswith("<tool_call>function\nnow\n{")


def test_calls_that_the_model_begins_fit_the_schema(grammar: CallGrammar) -> None:
    tokens = grammar.tokens
    ids = decode(grammar, CallRules((WEATHER,)), bias={tokens.tool_call: LIKELY, tokens.eot: LIKELY})
    for call in calls_in(grammar, ids):
        jsonschema.validate(json.loads(call.arguments), CITY)


def test_without_parallel_calls_the_first_ends_the_reply(grammar: CallGrammar) -> None:
    wants_more = {grammar.tokens.tool_call: LIKELY}
    ids = decode(grammar, CallRules((NOW,), required=True, parallel=False), bias=wants_more)
    assert len(calls_in(grammar, ids)) == 1 and len(ids) < 50


def test_calls_have_an_end(grammar: CallGrammar) -> None:
    wants_more = {grammar.tokens.tool_call: LIKELY}
    ids = decode(grammar, CallRules((NOW,)), room=3000, bias=wants_more)
    assert len(calls_in(grammar, ids)) == MAX_CALLS


# The arguments


def test_a_function_without_parameters_takes_none(grammar: CallGrammar) -> None:
    (call,) = calls_in(grammar, decode(grammar, CallRules((NOW,), required=True, parallel=False)))
    assert call == ToolCall("now", "{}")


@pytest.mark.parametrize("room", [130, 400])
def test_endless_arguments_are_closed_before_room_runs_out(grammar: CallGrammar, room: int) -> None:
    never_closes = {grammar._text.encode(text, special=False)[0]: UNLIKELY for text in ('"', "}")}
    ids = decode(grammar, CallRules((WEATHER,), required=True, parallel=False), room=room, bias=never_closes)
    (call,) = calls_in(grammar, ids)
    jsonschema.validate(json.loads(call.arguments), CITY)


def test_endless_arguments_are_closed_at_the_longest_length(grammar: CallGrammar) -> None:
    never_closes = {grammar._text.encode(text, special=False)[0]: UNLIKELY for text in ('"', "}")}
    ids = decode(grammar, CallRules((WEATHER,), required=True, parallel=False), room=4000, bias=never_closes)
    assert len(calls_in(grammar, ids)) == 1
    assert MAX_CALL_IDS < len(ids) < MAX_CALL_IDS + 50


def test_call_end_tags_may_stand_in_arguments(grammar: CallGrammar) -> None:
    tagged = {"type": "object", "properties": {"tag": {"const": "</tool_call>é"}}, "required": ["tag"]}
    rules = CallRules((CallableFunction("f", json.dumps(tagged)),), required=True, parallel=False)
    (call,) = calls_in(grammar, decode(grammar, rules))
    assert json.loads(call.arguments) == {"tag": "</tool_call>é"}


def test_characters_stay_as_the_schema_has_them(grammar: CallGrammar) -> None:
    decomposed = "e\u0301"
    schema = {"type": "object", "properties": {decomposed: {"const": decomposed}}, "required": [decomposed]}
    rules = CallRules((CallableFunction("f", json.dumps(schema)),), required=True, parallel=False)
    (call,) = calls_in(grammar, decode(grammar, rules))
    assert json.loads(call.arguments) == {decomposed: decomposed}


def test_schemas_without_a_grammar_count_as_any_object(grammar: CallGrammar) -> None:
    broken = CallableFunction("broken", '{"type": "object", "properties": {"a": {"type": "strin"}}}')
    for seed in range(3):
        rules = CallRules((broken, WEATHER), required=True, parallel=False)
        (call,) = calls_in(grammar, decode(grammar, rules, seed=seed))
        assert isinstance(json.loads(call.arguments), dict)


_LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"type": "string"}),
    st.builds(lambda low: {"type": "string", "minLength": low, "maxLength": low + 5}, st.integers(0, 5)),
    st.builds(lambda low: {"type": "integer", "minimum": low, "maximum": low + 50}, st.integers(-20, 20)),
    st.sampled_from(
        [
            {"type": "number"},
            {"type": "integer"},
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["string", "null"]},
            {"enum": ["celsius", "fahrenheit", 3, None]},
            {"const": '天气 "quoted"\n'},
            {"type": "string", "pattern": "^[a-z]{2,4}-[0-9]+$"},
            {"type": "string", "format": "date"},
            {"type": "object"},
            {"type": "array"},
            {},
        ]
    ),
)
_NAMES = st.sampled_from(["city", "unit", "n", "weather in", "天", 'a"b'])


def _nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.builds(lambda items, low: {"type": "array", "items": items, "minItems": low}, inner, st.integers(0, 2)),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
        _objects(inner),
    )


def _objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(_NAMES, inner, max_size=3).flatmap(
        lambda properties: st.builds(
            lambda required, closed: {
                "type": "object",
                "properties": properties,
                "required": required,
                **({"additionalProperties": False} if closed else {}),
            },
            st.lists(st.sampled_from(sorted(properties)), unique=True) if properties else st.just([]),
            st.booleans(),
        )
    )


SCHEMAS = _objects(st.recursive(_LEAVES, _nested, max_leaves=5))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=SCHEMAS, seed=st.integers(0, 2**31), speech=st.booleans())
def test_forced_calls_of_random_models_fit_their_schema(
    grammar: CallGrammar, schema: dict[str, Any], seed: int, speech: bool
) -> None:
    assert schema_problem(schema) is None
    rules = CallRules((CallableFunction("f", json.dumps(schema)),), required=True, parallel=False)
    (call,) = calls_in(grammar, decode(grammar, rules, speech=speech, seed=seed))
    jsonschema.validate(json.loads(call.arguments), schema)


# What is refused before


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array"}, "always an object"),
        ({"properties": {"a": {"type": "strin"}}}, "Invalid type: strin"),
        ({"properties": 3}, "properties must be an object"),
        ({"properties": {"a": {"$ref": "#/$defs/missing"}}, "required": ["a"]}, "does not exist"),
        ({"properties": {"a": {"type": "string", "pattern": "(?=a)b"}}}, "look-around"),
        ([], "expected a JSON schema object"),
        ({"description": "x" * 100_000}, "characters"),
    ],
)
def test_a_schema_that_cannot_hold_arguments_is_told(schema: Any, said: str) -> None:
    problem = schema_problem(schema)
    assert problem is not None and said in problem and "\n" not in problem


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        CITY,
        {"type": ["object", "null"]},
        {"not": {}},
        {"properties": {"a": {"type": "array", "uniqueItems": True}}},
    ],
)
def test_keywords_unknown_to_the_grammar_are_no_problem(schema: Any) -> None:
    assert schema_problem(schema) is None
