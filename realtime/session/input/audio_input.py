"""The caller's audio: wire bytes -> samples at 16 kHz, speech events, and the audio of the open turn.

All positions are samples at 16 kHz since the session began. What is kept is bounded: the open turn (which
`turn_taking` ends at its limit), else only what a turn that begins now could reach back to, and without turn
detection the last ``limits.turn_s`` seconds for the client to commit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from realtime.audio.noise_reduction import NoiseReducer
from realtime.audio.streams import AudioFormat, AudioReader, Samples, samples_of_ms
from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.turns.echo import MAX_HOLD_MS, EchoGate
from realtime.turns.endpointing import Endpointer, EndpointingConfig
from realtime.turns.events import SpeechEvent
from realtime.turns.vad import VoiceDetector

_SLICE_MS = 100
"""Audio is taken in slices of this length, so that a client that sends minutes at once does not hold up the others."""

_DECISION_MS = 500 + MAX_HOLD_MS
"""The start of speech is decided this much after its first voiced frame, at most (`EndpointingConfig`, `EchoGate`)."""


Playing = Callable[[int, int], Samples]
"""Of a position and a count: what was played while the ``count`` samples before it were taken, float32 [count]."""


def silence_played(end: int, count: int) -> Samples:
    """No speech of the server is ever heard."""
    return np.zeros(count, np.float32)


class AudioInput:
    """One caller's input stream."""

    def __init__(
        self, detector: VoiceDetector, format: AudioFormat, *, keep_s: float, echo_reference: Playing = silence_played
    ) -> None:
        """``echo_reference``: what the caller's loudspeaker plays of the server's speech, for `gate_echo`."""
        self.received = 0
        self._reader = AudioReader(format, MODEL_SAMPLE_RATE)
        self._reducer: NoiseReducer | None = None
        self._endpointer = Endpointer(detector)
        self._own_voice = echo_reference
        self._detecting = False
        self._unjudged: list[Samples] = []  # stored by a flush; the endpointer counts every sample
        self._keep = int(keep_s * MODEL_SAMPLE_RATE)
        self._buffer = _Buffer()
        self._turn_open = False
        self._taken_until = 0

    @property
    def format(self) -> AudioFormat:
        """How the client's bytes are read."""
        return self._reader.format

    @format.setter
    def format(self, format: AudioFormat) -> None:
        if format != self._reader.format:
            self._flush_reader()
            self._reader = AudioReader(format, MODEL_SAMPLE_RATE)

    @property
    def uncommitted_ms(self) -> int:
        """Audio received since the last commit or clear, in ms, whether or not it is still kept."""
        return (self.received - self._taken_until) * 1000 // MODEL_SAMPLE_RATE

    @property
    def kept(self) -> int:
        """Samples in memory."""
        return len(self._buffer)

    @property
    def kept_from(self) -> int:
        """Position of the first sample in memory, where `peek` begins."""
        return self._buffer.start

    def detect(self, config: EndpointingConfig | None) -> None:
        """Find speech by these rules from now on, or not at all."""
        if config is not None:
            if not self._detecting:
                self._unjudged.clear()
                self._endpointer.skip_to(self.received)
            self._endpointer.config = config
        self._detecting = config is not None

    def gate_echo(self, on: bool) -> None:
        """Take our own voice from the loudspeaker for silence from now on, or for speech."""
        if on != self._endpointer.gated:
            self._endpointer.gate_echo(EchoGate() if on else None)

    def reduce_noise(self, most_db: float | None) -> None:
        """Lower steady noise by so much from now on, or not at all."""
        self._flush_reducer()
        self._reducer = None if most_db is None else NoiseReducer(most_db)

    def settle(self) -> None:
        """The client's stream of bytes ends here, and another begins with the next byte.

        Half a sample is dropped. What the change of rate (2 ms) and the noise reduction (32 ms) hold back is taken in.
        """
        self._flush_reader()
        self._flush_reducer()

    def slices(self, data: bytes) -> Iterator[bytes]:
        """The bytes in pieces for `push`."""
        size = max(1, self.format.rate * _SLICE_MS // 1000 * self.format.sample_bytes)
        return (data[start : start + size] for start in range(0, len(data), size))

    def push(self, data: bytes) -> Iterator[SpeechEvent]:
        """Hear a slice; gives what was found, in order. Consume it all before the next call."""
        yield from self._take(self._reader.push(data))

    def push_samples(self, samples: Samples) -> Iterator[SpeechEvent]:
        """As `push`, for audio that is decoded: float32 at 16 kHz, any number."""
        yield from self._take(samples)

    def push_silence(self, count: int) -> Iterator[SpeechEvent]:
        """As `push`, for ``count`` samples at 16 kHz that did not come: they count as silence."""
        yield from self.push_samples(np.zeros(count, np.float32))

    def _take(self, samples: Samples) -> Iterator[SpeechEvent]:
        self._store(self._reduced(samples))
        if self._detecting:
            unjudged = np.concatenate(self._unjudged)
            self._unjudged.clear()
            yield from self._endpointer.push(unjudged, self._own_voice(self.received, len(unjudged)))
        self._forget_old()

    def begin_turn(self, start: int) -> int:
        """Keep everything from ``start`` on, as far as it is there; gives where the turn really begins."""
        self._turn_open = True
        self._buffer.drop_until(start)
        return self._buffer.start

    def tail(self, count: int) -> Samples:
        """The last ``count`` samples of what is kept, or fewer."""
        return self._buffer.last(count)

    def set_completion_probability(self, voiced_until: int, finished: float) -> None:
        """A model's word on the pause after ``voiced_until``: the probability that the turn is over."""
        self._endpointer.set_completion_probability(voiced_until, finished)

    def begin_overlap(self, *, words: bool = False) -> None:
        """The speech that has just started is over our own: `BargeInConfirmed` or `FalseInterruption` comes first, and
        with ``words`` perhaps a `TranscriptRequested`."""
        self._endpointer.begin_overlap(words=words)

    def apply_word_verdict(self, voiced_until: int, *, wants_floor: bool) -> list[SpeechEvent]:
        """What the short word that was asked for wants."""
        return list(self._endpointer.apply_word_verdict(voiced_until, wants_floor=wants_floor))

    def end_overlap(self) -> None:
        """No verdict is needed any more."""
        self._endpointer.end_overlap()

    def decide(self) -> list[SpeechEvent]:
        """The verdict now, if one is awaited."""
        return list(self._endpointer.decide())

    def forget_speech(self) -> None:
        """The turn was ended by a commit, a clear or a limit: the endpointer must not end it once more."""
        self._turn_open = False
        self._endpointer.end_speech()

    def take(self, end: int) -> Samples:
        """The uncommitted audio up to ``end``, float32 at 16 kHz; it is the turn's and no longer kept.

        What was received since is the silence in which the turn's end was decided: nobody has to commit it.
        """
        samples = self._buffer.peek_until(end)
        self.pass_over(end)
        return samples

    def pass_over(self, end: int) -> None:
        """As `take`, for who has peeked at it already."""
        self._turn_open = False
        self._taken_until = self.received
        self._buffer.drop_until(end)

    def peek(self, end: int) -> Samples:
        """What `take` would give; it stays."""
        return self._buffer.peek_until(end)

    def drop(self) -> None:
        """Forget the uncommitted audio, and what is still on its way to it."""
        self.settle()
        self.pass_over(self.received)

    def _reduced(self, samples: Samples) -> Samples:
        return samples if self._reducer is None else self._reducer.push(samples)

    def _flush_reader(self) -> None:
        self._store(self._reduced(self._reader.flush()))

    def _flush_reducer(self) -> None:
        if self._reducer is not None:
            self._store(self._reducer.flush())

    def _store(self, samples: Samples) -> None:
        self.received += len(samples)
        self._buffer.append(samples)
        if self._detecting:
            self._unjudged.append(samples)

    def _forget_old(self) -> None:
        if self._turn_open:
            return
        keep = self._keep
        if self._detecting:
            reach_ms = self._endpointer.config.prefix_padding_ms + _DECISION_MS
            keep = min(keep, samples_of_ms(reach_ms, MODEL_SAMPLE_RATE))
        self._buffer.drop_until(self.received - keep)


class _Buffer:
    """Samples with their positions: appended at the end, taken from the start."""

    def __init__(self) -> None:
        self.start = 0
        self._end = 0
        self._blocks: deque[Samples] = deque()

    def __len__(self) -> int:
        return self._end - self.start

    def append(self, samples: Samples) -> None:
        if len(samples):
            self._blocks.append(samples)
            self._end += len(samples)

    def drop_until(self, position: int) -> None:
        """Remove what lies before ``position``."""
        while self._blocks and self.start < position:
            block = self._blocks.popleft()
            cut = min(len(block), position - self.start)
            self.start += cut
            if cut < len(block):
                # A copy: a view would keep the whole block in memory.
                self._blocks.appendleft(block[cut:].copy())

    def peek_until(self, position: int) -> Samples:
        """A copy of what lies before ``position``. All is in one block from then on, which is soon dropped: of the many
        small ones of a long turn it takes a millisecond."""
        if not self._blocks:
            return np.zeros(0, np.float32)
        known = np.concatenate(self._blocks)
        self._blocks = deque((known,))
        return known[: max(0, position - self.start)].copy()

    def last(self, count: int) -> Samples:
        """A copy of the last ``count`` samples."""
        blocks: list[Samples] = []
        for block in reversed(self._blocks):
            if count <= 0:
                break
            blocks.append(block[-count:])
            count -= len(blocks[-1])
        return np.concatenate(blocks[::-1]) if blocks else np.zeros(0, np.float32)
