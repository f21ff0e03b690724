"""The replies of one session: at most one in the conversation, some out of band, and the replies to tool results.

The floor decides when a reply starts and when it is cut off (`session.floor`); one reply is `response.Reply`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from realtime.metrics import CallFigures, ReplyTrace
from realtime.ports.messages import Message
from realtime.protocol.errors import ProtocolError
from realtime.protocol.responses import ResponseConfig, ResponseError, rate_limited
from realtime.protocol.session_config import ToolChoice
from realtime.session.context.engine_conversation import GenerationRequest
from realtime.session.context.history import History
from realtime.session.context.truncation import Truncation
from realtime.session.output.plan import ReplyPlan, ReplyPorts
from realtime.session.output.prompt_builder import PromptBuilder
from realtime.session.output.response import CancelReason, Reply
from realtime.session.output.speculation import SpeculativeReply, Speculator
from realtime.session.tools.session_tools import SessionTools


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """A response to be made. ``context``: what is answered in place of the conversation. ``round``: how many replies to
    the results of tools came before it."""

    config: ResponseConfig
    context: tuple[Message, ...] | None = None
    round: int = 0


@dataclass(frozen=True, slots=True)
class ReplyEvents:
    """What the session has to know of its replies, and does."""

    done: Callable[[Reply], None] = lambda reply: None
    """The reply in the conversation has been made to its end."""
    answer_results: Callable[[], None] = lambda: None
    """Results of tools wait to be told (`Replies.take_unanswered`)."""
    retired: Callable[[], None] = lambda: None
    """A reply in the conversation is no more, however it ended."""
    spend_audio: Callable[[float], None] = lambda seconds: None
    """So many seconds of speech were sent."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A reply that is being made."""

    reply: Reply


class Replies:
    """One session's replies. ``events``: what the session does about them. ``active``: the one in the conversation.
    ``spoken_id``: the last response of the conversation, which may still be audible. ``figures``: of all that have
    ended."""

    def __init__(
        self,
        ports: ReplyPorts,
        prompts: PromptBuilder,
        tools: SessionTools,
        history: History,
        speculator: Speculator,
    ) -> None:
        self._ports = ports
        self._env = ports.env
        self._prompts = prompts
        self._tools = tools
        self._history = history
        self._speculator = speculator
        self.events = ReplyEvents()
        self._running: dict[str, _Running] = {}
        self._unreported: dict[str, Reply] = {}
        self._unanswered: ResponseRequest | None = None
        self.active: Reply | None = None
        self.spoken_id = ""
        self.figures = CallFigures()

    @property
    def any(self) -> bool:
        """Whether any reply is being made."""
        return bool(self._running)

    @property
    def silent(self) -> bool:
        """No caller waits for the first sound of an answer: there is time for other things."""
        return self.active is None or self.active.audible

    def promises(self, item_id: str) -> bool:
        """Whether a reply is to become the item of this id."""
        return any(item_id == one.reply.item_id for one in self._running.values())

    def check_room_beside(self) -> None:
        """Raises `ProtocolError` when too many run beside the conversation already."""
        beside = len(self._running) - (self.active is not None)
        if beside >= self._env.config.limits.out_of_band:
            raise ProtocolError(
                "conversation_already_has_active_response",
                f"{beside} responses outside the conversation are in progress, the most allowed. Wait for one.",
            )
        if not self._env.quota.out_of_band_is_free:
            message = "This key has too many responses outside conversations in progress. Wait for one."
            raise ProtocolError("rate_limit_exceeded", message, type="rate_limit_error")

    # Beginning and end

    def start(
        self, asked: ResponseRequest, truncation: Truncation, speech_end: tuple[float, float] | None = None
    ) -> None:
        """Make this reply. ``speech_end``: when the caller was last voiced and when the end of the turn was decided."""
        config, context = asked.config, asked.context
        offer = self._tools.offer(config)
        if not config.out_of_band:
            self._unanswered = None
        response = config.response(self._env.ids.response(), self._history.id)
        conversation = self._env.conversation
        if config.out_of_band:
            conversation = conversation.fork(f"{self._env.id}/{response.id}")

        def request() -> GenerationRequest:
            messages = self._prompts.conversation(config, truncation) if context is None else context
            return self._prompts.request(config, messages, offer)

        approved = () if config.out_of_band else self._tools.take_approved()
        speculative = None if config.out_of_band or approved else self._speculator.claim(request(), config)
        plan = ReplyPlan(
            response=response,
            config=config,
            conversation=conversation,
            request=request,
            forget=lambda: context is None and self._prompts.shorten(truncation),
            item_id=self._env.ids.item(),
            history=None if config.out_of_band else self._history,
            trace=self._new_trace(speculative, speech_end),
            offer=offer,
            approved=approved,
            round=asked.round,
            refused=self._refused_by_quota(),
            speculative=speculative,
        )
        reply = Reply(plan, self._ports, self._made)
        if not config.out_of_band:
            self.active = reply
            self.spoken_id = response.id
        else:
            self._env.quota.count_out_of_band(1)
        self._running[response.id] = _Running(reply)
        reply.start()

    def cancel_active(self, reason: CancelReason) -> None:
        """Cut off the reply in the conversation."""
        assert self.active is not None
        self._cancel(self._running[self.active.id], reason)

    def cancel_beside(self, response_id: str) -> bool:
        """Cut off a reply outside the conversation; False where none has this id."""
        running = self._running.get(response_id)
        if running is not None:
            self._cancel(running, "client_cancelled")
        return running is not None

    def stop(self) -> None:
        """The session ends: nothing more is sent, and nothing is left behind."""
        for running in list(self._running.values()):
            running.reply.stop_work()
            self._retire(running)
            self._unreported[running.reply.id] = running.reply
        for reply in list(self._unreported.values()):
            self._report(reply)

    def _made(self, reply: Reply) -> None:
        """The reply has come to its end by itself."""
        running = self._running.get(reply.id)
        if running is None:
            return
        was_active = reply is self.active
        self._retire(running)
        if was_active:
            self.events.done(reply)
        self._pursue_calls(reply)
        self._unreported[reply.id] = reply  # only then is it known when the first audio was sent
        self._ports.outbox.on_audio_taken(lambda: self._report(reply))

    def _cancel(self, running: _Running, reason: CancelReason) -> None:
        running.reply.cancel(reason)
        self._retire(running)
        self._unreported[running.reply.id] = running.reply
        self._report(running.reply)

    def _retire(self, running: _Running) -> None:
        """The reply has ended, or the session has: forget it."""
        reply = running.reply
        if self._running.pop(reply.id, None) is not None and reply.out_of_band:
            self._env.quota.count_out_of_band(-1)
        if reply is self.active:
            self.active = None
            self.events.retired()
        if (limits := self._env.quota.updated()) is not None:
            self._ports.outbox.put(limits)
        if reply.out_of_band:
            reply.plan.conversation.close()

    def _report(self, reply: Reply) -> None:
        """One line in the log, and the figures to who wants them; once."""
        if self._unreported.pop(reply.id, None) is None:
            return
        reply.trace.ended = self._env.inputs.now()
        summary = reply.trace.summary()
        self._ports.timeline.mark("reply_measured", response_id=reply.id, figures=summary)
        self.events.spend_audio((summary.get("audio_ms") or 0.0) / 1000)
        self._env.services.on_reply(reply.id, summary)
        self.figures.add(summary)
        if reply.error_code is not None:
            self._env.errors.add(reply.error_code, reply.trace.ended)
        figures = " ".join(f"{name}={value}" for name, value in summary.items())
        self._env.log.info("response %s %s: %s", reply.id, reply.response.status, figures)

    def _new_trace(self, speculative: SpeculativeReply | None, speech_end: tuple[float, float] | None) -> ReplyTrace:
        voiced, stopped = speech_end or (None, None)
        requested = self._env.inputs.now() if speculative is None else speculative.begun
        return ReplyTrace(requested, voiced, stopped, waste=self._speculator.take_stats())

    def _refused_by_quota(self) -> ResponseError | None:
        wait = self._env.quota.take_response()
        if not wait:
            return None
        return rate_limited(f"This key has used all its responses of this minute. Ask again in {wait:.1f} s.")

    # Calls, and the replies to their results

    def take_unanswered(self) -> ResponseRequest | None:
        """The reply to results of tools that waits for its turn, once."""
        asked, self._unanswered = self._unanswered, None
        return asked

    def answer_later(self, asked: ResponseRequest) -> None:
        """Make this reply as soon as nobody speaks."""
        self._unanswered = asked
        self.events.answer_results()

    def forget_results(self) -> None:
        """The client wants no reply to the results of tools."""
        self._unanswered = None

    def _pursue_calls(self, reply: Reply) -> None:
        """The reply is done: the server does what is its part of the calls in it."""
        for question in reply.calling.questions:
            self._tools.ask(question)
        if reply.calling.server_calls:
            self._tools.run(reply.calling.server_calls, lambda voice: self._tools_ran(reply, voice))
        elif reply.calling.answers_itself and not reply.out_of_band:
            self._answer_results(reply.plan, reply.calling.voice)

    def _tools_ran(self, reply: Reply, voice: str | None) -> None:
        if reply.calling.answers_itself:
            self._answer_results(reply.plan, voice or reply.calling.voice)

    def _answer_results(self, plan: ReplyPlan, voice: str | None) -> None:
        """Let the model go on with the results, as soon as nobody speaks. A choice of tools held for the calls only."""
        config, round = plan.config, plan.round + 1
        choice: ToolChoice = "auto"
        if round >= self._env.config.limits.tool_rounds:
            self._env.log.warning("%d replies in a row called tools: the next one may not", round)
            choice = "none"
        config = replace(config, tool_choice=choice, metadata=None, input=None, voice=voice or config.voice)
        self.answer_later(ResponseRequest(config, round=round))
