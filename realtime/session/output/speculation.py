"""Work ahead: the reply to a turn that may not be over, made while the pause lasts and held back.

At a pause the turn's audio is known, should the turn end there (`turns.events.PauseStarted`). So the reply is generated
and vocoded at once; nothing of it leaves this module. When the end of the turn is confirmed and just this reply is
asked for, `Speculator.claim` hands it over; when the user goes on, or the conversation was changed meanwhile, it is
dropped, and all that remains of it is a line in the books (`SpeculationStats`).

That nobody else is kept waiting is up to engine and vocoder: they make what is not confirmed only while they have
nothing better to do (`Engine.generate`, `Vocoder.open`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from realtime.metrics import Speculated, SpeculationStats
from realtime.ports.engine import Engine, GenerationDone, GenerationRequest, TokenDelta
from realtime.ports.vocoder import Vocoder
from realtime.protocol.responses import ResponseConfig
from realtime.session.log import SessionLogger

SpeculationListener = Callable[[Speculated], None]
"""Takes how a speculation came out."""


def ignore_speculation(_: Speculated) -> None:
    """Nobody keeps the books."""


class SpeculativeReply:
    """One reply that is made ahead. `run` it in a task; then `confirm` it or `drop` it, once.

    It is the `realtime.ports.engine.Generation` that the reply reads; its speech tokens are in ``voice`` already.
    """

    def __init__(
        self, request: GenerationRequest, config: ResponseConfig, engine: Engine, vocoder: Vocoder, begun: float
    ) -> None:
        """``begun``: now, in seconds of the session's clock."""
        self.request = request
        self.config = config
        self.begun = begun
        self.voice = vocoder.open(config.voice, ahead=True) if config.speech else None
        self._generation = engine.generate(request, ahead=True)
        self._events: asyncio.Queue[TokenDelta | GenerationDone | Exception] = asyncio.Queue()
        self._made = 0
        self._prefilled = 0
        self._failed = False

    @property
    def failed(self) -> bool:
        """Whether it came to nothing: the reply has to be made again, which will tell why."""
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
        """Until the generation has ended, whether the draft is used or not."""
        try:
            async for event in self._generation:
                self._take(event)
        except Exception as fault:  # the draft's border: the reply that has claimed it tells of the fault
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
        """Nobody wants it: stop everything."""
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
    """One session's drafts, one at a time."""

    def __init__(
        self,
        engine: Engine,
        vocoder: Vocoder,
        clock: Callable[[], float],
        log: SessionLogger,
        listener: SpeculationListener = ignore_speculation,
    ) -> None:
        self._engine = engine
        self._vocoder = vocoder
        self._clock = clock
        self._log = log
        self._listener = listener
        self._draft: SpeculativeReply | None = None
        self._task: asyncio.Task[None] | None = None
        self._waste = SpeculationStats()

    @property
    def holds(self) -> bool:
        """Whether there is a draft."""
        return self._draft is not None

    def begin(self, request: GenerationRequest, config: ResponseConfig, group: asyncio.TaskGroup, name: str) -> None:
        """Make this reply ahead, in a task of ``group``."""
        self.drop()
        draft = self._draft = SpeculativeReply(request, config, self._engine, self._vocoder, self._clock())
        self._task = group.create_task(draft.run(), name=name)

    def claim(self, request: GenerationRequest, config: ResponseConfig) -> SpeculativeReply | None:
        """The draft of exactly this reply, if there is one; any other is dropped. Its maker is the reply now."""
        draft = self._draft
        if draft is None or draft.failed or (draft.request, draft.config) != (request, config):
            self.drop()
            return None
        self._draft = self._task = None
        self._listener(Speculated(True, draft.ids, draft.audio_s))
        draft.confirm()
        return draft

    def drop(self) -> None:
        """The user goes on, or what was to be answered has changed: forget the draft."""
        draft, task = self._draft, self._task
        self._draft = self._task = None
        if draft is not None and task is not None:
            draft.drop()
            waste = self._waste
            task.add_done_callback(lambda _: self._write_off(draft, waste))

    def take_stats(self) -> SpeculationStats:
        """What was made in vain since the last call; grows still while drafts come to their end."""
        waste, self._waste = self._waste, SpeculationStats()
        return waste

    def _write_off(self, draft: SpeculativeReply, waste: SpeculationStats) -> None:
        waste.add(draft.ids, draft.audio_s)
        self._listener(Speculated(False, draft.ids, draft.audio_s))
        self._log.debug("dropped work ahead: %d ids, %.2f s of sound", draft.ids, draft.audio_s)
