"""The sizes of turns in a model's prompt."""

from __future__ import annotations

from realtime.model.prompt import assemble, message_pieces
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from realtime.ports.messages import Message


class PromptTokenCounter:
    """`realtime.ports.engine.TokenCounter`, exact. May be used from any thread: nothing in it changes."""

    def __init__(self, tokenizer: TextTokenizer, tokens: SpecialTokens, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._context_tokens = context_tokens

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    def measure(self, message: Message) -> int:
        return len(assemble(message_pieces([message], self._tokens), self._tokenizer, self._tokens).ids)
