"""Watches one session's server events and complains about each that may not come there.

Its rules are those of the API's contract, written down once more and not derived from the server's code: what a
response and its items go through, which items there are and in which order, and that text is told the same
everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]


@dataclass
class _Output:
    """An output item while it is told."""

    item_id: str
    in_conversation: bool
    deltas: dict[str, str] = field(default_factory=dict)
    part_open: bool = False
    part_done: bool = False
    conversation_done: bool = False
    finished: set[str] = field(default_factory=set)


@dataclass
class _Response:
    id: str
    in_conversation: bool
    open: _Output | None = None
    done_items: list[str] = field(default_factory=list)
    announced: int = 0
    """How many output items were added."""
    done: bool = False


_DELTAS = {
    "response.output_text": "text",
    "response.output_audio_transcript": "transcript",
    "response.output_audio": None,
    "response.function_call_arguments": "arguments",
    "response.thinking": "thinking",
}
"""What streams, and the field that holds it whole."""


class Witness:
    """Give `see` each event in GA's shape. Raises AssertionError with the rule that was broken."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.items: list[str] = []
        """The conversation as a client knows it."""
        self.errors: list[Event] = []
        self.responses: dict[str, _Response] = {}
        self._announced: set[str] = set()
        self._deleted: set[str] = set()
        self._speech_item: str | None = None
        self._committed: str | None = None

    @property
    def active(self) -> list[_Response]:
        return [response for response in self.responses.values() if not response.done and response.in_conversation]

    def see(self, event: Event) -> None:
        kind = event["type"]
        assert self.events or kind == "session.created", f"{kind} came before session.created"
        self.events.append(event)
        self._rule(kind)(event)

    def _rule(self, kind: str) -> Callable[[Event], None]:
        stem, _, last = kind.rpartition(".")
        if stem in _DELTAS:
            return self._delta if last == "delta" else self._whole
        rules: dict[str, Callable[[Event], None]] = {
            "error": self.errors.append,
            "response.created": self._response_created,
            "response.done": self._response_done,
            "response.output_item.added": self._output_added,
            "response.output_item.done": self._output_done,
            "response.content_part.added": self._part_added,
            "response.content_part.done": self._part_done,
            "conversation.item.added": self._item_added,
            "conversation.item.done": self._item_done,
            "conversation.item.deleted": self._item_deleted,
            "conversation.item.truncated": self._item_known,
            "conversation.item.retrieved": lambda event: self._known(event["item"]["id"]),
            "input_audio_buffer.speech_started": self._speech_started,
            "input_audio_buffer.speech_stopped": self._speech_stopped,
            "input_audio_buffer.timeout_triggered": self._speech_started,
            "input_audio_buffer.committed": self._audio_committed,
        }
        return rules.get(kind, lambda _: None)

    # Responses

    def _response_created(self, event: Event) -> None:
        response = event["response"]
        assert response["status"] == "in_progress" and response["output"] == [], "a response begins empty"
        assert response["id"] not in self.responses, "a response is created once"
        in_conversation = response["conversation_id"] is not None
        assert not (in_conversation and self.active), "a conversation has one active response"
        self.responses[response["id"]] = _Response(response["id"], in_conversation)

    def _running(self, response_id: str) -> _Response:
        assert response_id in self.responses, "a response is created before all else"
        response = self.responses[response_id]
        assert not response.done, "nothing follows response.done"
        return response

    def _response_done(self, event: Event) -> None:
        told = event["response"]
        response = self._running(told["id"])
        assert response.open is None, "items are done before their response"
        kept = [item_id for item_id in response.done_items if item_id not in self._deleted]
        assert [item["id"] for item in told["output"]] == kept, "response.done holds the done items"
        assert told["status"] in ("completed", "cancelled", "incomplete", "failed")
        assert told["usage"] is not None
        usage = told["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        response.done = True

    def _output_added(self, event: Event) -> None:
        response = self._running(event["response_id"])
        item = event["item"]
        assert response.open is None, "output items come one after another"
        assert event["output_index"] == response.announced
        response.announced += 1
        assert item["status"] == "in_progress" and not item.get("content"), "an output item begins empty"
        response.open = _Output(item["id"], response.in_conversation)

    def _output(self, event: Event) -> _Output:
        output = self._running(event["response_id"]).open
        assert output is not None and output.item_id == event["item_id"], "an event of an item that is not open"
        return output

    def _part_added(self, event: Event) -> None:
        output = self._output(event)
        assert not output.part_open and not output.part_done
        assert event["part"].get("text", event["part"].get("transcript")) == "", "a part begins empty"
        output.part_open = True

    def _delta(self, event: Event) -> None:
        output = self._output(event)
        stem = event["type"].removesuffix(".delta")
        assert output.part_open or stem == "response.function_call_arguments", "deltas come inside of a part"
        assert stem not in output.finished, "no delta follows its done"
        output.deltas[stem] = output.deltas.get(stem, "") + event["delta"]

    def _whole(self, event: Event) -> None:
        output = self._output(event)
        stem = event["type"].removesuffix(".done")
        assert stem not in output.finished, "each kind of delta is done once"
        output.finished.add(stem)
        name = _DELTAS[stem]
        if name is not None:
            assert event[name] == output.deltas.get(stem, ""), "the deltas are the whole"

    def _part_done(self, event: Event) -> None:
        output = self._output(event)
        assert output.part_open and output.finished.issuperset(output.deltas), "all deltas are done before their part"
        said = event["part"].get("text", event["part"].get("transcript"))
        assert said == _said(output), "the deltas are the part"
        output.part_open, output.part_done = False, True

    def _output_done(self, event: Event) -> None:
        response, item = self._running(event["response_id"]), event["item"]
        output = response.open
        assert output is not None and output.item_id == item["id"] and not output.part_open
        assert output.conversation_done == output.in_conversation, "the conversation's item is done before the output's"
        assert output.finished.issuperset(output.deltas)
        assert item["status"] in ("completed", "incomplete")
        if item["type"] == "message":
            (part,) = item["content"]
            assert part.get("text", part.get("transcript")) == _said(output), "the deltas are the item"
        response.open = None
        response.done_items.append(item["id"])

    # Items

    def _known(self, item_id: str) -> None:
        assert item_id in self.items, f"item {item_id!r} is not in the conversation"

    def _item_known(self, event: Event) -> None:
        self._known(event["item_id"])

    def _item_added(self, event: Event) -> None:
        item_id, previous = event["item"]["id"], event["previous_item_id"]
        assert item_id and item_id not in self.items, "items have ids of their own"
        if previous is None:
            self.items.insert(0, item_id)
        else:
            self._known(previous)
            self.items.insert(self.items.index(previous) + 1, item_id)
        self._announced.add(item_id)
        if self._committed is not None:
            assert self._committed == item_id, "what is committed becomes the next item"
            self._committed = None

    def _item_done(self, event: Event) -> None:
        item_id = event["item"]["id"]
        assert item_id in self._announced, "an item is added before it is done, and done once"
        self._announced.discard(item_id)
        for response in self.responses.values():
            if response.open is not None and response.open.item_id == item_id:
                response.open.conversation_done = True

    def _item_deleted(self, event: Event) -> None:
        self._item_known(event)
        item_id = event["item_id"]
        self.items.remove(item_id)
        self._deleted.add(item_id)
        for response in self.responses.values():
            if response.open is not None and response.open.item_id == item_id:
                response.open = None  # a deleted item gets no done events

    # Speech

    def _speech_started(self, event: Event) -> None:
        assert event["item_id"] not in self.items
        self._speech_item = event["item_id"]

    def _speech_stopped(self, event: Event) -> None:
        assert event["item_id"] == self._speech_item, "speech stops that has started"

    def _audio_committed(self, event: Event) -> None:
        if self._speech_item is not None:
            assert event["item_id"] == self._speech_item, "a turn keeps its item's id"
            self._speech_item = None
        assert event["previous_item_id"] == (self.items[-1] if self.items else None)
        self._committed = event["item_id"]


def _said(output: _Output) -> str:
    deltas = output.deltas
    return deltas.get("response.output_text", "") + deltas.get("response.output_audio_transcript", "")
