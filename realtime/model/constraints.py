"""Rules of a reply that hold while it is decoded: which functions it may call, must call, and with which arguments.

A call is ``<tool_call>function\\n{name}\\n{arguments}</tool_call>`` (spec/model.md section 9). Before each id is chosen
the reply's `CallConstraint` says which ids may come (`allowed`) or which one must (`forced`, then nothing is sampled),
and is told what came (`accept`). Words are free; behind speech and between calls only a call or the end may stand;
within a call the text follows a grammar made of the offered names and the JSON schemas of their arguments.

The grammar library is llguidance: MIT, one 3 MB wheel (stable ABI) without dependencies, takes any byte-level
vocabulary. xgrammar does the same and was left: its wheel needs transformers, triton and torch of its own choice.

Letters: V vocabulary of the model (its logits), at least the tokenizer's.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from torch import Tensor

from realtime.model.schemas import (
    Vocabulary,
    calls_grammar,
    first_line,
    parser_limits,
    schema_of,
    schema_problem,
)
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from realtime.ports.tool_calls import CallableFunction, CallRules
from realtime.ports.tools import MAX_SCHEMA_SECONDS, SchemaVerdict

logger = logging.getLogger(__name__)

MAX_CALLS = 16
"""Calls in one reply; then it ends."""

MAX_CALL_IDS = 1024
"""A call that is longer than this is brought to its end: a model that raves in a string would fill its context."""

CLOSING_IDS = 96
"""So many ids before the reply's room is used up, an open call is brought to its end."""

_CACHED_GRAMMARS = 64
"""Compiled grammars that are kept; a session uses the same one in every reply."""

_KEPT_SECONDS = 4.0
"""Compiled grammars are kept that took so long to compile together: memory goes with the time, 50 MB for a second."""

_ANY_OBJECT: dict[str, Any] = {"additionalProperties": True}

_CLOSING = '}],0123456789"'
"""What ends a value soonest, outside of strings, in this order."""

Probe = Callable[[Any], SchemaVerdict]
"""Whether a schema may be compiled in this process; called in any thread."""


def trust(schema: Any) -> SchemaVerdict:
    """For schemas of the operator's own: every sound one may be compiled, whatever it costs."""
    return SchemaVerdict(schema_problem(schema))


@dataclass(frozen=True, slots=True, eq=False)
class CompiledGrammar:
    """``seconds``: CPU time that compiling took."""

    matcher: LLMatcher
    seconds: float


class CallGrammar:
    """The grammar of calls over one tokenizer; makes the constraint of each reply. One thread only, but for
    `compile`.

    A compiled grammar cannot be carried from one process to another, so a client's schema is compiled twice: by
    ``probe`` in a child process that is killed when it takes too long, and here, if that was cheap. Compiling lets go
    of the interpreter's lock (validating and `LLMatcher.consume_token` do not).
    """

    def __init__(self, tokenizer: TextTokenizer, tokens: SpecialTokens, vocab_size: int, probe: Probe = trust) -> None:
        """``vocab_size``: V."""
        self._probe = probe
        self._text = tokenizer
        self.tokens = tokens
        self._vocab_size = vocab_size
        self._compiled: OrderedDict[tuple[CallableFunction, ...], CompiledGrammar] = OrderedDict()

    def constrain(self, rules: CallRules, *, speech: bool, room: int) -> CallConstraint:
        """The rules of one reply of at most ``room`` ids. A schema that makes no grammar counts as any object."""
        return CallConstraint(self, rules, speech=speech, room=room)

    def warm_up(self) -> None:
        """Read the vocabulary now (a second for 158 000 ids) and not in the first caller's time."""
        _ = self._tokenizer

    def is_compiled(self, functions: tuple[CallableFunction, ...]) -> bool:
        """Whether `matcher` has it at hand."""
        return functions in self._compiled

    def keep(self, functions: tuple[CallableFunction, ...], compiled: CompiledGrammar) -> None:
        """Have what `compile` made at hand: the `_CACHED_GRAMMARS` used last, fewer where they are costly."""
        self._compiled[functions] = compiled
        self._compiled.move_to_end(functions)
        while len(self._compiled) > 1 and self._is_full:
            self._compiled.popitem(last=False)

    @property
    def _is_full(self) -> bool:
        seconds = sum(one.seconds for one in self._compiled.values())
        return len(self._compiled) > _CACHED_GRAMMARS or seconds > _KEPT_SECONDS

    def matcher(self, functions: tuple[CallableFunction, ...]) -> LLMatcher:
        """A matcher for one call behind ``<tool_call>``; ``</tool_call>`` is its end of text. Compiles what is not at
        hand."""
        if functions not in self._compiled:
            self.keep(functions, self.compile(functions))
        self._compiled.move_to_end(functions)
        return self._compiled[functions].matcher.deep_copy()

    def only(self, *ids: int) -> Tensor:
        """Bool [V]: nothing but these."""
        mask = torch.zeros(self._vocab_size, dtype=torch.bool)
        mask[list(ids)] = True
        return mask

    def unpack(self, bitmask: bytes) -> Tensor:
        """llguidance's bits -> bool [V]."""
        bits = np.unpackbits(np.frombuffer(bitmask, np.uint8), bitorder="little")[: self._vocab_size]
        mask = torch.zeros(self._vocab_size, dtype=torch.bool)
        mask[: len(bits)] = torch.from_numpy(bits.astype(np.bool_))
        return mask

    @cached_property
    def words_without_calls(self) -> Tensor:
        return ~self.only(self.tokens.tool_call)

    @cached_property
    def first_words(self) -> Tensor:
        return ~self.only(self.tokens.tool_call, self.tokens.tts_end, *self.tokens.stop_ids)

    @cached_property
    def closing_ids(self) -> tuple[int, ...]:
        """What ends a call soonest outside of strings, the best first; the last one ends a string."""
        return (self.tokens.tool_call_end, *(self._text.encode(symbol, special=False)[0] for symbol in _CLOSING))

    def token_bytes(self, id_: int) -> bytes:
        return self._text.token_bytes(id_)

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        return LLTokenizer(TokenizerWrapper(Vocabulary(self._text, self.tokens.tool_call_end)))

    def compile(self, functions: tuple[CallableFunction, ...]) -> CompiledGrammar:
        """The grammar of these functions; may be called in any thread once `warm_up` is done. Takes a millisecond for
        each kB of usual schemas, and at most about `MAX_SCHEMA_SECONDS`: arguments whose schemas would take longer are
        held to plain JSON objects. Raises ValueError when they make none."""
        began = time.thread_time()
        schemas = self._affordable([schema_of(function) for function in functions])
        matcher = self._match(functions, schemas)
        if matcher.is_error():
            logger.warning("arguments are held to plain JSON objects: the schemas together make no grammar")
            matcher = self._match(functions, [_ANY_OBJECT] * len(functions))
        if matcher.is_error():
            raise ValueError(f"the functions make no grammar: {first_line(matcher.get_error())}")
        return CompiledGrammar(matcher, time.thread_time() - began)

    def _affordable(self, schemas: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The schemas, with those that the probe refuses, or that are too costly together, as any object."""
        left, affordable = MAX_SCHEMA_SECONDS, []
        for schema in schemas:
            verdict = self._probe(schema)
            left -= verdict.seconds
            if verdict.problem is not None or left < 0:
                why = "its schema makes no grammar" if verdict.problem is not None else "too costly together"
                logger.warning("arguments are held to plain JSON objects: %s", why)
                affordable.append(_ANY_OBJECT)
            else:
                affordable.append(schema)
        return affordable

    def _match(self, functions: tuple[CallableFunction, ...], schemas: list[dict[str, Any]]) -> LLMatcher:
        return LLMatcher(self._tokenizer, calls_grammar(functions, schemas), log_level=0, limits=parser_limits())


class _Phase(Enum):
    WORDS = "words"
    BETWEEN = "between calls"
    CALL = "call"
    BROKEN = "broken"


class _Written:
    """A call's text so far, as far as it says whether a string is open: two lines, then JSON."""

    def __init__(self) -> None:
        self._lines = 0
        self._escaped = False
        self.in_string = False

    def push(self, data: bytes) -> None:
        for symbol in data:
            if self._lines < 2:
                self._lines += symbol == ord("\n")
            elif self._escaped:
                self._escaped = False
            elif symbol == ord("\\"):
                self._escaped = True
            elif symbol == ord('"'):
                self.in_string = not self.in_string


class CallConstraint:
    """One reply's rules. Ask `forced`, then `allowed`; tell every id to `accept`."""

    def __init__(self, grammar: CallGrammar, rules: CallRules, *, speech: bool, room: int) -> None:
        self._grammar = grammar
        self._tokens = grammar.tokens
        self._rules = rules
        self._speech = speech
        self._room = room
        self._phase = _Phase.WORDS
        self._calls = 0
        self._call_ids = 0
        self._matcher = grammar.matcher(rules.functions) if rules.functions else None
        self._begun = False
        self._logprob = 0.0
        self._given: list[int] = []
        """Ids that must come next, in order."""
        self._written = _Written()

    def forced(self) -> int | None:
        """The one id that may come next; None: there is a choice, see `allowed`."""
        match self._phase:
            case _Phase.WORDS if self._must_call:
                return self._tokens.tts_end if self._speech else self._tokens.tool_call
            case _Phase.BETWEEN if self._must_call:
                return self._tokens.tool_call
            case _Phase.BETWEEN if not self._may_call:
                return self._tokens.eot
            case _Phase.BROKEN:
                return self._tokens.eot
            case _Phase.CALL:
                return self._forced_in_call()
        return None

    def allowed(self) -> Tensor | None:
        """Bool [V]: the ids that may come next; None: all."""
        match self._phase:
            case _Phase.WORDS if self._rules.words_first and not self._begun:
                return self._grammar.first_words
            case _Phase.WORDS:
                return None if self._may_call else self._grammar.words_without_calls
            case _Phase.CALL:
                assert self._matcher is not None
                mask = self._grammar.unpack(self._matcher.compute_bitmask())
                return self._closing(mask) if self._must_close else mask
        return self._grammar.only(self._tokens.tool_call, *self._tokens.stop_ids)

    def accept(self, id_: int, logits: Tensor | None = None) -> None:
        """This id was chosen; ``logits`` [V]: from these, None where there was no choice."""
        if logits is not None and (self._phase is _Phase.CALL or id_ in (self._tokens.tts_end, self._tokens.tool_call)):
            self._logprob += float(logits.float().log_softmax(-1)[id_])
        self._room -= 1
        self._begun = True
        if self._phase is _Phase.CALL:
            self._accept_in_call(id_)
        elif id_ == self._tokens.tool_call and self._may_call:
            self._begin_call()
        elif id_ == self._tokens.tts_end:
            self._phase = _Phase.BETWEEN

    def doubts(self, least: float) -> bool:
        """Whether there were calls by the model's own will that are less likely than ``least``: the chance of all ids
        from the decision to call to the call's end, whatever the temperature."""
        return bool(self._calls) and not self._rules.required and math.exp(self._logprob) < least

    @property
    def _may_call(self) -> bool:
        most = MAX_CALLS if self._rules.parallel else 1
        return bool(self._rules.functions) and self._calls < most

    @property
    def _must_call(self) -> bool:
        return self._rules.required and self._may_call and not self._calls

    @property
    def _must_close(self) -> bool:
        return self._call_ids >= MAX_CALL_IDS or self._room <= CLOSING_IDS

    def _begin_call(self) -> None:
        assert self._matcher is not None
        self._matcher.reset()
        self._phase = _Phase.CALL
        self._call_ids = 0
        self._written = _Written()

    def _forced_in_call(self) -> int | None:
        assert self._matcher is not None
        if not self._given:
            self._given = self._matcher.compute_ff_tokens()
        return self._given[0] if self._given else None

    def _accept_in_call(self, id_: int) -> None:
        assert self._matcher is not None
        self._call_ids += 1
        self._written.push(self._grammar.token_bytes(id_))
        if self._given and self._given.pop(0) != id_:
            self._given.clear()
        if id_ == self._tokens.tool_call_end:
            self._calls += 1
            self._phase = _Phase.BETWEEN
        elif not self._matcher.consume_token(id_):
            # Only a limit of the library can do this. Other replies are decoded beside this one, so nothing is raised:
            # the call stays open, which is no call.
            logger.error("a tool call left its grammar")
            self._phase = _Phase.BROKEN

    def _closing(self, mask: Tensor) -> Tensor:
        """The best end that ``mask`` allows, else ``mask``."""
        ids = self._grammar.closing_ids
        best = next((id_ for id_ in (ids[-1:] if self._written.in_string else ids) if mask[id_]), None)
        return mask if best is None else self._grammar.only(best)
