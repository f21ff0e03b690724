"""Speculation: the reply to a turn that may not be over, made while the pause lasts and kept back.

At a pause the turn's audio is known, should the turn end there (`turns.events.PauseStarted`). So the reply is generated
and vocoded at once; nothing of it leaves this module. When the end of the turn is confirmed and exactly this reply is
asked for, `Speculator.claim` hands it over. When the user goes on, or the conversation was changed meanwhile, the reply
is dropped and only its cost is recorded (`SpeculationStats`).

Engine and vocoder see to it that no other caller is kept waiting: they work on a speculative reply only while they have
slack (`Conversation.generate`, `Vocoder.open`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from realtime.metrics import Speculated, SpeculationStats
from realtime.ports.engine import GenerationDone, TokenDelta
from realtime.protocol.responses import ResponseConfig
from realtime.session.context.engine_conversation import GenerationRequest
from realtime.session.environment import Environment
from realtime.session.timeline import Timeline


class SpeculativeReply:
    """One reply that is made before the end of the turn is sure. `Speculator.claim` hands it to a reply, which then
    gives it a receiver; or it is dropped. Its speech tokens are in ``voice`` already."""

    def __init__(self, request: GenerationRequest, config: ResponseConfig, env: Environment) -> None:
        self.request = request
        self.config = config
        self.begun = env.inputs.now()
        self.voice = None
        if config.speech:
            self.voice = env.services.vocoder.open(config.voice, speculative=True, payer=env.payer)
        self.generation = env.conversation.generate(request, speculative=True)
        self._events: list[TokenDelta | GenerationDone] = []
        self._receive: Callable[[TokenDelta | GenerationDone], None] | None = None
        self._on_end: Callable[[str | None], None] | None = None
        self._generated = 0
        self._prefilled = 0
        self._over = False
        self.fault: str | None = None
        self.failed = False
        """The reply has to be made again, which will say why."""

    @property
    def ids(self) -> int:
        """Ids computed: those generated, and those of the prompt, which are known once it has ended."""
        return self._generated + self._prefilled

    @property
    def over(self) -> bool:
        """Whether its generation has ended."""
        return self._over

    @property
    def audio_s(self) -> float:
        """Seconds of audio made."""
        return 0.0 if self.voice is None else self.voice.made_seconds

    def attach(
        self, receive: Callable[[TokenDelta | GenerationDone], None], ended: Callable[[str | None], None]
    ) -> None:
        """Pass on what has been generated, and all that follows."""
        events, self._events = self._events, []
        self._receive, self._on_end = receive, ended
        for event in events:
            receive(event)
        if self._over:
            self.detach()
            ended(self.fault)

    def detach(self) -> None:
        """Pass nothing on any more. The receiver is not kept in memory from here."""
        self._events = []
        self._receive = self._on_end = _ignore

    def take(self, event: TokenDelta | GenerationDone) -> None:
        """The engine generated this."""
        if isinstance(event, TokenDelta):
            self._generated += len(event.ids)
            if event.audio_tokens and self.voice is not None:
                self.voice.push(event.audio_tokens)
        else:
            usage = event.usage
            self._prefilled = usage.input_text + usage.input_audio - usage.cached_text - usage.cached_audio
            self.failed = event.reason not in ("stop", "length")
            if self.voice is not None and not self.failed:
                self.voice.finish()
        if self._receive is not None:
            self._receive(event)
        else:
            self._events.append(event)

    def end(self, fault: str | None) -> None:
        """The generation is over, because of ``fault`` or in good order."""
        self._over, self.fault = True, fault
        self.failed = self.failed or fault is not None
        if (on_end := self._on_end) is not None:
            self.detach()
            on_end(fault)

    def confirm(self) -> None:
        """The turn is over: this is wanted now."""
        self.generation.confirm()
        if self.voice is not None:
            self.voice.confirm()

    def cancel(self) -> None:
        """End the generation."""
        self.generation.cancel()

    def drop(self) -> None:
        """It is not wanted: stop everything."""
        self.detach()
        self.cancel()
        if self.voice is not None:
            self.voice.close()


class Speculator:
    """One session's speculative replies, one at a time."""

    def __init__(self, env: Environment, timeline: Timeline) -> None:
        self._env = env
        self._timeline = timeline
        self._listener = env.services.on_speculation
        self._reply: SpeculativeReply | None = None
        self._stats = SpeculationStats()
        self._dropped: dict[SpeculativeReply, SpeculationStats] = {}  # until they have ended

    @property
    def holds(self) -> bool:
        """Whether there is a speculative reply."""
        return self._reply is not None

    def begin(self, request: GenerationRequest, config: ResponseConfig, name: str) -> None:
        """Make this reply before it is asked for."""
        self.drop()
        reply = self._reply = SpeculativeReply(request, config, self._env)
        self._timeline.mark("speculation_started")
        self._env.work.start(reply.generation, reply.take, partial(self._ended, reply), name)

    def claim(self, request: GenerationRequest, config: ResponseConfig) -> SpeculativeReply | None:
        """The speculative reply to exactly this request, if there is one; any other is dropped."""
        reply = self._reply
        if reply is None or reply.failed or (reply.request, reply.config) != (request, config):
            self.drop()
            return None
        self._reply = None
        self._listener(Speculated(True, reply.ids, reply.audio_s))
        self._timeline.mark("speculation_used", made_s=reply.audio_s)
        reply.confirm()
        return reply

    def drop(self) -> None:
        """The user goes on, or what was to be answered has changed: forget it. It is counted when it has ended."""
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.drop()
            self._timeline.mark("speculation_dropped", made_s=reply.audio_s)
            self._dropped[reply] = self._stats
            if reply.over:
                self._count(reply)

    def take_stats(self) -> SpeculationStats:
        """What was made for nothing since the last call; grows still while dropped replies come to their end."""
        stats, self._stats = self._stats, SpeculationStats()
        return stats

    def _ended(self, reply: SpeculativeReply, fault: str | None) -> None:
        reply.end(fault)
        self._count(reply)

    def _count(self, reply: SpeculativeReply) -> None:
        if (stats := self._dropped.pop(reply, None)) is None:
            return
        stats.add(reply.ids, reply.audio_s)
        self._listener(Speculated(False, reply.ids, reply.audio_s))
        self._env.log.debug("dropped a speculative reply: %d ids, %.2f s of audio", reply.ids, reply.audio_s)


def _ignore(_: object) -> None:
    """Take what a dropped reply still gets."""
