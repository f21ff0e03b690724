"""The engine that sessions use: `EngineCore` in a thread of its own, behind the port.

Every call is carried into the thread, in order; a generation's events are carried back to the event loop that asked.

A stuck thread is given up with its core and replaced by a new one (`ThreadedEngine.abandon`, `renew`). The two share
the model's weights, which nobody changes, and nothing else: no KV cache, no features, no grammars.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from realtime.engine.conversation import ConversationState, PromptRequest
from realtime.engine.engine import NO_TIMINGS, EngineCore
from realtime.engine.incarnation import Incarnation
from realtime.engine.preparation import PreparationThreads
from realtime.engine.sequence import Deliver, Job, Purpose, deliver_nothing
from realtime.engine.worker import Worker, describe
from realtime.errors import EngineError
from realtime.ports.engine import Conversation, Generation, GenerationDone, GenerationOptions, TokenDelta, TokenUsage
from realtime.ports.messages import Message
from realtime.ports.tool_calls import CallableFunction

logger = logging.getLogger(__name__)

T = TypeVar("T")


class _EngineThread(Incarnation):
    """A core in its thread."""

    def __init__(self, core: EngineCore) -> None:
        super().__init__(Worker("engine", core.step, core.fail_all, core.cancel_all, core.due))
        self.core = core
        self._preparing = PreparationThreads(self.worker)
        core.prepare_elsewhere(self._preparing)

    def start(self) -> None:
        self._preparing.start()
        self.worker.start()

    def stop(self, timeout: float) -> None:
        self._preparing.stop()
        self.worker.stop(timeout)

    def lose(self, fault: EngineError) -> None:
        self._preparing.stop()
        super().lose(fault)


class ThreadedEngine:
    """`realtime.ports.engine.Engine` over one `EngineCore` in its own thread. `start` first, `stop` at the end."""

    def __init__(self, core: EngineCore, make_core: Callable[[], EngineCore] | None = None) -> None:
        """``make_core``: another core, to go on with when the thread is stuck; it must share nothing that changes with
        the first one."""
        self._make_core = make_core
        self._thread = _EngineThread(core)

    @property
    def worker(self) -> Worker:
        """The engine's thread, for supervision."""
        return self._thread.worker

    @property
    def jobs(self) -> int:
        """How many generations run or wait."""
        return self._core.jobs

    @property
    def slots(self) -> int:
        """KV caches that there may be."""
        return self._core.slots

    @property
    def open_slots(self) -> int:
        """KV caches that conversations hold."""
        return self._core.open_slots

    @property
    def urgent(self) -> bool:
        """`EngineCore.urgent`, unless the thread is stuck in it."""
        return self._core.urgent and self.worker.responds

    @property
    def _core(self) -> EngineCore:
        return self._thread.core

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread; running generations end as cancelled."""
        self._thread.stop(timeout)

    def abandon(self, reason: str) -> None:
        """Give the thread up. All generations end as failed, and so do new ones until `renew`. Its conversations are
        lost (`Conversation.lost`). From any thread."""
        self._thread.lose(EngineError(reason))

    def renew(self) -> None:
        """Start a new thread after `abandon`. Takes as long as making a core. Raises `EngineError` where no other core
        can be made."""
        if self._make_core is None:
            raise EngineError("this engine cannot be replaced")
        thread = _EngineThread(self._make_core())
        thread.start()
        self._thread = thread

    def open(self, name: str) -> Conversation:
        return _ThreadConversation(ConversationState(name), self._thread)

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Carry out something short in the engine's thread, before its next step. Gives its result or its exception."""
        future: Future[T] = Future()
        self.worker.put(lambda: future.set_result(work()), future.set_exception)
        return future


class _ThreadConversation:
    """`realtime.ports.engine.Conversation`: carries every call into the engine's thread, in order."""

    def __init__(self, state: ConversationState, thread: _EngineThread) -> None:
        self._state = state
        self._thread = thread
        self._worker = thread.worker

    @property
    def lost(self) -> bool:
        return self._thread.lost

    def append_audio(self, audio_id: str, samples: NDArray[np.float32]) -> None:
        self._change(partial(self._state.append_audio, audio_id, samples))

    def add_reply(self, reply_id: str, ids: Sequence[int]) -> None:
        self._change(partial(self._state.add_reply, reply_id, ids))

    def define_functions(self, functions: Sequence[CallableFunction]) -> None:
        self._change(partial(self._state.define_functions, functions))

    def forget(self, content_ids: Sequence[str]) -> None:
        self._change(partial(self._state.forget, content_ids))

    def append(self, messages: Sequence[Message]) -> None:
        self._change(partial(self._state.append, messages))

    def truncate(self, length: int) -> None:
        self._change(partial(self._state.truncate, length))

    def replace(self, start: int, stop: int, messages: Sequence[Message]) -> None:
        self._change(partial(self._state.replace, start, stop, messages))

    def generate(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        return _ThreadGeneration(self._state, options, _purpose(speculative), self._thread).submit()

    def prefetch(self, options: GenerationOptions) -> None:
        job = _new_job(self._state, options, Purpose.PREFETCH, deliver_nothing)
        self._worker.put(partial(_submit, self._thread.core, self._state, job))

    def fork(self, name: str) -> Conversation:
        state = ConversationState(name)
        self._worker.put(partial(state.fork_from, self._state), state.broke)
        return _ThreadConversation(state, self._thread)

    def close(self) -> None:
        self._worker.put(partial(self._thread.core.release, self._state.name))

    def _change(self, command: Callable[[], None]) -> None:
        self._worker.put(command, self._state.broke)


def _new_job(state: ConversationState, options: GenerationOptions, purpose: Purpose, deliver: Deliver) -> Job:
    """A job whose messages are still to be read, in the engine's thread (`_submit`)."""
    return Job(PromptRequest(state.name, (), options), deliver, time.monotonic(), purpose)


def _submit(core: EngineCore, state: ConversationState, job: Job, answering: Job | None = None) -> None:
    """Queue the job with the conversation as it is now, or with the messages that ``answering`` has. Raises what broke
    the conversation."""
    job.request = state.request(job.request.options)
    if answering is not None:
        job.request = replace(job.request, messages=answering.request.messages)
    core.submit(job)


def _purpose(speculative: bool) -> Purpose:
    return Purpose.SPECULATIVE if speculative else Purpose.REPLY


class _ThreadGeneration:
    """Submits a job, and carries its events from the engine's thread to the event loop that asked."""

    def __init__(
        self, state: ConversationState, options: GenerationOptions, purpose: Purpose, thread: _EngineThread
    ) -> None:
        self._state = state
        self._thread = thread
        self._core = thread.core
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[TokenDelta | GenerationDone] = asyncio.Queue()
        self._job = _new_job(state, options, purpose, self._deliver)

    def submit(self, answering: _ThreadGeneration | None = None) -> _ThreadGeneration:
        """Queue it, with the messages that ``answering`` has; None: as the conversation is now."""
        answered = None if answering is None else answering._job
        self._thread.join(self)
        self._put(partial(_submit, self._core, self._state, self._job, answered))
        return self

    def lose(self, fault: EngineError) -> None:
        """The engine's thread was given up."""
        self._hand_over(GenerationDone("failed", TokenUsage(), NO_TIMINGS, describe(fault)))

    def _deliver(self, event: TokenDelta | GenerationDone) -> None:
        """What the engine made, in its thread. What a lost thread makes is not wanted: its caller has been told."""
        if self._thread.lost:
            return
        if isinstance(event, GenerationDone):
            self._thread.leave(self)
        self._hand_over(event)

    def _hand_over(self, event: TokenDelta | GenerationDone) -> None:
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the loop is closed: no one listens any more
            logger.debug("an event of a generation came after its event loop had ended")

    def _put(self, command: Callable[[], None]) -> None:
        """A command that fails ends this generation as failed."""
        self._thread.worker.put(command, self._failed)

    def _failed(self, fault: BaseException) -> None:
        if not self._thread.lost:  # else `lose` has told the caller, and the core may be in use still
            self._core.fail(self._job, fault)

    def confirm(self) -> None:
        self._put(partial(self._core.confirm, self._job))

    def cancel(self) -> None:
        self._put(partial(self._core.cancel, self._job))

    def again(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        return _ThreadGeneration(self._state, options, _purpose(speculative), self._thread).submit(self)

    async def __aiter__(self) -> AsyncIterator[TokenDelta | GenerationDone]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, GenerationDone):
                return
