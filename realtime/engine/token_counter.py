"""The sizes of messages in a model's prompt."""

from __future__ import annotations

from realtime.model.prompt import TextPiece, assemble, message_pieces
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from realtime.ports.messages import Message

EXACT_CHARACTERS = 8192
"""Of a text up to which it is counted whole: 12 ms."""
_SAMPLES, _SAMPLE_CHARACTERS = 8, 1024


class PromptTokenCounter:
    """`realtime.ports.engine.TokenCounter`: exact but for long texts. May be used from any thread: nothing in it
    changes.

    A text of more than `EXACT_CHARACTERS` is estimated from pieces of it, within a few per cent: counting 130 kB of
    schemas holds up the event loop for 160 ms. The engine itself refuses a prompt that does not fit.
    """

    def __init__(self, tokenizer: TextTokenizer, tokens: SpecialTokens, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._context_tokens = context_tokens

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    def measure(self, message: Message) -> int:
        pieces = message_pieces([message], self._tokens)
        long = [piece for piece in pieces if isinstance(piece, TextPiece) and len(piece.text) > EXACT_CHARACTERS]
        exact = assemble((piece for piece in pieces if piece not in long), self._tokenizer, self._tokens)
        return len(exact.ids) + sum(map(self._estimate, long))

    def _estimate(self, piece: TextPiece) -> int:
        step = (len(piece.text) - _SAMPLE_CHARACTERS) // (_SAMPLES - 1)
        samples = [piece.text[index * step : index * step + _SAMPLE_CHARACTERS] for index in range(_SAMPLES)]
        ids = sum(len(self._tokenizer.encode(sample, special=piece.trusted)) for sample in samples)
        return piece.begins + piece.ends + ids * len(piece.text) // (_SAMPLES * _SAMPLE_CHARACTERS)
