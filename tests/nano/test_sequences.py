"""Training sequences: the ids that the product itself feeds, and where the loss is."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from realtime.model.features import feature_count
from realtime.model.prompt import render
from realtime.ports.messages import Audio, Message, Tokens
from realtime.ports.tool_calls import parse_tool_calls, tool_result, tool_schemas
from scripts.nano import domain
from scripts.nano.data.pseudo_audio import EncoderRows
from scripts.nano.data.reply_speech import GROUP, Spoken, Voice, reply_ids, with_rises
from scripts.nano.data.sequences import Sequence_, Vocabulary, Writer
from scripts.nano.data.speech_codes import PHONES, code_id, decode
from scripts.nano.domain.tools import schemas

CHECKPOINT = Path(__file__).parents[2] / "realtime/checkpoints/nano"
SAMPLES = np.zeros(23_456, np.float32)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(CHECKPOINT)


def _spoken(text: str, codes: int = 23) -> Spoken:
    words = text.split()
    return Spoken(text, tuple(1 + k * 5 for k in range(len(words))), tuple(range(codes)))


def _calling_scene() -> domain.Scene:
    rng = random.Random(5)
    while True:
        scene = domain.draw_scene(rng, 2)
        if scene.system and all(e.call is not None for e in scene.exchanges):
            return scene


@pytest.mark.parametrize("speech", [True, False])
def test_a_conversation_is_what_the_product_feeds(vocabulary: Vocabulary, speech: bool) -> None:
    """Ids up to each answer equal the prompt that the session renders from its history."""
    scene, writer, sequence = _calling_scene(), Writer(vocabulary), Sequence_()
    tokenizer, tokens = vocabulary.tokenizer, vocabulary.tokens
    messages = [Message("system", scene.system), tool_schemas(schemas(scene.tools))]
    writer.system(sequence, scene.system or "")
    writer.tools(sequence, schemas(scene.tools))

    def answered(begin: int) -> None:
        opened = [tokens.tts_start] if speech else []
        said = sequence.ids[begin:]
        assert said[-1] == tokens.eot
        messages.append(Message("assistant", (Tokens((*opened, *said[:-1])),)))

    def prompted() -> int:
        writer.open_reply(sequence, speech)
        assert tuple(sequence.ids) == render(messages, tokenizer, tokens, speech=speech).ids
        return len(sequence.ids)

    for exchange in scene.exchanges:
        assert exchange.call is not None
        messages.append(Message("human", (Audio("a", SAMPLES),)))
        writer.human_audio(sequence, EncoderRows(np.zeros((40, 4), np.float16), feature_count(len(SAMPLES))))
        begin = prompted()
        writer.call(sequence, exchange.call, speech)
        assert parse_tool_calls(tokenizer.decode(sequence.ids[begin:-1])).calls == (exchange.call,)
        answered(begin)
        messages.append(tool_result(exchange.result))
        writer.result(sequence, exchange.result)
        begin = prompted()
        if speech:
            writer.say(sequence, _spoken(exchange.reply_text))
        else:
            writer.write(sequence, exchange.reply_text)
        answered(begin)
    typed = scene.exchanges[0].user_text
    messages.append(Message("human", typed))
    writer.human_text(sequence, typed)
    prompted()


def test_the_loss_is_on_answers_only(vocabulary: Vocabulary) -> None:
    writer, sequence = Writer(vocabulary), Sequence_()
    writer.system(sequence, "You are Nano.")
    writer.human_text(sequence, "hello")
    writer.open_reply(sequence, speech=True)
    given = len(sequence.ids)
    writer.say(sequence, _spoken("Hello, how can I help you?"))
    assert not any(sequence.weights[:given])
    assert all(sequence.weights[given:])


def test_words_that_are_only_read_carry_no_loss(vocabulary: Vocabulary) -> None:
    writer, sequence = Writer(vocabulary), Sequence_()
    writer.say(sequence, _spoken("The sixteen is brown."), aloud_only=True)
    learned = [id_ for id_, weight in zip(sequence.ids, sequence.weights, strict=True) if weight]
    assert vocabulary.decode(sequence.ids) == "The sixteen is brown."
    assert vocabulary.decode(learned) == ""
    assert sum(id_ >= vocabulary.code0 for id_ in learned) == 24


def test_speech_is_grouped_with_its_words_in_order(vocabulary: Vocabulary) -> None:
    spoken = _spoken("Hello, how can I help you?")
    ids = reply_ids(spoken, vocabulary.tokenizer, vocabulary.tokens)
    assert ids[-1] == vocabulary.tts_end
    slots = ids[: -1 : GROUP + 1]
    assert vocabulary.decode(slots) == spoken.text
    codes = [i - vocabulary.code0 for k, i in enumerate(ids[:-1]) if k % (GROUP + 1)]
    assert codes[: len(spoken.codes)] == list(spoken.codes)


@pytest.mark.parametrize(
    ("text", "rises"),
    [("Anything else?", True), ("Hello. Anything else?", True), ("What else?", False), ("Anything else.", False)],
)
def test_yes_or_no_questions_rise_over_their_end(text: str, rises: bool) -> None:
    words = text.split()
    phones = [code_id(PHONES.index(phone), 1, 4) for phone in ("eh", "l", "s")]
    spoken = Spoken(text, tuple(1 + 3 * k for k in range(len(words))), (0, *phones * len(words), 0))
    risen = with_rises(spoken)
    assert [decode(c).phone for c in risen.codes] == [decode(c).phone for c in spoken.codes]
    assert risen.codes[:-4] == spoken.codes[:-4]
    pitches = [decode(c).pitch for c in risen.codes[-4:]]
    assert pitches == ([3, 6, 6, 0] if rises else [4, 4, 4, 0])


def _voice(tmp_path: Path, *texts: str) -> Voice:
    rows = []
    for n, text in enumerate(texts):
        words = text.split()
        marks = ", ".join(f'["{w}", {1 + 4 * k}, {5 + 4 * k}]' for k, w in enumerate(words))
        codes = [100 * n + k for k in range(4 * len(words) + 3)]
        rows.append(f'{{"text": "{text}", "words": [{marks}], "codes": {codes}}}')
    path = tmp_path / "codes.jsonl"
    path.write_text("\n".join(rows) + '\n{"text": "cut off')
    return Voice([path])


def test_unspoken_texts_are_built_from_spoken_ones(tmp_path: Path) -> None:
    voice = _voice(tmp_path, "It is nine in Rome.", "It is cold in Oslo.", "Okay.")
    spliced = voice.get("It is cold in Rome.", random.Random(0))
    assert spliced is not None
    assert spliced.codes[:13] == tuple(range(100, 113))
    assert spliced.codes[-6:] == tuple(range(17, 23))
    assert len(spliced.starts) == 5
    assert list(spliced.starts) == sorted(spliced.starts)
    assert voice.get("It is warm in Rome.", random.Random(0)) is None


def test_several_sentences_are_spoken_one_by_one(tmp_path: Path) -> None:
    voice = _voice(tmp_path, "It is nine in Rome.", "Okay.")
    both = voice.get("Okay. It is nine in Rome.", random.Random(0))
    assert both is not None
    assert both.codes == (*range(100, 107), *range(23))
    assert both.starts == (1, 8, 12, 16, 20, 24)


def test_swapped_words_keep_their_place_and_are_spoken(tmp_path: Path) -> None:
    voice, rng = _voice(tmp_path, "It is nine in Rome.", "The boat was cold, Anna."), random.Random(0)
    seen = set()
    for _ in range(50):
        text = voice.swapped("It is nine in Rome.", rng)
        spoken = voice.get(text, rng)
        assert spoken is not None
        assert len(spoken.starts) == 5
        assert text[0].isupper()
        assert text.endswith(("Rome.", "Anna."))
        seen.add(text)
    assert len(seen) > 20


def test_nonsense_is_made_of_all_spoken_words(tmp_path: Path) -> None:
    voice, rng = _voice(tmp_path, "It is nine in Rome.", "The boat was cold, Anna."), random.Random(0)
    texts = [voice.nonsense(4, rng) for _ in range(100)]
    assert all(voice.get(text, rng) is not None for text in texts)
    said = {word.strip(".,").lower() for text in texts for word in text.split()}
    assert said == set("is nine in rome boat was cold anna".split())
