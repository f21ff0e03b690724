"""Speculation: the reply to a turn that may not be over, made while the pause lasts and kept back.

At a pause the turn's audio is known, should the turn end there (`turns.events.PauseStarted`). So the reply is generated
and vocoded at once; nothing of it leaves this module. When the end of the turn is confirmed and exactly this reply is
asked for, `Speculator.claim` hands it over. When the user goes on, or the conversation was changed meanwhile, the reply
is dropped and only its cost is recorded (`SpeculationStats`).

Engine and vocoder see to it that no other caller is kept waiting: they work on a speculative reply only while they have
slack (`Conversation.generate`, `Vocoder.open`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from realtime.metrics import Speculated, SpeculationStats
from realtime.ports.engine import GenerationDone, TokenDelta
from realtime.ports.vocoder import Vocoder
from realtime.protocol.responses import ResponseConfig
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from realtime.session.log import SessionLogger

SpeculationListener = Callable[[Speculated], None]
"""Takes how a speculation came out."""


def ignore_speculation(_: Speculated) -> None:
    """No one records it."""


class SpeculativeReply:
    """One speculative reply. `run` it in a task; then `confirm` it or `drop` it, once.

    A reply that claims it reads its events as those of a generation; its speech tokens are in ``voice`` already.
    """

    def __init__(
        self,
        request: GenerationRequest,
        config: ResponseConfig,
        conversation: EngineConversation,
        vocoder: Vocoder,
        begun: float,
    ) -> None:
        """``begun``: now, in seconds of the session's clock."""
        self.request = request
        self.config = config
        self.begun = begun
        self.voice = vocoder.open(config.voice, speculative=True) if config.speech else None
        self._generation = conversation.generate(request, speculative=True)
        self._events: asyncio.Queue[TokenDelta | GenerationDone | Exception] = asyncio.Queue()
        self._made = 0
        self._prefilled = 0
        self._failed = False

    @property
    def failed(self) -> bool:
        """Whether it failed: the reply has to be made again, which reports why."""
        return self._failed

    @property
    def ids(self) -> int:
        """Ids computed: those generated, and those of the prompt, which are known once it has ended."""
        return self._made + self._prefilled

    @property
    def audio_s(self) -> float:
        """Seconds of sound made."""
        return 0.0 if self.voice is None else self.voice.made_seconds

    async def run(self) -> None:
        """Until the generation has ended, whether the reply is claimed or not."""
        try:
            async for event in self._generation:
                self._take(event)
        except Exception as fault:  # a task's border: the reply that has claimed it reports the fault
            self._failed = True
            self._events.put_nowait(fault)

    def confirm(self) -> None:
        """The turn is over: this is wanted now."""
        self._generation.confirm()
        if self.voice is not None:
            self.voice.confirm()

    def cancel(self) -> None:
        """End the generation."""
        self._generation.cancel()

    def drop(self) -> None:
        """It is not wanted: stop everything."""
        self.cancel()
        if self.voice is not None:
            self.voice.close()

    async def __aiter__(self) -> AsyncIterator[TokenDelta | GenerationDone]:
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, GenerationDone):
                return

    def _take(self, event: TokenDelta | GenerationDone) -> None:
        if isinstance(event, TokenDelta):
            self._made += len(event.ids)
            if event.audio_tokens and self.voice is not None:
                self.voice.push(event.audio_tokens)
        else:
            usage = event.usage
            self._prefilled = usage.input_text + usage.input_audio - usage.cached_text - usage.cached_audio
            self._failed = event.reason not in ("stop", "length")
            if self.voice is not None and not self._failed:
                self.voice.finish()
        self._events.put_nowait(event)


class Speculator:
    """One session's speculative replies, one at a time."""

    def __init__(
        self,
        conversation: EngineConversation,
        vocoder: Vocoder,
        clock: Callable[[], float],
        log: SessionLogger,
        listener: SpeculationListener = ignore_speculation,
    ) -> None:
        self._conversation = conversation
        self._vocoder = vocoder
        self._clock = clock
        self._log = log
        self._listener = listener
        self._reply: SpeculativeReply | None = None
        self._task: asyncio.Task[None] | None = None
        self._stats = SpeculationStats()

    @property
    def holds(self) -> bool:
        """Whether there is a speculative reply."""
        return self._reply is not None

    def begin(self, request: GenerationRequest, config: ResponseConfig, group: asyncio.TaskGroup, name: str) -> None:
        """Make this reply, in a task of ``group``."""
        self.drop()
        reply = self._reply = SpeculativeReply(request, config, self._conversation, self._vocoder, self._clock())
        self._task = group.create_task(reply.run(), name=name)

    def claim(self, request: GenerationRequest, config: ResponseConfig) -> SpeculativeReply | None:
        """The speculative reply to exactly this request, if there is one; any other is dropped. It is the caller's
        now."""
        reply = self._reply
        if reply is None or reply.failed or (reply.request, reply.config) != (request, config):
            self.drop()
            return None
        self._reply = self._task = None
        self._listener(Speculated(True, reply.ids, reply.audio_s))
        reply.confirm()
        return reply

    def drop(self) -> None:
        """The user goes on, or the conversation has changed: forget the speculative reply."""
        reply, task = self._reply, self._task
        self._reply = self._task = None
        if reply is not None and task is not None:
            reply.drop()
            stats = self._stats
            task.add_done_callback(lambda _: self._write_off(reply, stats))

    def take_stats(self) -> SpeculationStats:
        """The cost of dropped replies since the last call; it still grows while they come to their end."""
        stats, self._stats = self._stats, SpeculationStats()
        return stats

    def _write_off(self, reply: SpeculativeReply, stats: SpeculationStats) -> None:
        stats.add(reply.ids, reply.audio_s)
        self._listener(Speculated(False, reply.ids, reply.audio_s))
        self._log.debug("dropped a speculative reply: %d ids, %.2f s of sound", reply.ids, reply.audio_s)
