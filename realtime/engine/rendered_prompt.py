"""A prompt as the engine computes it: rendered messages, each made once, side by side. No tensors.

A position of the KV cache is known by its *key*: the token id, or for audio (name of the segment, index of the
feature). Two prompts share as much of the cache as their keys agree from the start.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.engine.held_audio import HeldAudio
from realtime.model.features import split_segments
from realtime.model.prompt import AudioSpan
from realtime.ports.messages import Audio, Message

Key = int | tuple[str, int]


class Samples(Protocol):
    """Where a segment's samples are read: `realtime.ports.messages.Audio` or
    `realtime.engine.conversation.HeldAudio`."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Samples ``start`` to ``stop`` of a recording, encoded as one. Segments of one ``name`` have equal samples."""

    name: str
    audio: Samples
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class RenderedMessage:
    """One message's ``ids``, the ``keys`` of its positions, its audio ``segments`` and, for each, a span that says
    where its features go, counted from the message's beginning."""

    ids: tuple[int, ...]
    keys: tuple[Key, ...]
    segments: tuple[Segment, ...] = ()
    spans: tuple[AudioSpan, ...] = ()


class RenderedPrompt:
    """Messages one after the other. ``length``: positions in all."""

    def __init__(self, messages: Sequence[RenderedMessage]) -> None:
        self.messages = tuple(messages)
        self.ends = tuple(accumulate(len(message.ids) for message in self.messages))
        self.length = self.ends[-1] if self.ends else 0

    @property
    def last_id(self) -> int:
        return self.messages[-1].ids[-1]

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(segment for message in self.messages for segment in message.segments)

    def ids(self, start: int, stop: int) -> list[int]:
        """Of positions ``start`` to ``stop``."""
        return [id_ for message, begin, end in self._within(start, stop) for id_ in message.ids[begin:end]]

    def keys(self, start: int, stop: int) -> list[Key]:
        """Of positions ``start`` to ``stop``."""
        return [key for message, begin, end in self._within(start, stop) for key in message.keys[begin:end]]

    def spans(self, start: int, stop: int) -> tuple[AudioSpan, ...]:
        """Where features go in positions ``start`` to ``stop``, counted from ``start``."""
        return tuple(
            replace(span, offset=span.offset - begin + done)
            for done, (message, begin, _) in self._offsets(start, stop)
            for span in message.spans
        )

    def distinct_ids(self) -> set[int]:
        """Every id that the prompt has."""
        return set[int]().union(*(message.ids for message in self.messages))

    def audio_positions(self, stop: int) -> int:
        """How many of the first ``stop`` positions are audio features."""
        return sum(
            max(0, min(span.offset + span.count, end) - span.offset)
            for message, _, end in self._within(0, stop)
            for span in message.spans
        )

    def _within(self, start: int, stop: int) -> Iterator[tuple[RenderedMessage, int, int]]:
        """The messages that overlap, each with the part of it that does."""
        index = bisect_right(self.ends, start)
        begin = self.ends[index - 1] if index else 0
        while index < len(self.messages) and begin < stop:
            message, end = self.messages[index], self.ends[index]
            yield message, max(0, start - begin), min(end, stop) - begin
            begin, index = end, index + 1

    def _offsets(self, start: int, stop: int) -> Iterator[tuple[int, tuple[RenderedMessage, int, int]]]:
        """As `_within`, each with the positions that come before it."""
        done = 0
        for message, begin, end in self._within(start, stop):
            yield done, (message, begin, end)
            done += end - begin


def segments_of(message: Message) -> tuple[Segment, ...]:
    """Of the message's recordings, in order. A segment's name says where it ends and how much of it is silence that was
    added: that silence may give way to speech, while what was recorded stays."""
    segments = []
    for part in message.content if isinstance(message.content, tuple) else ():
        if isinstance(part, Audio | HeldAudio):
            for start, stop in split_segments(part.length):
                name = f"{part.id}:{min(stop, part.recorded)}+{max(0, stop - part.recorded)}"
                segments.append(Segment(name, part, start, stop))
    return tuple(segments)
