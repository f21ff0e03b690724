"""The engine's prompt for a response: instructions, offered functions and conversation, within the context."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from realtime.ports.engine import TokenCounter
from realtime.ports.messages import Message
from realtime.ports.tool_calls import CallRules
from realtime.protocol.responses import ResponseConfig
from realtime.session.config import SessionConfig
from realtime.session.context.engine_conversation import GenerationRequest
from realtime.session.context.history import History, to_messages
from realtime.session.context.truncation import ContextWindow, Truncation
from realtime.session.log import SessionLogger
from realtime.session.tools.offer import Offer
from realtime.session.tools.session_tools import SessionTools

_REMEMBERED_OFFERS = 4
"""Offers that are kept as text: the session's, and those of a few responses with tools of their own."""


@dataclass(frozen=True, slots=True)
class _WrittenOffer:
    """What an offer comes to in a prompt: writing 130 kB of schemas takes milliseconds, and it is asked for at every
    short silence."""

    offer: Offer
    declaration: tuple[Message, ...]
    rules: CallRules


class PromptBuilder:
    """One session's requests to the engine."""

    def __init__(
        self,
        history: History,
        config: SessionConfig,
        token_counter: TokenCounter,
        tools: SessionTools,
        log: SessionLogger,
    ) -> None:
        self._history = history
        self._config = config
        self._tools = tools
        self._log = log
        self._context = ContextWindow(history, token_counter, config.limits.context_cut)
        self._rendered: dict[str, str] = {}
        self._offers: deque[_WrittenOffer] = deque(maxlen=_REMEMBERED_OFFERS)

    def begin_turn(self) -> None:
        """Read the clock anew. Instructions may hold the time: it stands still from a turn's first word to its answer,
        or what was prepared for the turn is lost."""
        self._rendered.clear()

    def request(
        self, config: ResponseConfig, messages: tuple[Message, ...], offer: Offer | None = None
    ) -> GenerationRequest:
        """The response of ``config`` to ``messages``. ``offer``: the functions that it may call, known already."""
        written = self._write(offer or self._tools.offer(config))
        sampling = self._config.sampling
        if config.max_output_tokens != "inf":
            sampling = replace(sampling, max_tokens=min(sampling.max_tokens, config.max_output_tokens))
        return GenerationRequest(
            (*self._system(config), *written.declaration, *self._config.with_opening(messages)),
            config.speech,
            sampling,
            calls=written.rules,
            thinking=self._config.thinking_budget(config.effort),
            playback_speed=config.speed if config.speech and not config.out_of_band else 0.0,
            aside=config.out_of_band,
        )

    def conversation(self, config: ResponseConfig, truncation: Truncation) -> tuple[Message, ...]:
        """The conversation as the model is given it, cut where it has grown too long."""
        self.fit(config, truncation)
        return to_messages(self._history)

    def fit(self, config: ResponseConfig, truncation: Truncation, *, early: bool = False) -> bool:
        """Cut a conversation that has outgrown the context; ``early``: a little before it does. Whether it was cut."""
        request = self.request(config, ())
        cut = self._context.fit(request.messages, truncation, request.sampling.max_tokens, early=early)
        if cut:
            self._log.info("the conversation has outgrown the model's context and was cut")
        return cut

    def shorten(self, truncation: Truncation) -> bool:
        """Cut after the engine has refused a prompt; False when nothing more can go."""
        return self._context.shorten(truncation)

    def _system(self, config: ResponseConfig) -> tuple[Message, ...]:
        text = config.instructions
        if text not in self._rendered:
            self._rendered[text] = self._config.rendered(text)
        return (Message("system", self._rendered[text]),) if self._rendered[text] else ()

    def _write(self, offer: Offer) -> _WrittenOffer:
        known = next((written for written in self._offers if written.offer == offer), None)
        if known is None:
            known = _WrittenOffer(offer, offer.declaration, offer.rules)
            self._offers.append(known)
        return known
