"""Items: order, ids, and what may be done to them."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from realtime.protocol.conversation import END_TOLERANCE_MS, MAX_ITEMS, Conversation
from realtime.protocol.errors import ProtocolError
from realtime.protocol.items import (
    AssistantMessage,
    InputAudio,
    InputText,
    OutputAudio,
    OutputText,
    UserMessage,
    with_audio,
    without_audio,
)
from realtime.protocol.response_stream import opening_message


def user(item_id: str) -> UserMessage:
    return UserMessage(id=item_id, content=(InputText(text="Hi"),))


def spoken(item_id: str, transcript: str = "Hello") -> AssistantMessage:
    return AssistantMessage(id=item_id, content=(OutputAudio(transcript=transcript),))


def conversation(*item_ids: str) -> Conversation[str]:
    made: Conversation[str] = Conversation("conv_1")
    for item_id in item_ids:
        made.add(user(item_id), f"payload of {item_id}")
    return made


def ids(of: Conversation[str]) -> list[str]:
    return [entry.item.id for entry in of]


def refusal(*arguments: object, action: str, on: Conversation[str]) -> ProtocolError:
    before = ids(on)
    with pytest.raises(ProtocolError) as caught:
        getattr(on, action)(*arguments, event_id="c1")
    assert ids(on) == before
    assert caught.value.event_id == "c1"
    return caught.value


def test_items_go_first_last_or_behind_another() -> None:
    talk = conversation("a", "b")
    talk.add(user("end"), "")
    talk.add(user("front"), "", previous_item_id="root")
    talk.add(user("between"), "", previous_item_id="a")
    assert ids(talk) == ["front", "a", "between", "b", "end"]
    assert talk.last_item_id == "end"


def test_the_predecessor_is_the_true_one() -> None:
    talk = conversation("a", "b", "c")
    assert [talk.predecessor(item_id) for item_id in "abc"] == [None, "a", "b"]
    talk.delete("b")
    assert talk.predecessor("c") == "a"
    assert talk.predecessor("b") is None


def test_an_unknown_previous_item_is_refused() -> None:
    talk = conversation("a")
    with pytest.raises(ProtocolError, match="'x' does not exist") as caught:
        talk.add(user("b"), "", previous_item_id="x", event_id="c1")
    assert (caught.value.param, caught.value.event_id) == ("previous_item_id", "c1")
    assert ids(talk) == ["a"]


def test_an_id_is_given_once() -> None:
    talk = conversation("a")
    with pytest.raises(ProtocolError) as caught:
        talk.add(user("a"), "")
    assert caught.value.code == "item_create_duplicate_item_id"
    talk.delete("a")
    talk.add(user("a"), "again")
    assert talk.retrieve("a").payload == "again"


def test_no_item_is_called_root() -> None:
    with pytest.raises(ProtocolError):
        conversation().add(user("root"), "")


@pytest.mark.parametrize("action", ["retrieve", "delete"])
def test_unknown_ids_have_a_code_of_their_own(action: str) -> None:
    error = refusal("x", action=action, on=conversation("a"))
    assert error.code == f"item_{action}_invalid_item_id"


def test_items_are_bounded() -> None:
    talk = conversation(*(str(number) for number in range(MAX_ITEMS)))
    with pytest.raises(ProtocolError) as caught:
        talk.add(user("one more"), "")
    assert caught.value.code == "conversation_full"


def test_announced_items_replace_the_oldest() -> None:
    talk = conversation(*(str(number) for number in range(MAX_ITEMS)))
    talk.make_room()
    talk.add(user("next"), "next")
    assert ids(talk)[0] == "1" and ids(talk)[-1] == "next" and len(talk) == MAX_ITEMS
    assert "0" not in talk


def test_audio_stays_outside_items_except_for_retrieval() -> None:
    talk = conversation()
    given = UserMessage(id="a", content=(InputText(text="x"), InputAudio(audio=b"\0\0")))
    entry = talk.add(given, "")
    assert entry.item == without_audio(given) != given
    assert with_audio(entry.item, 1, b"\0\0") == given
    assert with_audio(entry.item, 0, b"\0\0") == entry.item


def test_truncation_ends_at_the_audio_without_transcript() -> None:
    talk = conversation()
    entry = talk.add(spoken("a"), "payload")
    entry.audio_ms = 1000
    cut = talk.truncate("a", 0, 1000 + END_TOLERANCE_MS)
    assert (cut.audio_end_ms, cut.entry.payload) == (1000, "payload")
    assert talk.truncate("a", 0, 400).audio_end_ms == 400
    assert talk.truncate("a", 0, 400).audio_end_ms == 400
    assert talk.retrieve("a").item == AssistantMessage(id="a", content=(OutputAudio(),))


@pytest.mark.parametrize("behind", [END_TOLERANCE_MS + 1, 1000, 2**40])
def test_a_truncation_behind_the_audio_changes_nothing(behind: int) -> None:
    talk = conversation()
    talk.add(spoken("a"), "payload").audio_ms = 1000
    with pytest.raises(ProtocolError) as refused:
        talk.truncate("a", 0, 1000 + behind, event_id="c1")
    assert (refused.value.code, refused.value.param, refused.value.event_id) == ("invalid_value", "audio_end_ms", "c1")
    assert talk.retrieve("a").item == spoken("a")
    talk.truncate("a", 0, 400)
    with pytest.raises(ProtocolError):
        talk.truncate("a", 0, 900)


def test_replies_truncated_while_they_end_lose_their_transcript() -> None:
    talk = conversation()
    talk.add(opening_message("a"), "").audio_ms = 800
    assert talk.truncate("a", 0, 300).audio_end_ms == 300
    assert talk.update(spoken("a")) == AssistantMessage(id="a", content=(OutputAudio(),))
    assert talk.retrieve("a").item == AssistantMessage(id="a", content=(OutputAudio(),))


def test_updates_show_the_item_as_it_is() -> None:
    talk = conversation()
    talk.add(opening_message("a"), "")
    assert talk.update(spoken("a")) == spoken("a")
    talk.delete("a")
    assert talk.update(spoken("a")) == spoken("a")
    assert "a" not in talk


def test_only_speech_of_the_assistant_is_truncated() -> None:
    talk = conversation("user")
    talk.add(AssistantMessage(id="text", content=(OutputText(text="Hi"),)), "")
    talk.add(spoken("speech"), "")
    assert refusal("x", 0, 0, action="truncate", on=talk).code == "item_truncate_invalid_item_id"
    assert refusal("user", 0, 0, action="truncate", on=talk).param == "item_id"
    assert refusal("text", 0, 0, action="truncate", on=talk).param == "content_index"
    assert refusal("speech", 1, 0, action="truncate", on=talk).param == "content_index"


def test_user_transcripts_are_kept_in_the_item() -> None:
    talk = conversation("typed")
    talk.add(UserMessage(id="said", content=(InputAudio(),)), "")
    talk.set_transcript("said", 0, "What time is it?")
    assert talk.retrieve("said").item == UserMessage(id="said", content=(InputAudio(transcript="What time is it?"),))
    for nothing in (("typed", 0), ("said", 3), ("gone", 0)):
        talk.set_transcript(*nothing, "x")
    assert talk.retrieve("typed").item == user("typed")


class ConversationMachine(RuleBasedStateMachine):
    """Whatever clients do, the order is that of a plain list."""

    items = Bundle("items")

    def __init__(self) -> None:
        super().__init__()
        self.talk = conversation()
        self.order: list[str] = []
        self.made = 0

    @rule(target=items, place=st.sampled_from(["end", "front", "behind"]), data=st.data())
    def add(self, place: str, data: st.DataObject) -> str:
        self.made += 1
        item_id = f"item_{self.made}"
        if place == "behind" and self.order:
            previous = data.draw(st.sampled_from(self.order))
            self.talk.add(user(item_id), item_id, previous_item_id=previous)
            self.order.insert(self.order.index(previous) + 1, item_id)
        elif place == "front":
            self.talk.add(user(item_id), item_id, previous_item_id="root")
            self.order.insert(0, item_id)
        else:
            self.talk.add(user(item_id), item_id)
            self.order.append(item_id)
        return item_id

    @rule(item_id=consumes(items))
    def delete(self, item_id: str) -> None:
        assert self.talk.delete(item_id).payload == item_id
        self.order.remove(item_id)

    @invariant()
    def order_is_kept(self) -> None:
        assert ids(self.talk) == self.order
        assert len(self.talk) == len(self.order)
        assert [self.talk.predecessor(item_id) for item_id in self.order] == [None, *self.order][:-1]


TestConversationMachine = ConversationMachine.TestCase
