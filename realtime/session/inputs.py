"""The session's one input queue: everything that can change a session arrives here and is handled in order.

An input is a frozen value with the time at which it arrived: a client's event, audio, an expired timer, progress of
work outside the session (engine, vocoder, tools, models), an event that the transport has sent, the end.
`InputQueue.run` handles one after the other; nothing else changes the state of a session. So the inputs, with their
times, are enough to run a session again (`realtime.session.journal`, `realtime.bench.replay`).

`InputQueue.now` is the arrival time of the input being handled. All parts of a session read that clock and no other.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from realtime.errors import SessionEnd
from realtime.ports.channel import Report
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import ClientEvent

CALLER = 0
"""The source of an event that came over the caller's own connection; side connections count from 1."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClientEventReceived:
    """A client event other than audio. ``source``: the connection that sent it."""

    event: ClientEvent
    source: int = CALLER


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """Bytes of the caller's audio, in the session's input format; may end within a sample."""

    data: bytes


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """A message that could not be decoded."""

    error: ProtocolError
    source: int = CALLER


@dataclass(frozen=True, slots=True)
class EventSent:
    """The transport took over the event with this number of the outbox."""

    number: int


@dataclass(frozen=True, slots=True)
class TimerExpired:
    """A timer of `realtime.session.work.Timers`."""

    timer: int


@dataclass(frozen=True, slots=True)
class WorkProgress:
    """A result of work outside the session: a token delta, an audio chunk, a tool's result, a probability."""

    work: int
    value: Any


@dataclass(frozen=True, slots=True)
class WorkEnded:
    """Work outside the session has ended; ``fault`` says why if it failed."""

    work: int
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """The session ends for this reason."""

    reason: SessionEnd


Input = (
    ClientEventReceived
    | AudioReceived
    | MessageRefused
    | Report
    | EventSent
    | TimerExpired
    | WorkProgress
    | WorkEnded
    | Ending
)


class Recorder(Protocol):
    """Keeps the inputs of one session."""

    def record(self, at: float, input: Input) -> None:
        """Note an input, before it is handled."""

    def last(self, count: int) -> Iterator[str]:
        """The last inputs in words, without anything that was said; none where they are kept elsewhere."""

    def read(self, name: str, source: Callable[[], T]) -> T:
        """The value of something outside the session that is read while an input is handled (a clock, a quota), noted
        beside that input. A replay gives the noted value."""

    async def read_later(self, name: str, source: Callable[[], Awaitable[T]]) -> T:
        """`read` for a value that takes time to get. The next input is handled after it."""


@dataclass(slots=True)
class _Waiting:
    at: float
    input: Input
    handled: asyncio.Future[None] | None = None


class InputQueue:
    """One session's inputs. `put` from anywhere on the event loop; `run` handles them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, recorder: Recorder | None = None) -> None:
        """``clock``: seconds, monotonic; read when an input arrives."""
        self.clock = clock
        self.recorder = recorder
        self._now = clock()
        self._waiting: deque[_Waiting] = deque()
        self._deferred: deque[Callable[[], None]] = deque()
        self._filled = asyncio.Event()
        self._closed = False

    def now(self) -> float:
        """The time of the input that is being handled, or was handled last, in seconds."""
        return self._now

    @property
    def depth(self) -> int:
        """Inputs that wait, with the one that is being handled."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be handled."""
        return not self._waiting

    def last(self, count: int) -> Iterator[str]:
        """The last inputs in words, to log after a fault."""
        return self.recorder.last(count) if self.recorder is not None else iter(())

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle | None:
        """Call back on the event loop; None where a replay brings what the callback would put."""
        return asyncio.get_running_loop().call_later(seconds, callback)

    def defer(self, callback: Callable[[], None]) -> None:
        """Call back at the end of the input that is being handled: after all that it leads to, before the next."""
        self._deferred.append(callback)

    def run_deferred(self) -> None:
        """Call what was deferred, and what that defers."""
        while self._deferred:
            self._deferred.popleft()()

    def put(self, input: Input) -> None:
        """Queue an input that has just arrived. Inputs that arrive after the end are dropped."""
        self._append(_Waiting(self.clock(), input))

    async def offer(self, input: Input) -> None:
        """Queue an input and return when it was handled, so that a sender is read no faster than it is served."""
        handled = asyncio.get_running_loop().create_future()
        self._append(_Waiting(self.clock(), input, handled))
        await handled

    async def run(self, handle: Callable[[Input], Awaitable[None]]) -> None:
        """Handle inputs in order until ``handle`` raises or the task is cancelled."""
        try:
            while True:
                while not self._waiting:
                    self._filled.clear()
                    await self._filled.wait()
                await self._handle(self._waiting[0], handle)
        finally:
            self._closed = True
            for waiting in self._waiting:
                _settle(waiting)
            self._waiting.clear()
            self._deferred.clear()

    async def _handle(self, waiting: _Waiting, handle: Callable[[Input], Awaitable[None]]) -> None:
        self._now = waiting.at
        if self.recorder is not None:
            self.recorder.record(waiting.at, waiting.input)
        await handle(waiting.input)
        self._waiting.popleft()
        _settle(waiting)

    def _append(self, waiting: _Waiting) -> None:
        if self._closed:
            _settle(waiting)
            return
        self._waiting.append(waiting)
        self._filled.set()


def _settle(waiting: _Waiting) -> None:
    if waiting.handled is not None and not waiting.handled.done():
        waiting.handled.set_result(None)
