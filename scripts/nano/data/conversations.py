"""Training conversations for the language model: scenes of the domain, typed, heard as clips or as pseudo audio."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.nano import domain
from scripts.nano.data.out_of_domain import is_held_out, outside_sentences
from scripts.nano.data.pseudo_audio import EncoderRows, Heard, pseudo_audio
from scripts.nano.data.reply_speech import Voice
from scripts.nano.data.sequences import Sequence_, Writer
from scripts.nano.domain.tools import schemas
from scripts.nano.domain.vocabulary import ASSISTANT_NAMES, CITIES, NAMES, PROPER

COUNT_END_WEIGHT = 4
"""Times the usual loss weight, for the marks that say whether a count goes on."""

WRITTEN_DOWN = ("digit", "number", "name", "word", "open")
"""Kinds of clips (user_speech.py) that ask for nothing: open sentences are no business of nano's, of all others one
could not say."""
SILENT_SLOTS = (("silent", "yes"),)
"""Mark what nobody said: the answer is nothing."""
COUNT_STRETCH = 900
"""Ids of a long count that are worth their training time, about thirty numbers."""
INTERJECTIONS = 0.25
"""Of the clips that are written down: words over a reply, like "uh huh" and "stop", where there are such clips."""
READ_FORMS = (
    "say {}", "say {}", "say: {}", "read this aloud: {}", "read aloud: {}", "please read: {}", "read this: {}",
    "repeat: {}", "read the following text aloud: {}", "say exactly: {}", "say the following: {}", "tell the user: {}",
    "read this sentence: {}", "greet the caller with: {}", "say this word for word: {}", "speak this text: {}",
    "read out: {}", "please say: {}", "your next words are: {}", "announce: {}",
)  # fmt: skip
"""How one is told to read something out."""
LONG_REPLY = 300
"""Characters of a reply that is too long to come often or between others."""
NUMERIC = tuple(
    "plus minus times divide percent_of convert set_timer volume_set light_level desk_digits set_alarm remind_at "
    "remind_in custom_number time time_in temperature".split()
)
"""Intents whose answers turn words into digits or digits into words."""


@dataclass(frozen=True, slots=True)
class Drill:
    """Several written questions of a kind, one behind the other: where most is to be learned and little to be read."""

    intents: tuple[str, ...]
    turns: tuple[int, int]
    odds: domain.Odds
    weight: float = 1.0
    follow_ups: bool = False
    """One of the intents begins, and what follows it up comes behind it."""


FOLLOWED = tuple(
    dict.fromkeys(name for intent in domain.INTENTS for name in intent.after if not domain.BY_NAME[name].after)
)
"""Intents that stand for themselves and can be followed up."""
_BARE, _EQUIPPED = domain.Odds(tools=0.0), domain.Odds(tools=1.0, wanted=1.0)
DRILLS = (
    Drill(("plus", "minus", "times"), (4, 8), _EQUIPPED, 3.0),
    Drill(("plus", "minus", "times", "divide", "percent_of"), (4, 8), _EQUIPPED, 2.0),
    Drill(("convert", "set_timer", "remind_in"), (3, 5), _EQUIPPED),
    Drill(("set_alarm", "remind_at"), (3, 5), _EQUIPPED),
    Drill(("light_level", "volume_set", "desk_digits"), (3, 5), _EQUIPPED),
    Drill(("custom_plain",), (2, 6), _EQUIPPED, 4.0),
    Drill(("custom_word",), (1, 3), _EQUIPPED, 2.0),
    Drill(("custom_name", "custom_number", "custom_plain"), (1, 3), _EQUIPPED, 2.0),
    Drill(("search", "who_is", "list_add", "list_remove", "call_person"), (3, 5), _EQUIPPED),
    Drill(("plus", "minus", "times", "next_number", "previous_number", "bigger"), (4, 10), _BARE, 2.0),
    Drill(("repeat", "spell", "opposite", "capital", "colour"), (4, 10), _BARE, 3.0),
    Drill(("unknown",), (1, 4), domain.Odds(tools=1.0, wanted=0.0), 2.0),
    Drill(FOLLOWED, (2, 4), domain.Odds(tools=1.0, wanted=1.0, follow_up=1.0, stray=0.0), 3.0, follow_ups=True),
    Drill(("who_are_you",), (1, 2), domain.Odds(tools=0.1, name=0.9, manner=0.0), 4.0),
    Drill(
        ("greeting", "thanks", "goodbye", "joke", "unknown", "who_are_you"), (1, 4), domain.Odds(tools=0.1, manner=1.0)
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A spoken user text as the encoder hears it. No text: noise or another language."""

    asked: domain.Asked
    phrasing: str
    voice: str
    heard: EncoderRows
    kind: str = "domain"


def load_clips(folders: Sequence[Path]) -> list[Clip]:
    """Read the shards that `user_speech.py features` wrote."""
    clips = []
    for path in (path for folder in folders for path in sorted(folder.glob("*.pt"))):
        for item in torch.load(path, weights_only=False):
            frames = int(item["frames"]) - 2
            count = min((frames + 5) // 8, (len(item["enc"]) - 1) // 2 + 1)
            if item.get("kind") == "open" and is_held_out(item["text"]):
                continue
            intent = domain.meant(item["text"], item["intent"] or "unknown")
            if count < 1 or intent is None:
                continue
            asked = domain.Asked(intent, item["text"], tuple(dict(item["slots"]).items()))
            rows = EncoderRows(_rows(item), count)
            kind = item.get("kind", "domain")
            clips.append(Clip(asked, item.get("phrasing", "train"), item.get("voice", ""), rows, kind))
    return clips


def _rows(item: dict[str, Any]) -> NDArray[np.float16]:
    """The encoder's rows of a clip; gpu_window.py packs them in 8 bits with a scale for each."""
    enc: NDArray[Any] = item["enc"].numpy()
    return (enc * item["scale"].numpy()).astype(np.float16) if "scale" in item else enc


def varied(heard: EncoderRows, rng: random.Random) -> EncoderRows:
    """Another hearing of the same clip: a little faster or slower, noisier, with a moment lost."""
    rows = heard.rows.astype(np.float32)
    if rng.random() < 0.5:
        length = max(4, round(len(rows) * rng.uniform(0.88, 1.12)))
        rows = rows[np.linspace(0, len(rows) - 1, length).round().astype(int)]
    if rng.random() < 0.5:
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(rows.shape, dtype=np.float32)
        rows = rows + noise * rows.std() * rng.uniform(0.0, 0.4)
    for _ in range(rng.choice((0, 0, 1, 2))):
        start = rng.randrange(len(rows))
        rows[start : start + rng.randint(1, 3)] = 0.0
    count = round(heard.count * len(rows) / len(heard.rows))
    return EncoderRows(rows.astype(np.float16), min(max(1, count), (len(rows) - 1) // 2 + 1))


def typed(text: str, rng: random.Random) -> str:
    """Write a user text the way people type it."""
    if rng.random() < 0.35:
        return text
    text = domain.sentence(text, end="")
    text = " ".join(w.capitalize() if w.lower() in PROPER or w in ("nano", "i") else w for w in text.split())
    question = text.lower().startswith(("what", "how", "who", "where", "which", "do ", "can ", "are ", "is ", "when"))
    return text + rng.choice(("", "?" if question else ".", "?" if question else "!"))


@dataclass(frozen=True, slots=True)
class Mix:
    """How often what is trained, as probabilities."""

    real: float = 0.0
    """Of what is heard: that it is a clip and no pseudo audio."""
    written: float = 0.3
    """That a conversation has written answers."""
    transcribe: float = 0.2
    read: float = 0.1
    greet: float = 0.0
    """Conversations that nano opens: nobody has said anything, or it is told to greet."""
    copy: float = 0.12
    """Exercises in copying, in text only: moments, words, numbers, arguments and results of tools."""
    lists: float = 0.0
    """Lists of random words to repeat. Some minutes of almost nothing else, in small batches, make the heads that look
    up; all other copying builds on them. Measured once: 2.6 nats a token after 94 minutes of training without such a
    stretch, 0.28 after eight minutes of it."""
    counts: float = 0.0
    """Counts to any bound, most of them short."""
    drills: float = 0.0
    """See `DRILLS`."""
    typed: float = 0.25
    cut: float = 0.25
    swapped: float = 0.3
    """Of the last spoken replies: that words of it were swapped, so that codes follow the words that stand there, not
    those that one would expect. Before, nano said "the train is now" where it wrote "the boat is open"."""
    noise: float = 0.05
    outside: float = 0.06
    """Of the questions: that it is no business of nano's; every other one of `outside.py`."""
    errors: float = 0.2
    """Greatest share of phones that pseudo audio mishears."""
    odds: domain.Odds = domain.Odds()


class Conversations:
    """Draws training conversations."""

    def __init__(self, writer: Writer, voice: Voice, seed: int, clips: Sequence[Clip] = (), mix: Mix = Mix()) -> None:
        self.rng = random.Random(seed)
        self.writer = writer
        self.voice = voice
        self.mix = mix
        self.interjections = [c for c in clips if c.kind == "interjection"]
        self.spoken_clips = [c for c in clips if c.asked.text and c.kind != "interjection"]
        self.silent_clips = [c for c in clips if c.kind == "silence"]
        self.noise_clips = [c for c in clips if not c.asked.text and c.kind != "silence"]
        self.clips_of: dict[str, list[Clip]] = defaultdict(list)
        for clip in self.spoken_clips:
            if clip.kind not in WRITTEN_DOWN:
                self.clips_of[clip.asked.intent].append(clip)
            elif clip.kind == "open":
                self.clips_of["unknown"].append(clip)
        self.readable = [t for t in voice.spoken if len(t) < LONG_REPLY]
        self.words = domain.word_list()
        self.outside = outside_sentences() if mix.outside else ()
        self._heard: dict[int, Heard] = {}

    def draw(self) -> Sequence_:
        """Draw one conversation."""
        mix, kind = self.mix, self.rng.random()
        exercises: tuple[tuple[float, Callable[[], Sequence_ | None]], ...] = (
            (mix.lists, self._repeating),
            (mix.counts, self._counting),
            (mix.copy, self._copying),
            (mix.drills, self._drill),
            (mix.transcribe, self._transcription),
            (mix.read, self._reading),
            (mix.greet, self._greeting),
        )
        for share, exercise in exercises:
            kind -= share
            if kind < 0:
                sequence = exercise()
                if sequence is not None:
                    return sequence
                break
        return self._conversation()

    # --- exercises ---

    def _transcription(self) -> Sequence_:
        sequence = Sequence_()
        self.writer.system(sequence, domain.TRANSCRIBE)
        if self.rng.random() < self.mix.noise:
            heard, text = self._silence() if self.rng.random() < 0.4 else self._wordless(), ""
        elif self.spoken_clips and self.rng.random() < self.mix.real:
            short = self.interjections and self.rng.random() < INTERJECTIONS
            clip = self.rng.choice(self.interjections if short else self.spoken_clips)
            heard, text = varied(clip.heard, self.rng), clip.asked.text
        else:
            text = self._written_down()
            heard = pseudo_audio(text, self.rng, self.mix.errors)
        self.writer.human_audio(sequence, heard)
        self.writer.open_reply(sequence, speech=False)
        self.writer.write(sequence, text)
        return sequence

    def _written_down(self) -> str:
        """Draw what may have to be written down: a question, an open sentence, digits, a name, words without sense."""
        kind = self.rng.random()
        if kind < 0.35:
            return self._question()
        if kind < 0.65 and self.outside:
            return self.rng.choice(self.outside)
        if kind < 0.75:
            digits = "".join(self.rng.choice("0123456789") for _ in range(self.rng.randint(1, 8)))
            return domain.spoken_digits(digits)
        if kind < 0.83:
            names = (*self.rng.sample(NAMES, 2), self.rng.choice(CITIES))
            return self.rng.choice(("{0} {1}", "my name is {0}", "from {2}", "{0} from {2}", "{2}")).format(*names)
        return self._nonsense(1, 7)

    def _question(self) -> str:
        intents = domain.INTENTS
        return domain.ask(self.rng.choices(intents, [i.weight for i in intents])[0].name, self.rng).text

    def _nonsense(self, least: int, most: int) -> str:
        return " ".join(self.rng.choice(self.words) for _ in range(self.rng.randint(least, most)))

    def _copying(self) -> Sequence_:
        """Teach copying, which answers with a moment, with the user's words or with a tool's result need."""
        kind = self.rng.random()
        if kind < 0.30:
            return self._scene(1, self.rng.choice(domain.ABOUT_MOMENT), speech=self.rng.random() < 0.5, cut=True)
        if kind < 0.38:
            named = replace(self.mix.odds, name=1.0)
            return self._scene(1, "who_are_you", speech=self.rng.random() < 0.5, cut=True, odds=named)
        if kind < 0.85:
            first = self.rng.choice(NUMERIC) if self.rng.random() < 0.6 else None
            equipped = replace(self.mix.odds, tools=1.0, wanted=1.0)
            return self._scene(1, first, speech=False, cut=True, odds=equipped)
        return self._repeating(longest=6)

    def _drill(self) -> Sequence_:
        drill = self.rng.choices(DRILLS, [d.weight for d in DRILLS])[0]
        self._heard.clear()
        turns = self.rng.randint(*drill.turns)
        if drill.follow_ups:
            first = self.rng.choice(drill.intents)
            scene = domain.draw_scene(self.rng, turns, self._ask, drill.odds, first)
        else:
            scene = domain.draw_scene(self.rng, turns, self._ask, drill.odds, among=drill.intents)
        return self._written(scene, speech=False, cut=False)

    def _repeating(self, longest: int = 30) -> Sequence_:
        """Teach looking up: "say X", X of up to `longest` random words, which nothing but looking gives."""
        sequence = Sequence_()
        text = self._nonsense(8, longest) if longest > 8 and self.rng.random() < 0.3 else self._nonsense(1, 6)
        asked = self.rng.choice(domain.BY_NAME["repeat"].phrasings.train[:9]).format(a=text)
        self.writer.human_text(sequence, typed(asked, self.rng))
        self.writer.open_reply(sequence, speech=False)
        self.writer.write(sequence, domain.sentence(text))
        return sequence

    def _counting(self) -> Sequence_ | None:
        """Count to any bound: whether to go on or to end weighs more than the numbers, which are soon known.

        Written counts teach the bound (measured), spoken ones follow; of a long one a stretch is enough.
        """
        sequence = Sequence_()
        short = self.rng.random() < 0.75
        first, last = self._short_count() if short else self._long_count()
        spoken = self.voice.get(domain.count_reply(first, last), self.rng)
        if spoken is None:
            return None
        intent = domain.BY_NAME["count_to" if first == 1 and self.rng.random() < 0.5 else "count"]
        values = {"a": domain.spoken_number(first), "b": domain.spoken_number(last)}
        asked = domain.choose(self.rng.choice(intent.phrasings.train), self.rng).format(**values)
        if self.rng.random() < (0.25 if short else 0.6):
            self.writer.system(sequence, domain.system_prompt(domain.sample_context(self.rng), self.rng))
        if self.rng.random() < (0.7 if short else 0.5):
            self.writer.human_text(sequence, typed(asked, self.rng))
        else:
            self.writer.human_audio(sequence, pseudo_audio(asked, self.rng, self.mix.errors))
        speech = self.rng.random() < 0.5
        self.writer.open_reply(sequence, speech)
        before = len(sequence.ids)
        if speech:
            self.writer.say(sequence, spoken)
        else:
            self.writer.write(sequence, spoken.text)
        ends = {self.writer.v.tokenizer.encode("one" + mark)[-1] for mark in ",."}
        for at in range(before, len(sequence.ids)):
            if sequence.ids[at] in ends:
                sequence.weights[at] *= COUNT_END_WEIGHT
        if len(sequence.ids) - before > COUNT_STRETCH and self.rng.random() < 0.85:
            keep = before + self.rng.randint(COUNT_STRETCH // 2, COUNT_STRETCH)
            del sequence.ids[keep:], sequence.weights[keep:]
        return sequence

    def _short_count(self) -> tuple[int, int]:
        first = 1 if self.rng.random() < 0.35 else self.rng.randint(1, 92)
        return first, first + self.rng.randint(1, 8 if first > 1 else 19)

    def _long_count(self) -> tuple[int, int]:
        first = 1 if self.rng.random() < 0.8 else self.rng.randint(1, 90)
        round_bounds = [b for b in (20, 30, 40, 50, 60, 70, 80, 90, 100, 100, 100) if b > first]
        return first, self.rng.choice((self.rng.choice(round_bounds), self.rng.randint(first + 1, 100)))

    def _reading(self) -> Sequence_ | None:
        """Teach pronunciation: to read out whatever was ever spoken; or, to be read aloud only, the same with words
        swapped, any words, and sentences of other subjects put together from spoken words."""
        if not self.readable:
            return None
        text, kind = self.rng.choice(self.readable), self.rng.random()
        if kind < 0.2:
            text = self.voice.swapped(text, self.rng)
        elif kind < 0.5:
            text = self.voice.nonsense(self.rng.randint(2, 9), self.rng)
        elif kind < 0.75 and self.outside:
            text = domain.sentence(self.rng.choice(self.outside), self.rng.choice("...?!"))
        spoken = self.voice.get(text, self.rng) if text else None
        if spoken is None:
            return None
        sequence = Sequence_()
        given = domain.plain(spoken.text) if self.rng.random() < 0.3 else spoken.text
        form, kind_of_order = self.rng.choice(READ_FORMS), self.rng.random()
        if kind_of_order < 0.25:
            self.writer.system(sequence, form[:1].upper() + form[1:].format(given))
        else:
            if kind_of_order < 0.45:
                self.writer.system(sequence, self.rng.choice(domain.TIMELESS_PROMPTS))
            self.writer.human_text(
                sequence, typed(form.format(given), self.rng) if form == "say {}" else form.format(given)
            )
        self.writer.open_reply(sequence, speech=True)
        self.writer.say(sequence, spoken, aloud_only=kind < 0.5)
        return sequence

    def _greeting(self) -> Sequence_ | None:
        """Open a conversation: with instructions only, or told to greet by them or by a message."""
        sequence = Sequence_()
        name = self.rng.choice(ASSISTANT_NAMES) if self.rng.random() < 0.3 else "Nano"
        moment = domain.sample_context(self.rng) if self.rng.random() < 0.5 else None
        order = domain.ask("greet_user", self.rng).text
        where = self.rng.random()
        system = domain.system_prompt(moment, self.rng, name)
        if where < 0.3:
            system += f" {domain.sentence(order)}"
        elif where < 0.4:
            system = domain.sentence(order)
        if where < 0.9:
            self.writer.system(sequence, system)
        if self.rng.random() < 0.4:
            scene = domain.draw_scene(self.rng, 1, odds=domain.Odds(tools=1.0))
            self.writer.tools(sequence, schemas(scene.tools)) if scene.tools else None
        if where >= 0.6:
            self.writer.human_text(sequence, domain.sentence(order) if self.rng.random() < 0.6 else order)
        speech = self.rng.random() < 0.6
        self._say(sequence, self.rng.choice(domain.GREETINGS), speech, cut=False, swapped=False)
        return sequence

    # --- conversations ---

    def _conversation(self) -> Sequence_:
        turns = self.rng.choices((1, 2, 3, 4, 5, 6, 8, 10), (32, 22, 16, 12, 7, 5, 3, 3))[0]
        speech = self.rng.random() >= self.mix.written and (turns < 5 or self.rng.random() < 0.3)
        return self._scene(turns, None, speech, cut=self.rng.random() < self.mix.cut)

    def _scene(
        self, turns: int, first: str | None, speech: bool, cut: bool, odds: domain.Odds | None = None
    ) -> Sequence_:
        while True:
            self._heard.clear()
            scene = domain.draw_scene(self.rng, turns, self._ask, odds or self.mix.odds, first)
            longest = max(len(e.reply_text) for e in scene.exchanges)
            if longest < LONG_REPLY or (turns == 1 and self.rng.random() < 0.5):
                return self._written(scene, speech, cut)

    def _ask(self, intent: str) -> domain.Asked:
        """Let a user ask: a clip where there is one, else any words; sometimes only noise comes."""
        if self.rng.random() < self.mix.noise:
            quiet = self.rng.random() < 0.3
            asked = domain.Asked("unknown", "", SILENT_SLOTS if quiet else ())
            self._heard[id(asked)] = self._silence() if quiet else self._noise()
            return asked
        if self.outside and self.rng.random() < self.mix.outside:
            if self.rng.random() < 0.5:
                return domain.Asked("unknown", self.rng.choice(self.outside))
            intent = "unknown"
        if self.clips_of[intent] and self.rng.random() < self.mix.real * (1 - self.mix.typed):
            clip = self.rng.choice(self.clips_of[intent])
            asked = domain.Asked(intent, clip.asked.text, clip.asked.slots)
            self._heard[id(asked)] = varied(clip.heard, self.rng)
        else:
            asked = domain.ask(intent, self.rng)
        return asked

    def _written(self, scene: domain.Scene, speech: bool, cut: bool) -> Sequence_:
        sequence = Sequence_()
        if scene.system is not None:
            self.writer.system(sequence, scene.system)
        if scene.tools:
            self.writer.tools(sequence, schemas(scene.tools))
        for k, exchange in enumerate(scene.exchanges):
            self._hear(sequence, exchange.asked)
            last = k + 1 == len(scene.exchanges)
            if exchange.call is not None:
                self.writer.open_reply(sequence, speech)
                self.writer.call(sequence, exchange.call, speech)
                if last and self.rng.random() < 0.15:
                    break
                self.writer.result(sequence, exchange.result)
            if exchange.asked.slots == SILENT_SLOTS:
                self.writer.open_reply(sequence, speech)
                self.writer.nothing(sequence, speech)
                continue
            swapped = speech and last and self.rng.random() < self.mix.swapped
            self._say(sequence, exchange.reply_text, speech, cut and last, swapped)
        return sequence

    def _hear(self, sequence: Sequence_, asked: domain.Asked) -> None:
        heard = self._heard.get(id(asked))
        if heard is not None:
            self.writer.human_audio(sequence, heard)
        elif self.rng.random() < self.mix.typed / (1 - self.mix.real * (1 - self.mix.typed)):
            self.writer.human_text(sequence, typed(asked.text, self.rng))
        else:
            self.writer.human_audio(sequence, pseudo_audio(asked.text, self.rng, self.mix.errors))

    def _say(self, sequence: Sequence_, text: str, speech: bool, cut: bool, swapped: bool) -> None:
        said = self.voice.swapped(text, self.rng) if swapped else text
        spoken = self.voice.get(said, self.rng) if speech else None
        self.writer.open_reply(sequence, spoken is not None)
        if spoken is not None:
            self.writer.say(sequence, spoken, cut and not swapped, aloud_only=swapped)
        else:
            self.writer.write(sequence, text)

    def _silence(self) -> Heard:
        """Draw a stretch in which nobody speaks."""
        if self.silent_clips and self.rng.random() < self.mix.real:
            return varied(self.rng.choice(self.silent_clips).heard, self.rng)
        return pseudo_audio("", self.rng, quiet=True)

    def _noise(self) -> Heard:
        """Draw something that is no question: noise, another language, or words without sense."""
        return self._wordless() if self.rng.random() < 0.6 else pseudo_audio(self._nonsense(4, 8), self.rng)

    def _wordless(self) -> Heard:
        """Draw something in which there is no English word."""
        if self.noise_clips and self.rng.random() < self.mix.real:
            return varied(self.rng.choice(self.noise_clips).heard, self.rng)
        return pseudo_audio("", self.rng)
