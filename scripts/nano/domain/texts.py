"""Lists of texts: what is to be spoken for the voice, and every word there is."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from scripts.nano.domain import facts, moments, outcomes, phrasings, vocabulary
from scripts.nano.domain.intents import CANNOT, SORRY, Situation
from scripts.nano.domain.judging import plain
from scripts.nano.domain.numbers import NUMBER_WORDS, sentence, spoken_date, spoken_number, spoken_time
from scripts.nano.domain.scenes import BY_NAME, INTENTS, answer, ask, by_capability, dressed_tools, wanted_capabilities
from scripts.nano.domain.talk import count_reply

_QUOTAS = {
    "plus": 900, "minus": 500, "times": 500, "divide": 250, "percent_of": 150, "convert": 400, "weather": 700,
    "weather_tomorrow": 250, "rain": 200, "temperature": 250, "time_in": 250, "time": 60, "set_timer": 250,
    "timer_left": 150, "set_alarm": 300, "light_level": 200, "light_colour": 120, "volume_set": 120, "desk_digits": 300,
    "desk_name": 400, "call_person": 300, "list_read": 200, "reminders": 200, "search": 500, "news": 200, "who_is": 120,
    "custom_plain": 500, "custom_number": 100, "bigger": 100, "spell": 400, "list_add": 300, "list_remove": 300,
    "play_music": 80, "light_on": 60, "light_off": 60, "count": 260, "who_are_you": 20, "opposite": 400, "capital": 200,
    "next_number": 400, "previous_number": 400, "unknown": 260, "what_can_you_do": 160,
}  # fmt: skip
"""How often the replies of an intent are drawn, with and without tools; all others 80 times."""


def _drawn_replies(rng: random.Random) -> Iterator[str]:
    for intent in INTENTS:
        if intent.name in ("repeat", "say_again") or intent.after:
            continue
        for _ in range(_QUOTAS.get(intent.name, 80)):
            asked = ask(intent.name, rng)
            moment = moments.sample_context(rng) if intent.name not in ("time", "date") else None
            alone = Situation(moment=moment)
            yield answer(asked, alone, rng).reply_text
            tools = dressed_tools(wanted_capabilities([asked], alone), rng)
            if tools:
                equipped = Situation(moment=moment, offered=by_capability(tools))
                yield answer(asked, equipped, rng, failing=0.0).reply_text


def _styled(rng: random.Random) -> Iterator[str]:
    yield from (*moments.BEFORE, *moments.AFTER)
    for name in vocabulary.ASSISTANT_NAMES:
        yield f"I am {name}, a small voice assistant."
    for title in vocabulary.TITLES:
        for _ in range(14):
            intent = rng.choice(("greeting", "thanks", "goodbye", "time", "joke", "unknown", "set_timer", "light_on"))
            asked = ask(intent, rng)
            manner = moments.Manner(title=title)
            tools = dressed_tools(wanted_capabilities([asked], Situation()), rng)
            situation = Situation(moments.sample_context(rng), by_capability(tools), manner=manner)
            yield answer(asked, situation, rng, failing=0.0).reply_text


def random_sentence(rng: random.Random) -> str:
    """Draw a sentence of 2..6 known words without sense: it teaches pronunciation in every neighbourhood."""
    words = word_list()
    return sentence(" ".join(rng.choice(words) for _ in range(rng.randint(2, 6))))


def reply_texts(seed: int = 0, repeats: int = 1500, sentences: int = 1200) -> list[str]:
    """List the texts to be spoken, the most needed first, without duplicates."""
    rng = random.Random(seed)
    first = [SORRY, CANNOT, outcomes.FAILED, *(f"Sorry, I do not know the {what}." for what in ("time", "date", "day"))]
    first += [*facts.JOKES, *facts.STORIES, *facts.RESULT_SENTENCES, *_styled(rng)]
    drawn = list(dict.fromkeys(_drawn_replies(rng)))
    numbers = [f"That is {spoken_number(n)}." for n in (*range(121), *(rng.randint(121, 9999) for _ in range(900)))]
    times = [f"It is {spoken_time(h, m)}." for h in range(24) for m in range(60)]
    dates = [f"It is {spoken_date(m + 1, d + 1)}." for m in range(12) for d in range(vocabulary.MONTH_DAYS[m])]
    counts = [count_reply(1, n) for n in (*range(3, 21), 30, 50, 100)]
    repeat = BY_NAME["repeat"]
    said = [sentence(w) for w in vocabulary.REPEAT_WORDS]
    said += [repeat.replies(repeat.draw(rng), Situation())[0] for _ in range(repeats)]
    said += [random_sentence(rng) for _ in range(sentences)]
    rest = [*drawn, *numbers, *times, *dates, *counts, *said]
    rng.shuffle(rest)
    return _most_needed_first(list(dict.fromkeys((*first, *rest))))


def _most_needed_first(texts: list[str], enough: int = 6) -> list[str]:
    """Sort texts by how new their words are, so that an unfinished synthesis has every word in every place."""
    said: Counter[tuple[str, str]] = Counter()
    ranks: dict[str, int] = {}
    for text in texts:
        words = text.split()
        places = [
            (w.lower(), "first" if k == 0 else "last" if k + 1 == len(words) else "") for k, w in enumerate(words)
        ]
        ranks[text] = min(min(said[place] for place in places), enough)
        said.update(places)
    return sorted(texts, key=lambda text: (ranks[text], len(text) > 300))


@cache
def word_list() -> tuple[str, ...]:
    """Return every word that a user or nano can say, sorted."""
    texts = [alternative for i in INTENTS for p in i.phrasings.of("all") for alternative in phrasings.alternatives(p)]
    texts += [*NUMBER_WORDS, *phrasings.POLITE_WORDS, "oh o'clock noon midnight half past quarter thirtieth"]
    texts += [spoken_date(1, day + 1) for day in range(31)]
    texts += [
        word
        for values in vars(vocabulary).values()
        if isinstance(values, tuple)
        for word in values
        if isinstance(word, str)
    ]
    texts += [*facts.OPPOSITE_OF, *facts.CAPITALS, *facts.CAPITALS.values(), *facts.COLOUR_OF, *facts.SOUNDS]
    texts += [*facts.AMOUNTS, *_drawn_replies(random.Random(1)), *_styled(random.Random(1))]
    found = {w for t in texts for w in plain(re.sub(r"\{\w+\}", " ", t)).split()}
    return tuple(sorted(found))
