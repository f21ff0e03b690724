"""The closed list of questions that nano answers: phrasings, slots, replies.

Everything here is true without tools; what depends on the moment (time, weekday, date) is copied from the
system prompt.  User texts are lower case without punctuation, as a recogniser hears them; reply texts are
written the way they are spoken (numbers as words).  Every intent keeps its last fifth of phrasings for
evaluation: they are never trained on.

    python scripts/nano/domain.py --show 20          # look at samples
    python scripts/nano/domain.py --write DIR        # replies.txt, users.txt, words.txt
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# --- spoken numbers, times, dates -------------------------------------------------------------------------

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = (
    "_ first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January February March April May June July August September October November December").split()
MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def spoken_number(n: int) -> str:
    """Say an integer from 0 to 999: 42 is "forty two", 365 is "three hundred sixty five"."""
    if not 0 <= n <= 999:
        raise ValueError(f"number out of range: {n}")
    if n < 20:
        return _ONES[n]
    if n < 100:
        return _TENS[n // 10] + (f" {_ONES[n % 10]}" if n % 10 else "")
    rest = n % 100
    return f"{_ONES[n // 100]} hundred" + (f" {spoken_number(rest)}" if rest else "")


def spoken_time(hour: int, minute: int) -> str:
    """Say a time of day: 15:05 is "three oh five p m", 15:00 is "three o'clock p m"."""
    half = "a m" if hour < 12 else "p m"
    name = spoken_number((hour - 1) % 12 + 1)
    if minute == 0:
        return f"{name} o'clock {half}"
    tail = f"oh {spoken_number(minute)}" if minute < 10 else spoken_number(minute)
    return f"{name} {tail} {half}"


def spoken_date(month: int, day: int) -> str:
    """Say a date: (11, 22) is "November twenty second"."""
    if day <= 20:
        ordinal = _ORDINALS[day]
    elif day == 30:
        ordinal = "thirtieth"
    else:
        ordinal = f"{_TENS[day // 10]} {_ORDINALS[day % 10]}"
    return f"{MONTHS[month - 1]} {ordinal}"


def sentence(text: str, end: str = ".") -> str:
    """Capitalise the first letter and close with `end`."""
    return text[0].upper() + text[1:] + end


# --- knowledge --------------------------------------------------------------------------------------------

_OPPOSITES = (
    ("hot", "cold"),
    ("big", "small"),
    ("up", "down"),
    ("left", "right"),
    ("day", "night"),
    ("black", "white"),
    ("open", "closed"),
    ("happy", "sad"),
    ("fast", "slow"),
    ("old", "young"),
    ("high", "low"),
    ("wet", "dry"),
    ("hard", "soft"),
    ("light", "dark"),
    ("good", "bad"),
    ("long", "short"),
    ("full", "empty"),
    ("rich", "poor"),
    ("early", "late"),
    ("strong", "weak"),
    ("in", "out"),
    ("loud", "quiet"),
    ("clean", "dirty"),
    ("near", "far"),
    ("first", "last"),
)
_CAPITALS = {
    "france": "Paris",
    "germany": "Berlin",
    "italy": "Rome",
    "spain": "Madrid",
    "england": "London",
    "japan": "Tokyo",
    "china": "Beijing",
    "russia": "Moscow",
    "greece": "Athens",
    "austria": "Vienna",
    "poland": "Warsaw",
    "sweden": "Stockholm",
    "norway": "Oslo",
    "egypt": "Cairo",
    "canada": "Ottawa",
    "ireland": "Dublin",
    "portugal": "Lisbon",
    "cuba": "Havana",
    "hungary": "Budapest",
    "finland": "Helsinki",
}
_COLOURS = {
    "grass": "green",
    "the sky": "blue",
    "snow": "white",
    "blood": "red",
    "a banana": "yellow",
    "coal": "black",
    "milk": "white",
    "a tomato": "red",
    "the sun": "yellow",
    "chocolate": "brown",
    "an orange": "orange",
    "an elephant": "gray",
    "a lemon": "yellow",
    "the ocean": "blue",
    "a frog": "green",
}
_SOUNDS = {
    "cow": "moo",
    "dog": "woof",
    "cat": "meow",
    "duck": "quack",
    "sheep": "bah",
    "pig": "oink",
    "lion": "roar",
    "bee": "buzz",
    "snake": "hiss",
    "horse": "neigh",
}
_AMOUNTS = {
    "days are in a week": "There are seven days in a week.",
    "months are in a year": "There are twelve months in a year.",
    "hours are in a day": "There are twenty four hours in a day.",
    "minutes are in an hour": "There are sixty minutes in an hour.",
    "seconds are in a minute": "There are sixty seconds in a minute.",
    "days are in a year": "There are three hundred sixty five days in a year.",
    "weeks are in a year": "There are fifty two weeks in a year.",
    "legs does a spider have": "A spider has eight legs.",
    "legs does a dog have": "A dog has four legs.",
    "legs does a bird have": "A bird has two legs.",
    "fingers are on a hand": "There are five fingers on a hand.",
    "letters are in the alphabet": "There are twenty six letters in the alphabet.",
}
JOKES = (
    "Why did the chicken cross the road? To get to the other side.",
    "What is brown and sticky? A stick.",
    "Why is six afraid of seven? Because seven ate nine.",
    "What has four wheels and flies? A garbage truck.",
)
STORIES = (
    "Once upon a time a little robot lived in a garden. Every night it counted the stars. One night a star fell "
    "down, and they were friends for ever.",
    "There was a small boat on the big blue sea. The wind was strong and the boat was afraid. Then the sun came "
    "out, and the boat sailed home.",
)
REPEAT_WORDS = tuple(
    """
    apple baby ball bank bath bear bed bell bird blue boat book bottle box boy bread bridge brother
    butter cake camera candle car carpet castle cat chair cheese cherry church circle city clock
    cloud coffee computer corn cotton cup daddy dance danger desk dinner doctor dog dollar door
    dragon dream dress driver easy engine evening family farmer father feather finger fire fish
    flower football forest fork friend fruit garden giant girl glass gold green guitar hammer hand
    happy hat heart heaven honey horse hospital hotel house island jacket jelly juice jungle kettle
    key kitchen kitten ladder lake lamp lemon letter lion lucky machine magic market meadow melon
    metal midnight milk mirror money monkey moon morning mother mountain mouse music nature needle
    north number ocean office onion orange owl paper party pencil people pepper picture pizza planet
    pocket poem potato power prince purple queen question rabbit radio rain river road robot rocket
    roof rose sailor salad salt sand sandwich school seven shadow ship shoe silver sister sky snow
    soap soldier spoon spring star station storm story strawberry street sugar summer sun sunday
    table teacher tiger tomato tower train tree turtle umbrella uncle valley village violin wagon
    wall water weather welcome window winter wizard wolf woman wonder yellow zebra
    """.split()
)
_OTHER_SENTENCES = (
    "the train was late yesterday",
    "my brother has a red car",
    "we went to the market in the morning",
    "the cat is under the table",
    "she put the cup on the desk",
    "there was a storm on the lake",
    "my sister likes strawberry cake",
    "the teacher gave me a book",
    "i want to buy a new house",
    "the old farmer had a horse",
    "he drinks coffee every morning",
    "they play football in summer",
    "the hotel is near the river",
    "please call my mother",
    "turn on the lamp in the kitchen",
    "play some music",
    "what is the weather like",
    "send a letter to the office",
    "book a table for two",
    "how do i get to the station",
    "who is the queen of england",
    "where did i put my keys",
    "set an alarm for seven",
    "read me the news",
    "what should i cook for dinner",
    "is it going to rain today",
    "how tall is the mountain",
    "who wrote this book",
    "find a doctor near me",
    "buy milk and bread",
    "the moon is made of cheese",
    "the people in the village were happy",
    "my shoes are wet",
    "i lost my umbrella on the train",
    "the boat is on the other side",
    "there is sand in my shoe",
    "we had pizza at the party",
    "the wizard lives in a tower",
    "how much is a ticket",
    "open the window please",
)

# --- intents ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Context:
    """What the system prompt says about the moment, in spoken words."""

    time: str
    weekday: str
    date: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One question with its answer.

    `accepted` lists every right reply; `reply_text` is one of them.  `context` is None when the system prompt
    says nothing about the moment.  `slots` are the (name, spoken value) pairs that the answer depends on.
    """

    intent: str
    user_text: str
    reply_text: str
    accepted: tuple[str, ...]
    slots: tuple[tuple[str, str], ...] = ()
    context: Context | None = None


_Draw = Callable[[random.Random], dict[str, str]]
_Reply = Callable[[Mapping[str, str], Context | None], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Intent:
    """A kind of question: phrasings with {slots}, how slots are drawn, what is right to answer, how often it is asked.

    `pattern` matches its replies and no others (empty: told by their words).
    """

    name: str
    phrasings: tuple[str, ...]
    draw: _Draw
    reply: _Reply
    pattern: str
    weight: float = 1.0

    def phrasings_of(self, split: str) -> tuple[str, ...]:
        """Return the phrasings of 'train' (first four fifths), 'unseen' (last fifth) or 'all'."""
        held = max(1, len(self.phrasings) // 5)
        parts = {"train": self.phrasings[:-held], "unseen": self.phrasings[-held:], "all": self.phrasings}
        return parts[split]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


def _nothing(rng: random.Random) -> dict[str, str]:
    return {}


def _one_of(values: Iterable[str]) -> _Draw:
    choices = tuple(values)
    return lambda rng: {"a": rng.choice(choices)}


def _two_numbers(low: int, high: int) -> _Draw:
    return lambda rng: {"a": spoken_number(rng.randint(low, high)), "b": spoken_number(rng.randint(low, high))}


def _falling_numbers(rng: random.Random) -> dict[str, str]:
    b, a = sorted((rng.randint(0, 20), rng.randint(0, 20)))
    return {"a": spoken_number(a), "b": spoken_number(b)}


def _count_range(rng: random.Random) -> dict[str, str]:
    first = 1 if rng.random() < 0.3 else rng.randint(1, 90)
    last = min(100, first + rng.randint(2, 14))
    if rng.random() < 0.15:
        first, last = 1, rng.choice((30, 50, 100, 100))
    return {"a": spoken_number(first), "b": spoken_number(last)}


def _count_end(rng: random.Random) -> dict[str, str]:
    last = rng.choice((3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 12, 15, 20))
    if rng.random() < 0.12:
        last = rng.choice((30, 50, 100))
    return {"b": spoken_number(last)}


def _words_to_repeat(rng: random.Random) -> dict[str, str]:
    return {"a": " ".join(rng.sample(REPEAT_WORDS, rng.choice((1, 1, 2, 2, 3))))}


def _fixed(*replies: str) -> _Reply:
    return lambda values, context: replies


def _from_moment(form: str, what: str) -> _Reply:
    def reply(values: Mapping[str, str], context: Context | None) -> tuple[str, ...]:
        if context is None:
            return (f"Sorry, I do not know the {what}.",)
        tomorrow = _neighbour(WEEKDAYS, context.weekday, 1)
        return (form.format(time=context.time, weekday=context.weekday, date=context.date, tomorrow=tomorrow),)

    return reply


def _neighbour(names: Sequence[str], name: str, step: int) -> str:
    return names[([n.lower() for n in names].index(name.lower()) + step) % len(names)]


def _after(names: Sequence[str]) -> _Reply:
    return lambda v, context: (f"{_neighbour(names, v['a'], 1)} comes after {v['a'].capitalize()}.",)


def _before(names: Sequence[str]) -> _Reply:
    return lambda v, context: (f"{_neighbour(names, v['a'], -1)} comes before {v['a'].capitalize()}.",)


def _stepped(step: int, word: str) -> _Reply:
    return lambda v, context: (sentence(f"{spoken_number(_VALUE[v['a']] + step)} comes {word} {v['a']}"),)


def _sum(word: str, operation: Callable[[int, int], int]) -> _Reply:
    return lambda v, context: (
        sentence(f"{v['a']} {word} {v['b']} is {spoken_number(operation(_VALUE[v['a']], _VALUE[v['b']]))}"),
    )


def count_reply(first: int, last: int) -> str:
    """Return the spoken count from `first` to `last`, both included: "One, two, three."."""
    step = 1 if last >= first else -1
    return sentence(", ".join(spoken_number(n) for n in range(first, last + step, step)))


def _count(values: Mapping[str, str], context: Context | None) -> tuple[str, ...]:
    return (count_reply(_VALUE[values.get("a", "one")], _VALUE[values["b"]]),)


def _repeat(values: Mapping[str, str], context: Context | None) -> tuple[str, ...]:
    return (sentence(values["a"]),)


def _opposite(values: Mapping[str, str], context: Context | None) -> tuple[str, ...]:
    return (f"The opposite of {values['a']} is {_OPPOSITE_OF[values['a']]}.",)


def _capital(values: Mapping[str, str], context: Context | None) -> tuple[str, ...]:
    return (f"The capital of {sentence(values['a'], '')} is {_CAPITALS[values['a']]}.",)


def _colour(values: Mapping[str, str], context: Context | None) -> tuple[str, ...]:
    return (sentence(f"{values['a']} is {_COLOURS[values['a']]}"),)


def _sound(values: Mapping[str, str], context: Context | None) -> tuple[str, ...]:
    return (f"A {values['a']} says {_SOUNDS[values['a']]}.",)


def _amount(values: Mapping[str, str], context: Context | None) -> tuple[str, ...]:
    return (_AMOUNTS[values["a"]],)


_VALUE = {spoken_number(n): n for n in range(1000)}
_OPPOSITE_OF = dict(_OPPOSITES) | {b: a for a, b in _OPPOSITES}

SORRY = "Sorry, I did not understand."
ME = "I am Nano, a small voice assistant."

INTENTS: tuple[Intent, ...] = (
    Intent(
        "greeting",
        _lines("""hello
        hi
        hi there
        hey
        hello nano
        good morning
        good evening
        hey there nano
        hi nano
        good morning nano
        good afternoon
        hello there
        hey nano"""),
        _nothing,
        _fixed("Hello, how can I help you?"),
        r"hello how can",
        1.2,
    ),
    Intent(
        "how_are_you",
        _lines("""how are you
        how are you today
        how are you doing
        how do you feel
        how is it going
        hello how are you
        are you okay
        are you well
        how do you feel today
        how are you doing today
        are you feeling well"""),
        _nothing,
        _fixed("I am fine, thank you."),
        r"i am fine",
    ),
    Intent(
        "who_are_you",
        _lines("""who are you
        what is your name
        what are you called
        tell me your name
        do you have a name
        please tell me your name
        what should i call you
        who am i talking to
        say your name
        tell me who you are
        can you tell me your name
        what is your name please"""),
        _nothing,
        _fixed(ME),
        r"i am nano",
        1.2,
    ),
    Intent(
        "what_can_you_do",
        _lines("""what can you do
        what can you do for me
        help
        help me
        how can you help me
        what do you know
        what can i ask you
        can you help me
        what can i say
        i need help
        please help me
        what are you able to do"""),
        _nothing,
        _fixed("I can tell the time, count, do sums, and tell jokes."),
        r"i can tell the time",
    ),
    Intent(
        "time",
        _lines("""what time is it
        what is the time
        tell me the time
        what time is it now
        do you know what time it is
        can you tell me the time
        please tell me the time
        what is the time now
        give me the time
        how late is it
        time please
        do you know the time
        could you tell me what time it is
        what time is it please
        what is the time please"""),
        _nothing,
        _from_moment("It is {time}.", "time"),
        r"it is \S+( \S+)* (a|p) m|sorry i do not know the time",
        3.0,
    ),
    Intent(
        "weekday",
        _lines("""what day is it
        what day is it today
        what day is today
        which day is it
        tell me the day
        what day of the week is it
        which day of the week is it today
        is it monday today
        do you know what day it is
        which day is today
        what day of the week is it today
        tell me what day it is"""),
        _nothing,
        _from_moment("Today is {weekday}.", "day"),
        r"today is \S+day|sorry i do not know the day",
        1.8,
    ),
    Intent(
        "date",
        _lines("""what is the date
        what is the date today
        what date is it
        tell me the date
        what is today's date
        which date is it today
        do you know the date
        please tell me the date
        give me the date
        what date is it today
        can you tell me the date"""),
        _nothing,
        _from_moment("It is {date}.", "date"),
        r"it is (" + "|".join(m.lower() for m in MONTHS) + r") \S+( \S+)?|sorry i do not know the date",
        2.0,
    ),
    Intent(
        "tomorrow",
        _lines("""what day is tomorrow
        what day is it tomorrow
        which day is tomorrow
        tell me what day tomorrow is
        what day of the week is tomorrow
        what will be the day tomorrow
        which day is it tomorrow"""),
        _nothing,
        _from_moment("Tomorrow is {tomorrow}.", "day"),
        r"tomorrow is \S+day",
        0.8,
    ),
    Intent(
        "count",
        _lines("""count from {a} to {b}
        please count from {a} to {b}
        can you count from {a} to {b}
        count up from {a} to {b}
        start at {a} and count to {b}
        tell me the numbers from {a} to {b}
        say the numbers from {a} to {b}
        could you count from {a} to {b}
        count for me from {a} to {b}
        i want you to count from {a} to {b}"""),
        _count_range,
        _count,
        r"",
        1.6,
    ),
    Intent(
        "count_to",
        _lines("""count to {b}
        please count to {b}
        can you count to {b}
        count up to {b}
        could you count to {b}
        count to {b} for me
        can you count up to {b}"""),
        _count_end,
        _count,
        r"",
        1.2,
    ),
    Intent(
        "next_number",
        _lines("""what comes after {a}
        what number comes after {a}
        which number comes after {a}
        what is the number after {a}
        what is after {a}
        tell me the number after {a}
        what is the next number after {a}
        which number is after {a}"""),
        _one_of(spoken_number(n) for n in range(100)),
        _stepped(1, "after"),
        r"\S+( \S+)* comes after \S+( \S+)*",
        1.2,
    ),
    Intent(
        "previous_number",
        _lines("""what comes before {a}
        what number comes before {a}
        which number comes before {a}
        what is the number before {a}
        what is before {a}
        tell me the number before {a}
        which number is before {a}"""),
        _one_of(spoken_number(n) for n in range(1, 101)),
        _stepped(-1, "before"),
        r"\S+( \S+)* comes before \S+( \S+)*",
        1.2,
    ),
    Intent(
        "plus",
        _lines("""what is {a} plus {b}
        {a} plus {b}
        how much is {a} plus {b}
        add {a} and {b}
        what is {a} and {b}
        tell me {a} plus {b}
        what do you get when you add {a} and {b}
        {a} and {b}
        calculate {a} plus {b}
        please add {a} and {b}
        can you tell me what {a} plus {b} is"""),
        _two_numbers(0, 20),
        _sum("plus", lambda a, b: a + b),
        r".* plus .* is .*",
        2.4,
    ),
    Intent(
        "minus",
        _lines("""what is {a} minus {b}
        {a} minus {b}
        how much is {a} minus {b}
        take {b} from {a}
        tell me {a} minus {b}
        {a} take away {b}
        what is {a} take away {b}
        calculate {a} minus {b}
        can you tell me what {a} minus {b} is"""),
        _falling_numbers,
        _sum("minus", lambda a, b: a - b),
        r".* minus .* is .*",
        1.8,
    ),
    Intent(
        "times",
        _lines("""what is {a} times {b}
        {a} times {b}
        how much is {a} times {b}
        multiply {a} by {b}
        tell me {a} times {b}
        what do you get when you multiply {a} by {b}
        calculate {a} times {b}
        can you tell me what {a} times {b} is"""),
        _two_numbers(1, 10),
        _sum("times", lambda a, b: a * b),
        r".* times .* is .*",
        1.8,
    ),
    Intent(
        "day_after",
        _lines("""what day comes after {a}
        what is the day after {a}
        which day comes after {a}
        which day is after {a}
        what comes after {a}
        tell me the day after {a}
        what day is after {a}"""),
        _one_of(d.lower() for d in WEEKDAYS),
        _after(WEEKDAYS),
        r"\S+day comes after \S+day",
    ),
    Intent(
        "day_before",
        _lines("""what day comes before {a}
        what is the day before {a}
        which day comes before {a}
        which day is before {a}
        what comes before {a}
        tell me the day before {a}
        what day is before {a}"""),
        _one_of(d.lower() for d in WEEKDAYS),
        _before(WEEKDAYS),
        r"\S+day comes before \S+day",
    ),
    Intent(
        "month_after",
        _lines("""what month comes after {a}
        what is the month after {a}
        which month comes after {a}
        which month is after {a}
        what comes after {a}
        tell me the month after {a}
        what month is after {a}"""),
        _one_of(m.lower() for m in MONTHS),
        _after(MONTHS),
        r"(" + "|".join(m.lower() for m in MONTHS) + r") comes after \S+",
    ),
    Intent(
        "opposite",
        _lines("""what is the opposite of {a}
        tell me the opposite of {a}
        give me the opposite of {a}
        opposite of {a}
        what is the opposite word of {a}
        do you know the opposite of {a}
        say the opposite of {a}
        the opposite of {a} please
        can you tell me the opposite of {a}"""),
        _one_of(_OPPOSITE_OF),
        _opposite,
        r"the opposite of .* is .*",
        1.6,
    ),
    Intent(
        "capital",
        _lines("""what is the capital of {a}
        tell me the capital of {a}
        capital of {a}
        which city is the capital of {a}
        what is the capital city of {a}
        do you know the capital of {a}
        name the capital of {a}
        what city is the capital of {a}
        can you tell me the capital of {a}"""),
        _one_of(_CAPITALS),
        _capital,
        r"the capital of .* is .*",
        1.6,
    ),
    Intent(
        "colour",
        _lines("""what color is {a}
        which color is {a}
        tell me the color of {a}
        what is the color of {a}
        do you know the color of {a}
        what color does {a} have
        can you tell me the color of {a}"""),
        _one_of(_COLOURS),
        _colour,
        r"\S+( \S+)? is (" + "|".join(sorted(set(_COLOURS.values()))) + r")",
        1.2,
    ),
    Intent(
        "sound",
        _lines("""what does a {a} say
        what sound does a {a} make
        how does a {a} sound
        what does the {a} say
        which sound does a {a} make
        tell me what a {a} says
        what sound does the {a} make"""),
        _one_of(_SOUNDS),
        _sound,
        r"a \S+ says \S+",
    ),
    Intent(
        "amount",
        _lines("""how many {a}
        tell me how many {a}
        do you know how many {a}
        please tell me how many {a}
        can you tell me how many {a}"""),
        _one_of(_AMOUNTS),
        _amount,
        r"there are .* (in|on) .*|a \S+ has \S+ legs",
        1.4,
    ),
    Intent(
        "joke",
        _lines("""tell me a joke
        tell a joke
        make me laugh
        do you know a joke
        say something funny
        please tell me a joke
        i want to hear a joke
        joke please
        can you tell me a joke
        do you know any jokes
        could you tell me a joke"""),
        _nothing,
        _fixed(*JOKES),
        "|".join(re.sub(r"[^a-z ]", "", j.lower().split("?")[0]) + ".*" for j in JOKES),
    ),
    Intent(
        "story",
        _lines("""tell me a story
        tell a story
        do you know a story
        please tell me a story
        i want to hear a story
        read me a story
        can you tell me a story
        tell me a short story
        could you tell me a story"""),
        _nothing,
        _fixed(*STORIES),
        r"once upon a time.*|there was a small boat.*",
        0.35,
    ),
    Intent(
        "coin",
        _lines("""flip a coin
        toss a coin
        heads or tails
        please flip a coin
        can you flip a coin
        throw a coin
        please toss a coin
        flip a coin for me"""),
        _nothing,
        _fixed("Heads.", "Tails."),
        r"heads|tails",
        0.8,
    ),
    Intent(
        "die",
        _lines("""roll a die
        roll the dice
        roll a dice
        throw the dice
        please roll a die
        can you roll a die
        throw a die
        roll the dice for me"""),
        _nothing,
        _fixed(*(f"I rolled a {spoken_number(n)}." for n in range(1, 7))),
        r"i rolled a \S+",
        0.8,
    ),
    Intent(
        "repeat",
        _lines("""say {a}
        repeat after me {a}
        please say {a}
        can you say {a}
        repeat {a}
        please repeat {a}
        could you say {a}
        now say {a}
        can you repeat {a}"""),
        _words_to_repeat,
        _repeat,
        r"",
        3.0,
    ),
    Intent(
        "thanks",
        _lines("""thank you
        thanks
        thank you very much
        thanks a lot
        thank you nano
        many thanks
        thank you so much
        thanks nano
        thanks very much"""),
        _nothing,
        _fixed("You are welcome."),
        r"you are welcome",
    ),
    Intent(
        "goodbye",
        _lines("""goodbye
        bye
        bye bye
        see you later
        good night
        goodbye nano
        see you
        see you soon
        bye nano
        good night nano
        bye for now"""),
        _nothing,
        _fixed("Goodbye."),
        r"goodbye",
    ),
    Intent(
        "robot",
        _lines("""are you a robot
        are you human
        are you a real person
        are you a machine
        are you a computer
        are you real
        are you a human
        am i talking to a robot
        are you a person
        are you a real human"""),
        _nothing,
        _fixed("I am a computer program."),
        r"i am a computer program",
    ),
    Intent(
        "age",
        _lines("""how old are you
        what is your age
        when were you born
        tell me your age
        are you old
        are you young
        tell me how old you are
        please tell me your age"""),
        _nothing,
        _fixed("I am very new."),
        r"i am very new",
        0.8,
    ),
    Intent(
        "favourite_colour",
        _lines("""what is your favorite color
        which color do you like
        do you have a favorite color
        tell me your favorite color
        what color do you like best
        which color do you like best
        what color do you like"""),
        _nothing,
        _fixed("My favorite color is blue."),
        r"my favorite color is blue",
        0.8,
    ),
    Intent(
        "live",
        _lines("""where do you live
        where are you
        where are you from
        where is your home
        tell me where you live
        where do you come from"""),
        _nothing,
        _fixed("I live in this computer."),
        r"i live in this computer",
        0.7,
    ),
    Intent(
        "love",
        _lines("""i love you
        i like you
        you are great
        you are nice
        you are very good
        well done
        good job
        you are funny
        you are very nice
        i like you very much"""),
        _nothing,
        _fixed("That is very kind of you."),
        r"that is very kind",
        0.7,
    ),
    Intent(
        "acknowledge",
        _lines("""yes
        no
        okay
        stop
        yes please
        no thank you
        all right
        stop it
        stop please
        no thanks
        okay stop
        please stop"""),
        _nothing,
        _fixed("Okay."),
        r"okay",
        1.2,
    ),
    Intent(
        "unknown",
        _OTHER_SENTENCES,
        _nothing,
        _fixed(SORRY),
        r"sorry i did not understand",
        1.6,
    ),
)
BY_NAME = {intent.name: intent for intent in INTENTS}

# --- system prompts ---------------------------------------------------------------------------------------

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
    "Please talk to me.",
    "请用语音与我交流。",
)
TRANSCRIBE = "请记录下你所听到的语音内容。"


def sample_context(rng: random.Random) -> Context:
    """Draw a moment; whole hours are drawn more often than one in sixty."""
    minute = 0 if rng.random() < 0.05 else rng.randrange(60)
    month = rng.randint(1, 12)
    return Context(
        spoken_time(rng.randrange(24), minute),
        rng.choice(WEEKDAYS),
        spoken_date(month, rng.randint(1, MONTH_DAYS[month - 1])),
    )


def system_prompt(context: Context | None, rng: random.Random | None = None) -> str:
    """Render the instructions: the product's own template without `rng`, one of the variations with it."""
    if context is None:
        return rng.choice(TIMELESS_PROMPTS) if rng else TIMELESS_PROMPTS[0]
    own = rng is None or rng.random() < 0.7
    template = INSTRUCTIONS if own or rng is None else rng.choice(TIMED_PROMPTS)
    return template.format(time=context.time, weekday=context.weekday, date=context.date)


# --- sampling ---------------------------------------------------------------------------------------------


def sample(
    rng: random.Random,
    split: str = "train",
    intent: str | None = None,
    timeless: float = 0.1,
    context: tuple[Context | None] | None = None,
) -> Turn:
    """Draw one turn from `split` ('train', 'unseen', 'all').

    A share `timeless` knows no moment, unless `context` = (Context or None,) says what is known.
    """
    kind = BY_NAME[intent] if intent else rng.choices(INTENTS, [i.weight for i in INTENTS])[0]
    if context is not None:
        moment = context[0]
    else:
        moment = None if rng.random() < timeless else sample_context(rng)
    values = kind.draw(rng)
    text = rng.choice(kind.phrasings_of(split)).format(**values)
    return turn_of(kind.name, text, values, moment, rng)


def turn_of(intent: str, user_text: str, slots: Mapping[str, str], context: Context | None, rng: random.Random) -> Turn:
    """Give the answer to a question whose intent and slots are known."""
    replies = BY_NAME[intent].reply(slots, context)
    return Turn(intent, user_text, rng.choice(replies), replies, tuple(slots.items()), context)


def plain(text: str) -> str:
    """Reduce a text to lower-case words: the form in which replies are compared."""
    return " ".join(re.sub(r"[^a-z' ]+", " ", text.lower()).split())


def right_reply(turn: Turn, reply: str) -> bool:
    """Tell whether `reply` answers `turn` wholly: words and slots."""
    return plain(reply) in {plain(r) for r in turn.accepted}


def right_intent(turn: Turn, reply: str) -> bool:
    """Tell whether `reply` is an answer of the turn's intent, whatever its slots."""
    words = plain(reply)
    if right_reply(turn, reply):
        return True
    return intent_of(words) == {"count_to": "count"}.get(turn.intent, turn.intent)


_NUMBER_WORDS = frozenset((*_ONES, *_TENS, "hundred"))


def intent_of(reply: str) -> str | None:
    """Name the intent whose replies look like `reply`; counts and repeated words are told by their words."""
    words = plain(reply)
    for name in ("day_after", "day_before", "month_after", *BY_NAME):
        pattern = BY_NAME[name].pattern
        if pattern and re.match(rf"(?:{pattern})(?:\b|$)", words):
            return name
    tokens = words.split()
    if len(tokens) >= 2 and all(t in _NUMBER_WORDS for t in tokens):
        return "count"
    if tokens and len(tokens) <= 4 and all(t in _REPEATABLE for t in tokens):
        return "repeat"
    return None


_REPEATABLE = frozenset(REPEAT_WORDS)


def user_texts(n: int, seed: int = 0, split: str = "train") -> list[Turn]:
    """Draw `n` turns with the domain's weights."""
    rng = random.Random(seed)
    return [sample(rng, split) for _ in range(n)]


def _closed_replies() -> Iterable[str]:
    """Yield every reply of the intents whose replies can be listed."""
    for intent in INTENTS:
        if intent.name not in {"count", "count_to", "repeat", "time", "date", "plus", "minus", "times"}:
            rng = random.Random(1)
            for _ in range(600):
                yield from intent.reply(intent.draw(rng), sample_context(rng))
    yield from (f"Sorry, I do not know the {what}." for what in ("time", "date", "day"))


def _draw_reply(intent: str, rng: random.Random) -> str:
    kind = BY_NAME[intent]
    return kind.reply(kind.draw(rng), None)[0]


def random_sentence(rng: random.Random) -> str:
    """Draw a sentence of 2..6 known words without sense: it teaches pronunciation in every neighbourhood."""
    words = word_list()
    return sentence(" ".join(rng.choice(words) for _ in range(rng.randint(2, 6))))


def reply_texts(seed: int = 0, repeats: int = 1500, sentences: int = 700) -> list[str]:
    """List the texts to be spoken, the most needed first, without duplicates."""
    rng = random.Random(seed)
    closed = sorted(set(_closed_replies()))
    times = [f"It is {spoken_time(h, m)}." for h in range(24) for m in range(60)]
    dates = [f"It is {spoken_date(m + 1, d + 1)}." for m in range(12) for d in range(MONTH_DAYS[m])]
    sums = [_draw_reply(k, rng) for k in ("plus", "minus", "times") for _ in range(900)]
    counts = [count_reply(1, n) for n in (*range(3, 21), 30, 50, 100)]
    counts += [_draw_reply("count", rng) for _ in range(260)]
    said = [sentence(w) for w in REPEAT_WORDS]
    said += [_draw_reply("repeat", rng) for _ in range(repeats)]
    said += [random_sentence(rng) for _ in range(sentences)]
    rest = [*times, *dates, *sorted(set(sums)), *counts, *said]
    rng.shuffle(rest)
    return list(dict.fromkeys((*closed, *rest)))


_WORDS: list[str] = []


def word_list() -> list[str]:
    """Return every word that a user or nano can say, sorted."""
    if not _WORDS:
        texts = [p for i in INTENTS for p in i.phrasings]
        texts += [*_ONES, *_TENS[2:], *_ORDINALS[1:], "thirtieth hundred oh o'clock"]
        texts += [*WEEKDAYS, *MONTHS, *REPEAT_WORDS, *_CAPITALS, *_COLOURS, *_SOUNDS, *_AMOUNTS]
        texts += [w for pair in _OPPOSITES for w in pair]
        texts += [*_closed_replies(), "It is three p m, a m."]
        found = {w for t in texts for w in plain(re.sub(r"\{.\}", " ", t)).split()}
        _WORDS.extend(sorted(found))
    return _WORDS


def main() -> None:
    """Show samples or write the text lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", type=int, default=0, help="print this many random turns")
    parser.add_argument("--split", default="train", choices=("train", "unseen", "all"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="folder for replies.txt, users.txt, words.txt")
    args = parser.parse_args()
    for turn in user_texts(args.show, args.seed, args.split):
        print(f"{turn.intent:18s} {turn.user_text:50s} {turn.reply_text}")
    if args.write:
        args.write.mkdir(parents=True, exist_ok=True)
        (args.write / "replies.txt").write_text("\n".join(reply_texts(args.seed)) + "\n")
        users = (f"{t.intent}\t{t.user_text}" for t in user_texts(20000, args.seed, args.split))
        (args.write / "users.txt").write_text("\n".join(dict.fromkeys(users)) + "\n")
        (args.write / "words.txt").write_text("\n".join(word_list()) + "\n")
        print(f"replies {len(reply_texts(args.seed))}, words {len(word_list())}, intents {len(INTENTS)}")


if __name__ == "__main__":
    main()
