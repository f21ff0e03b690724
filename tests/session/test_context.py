"""What a conversation that has grown too long still tells the model, and when it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.ports.messages import Audio, Message, Text, Tokens
from realtime.protocol.conversation import Conversation
from realtime.protocol.items import AssistantMessage, InputText, OutputText, SystemMessage, UserMessage
from realtime.protocol.session_config import RetentionRatio, TokenLimits
from realtime.session.context.history import History, bound_audio, reply_message, to_messages
from realtime.session.context.truncation import SPOKEN_REPLIES, ApproximateTokenCounter, ContextWindow, Truncation

PREAMBLE = (Message("system", "0123456789"),)
REPLY_TOKENS = 100


class LetterMeter:
    """A letter of text is an id, a sample of audio too, and of a reply's ids every fifth is text."""

    def __init__(self, context_tokens: int) -> None:
        self.context_tokens = context_tokens
        self.measured = 0

    def measure(self, message: Message) -> int:
        self.measured += 1
        content = message.content or ""
        return len(content) if isinstance(content, str) else sum(map(self._part, content))

    def _part(self, part: Text | Audio | Tokens) -> int:
        match part:
            case Text(text):
                return len(text)
            case Audio(samples=samples):
                return len(samples)
            case Tokens():
                return len(part.ids) if part.speech else len(part.ids) // 5


def conversation(turns: int, *, reply: int = 50, question: int = 10) -> History:
    history: History = Conversation("conv")
    history.add(SystemMessage(id="rules", content=(InputText(text="rules"),)), Message("system", "rules"))
    for turn in range(turns):
        add_turn(history, turn, reply=reply, question=question)
    return history


def add_turn(history: History, turn: int, *, reply: int = 50, question: int = 10) -> None:
    item = UserMessage(id=f"user{turn}", content=(InputText(text="?"),))
    history.add(item, Message("human", (Audio(f"a{turn}", np.zeros(question, np.float32)),)))
    answer = AssistantMessage(id=f"reply{turn}", content=(OutputText(text="!"),))
    history.add(answer, reply_message(range(reply)))


def keeper(history: History, room: int, cut: float = 0.5) -> tuple[ContextWindow, LetterMeter]:
    """One whose conversation may have ``room`` ids."""
    token_counter = LetterMeter(room + REPLY_TOKENS + 10 + 16)
    return ContextWindow(history, token_counter, cut), token_counter


def fit(context: ContextWindow, truncation: Truncation = "auto", *, early: bool = False) -> bool:
    return context.fit(PREAMBLE, truncation, REPLY_TOKENS, early=early)


def size(history: History) -> int:
    token_counter = LetterMeter(0)
    return sum(map(token_counter.measure, to_messages(history)))


def spoken(history: History) -> list[bool]:
    """Of every reply that is told: whether its speech is."""
    replies = [message for message in to_messages(history) if message.role == "assistant"]
    return [part.speech for message in replies for part in message.content or () if isinstance(part, Tokens)]


def test_a_conversation_that_fits_is_left_alone() -> None:
    history = conversation(5)
    context, _ = keeper(history, size(history))
    assert not fit(context)
    assert spoken(history) == [True] * 5


def test_the_oldest_replies_lose_speech_and_keep_words() -> None:
    history = conversation(10)
    context, _ = keeper(history, size(history) - 1)
    assert fit(context)
    assert len(to_messages(history)) == 21
    assert spoken(history) == [False] * 8 + [True] * 2
    assert size(history) <= 305


def test_no_more_speech_goes_than_must() -> None:
    history = conversation(10)
    context, _ = keeper(history, size(history) - 1, cut=0.2)
    assert fit(context)
    assert spoken(history) == [False] * 4 + [True] * 6


def test_the_last_replies_keep_their_speech() -> None:
    history = conversation(4)
    context, _ = keeper(history, 100)
    assert fit(context)
    assert spoken(history)[-SPOKEN_REPLIES:] == [True] * len(spoken(history)[-SPOKEN_REPLIES:])


def test_next_the_oldest_turns_go_as_whole_exchanges() -> None:
    history = conversation(20, question=40)
    context, _ = keeper(history, 600)
    assert fit(context)
    messages = to_messages(history)
    assert messages[0].role == "system" and messages[1].role == "human"
    assert 200 < size(history) <= 300
    assert history.get("user19").payload is not None  # type: ignore[union-attr]


def test_the_last_turn_stays_whatever_its_size() -> None:
    history = conversation(3, question=5000)
    context, _ = keeper(history, 100)
    assert fit(context)
    assert [message.role for message in to_messages(history)] == ["system", "human", "assistant"]
    assert not fit(context)


def test_instructions_and_the_longest_reply_have_reserved_room() -> None:
    history = conversation(5)
    token_counter = LetterMeter(size(history) + REPLY_TOKENS + 16 + 9)
    assert ContextWindow(history, token_counter, 0.5).fit(PREAMBLE, "auto", REPLY_TOKENS)


def test_replies_may_have_half_the_context_at_most() -> None:
    history = conversation(5)
    token_counter = LetterMeter(2 * (size(history) + 30))
    assert not ContextWindow(history, token_counter, 0.5).fit(PREAMBLE, "auto", 10**6)


def test_while_nobody_waits_it_is_cut_earlier() -> None:
    history = conversation(10)
    context, _ = keeper(history, size(history) + 10)
    assert not fit(context)
    assert fit(context, early=True)


def test_disabled_is_never_cut() -> None:
    history = conversation(10)
    context, _ = keeper(history, 50)
    assert not fit(context, "disabled")
    assert not context.shorten("disabled")
    assert spoken(history) == [True] * 10


@pytest.mark.parametrize(("ratio", "most"), [(0.9, 540), (0.5, 300), (0.2, 120)])
def test_the_retention_ratio_is_the_share_that_stays(ratio: float, most: int) -> None:
    history = conversation(10)
    context, _ = keeper(history, 600)
    assert fit(context, RetentionRatio(retention_ratio=ratio))
    assert most - 60 <= size(history) <= most


def test_a_smaller_token_limit_of_clients_is_used() -> None:
    history = conversation(10)
    context, _ = keeper(history, 10_000)
    limit = TokenLimits(post_instructions=400)
    assert not fit(context)
    assert fit(context, RetentionRatio(retention_ratio=0.5, token_limits=limit))
    assert size(history) <= 200


def test_cuts_are_few_and_ids_are_measured_once() -> None:
    history = conversation(0)
    context, token_counter = keeper(history, 2000)
    cuts = 0
    for turn in range(1000):
        add_turn(history, turn)
        cuts += fit(context)
        assert size(history) <= 2000
    assert cuts <= 1000 * 60 / 1000  # at most one for every half room of new ids
    assert token_counter.measured < 5 * 1000


def test_a_deleted_item_is_not_counted_any_more() -> None:
    history = conversation(10)
    context, _ = keeper(history, size(history) - 1)
    history.delete("reply3")
    assert not fit(context)


def test_what_was_heard_stays_cut_without_its_speech() -> None:
    history = conversation(10)
    entry = history.get("reply0")
    assert entry is not None
    entry.payload = reply_message(range(50), 9_600)
    context, _ = keeper(history, size(history) - 1)
    fit(context)
    assert entry.payload == Message("assistant", (Tokens(tuple(range(50)), 9_600, speech=False),))


def test_old_user_audio_is_forgotten_in_big_steps() -> None:
    """Each step changes the prompt from its beginning on."""
    history = conversation(0)
    changes = 0
    for turn in range(100):
        before = to_messages(history)
        add_turn(history, turn, question=16_000)
        bound_audio(history, 20.0)
        changes += to_messages(history)[: len(before)] != before
        audio = [p for m in to_messages(history) for p in m.content or () if isinstance(p, Audio)]
        assert sum(len(part.samples) for part in audio) <= 20 * 16_000
    assert changes <= 20


@pytest.mark.parametrize(
    ("message", "about"),
    [
        (Message("human", "x" * 300), 100),
        (Message("human", (Audio("a", np.zeros(160_000, np.float32)),)), 127),
        (Message("assistant", (Tokens(tuple(range(100))),)), 100),
        (Message("human", None), 4),
    ],
)
def test_without_the_models_meter_sizes_are_estimated(message: Message, about: int) -> None:
    assert ApproximateTokenCounter().measure(message) == pytest.approx(about, abs=5)
