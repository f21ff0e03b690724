"""System prompts: what they say of the moment, of the assistant's name and of its manner."""

from __future__ import annotations

import random
from dataclasses import dataclass

from scripts.nano.domain.numbers import spoken_date, spoken_time
from scripts.nano.domain.vocabulary import ASSISTANT_NAMES, MONTH_DAYS, TITLES, WEEKDAYS

INSTRUCTIONS = "You are Nano, a friendly voice assistant. Now it is {time}, {weekday}, {date}."
TIMED_PROMPTS = (
    INSTRUCTIONS,
    "You are a helpful assistant. Now it is {time}, {weekday}, {date}.",
    "You are a friendly voice assistant. The time is {time}. Today is {weekday}, {date}.",
    "Now it is {time}, {weekday}, {date}.",
    "Answer in one short sentence. Now it is {time}, {weekday}, {date}.",
)
TIMELESS_PROMPTS = (
    "You are Nano, a friendly voice assistant.",
    "You are a helpful assistant.",
    "You are a friendly voice assistant. Answer in short sentences.",
    "You answer the phone of a small company.",
    "You are a helpful voice assistant in a kitchen.",
    "You help people at home.",
    "Please talk to me.",
    "请用语音与我交流。",
)
TRANSCRIBE = "请记录下你所听到的语音内容。"
NAMED_PROMPTS = (
    "You are {name}, a friendly voice assistant.",
    "Your name is {name}.",
    "Your name is {name}. You are a helpful assistant.",
)


@dataclass(frozen=True, slots=True)
class Context:
    """What the system prompt says about the moment, in spoken words."""

    time: str
    weekday: str
    date: str


@dataclass(frozen=True, slots=True)
class Manner:
    """What the system prompt asks of every spoken answer: words before it, after it, or a title for the user."""

    before: str = ""
    after: str = ""
    title: str = ""

    def apply(self, reply: str) -> str:
        """Say `reply` in this manner."""
        if self.title:
            reply = f"{reply[:-1]}, {self.title}{reply[-1]}"
        return " ".join(part for part in (self.before, reply, self.after) if part)

    def instruction(self, rng: random.Random | None = None) -> str:
        """Ask for it: a sentence of the system prompt; the usual one without `rng`."""
        wordings: tuple[str, ...] = ()
        if self.before:
            wordings = ('Begin every answer with "{}"', 'Start each answer with "{}"', 'Always say "{}" first.')
        elif self.after:
            wordings = ('End every answer with "{}"', 'Close each answer with "{}"', 'Always say "{}" at the end.')
        elif self.title:
            wordings = ("Call the user {}.", "Always call me {}.", 'Address the user as "{}".')
        if not wordings:
            return ""
        return (rng.choice(wordings) if rng else wordings[0]).format(self.before or self.after or self.title)


PLAIN = Manner()
BEFORE = ("Okay.", "Sure.", "Of course.", "Yes.", "All right.", "With pleasure.", "Right.")
AFTER = ("Have a nice day.", "Thank you.", "Anything else?", "At your service.", "Peace.", "Bye.")
MANNERS = (
    *(Manner(before=text) for text in BEFORE),
    *(Manner(after=text) for text in AFTER),
    *(Manner(title=text) for text in TITLES),
)


def sample_context(rng: random.Random) -> Context:
    """Draw a moment; whole hours are drawn more often than one in sixty."""
    minute = 0 if rng.random() < 0.05 else rng.randrange(60)
    month = rng.randint(1, 12)
    return Context(
        spoken_time(rng.randrange(24), minute),
        rng.choice(WEEKDAYS),
        spoken_date(month, rng.randint(1, MONTH_DAYS[month - 1])),
    )


def system_prompt(
    context: Context | None, rng: random.Random | None = None, name: str = "Nano", manner: Manner = PLAIN
) -> str:
    """Render the instructions: the product's own template without `rng`, one of the variations with it."""
    if name != "Nano":
        who = (rng.choice(NAMED_PROMPTS) if rng else NAMED_PROMPTS[0]).format(name=name)
        text = f"{who} Now it is {{time}}, {{weekday}}, {{date}}." if context else who
    elif context is None:
        text = rng.choice(TIMELESS_PROMPTS) if rng else TIMELESS_PROMPTS[0]
    else:
        text = INSTRUCTIONS if rng is None or rng.random() < 0.7 else rng.choice(TIMED_PROMPTS)
    if context is not None:
        text = text.format(time=context.time, weekday=context.weekday, date=context.date)
    extra = manner.instruction(rng)
    return f"{text} {extra}" if extra else text


def sample_name(rng: random.Random) -> str:
    """Draw the name that an assistant is given."""
    return rng.choice(ASSISTANT_NAMES)
