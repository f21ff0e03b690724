"""The domain that nano is trained on: what is asked, what is right to answer, which tool is called."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from scripts.nano import domain
from scripts.nano.domain.moments import Manner
from scripts.nano.domain.numbers import CLOCK, VALUE, sayings_of_time, spoken_decimal
from scripts.nano.domain.parsing import parse
from scripts.nano.domain.scenes import by_capability, dressed_tools, wanted_capabilities
from scripts.nano.domain.tools import CATALOGUE, offer

NAMES = [intent.name for intent in domain.INTENTS]
MOMENT = domain.Situation(moment=domain.Context("three fifteen p m", "Sunday", "November twenty second"))


def _exchange(intent: str, situation: domain.Situation, seed: int = 0, **slots: str) -> domain.Exchange:
    rng = random.Random(seed)
    asked = domain.Asked(intent, "", tuple(slots.items())) if slots else domain.ask(intent, rng)
    return domain.answer(asked, situation, rng, failing=0.0)


def _equipped(intent: str, seed: int, situation: domain.Situation = MOMENT) -> domain.Exchange:
    """The exchange in a session that offers what the question wants."""
    rng = random.Random(seed)
    asked = domain.ask(intent, rng)
    tools = dressed_tools(wanted_capabilities([asked], situation), rng)
    return domain.answer(asked, replace(situation, offered=by_capability(tools)), rng, failing=0.0)


def test_there_are_enough_intents_with_enough_phrasings() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 60
    short = {i.name: len(i.phrasings.of("all")) for i in domain.INTENTS if len(i.phrasings.of("all")) < 14}
    assert not short


@pytest.mark.parametrize("name", NAMES)
def test_held_out_phrasings_are_never_trained(name: str) -> None:
    phrasings = domain.BY_NAME[name].phrasings
    assert phrasings.unseen
    assert not set(phrasings.train) & set(phrasings.unseen)


@pytest.mark.parametrize("name", NAMES)
def test_every_question_has_an_answer_without_tools(name: str) -> None:
    exchange = _exchange(name, MOMENT)
    assert exchange.call is None
    assert exchange.reply_text in exchange.accepted
    assert exchange.reply_text[-1] in ".?!"


@pytest.mark.parametrize("name", [i.name for i in domain.INTENTS if not i.after])
@pytest.mark.parametrize("seed", range(6))
def test_a_call_fits_the_declaration_that_was_offered(name: str, seed: int) -> None:
    rng = random.Random(seed)
    asked = domain.ask(name, rng)
    tools = dressed_tools(wanted_capabilities([asked], MOMENT), rng)
    exchange = domain.answer(asked, replace(MOMENT, offered=by_capability(tools)), rng, failing=0.0)
    if exchange.call is None:
        return
    (tool,) = [t.schema()["function"] for t in tools if t.name == exchange.call.name]
    given, declared = json.loads(exchange.call.arguments), tool["parameters"]
    assert set(declared.get("required", ())) <= set(given) <= set(declared["properties"])
    for key, value in given.items():
        kind = declared["properties"][key]
        assert isinstance(value, {"string": str, "integer": int, "number": (int, float)}[kind["type"]])
        assert value in kind.get("enum", [value])
    assert exchange.result
    assert exchange.reply_text


def test_only_offered_tools_are_called() -> None:
    rng = random.Random(1)
    for _ in range(400):
        scene = domain.draw_scene(rng, rng.choice((1, 2, 3)))
        offered = {tool.name for tool in scene.tools}
        assert all(e.call is None or e.call.name in offered for e in scene.exchanges)


def test_tools_of_one_session_have_distinct_names() -> None:
    rng = random.Random(2)
    for _ in range(200):
        names = [tool.name for tool in domain.draw_scene(rng, 2).tools]
        assert len(set(names)) == len(names)


def test_time_is_read_from_prompt_unless_tools_exist() -> None:
    assert _exchange("time", MOMENT).reply_text == "It is three fifteen p m."
    assert _exchange("time", domain.Situation()).reply_text == "Sorry, I do not know the time."
    exchange = _equipped("time", 0)
    assert exchange.call is not None
    assert json.loads(exchange.call.arguments) == {}


def test_small_sums_are_known_large_ones_need_calculators() -> None:
    assert _exchange("plus", MOMENT, a="five", b="three").reply_text == "Five plus three is eight."
    assert _exchange("plus", MOMENT, a="five hundred", b="three").reply_text == domain.CANNOT
    tools = by_capability([offer(tool) for tool in CATALOGUE if tool.capability == "calculate"])
    exchange = _exchange("plus", domain.Situation(offered=tools), a="two thousand and five", b="thirty")
    assert exchange.call is not None
    assert json.loads(exchange.call.arguments) == {"expression": "2005 + 30"}
    assert exchange.reply_text == "That is two thousand thirty five."


def test_follow_ups_go_on_from_the_exchange_before() -> None:
    tools = by_capability([offer(tool) for tool in CATALOGUE if not tool.another])
    session = domain.Situation(offered=tools)

    def then(intent: str, last: domain.Exchange, **slots: str) -> domain.Exchange:
        return _exchange(intent, replace(session, last=last), **slots)

    weather = _exchange("weather", session, city="rome")
    there = then("and_in_city", weather, city="new york")
    assert there.call is not None
    assert json.loads(there.call.arguments) == {"city": "New York"}
    total = _exchange("plus", session, a="seventy", b="two")
    more = then("add_more", total, n="five")
    assert more.call is not None
    assert json.loads(more.call.arguments) == {"expression": "72 + 5"}
    timer = _exchange("set_timer", session, n="ten", unit="minutes")
    cancelled = then("cancel_that", timer)
    assert cancelled.call is not None
    assert cancelled.call.name == "cancel_timer"
    assert _exchange("add_more", session, n="five").reply_text == domain.SORRY


def test_a_manner_asked_for_changes_every_reply() -> None:
    polite = replace(MOMENT, manner=Manner(title="captain"))
    assert _exchange("time", polite).reply_text == "It is three fifteen p m, captain."
    named = replace(MOMENT, name="Ruby")
    assert _exchange("who_are_you", named).reply_text == "I am Ruby, a small voice assistant."


def test_judging_wants_name_and_arguments() -> None:
    exchange = _equipped("weather", 3)
    call = exchange.call
    assert call is not None
    assert domain.right_call(exchange, [call])
    assert domain.right_intent(exchange, "", [replace(call, arguments='{"city": "Nowhere"}')])
    assert not domain.right_call(exchange, [replace(call, arguments='{"city": "Nowhere"}')])
    assert not domain.right_call(exchange, [])
    alone = _exchange("greeting", MOMENT)
    assert not domain.right_intent(alone, "", [call])


def test_replies_tell_their_intent() -> None:
    rng = random.Random(4)
    told = {"desk_yes": "acknowledge", "desk_no": "acknowledge", "count_to": "count", "count_down": "count"}
    told["greet_user"] = "greeting"
    for intent in domain.INTENTS:
        exchange = domain.sample(rng, intent=intent.name, situation=MOMENT)
        silent = intent.after or exchange.reply_text in (domain.CANNOT, domain.SORRY) or intent.name == "say_again"
        if not silent:
            assert domain.intent_of(exchange.reply_text) == told.get(intent.name, intent.name)


@pytest.mark.parametrize("n", [0, 19, 40, 105, 999, 1000, 4365, 9999])
def test_spoken_numbers_are_read_back(n: int) -> None:
    assert VALUE[domain.spoken_number(n)] == n


def test_decimals_and_times_are_spoken() -> None:
    assert spoken_decimal(-2.5) == "minus two point five"
    for hour, minute in ((0, 0), (7, 5), (12, 30), (18, 45)):
        assert CLOCK[sayings_of_time(hour, minute)[0]] == f"{hour:02d}:{minute:02d}"


def test_clips_of_the_earlier_domain_keep_their_meaning() -> None:
    assert domain.meant("play some music", "unknown") is None
    assert domain.meant("yes", "acknowledge") == "desk_yes"
    assert domain.meant("what time is it", "time") == "time"


@pytest.mark.parametrize("name", [i.name for i in domain.INTENTS if i.name not in ("count_to", "say_again")])
def test_what_is_asked_is_found_out_again(name: str) -> None:
    rng = random.Random(6)
    same = 0
    for _ in range(6):
        asked = domain.ask(name, rng, polite=0.0)
        found = parse(asked.text)
        assert found is not None or name == "unknown"
        same += found is not None and (found.intent, dict(found.slots)) == (name, dict(asked.slots))
    assert same >= 2 or domain.BY_NAME[name].after or name.startswith(("desk_", "custom_")) or name == "unknown"


def test_a_sentence_from_elsewhere_is_not_understood() -> None:
    assert parse("My hovercraft is full of eels.") is None
    assert parse("Play chess!") is None
    found = parse("Please set a timer for ten minutes.")
    assert found is not None
    assert dict(found.slots) == {"n": "ten", "unit": "minutes"}
