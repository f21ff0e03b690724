"""What the engine is asked: instructions, offered functions and conversation as one request, within the context."""

from __future__ import annotations

from dataclasses import replace

from realtime.ports.engine import GenerationRequest, TokenCounter
from realtime.ports.messages import Message
from realtime.protocol.responses import ResponseConfig
from realtime.session.config import SessionConfig
from realtime.session.context.history import History, told
from realtime.session.context.truncation import ContextWindow, Truncation
from realtime.session.log import SessionLogger
from realtime.session.tools.offer import Offer
from realtime.session.tools.session_tools import SessionTools


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

    def begin_turn(self) -> None:
        """Read the clock anew. Instructions may tell the time: it stands still from a turn's first word to its answer,
        or what was prepared for it is lost."""
        self._rendered.clear()

    def request(
        self, config: ResponseConfig, messages: tuple[Message, ...], cache_key: str, offer: Offer | None = None
    ) -> GenerationRequest:
        """The response of ``config`` to ``messages``. ``offer``: the functions that it may call, known already."""
        offer = offer or self._tools.offer(config)
        instructions = self._render(config.instructions)
        system = (Message("system", instructions),) if instructions else ()
        sampling = self._config.sampling
        if config.max_output_tokens != "inf":
            sampling = replace(sampling, max_tokens=min(sampling.max_tokens, config.max_output_tokens))
        return GenerationRequest(
            (*system, *offer.declaration, *self._config.with_opening(messages)),
            config.speech,
            sampling,
            cache_key,
            calls=offer.rules,
            thinking=self._config.thinking_budget(config.effort),
        )

    def conversation(self, config: ResponseConfig, truncation: Truncation) -> tuple[Message, ...]:
        """The conversation as the model is told it, cut where it has grown too long."""
        self.fit(config, truncation)
        return told(self._history)

    def fit(self, config: ResponseConfig, truncation: Truncation, *, ahead: bool = False) -> bool:
        """Cut a conversation that has outgrown the context; ``ahead``: a little before it does. Whether it was cut."""
        request = self.request(config, (), "")
        cut = self._context.fit(request.messages, truncation, request.sampling.max_tokens, ahead=ahead)
        if cut:
            self._log.info("the conversation has outgrown the model's context and was cut")
        return cut

    def shorten(self, truncation: Truncation) -> bool:
        """Cut after the engine has refused a prompt; False when nothing more can go."""
        return self._context.shorten(truncation)

    def _render(self, instructions: str) -> str:
        if instructions not in self._rendered:
            self._rendered[instructions] = self._config.rendered(instructions)
        return self._rendered[instructions]
