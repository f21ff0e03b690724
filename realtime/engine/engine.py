"""The engine: many conversations on one model, in a thread of its own. Knows no sockets and no sessions.

`EngineCore` is the synchronous part: jobs in, one `step` at a time, events out. `realtime.engine.threaded` runs it in a
thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from realtime.engine.budgets import PrefillBudgets
from realtime.engine.conversation import PromptMessage, PromptRequest
from realtime.engine.preparation import Elsewhere, Preparation, Preparations
from realtime.engine.rendered_prompt import RenderedMessage, RenderedPrompt, Segment
from realtime.engine.reply_state import DecodeState
from realtime.engine.scheduler import Prefill, Scheduler
from realtime.engine.sequence import Cache, Job, Purpose, Slot, SlotTable, deliver_nothing
from realtime.engine.worker import describe
from realtime.ports.engine import (
    GenerationDone,
    GenerationOptions,
    GenerationTimings,
    Reason,
    TokenDelta,
    TokenUsage,
    reply_room,
)
from realtime.ports.messages import Message

logger = logging.getLogger(__name__)

PREFILL_TOKENS = 256
"""Prompt ids computed between two decode rounds: the longest pause that a new caller puts into running replies."""


REPORT_SECONDS = 5.0
"""So often the caller of a reply is told that the engine works while it makes nothing for it yet."""

NO_TIMINGS = GenerationTimings(0.0, 0.0, 0.0, 0.0, 0)
HOLD_SECONDS = 0.01
"""How soon to look again whether others still have urgent work."""


class Runner(Protocol):
    """The model as the engine sees it (`realtime.engine.runner.ModelRunner`); the only part that has tensors."""

    @property
    def max_tokens(self) -> int:
        """Positions of one KV cache."""

    def new_cache(self) -> Cache: ...

    def render(self, message: Message) -> RenderedMessage: ...

    def render_opening(self, options: GenerationOptions) -> RenderedMessage:
        """The assistant's turn that a reply continues."""

    def preparations(self, request: PromptRequest, *, decodes: bool) -> Iterable[Preparation]:
        """Slow work that this request needs and that is not done yet. ``decodes``: a reply will be made."""

    def has_features(self, conversation: str, segment: Segment) -> bool: ...

    def encode(self, conversation: str, segment: Segment) -> None:
        """Compute a segment's features and keep them for this conversation."""

    def keep_features(self, conversation: str, names: frozenset[str]) -> None:
        """Drop the features of this conversation's other segments."""

    def prefill(self, slot: Slot, prompt: RenderedPrompt, start: int, stop: int) -> Any: ...

    def begin_decode(self, slot: Slot, prompt: RenderedPrompt, request: PromptRequest, logits: Any) -> DecodeState: ...

    def decode(self, states: list[DecodeState]) -> None: ...


class EngineCore:
    """Jobs in, `step` until idle, events out through each job's ``deliver``. One thread only."""

    def __init__(
        self,
        runner: Runner,
        *,
        slots: int,
        asides: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        """``slots``: KV caches, of which ``asides`` for replies out of band (None: all). ``pressed``: whether somebody
        else has urgent work for the same processor."""
        self._runner = runner
        self._preparations = Preparations()
        self.slots = slots
        self._slots = SlotTable(slots, runner.new_cache, asides)
        self._scheduler = Scheduler(PREFILL_TOKENS)
        self._pressed = pressed
        self._budgets = PrefillBudgets(runner.max_tokens, clock)
        self._jobs: list[Job] = []
        self._clock = clock

    @property
    def idle(self) -> bool:
        return not self._jobs

    @property
    def jobs(self) -> int:
        """How many generations run or wait."""
        return len(self._jobs)

    @property
    def open_slots(self) -> int:
        return len(self._slots)

    @property
    def urgent(self) -> bool:
        """Whether a reply in a conversation needs the processor now. From any thread."""
        return self._scheduler.urgent

    def prepare_elsewhere(self, elsewhere: Elsewhere) -> None:
        """Do slow preparations there from now on."""
        self._preparations = Preparations(elsewhere)

    def submit(self, job: Job) -> None:
        """Queue a job. It ends the speculative replies and prefetches of its conversation: it does that work itself.
        One whose session or key has used up its budget ends at once."""
        for other in self._jobs:
            if other.purpose is not Purpose.REPLY and other.request.conversation == job.request.conversation:
                other.cancelled = True
        if wait := self._budgets.wait(job):
            self._finish(job, "over_budget", f"Ask again in {wait:.1f} s.")
        else:
            self._jobs.append(job)

    def confirm(self, job: Job) -> None:
        """A speculative reply is wanted now."""
        job.purpose = Purpose.REPLY
        job.confirmed = self._clock()

    def cancel(self, job: Job) -> None:
        """End a job with the next step."""
        job.cancelled = True

    def fail(self, job: Job, fault: BaseException) -> None:
        """End a job as failed, whether it was queued or not. Does nothing to one that has ended."""
        self._finish(job, "failed", describe(fault))

    def release(self, conversation: str) -> None:
        """Cancel what this conversation has running and forget it."""
        for job in self._jobs:
            if job.request.conversation == conversation:
                job.cancelled = True
        self._drop_cancelled()
        try:
            self._slots.release(conversation)
        finally:
            self._runner.keep_features(conversation, frozenset())

    def cancel_all(self) -> None:
        """End every job as cancelled."""
        for job in list(self._jobs):
            self._finish(job, "cancelled")

    def fail_all(self, fault: BaseException) -> None:
        """End every job as failed: something broke that belongs to none of them."""
        for job in list(self._jobs):
            self.fail(job, fault)

    def step(self) -> bool:
        """Do one thing: a decode round or a piece of prefill. False when nothing can be done now."""
        self._drop_cancelled()
        self._take_slots()
        now = self._clock()
        runnable = [job for job in self._jobs if job.slot is not None and not job.rest(now)]
        action = self._scheduler.choose(runnable, now, self._pressed())
        if action is None:
            if self._scheduler.holds_back:
                self._report()
            return False
        if isinstance(action, Prefill):
            with self._border(action.job):
                self._prefill_timed(action.job, action.most)
        else:
            self._decode(action.jobs)
        self._report()
        return True

    def _report(self) -> None:
        """Tell callers whose jobs take their turn, by an empty delta, that they have: a long prompt on a slow machine
        and a queue are no reason to give up. A job that waits for a preparation, or for its conversation's cache while
        others are free, is not reported: it may wait for ever."""
        now = self._clock()
        for job in list(self._jobs):
            if job.purpose is not Purpose.REPLY or job.ended or not (job.slot is not None or self._is_queued(job)):
                continue
            if job.reported is None:
                job.reported = now
            elif now - job.reported >= REPORT_SECONDS:
                job.reported = now
                self._deliver(job, TokenDelta("", (), ()))

    def _is_queued(self, job: Job) -> bool:
        """Whether it waits for nothing but that others give up their KV caches."""
        prepared = job.waits_for is not None and all(pending.done for pending in job.waits_for)
        return prepared and job.request.conversation not in self._slots

    def due(self) -> float | None:
        """Seconds after which a reply that rests goes on, or what was held back; None: there is none."""
        if self._scheduler.holds_back:
            return HOLD_SECONDS
        now = self._clock()
        return min((job.rest_seconds(now) for job in self._jobs if job.rests), default=None)

    @contextmanager
    def _border(self, *jobs: Job) -> Iterator[None]:
        """What fails in here ends these jobs; the others live on."""
        try:
            yield
        except BaseException as fault:  # a panic in a Rust library is no `Exception`
            logger.exception("generation failed")
            for job in jobs:
                self.fail(job, fault)

    def _take_slots(self) -> None:
        """Give KV caches to the jobs that are prepared and have none."""
        waiting = [job for job in self._jobs if job.slot is None]
        running = [job for job in self._jobs if job.slot is not None]
        for job in self._scheduler.places(waiting, running):
            with self._border(job):
                if self._is_prepared(job):
                    job.slot = self._slots.take(job.request.conversation, aside=job.request.options.aside)

    def _is_prepared(self, job: Job) -> bool:
        """Raises what went wrong with a preparation."""
        if job.waits_for is None:
            decodes = job.purpose is not Purpose.PREFETCH
            job.waits_for = self._preparations.begin(self._runner.preparations(job.request, decodes=decodes))
        fault = next((pending.fault for pending in job.waits_for if pending.fault is not None), None)
        if fault is not None:
            raise fault
        return all(pending.done for pending in job.waits_for)

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._jobs if job.cancelled]:
            self._finish(job, "cancelled")

    def _prefill_timed(self, job: Job, most: int) -> None:
        began, before = self._clock(), job.prefilled if job.prompt is not None else None
        try:
            self._prefill(job, most)
        finally:
            ids = 0 if before is None else job.prefilled - before
            seconds = self._clock() - began
            self._scheduler.prefilled(job, ids, seconds)
            self._budgets.charge(job, ids, seconds)

    def _prefill(self, job: Job, most: int) -> None:
        slot = job.slot
        assert slot is not None
        if job.prompt is None:
            self._start(job, slot)
            return
        prompt, conversation = job.prompt, job.request.conversation
        missing = next((part for part in prompt.segments if not self._runner.has_features(conversation, part)), None)
        if missing is not None:
            self._runner.encode(conversation, missing)
            return
        if not job.encoded:
            job.encoded = self._clock()
        stop = min(job.prefilled + most, prompt.length)
        last = stop == prompt.length
        prefetch = job.purpose is Purpose.PREFETCH
        if prefetch and last:
            stop -= 1
        if job.prefilled < stop:
            logits = self._runner.prefill(slot, prompt, job.prefilled, stop)
            slot.keys.extend(prompt.keys(job.prefilled, stop))
            job.prefilled = stop
        if last and prefetch:
            self._finish(job, "stop")
        elif last:
            job.state = self._runner.begin_decode(slot, prompt, job.request, logits)
            self._deliver_new(job)

    def _start(self, job: Job, slot: Slot) -> None:
        job.started = self._clock()
        prompt = job.prompt = self._render(job.request)
        room = reply_room(self._runner.max_tokens, job.request.options.sampling.max_tokens)
        if prompt.length + room > self._runner.max_tokens:
            self._finish(job, "context_full")
            return
        job.cached = job.prefilled = slot.reuse_prefix(prompt)
        self._runner.keep_features(job.request.conversation, frozenset(part.name for part in prompt.segments))

    def _render(self, request: PromptRequest) -> RenderedPrompt:
        """The request's prompt; messages that were rendered before are not rendered again."""
        rendered = list(map(self._rendered, request.messages))
        if not request.messages or _is_closed(request.messages[-1].message):
            rendered.append(self._runner.render_opening(request.options))
        return RenderedPrompt(rendered)

    def _rendered(self, message: PromptMessage) -> RenderedMessage:
        if message.rendered is None:
            message.rendered = self._runner.render(message.message)
        return message.rendered

    def _decode(self, jobs: tuple[Job, ...]) -> None:
        started = self._clock()
        with self._border(*jobs):
            self._runner.decode([job.state for job in jobs])
            seconds = self._clock() - started
            spent = seconds / len(jobs)
            self._scheduler.decoded(jobs, seconds)
        for job in jobs:
            if not job.ended:
                job.decode_seconds += spent
                with self._border(job):
                    self._deliver_new(job)

    def _deliver_new(self, job: Job) -> None:
        """Hand out what the last step gave; end the job when the reply ended."""
        state: DecodeState = job.state
        if state.fault is not None:
            raise state.fault
        if not job.first_token:
            job.first_token = self._clock()
        delta = state.take_delta()
        if delta is not None:
            job.reported = None
            self._deliver(job, delta)
        if state.finished is not None:
            self._finish(job, state.finished)

    def _finish(self, job: Job, reason: Reason, error: str | None = None) -> None:
        """Take the job out and tell its caller, once, whatever else fails on the way."""
        if job.ended:
            return
        job.ended = True
        if job in self._jobs:
            self._jobs.remove(job)
        try:
            if reason == "failed" and job.slot is not None:
                self._slots.discard(job.slot)
            else:
                self._give_back(job)
            done = self._done(job, reason, error)
        except BaseException as fault:  # a panic in a Rust library is no `Exception`
            logger.exception("a job could not be ended in good order")
            done = GenerationDone("failed", TokenUsage(), NO_TIMINGS, error or describe(fault))
            if job.slot is not None:
                self._slots.discard(job.slot)
        job.slot = job.state = None
        self._deliver(job, done)
        # The caller refers to the job; a cycle would keep cache and audio until the garbage collector comes by.
        job.deliver = deliver_nothing

    def _deliver(self, job: Job, event: TokenDelta | GenerationDone) -> None:
        try:
            job.deliver(event)
        except BaseException:  # the listener's fault: the engine's own state is whole
            logger.exception("an event of a generation could not be delivered")
            job.cancelled = True

    def _give_back(self, job: Job) -> None:
        """Let others have the slot, its keys saying what its cache holds."""
        slot = job.slot
        if slot is None:
            return
        if job.state is not None:
            slot.keys.extend(job.state.cached_ids)
        slot.busy = False

    def _done(self, job: Job, reason: Reason, error: str | None) -> GenerationDone:
        usage, timings, state = self._usage(job), self._timings(job), job.state
        if state is None:
            return GenerationDone(reason, usage, timings, error)
        return GenerationDone(
            reason,
            usage,
            timings,
            error,
            state.rest,
            state.rest_count,
            state.surplus,
            state.end_logprob,
            state.malformed,
        )

    def _usage(self, job: Job) -> TokenUsage:
        prompt, state = job.prompt, job.state
        if prompt is None:
            return TokenUsage()
        audio, cached_audio = prompt.audio_positions(prompt.length), prompt.audio_positions(job.cached)
        return TokenUsage(
            input_text=prompt.length - audio,
            input_audio=audio,
            cached_text=job.cached - cached_audio,
            cached_audio=cached_audio,
            output_text=state.text_count if state is not None else 0,
            output_audio=state.audio_count if state is not None else 0,
        )

    def _timings(self, job: Job) -> GenerationTimings:
        def since(moment: float) -> float:
            return max(0.0, moment - job.arrived) if moment else 0.0

        count = job.state.text_count + job.state.audio_count if job.state is not None else 0
        return GenerationTimings(
            since(job.started), since(job.encoded), since(job.first_token), job.decode_seconds, count
        )


def _is_closed(message: Message) -> bool:
    return message.closed and message.content is not None
