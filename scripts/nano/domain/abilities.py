"""What nano says that it can do: when asked, and to whoever wants something else."""

from __future__ import annotations

from itertools import permutations

from scripts.nano.domain.intents import Situation, Values

OWN = (
    "tell you a joke",
    "count to ten",
    "spell a word",
    "flip a coin",
    "tell you a story",
    "roll a die",
    "name the capital of a country",
    "say something after you",
)
OF_TOOL = {
    "set_timer": "set a timer",
    "set_alarm": "set an alarm",
    "remind": "remind you of something",
    "list_add": "put something on your list",
    "list_read": "read your list",
    "light": "switch the lights",
    "light_colour": "change the color of a light",
    "light_level": "dim the lights",
    "volume": "set the volume",
    "play_music": "play some music",
    "call_person": "call somebody",
    "calculate": "work out a sum",
    "convert": "convert units",
    "weather": "tell you the weather",
    "time": "tell you the time in a city",
    "search": "search the web",
    "news": "read the news",
    "choose_day": "book a day",
    "take_name": "take your name",
    "digits": "take your number",
    "transfer": "connect you to somebody",
}
"""What a session's tools are good for, by capability."""
MOST = 7
"""So many things are ever named in a session, those of its tools first."""
UNKNOWN_FORMS = (
    "I can not help with that, but I can {} or {}.",
    "I do not know that. I can {} or {}.",
    "That is more than I know, but I can {} or {}.",
    "I am not sure about that. You can ask me to {} or {}.",
    "Sorry, that is nothing I know. I can {} or {}.",
    "I only know a few things. I can {} or {}.",
)
UNKNOWN_PATTERN = (
    r"sorry i did not understand|i can not help with that|i do not know that|that is more than i know|"
    r"i am not sure about that|sorry that is nothing i know|i only know a few things"
)


def abilities(situation: Situation) -> tuple[str, ...]:
    """List what can be done in a session, what its tools do first."""
    own = OWN if situation.moment is None else ("tell you the time", *OWN)
    return tuple(dict.fromkeys((*(OF_TOOL[c] for c in situation.offered if c in OF_TOOL), *own)))[:MOST]


def unknown_replies(values: Values, situation: Situation) -> tuple[str, ...]:
    """Say politely that something is not known, and name two things that are."""
    pairs = tuple(permutations(abilities(situation), 2))
    return tuple(form.format(*pair) for pair in pairs for form in UNKNOWN_FORMS)


def listed_replies(values: Values, situation: Situation) -> tuple[str, ...]:
    """Name three things that can be done."""
    return tuple("I can {}, {}, and {}.".format(*three) for three in permutations(abilities(situation), 3))
