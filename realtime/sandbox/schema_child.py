"""``python -m realtime.sandbox.schema_child FOLDER``: compiles schemas for `realtime.sandbox.schemas`.

Imports no torch: it has the tokenizer of the checkpoint in FOLDER and the grammar library, about 60 MB.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from realtime.model.schemas import Vocabulary, calls_grammar, first_line, parser_limits, schema_problem
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from realtime.ports.tool_calls import CallableFunction
from realtime.sandbox.limits import serve_requests
from realtime.sandbox.schemas import CPU_S, MEMORY_BYTES

_FUNCTION = CallableFunction("f")
_STEPS = 48
"""Ids of a trial call. Some schemas compile and then have too many states at a time to be decoded."""


class Compiler:
    """Compiles schemas over one tokenizer."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._text = tokenizer
        end = SpecialTokens.from_ids(tokenizer.ids).tool_call_end
        self._tokenizer = LLTokenizer(TokenizerWrapper(Vocabulary(tokenizer, end)))

    def answer(self, schema: Any) -> dict[str, Any]:
        """The answer to a request: ``problem`` (None: there is none) and ``seconds`` of CPU time."""
        began = time.process_time()
        try:
            problem = schema_problem(schema) or self._compile(schema)
        except MemoryError:
            raise
        except BaseException as fault:  # a panic of the library does not derive from Exception
            problem = f"it cannot be compiled ({type(fault).__name__})"
        return {"problem": problem, "seconds": time.process_time() - began}

    def _compile(self, schema: dict[str, Any] | None) -> str | None:
        if schema is None:
            return None
        matcher = LLMatcher(self._tokenizer, calls_grammar([_FUNCTION], [schema]), log_level=0, limits=parser_limits())
        if matcher.is_error() or not matcher.consume_tokens(self._text.encode("function\nf\n{", special=False)):
            return first_line(matcher.get_error())
        return self._write_call(matcher)

    @staticmethod
    def _write_call(matcher: LLMatcher) -> str | None:
        """Why a call cannot be decoded, seen from one at random; None: it can."""
        choose = random.Random(1)
        for _ in range(_STEPS):
            allowed = np.flatnonzero(
                np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
            )
            if matcher.is_error():
                return first_line(matcher.get_error())
            if matcher.is_stopped() or not len(allowed):
                return None
            if not matcher.consume_token(int(choose.choice(allowed))):
                return first_line(matcher.get_error()) if matcher.is_error() else None
        return None


def main() -> None:
    """Serve until stdin is closed."""
    compiler = Compiler(TextTokenizer.load(Path(sys.argv[1])))
    compiler.answer({"type": "object", "properties": {"warm": {"type": "string"}}})
    serve_requests(compiler.answer, cpu_s=CPU_S, memory_bytes=MEMORY_BYTES)


if __name__ == "__main__":
    main()
