"""Answers and conversations: who asks what, which tools the session offers, what is right to answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from realtime.ports.tool_calls import ToolCall
from scripts.nano.domain import actions, custom, followups, outcomes, talk
from scripts.nano.domain.intents import Asked, Exchange, Intent, Situation
from scripts.nano.domain.moments import MANNERS, PLAIN, Context, Manner, sample_context, sample_name, system_prompt
from scripts.nano.domain.phrasings import CONTRACTED, choose, contracted, dressed
from scripts.nano.domain.tools import ANOTHER, TOOL, OfferedTool, offer

INTENTS: tuple[Intent, ...] = (*talk.INTENTS, *actions.INTENTS, *followups.INTENTS, *custom.INTENTS)
BY_NAME = {intent.name: intent for intent in INTENTS}
FOLLOW_UPS = tuple(intent for intent in INTENTS if intent.after)
ABOUT_MOMENT = ("time", "weekday", "date", "tomorrow", "yesterday")
"""Intents that are answered from the system prompt."""

AS_SAID = ("unknown", "repeat", "greet_user")
"""Intents whose words stay as they are: a "please" behind them would be part of what is meant."""

Ask = Callable[[str], Asked]
"""Lets a user ask something of an intent."""


def ask(intent: str, rng: random.Random, split: str = "train", polite: float = 0.25) -> Asked:
    """Draw slots and words for an intent."""
    kind = BY_NAME[intent]
    values = kind.draw(rng)
    text = choose(kind.phrasings.draw(split, rng), rng).format(**values)
    if intent not in AS_SAID:
        text = dressed(text, rng, polite)
        if rng.random() < CONTRACTED:
            text = contracted(text, rng)
    return Asked(intent, text, tuple(values.items()))


def answer(asked: Asked, situation: Situation, rng: random.Random, failing: float = 0.05) -> Exchange:
    """Give the right answer to a question in a situation; `failing`: how often a called tool fails."""
    intent, values = BY_NAME[asked.intent], dict(asked.slots)
    act = intent.wish(values, situation)
    tool = situation.offered.get(act.capability) if act else None
    arguments = tool.fitted(act.arguments) if tool and act else None
    if act is not None and tool is not None and arguments is not None:
        done = replace(act, arguments=arguments)
        result, reply = outcomes.outcome(done, rng, failing)
        reply = situation.manner.apply(reply)
        return Exchange(asked, reply, (reply,), act, tool.call(arguments), result)
    replies = intent.replies(values, situation)
    if asked.intent != "say_again" or situation.last is None:
        replies = tuple(situation.manner.apply(reply) for reply in replies)
    chosen = replies[0] if custom.is_custom(act.capability if act else "") else rng.choice(replies)
    return Exchange(asked, chosen, replies, act)


def sample(
    rng: random.Random,
    split: str = "train",
    intent: str | None = None,
    situation: Situation | None = None,
    polite: float = 0.25,
) -> Exchange:
    """Draw one exchange without tools, of any intent that stands for itself unless one is named.

    Without a `situation` the moment is known in nine of ten.
    """
    name = intent or random_intent(rng).name
    if situation is None:
        situation = Situation(moment=None if rng.random() < 0.1 else sample_context(rng))
    return answer(ask(name, rng, split, polite), situation, rng)


_ALONE = tuple(intent for intent in INTENTS if not intent.after)
_ALONE_WEIGHTS = [intent.weight for intent in _ALONE]


def random_intent(rng: random.Random) -> Intent:
    """Draw an intent that stands for itself, by weight."""
    return rng.choices(_ALONE, _ALONE_WEIGHTS)[0]


@dataclass(frozen=True, slots=True)
class Scene:
    """A conversation. `situation` is that of the first question."""

    system: str | None
    tools: tuple[OfferedTool, ...]
    exchanges: tuple[Exchange, ...]
    situation: Situation


@dataclass(frozen=True, slots=True)
class Odds:
    """How scenes are drawn, as probabilities."""

    tools: float = 0.75
    """That a session offers tools at all."""
    wanted: float = 0.88
    """That the tool which a question wants is among them."""
    follow_up: float = 0.45
    """That a later question follows up the one before, where it can be followed up."""
    stray: float = 0.03
    """That a question follows up nothing."""
    manner: float = 0.08
    name: float = 0.12
    failing: float = 0.05


def plan(rng: random.Random, turns: int, odds: Odds, first: str | None = None) -> list[str]:
    """Draw the intents of a conversation."""
    names: list[str] = []
    for turn in range(turns):
        fitting = [f for f in FOLLOW_UPS if names and names[-1] in f.after]
        if turn == 0 and first is not None:
            names.append(first)
        elif fitting and rng.random() < odds.follow_up:
            names.append(rng.choices(fitting, [f.weight for f in fitting])[0].name)
        elif rng.random() < odds.stray:
            names.append(rng.choice(FOLLOW_UPS).name)
        else:
            names.append(random_intent(rng).name)
    return names


def wanted_capabilities(asked: Sequence[Asked], situation: Situation) -> list[str]:
    """List what tools the questions want, taken that all were there."""
    found: list[str] = []
    for question in asked:
        act = BY_NAME[question.intent].wish(dict(question.slots), situation)
        if act is not None and act.capability not in found:
            found.append(act.capability)
        call = ToolCall("", "{}") if act else None
        situation = replace(situation, last=Exchange(question, "", (), act, call))
    return found


def draw_tools(rng: random.Random, wanted: Sequence[str], odds: Odds) -> tuple[OfferedTool, ...]:
    """Draw the tools of a session: mostly those wanted, and others."""
    if rng.random() >= odds.tools:
        return ()
    inside = [c for c in wanted if rng.random() < odds.wanted]
    outside = set(wanted) - set(inside)
    others = rng.choices((0, 1, 2, 3, 4, 6, 10), (4, 5, 5, 4, 3, 2, 0.5))[0] if inside else rng.randint(1, 5)
    for _ in range(others):
        capability = custom.random_capability(rng) if rng.random() < 0.25 else rng.choice(tuple(TOOL))
        if capability not in inside and capability not in outside:
            inside.append(capability)
    rng.shuffle(inside)
    return dressed_tools(inside, rng)


def dressed_tools(capabilities: Sequence[str], rng: random.Random | None) -> tuple[OfferedTool, ...]:
    """Declare capabilities, each under a name of its own; the canonical declarations without `rng`."""
    tools: dict[str, OfferedTool] = {}
    for capability in capabilities:
        if custom.is_custom(capability):
            tool = custom.offer(capability, rng or random.Random(0))
        elif rng is not None and capability in ANOTHER and rng.random() < 0.4:
            tool = offer(ANOTHER[capability], rng)
        else:
            tool = offer(TOOL[capability], rng)
        tools.setdefault(tool.name, tool)
    return tuple(tools.values())


def by_capability(tools: Sequence[OfferedTool]) -> Mapping[str, OfferedTool]:
    """Index tools for a `Situation`."""
    return {tool.capability: tool for tool in tools}


def draw_scene(
    rng: random.Random,
    turns: int,
    asking: Ask | None = None,
    odds: Odds = Odds(),
    first: str | None = None,
    prompted: bool = True,
    among: Sequence[str] = (),
) -> Scene:
    """Draw a conversation; `asking` says each question (default: from the training phrasings).

    `prompted` False keeps to the product's own instructions, `among` to these intents.
    """
    names = [rng.choice(among) for _ in range(turns)] if among else plan(rng, turns, odds, first)
    asked = [asking(name) if asking else ask(name, rng) for name in names]
    moment_matters = any(name in ABOUT_MOMENT for name in names)
    moment: Context | None = None if rng.random() < (0.12 if moment_matters else 0.4) else sample_context(rng)
    named = max(odds.name, 0.5 if "who_are_you" in names else 0.0)
    name = sample_name(rng) if rng.random() < named else "Nano"
    manner: Manner = rng.choice(MANNERS) if rng.random() < odds.manner else PLAIN
    tools = draw_tools(rng, wanted_capabilities(asked, Situation(moment)), odds)
    situation = Situation(moment, by_capability(tools), name, manner)
    system: str | None = system_prompt(moment, rng if prompted else None, name, manner)
    if prompted and moment is None and name == "Nano" and manner == PLAIN and rng.random() < 0.15:
        system = None
    exchanges: list[Exchange] = []
    for question in asked:
        last = exchanges[-1] if exchanges else None
        exchanges.append(answer(question, replace(situation, last=last), rng, odds.failing))
    return Scene(system, tools, tuple(exchanges), situation)


_RETIRED = frozenset(
    """turn on the lamp in the kitchen|play some music|what is the weather like|is it going to rain today
    set an alarm for seven|read me the news|find a doctor near me|buy milk and bread|please call my mother
    who is the queen of england|send a letter to the office""".replace("\n    ", "|").split("|")
)
_YES, _NO = ("yes", "yes please"), ("no", "no thank you", "no thanks")


def meant(text: str, intent: str) -> str | None:
    """Return what a clip of an earlier domain means in this one; None where it means nothing that can be told."""
    if intent not in BY_NAME or (intent == "unknown" and text in _RETIRED):
        return None
    if intent == "acknowledge" and text in (*_YES, *_NO):
        return "desk_yes" if text in _YES else "desk_no"
    return intent
