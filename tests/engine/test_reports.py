"""The engine tells callers that it works, so that a long wait is not taken for a stall."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.engine.engine import PREFILL_TOKENS, REPORT_SECONDS
from realtime.engine.preparation import Preparation
from realtime.engine.sequence import Purpose
from realtime.ports.engine import TokenDelta
from tests.engine.test_engine import Harness, request

NOTHING_NEW = TokenDelta("", (), ())
CHUNKS = 20


class Slow(Harness):
    """A piece of prefill takes more than the time between two reports."""

    def __init__(self, slots: int = 4) -> None:
        super().__init__(slots)
        self.runner.max_tokens = 2 * CHUNKS * PREFILL_TOKENS
        prefill = self.runner.prefill

        def slowly(*arguments: Any) -> None:
            self.now += REPORT_SECONDS
            prefill(*arguments)

        self.runner.prefill = slowly  # type: ignore[method-assign]

    def reports(self, name: str) -> int:
        return self.events.get(name, []).count(NOTHING_NEW)


LONG = "1 " * (CHUNKS * PREFILL_TOKENS) + "2"


def test_every_piece_of_a_long_prompt_is_reported() -> None:
    engine = Slow()
    engine.submit("x", request(LONG))
    engine.run()
    assert engine.reports("x") >= CHUNKS - 2
    assert engine.said("x").split() == ["2", "1"] and engine.done("x").reason == "stop"


def test_waiting_for_a_cache_is_reported() -> None:
    engine = Slow(slots=1)
    engine.submit("x", request(LONG))
    engine.submit("next", request("2", key="b"))
    engine.run()
    assert engine.reports("next") >= CHUNKS - 2 and engine.done("next").reason == "stop"


@pytest.mark.parametrize("purpose", [Purpose.SPECULATIVE, Purpose.PREFETCH])
def test_what_nobody_waits_for_is_not_reported(purpose: Purpose) -> None:
    engine = Slow()
    engine.submit("x", request(LONG), purpose)
    engine.run()
    assert engine.reports("x") == 0


def test_a_preparation_that_never_ends_is_not_reported() -> None:
    engine = Slow()
    engine.core.prepare_elsewhere(lambda work, then, failed: None)

    def preparations(asked: Any, *, decodes: bool) -> list[Preparation]:
        if asked.conversation != "b":
            return []
        return [Preparation("grammar", lambda: None, lambda result: None)]

    engine.runner.preparations = preparations  # type: ignore[method-assign,assignment]
    engine.submit("stuck", request("2", key="b"))
    engine.submit("x", request(LONG))
    engine.run()
    assert engine.reports("x") > 0 and engine.events["stuck"] == []


def test_a_reply_that_talks_needs_no_reports() -> None:
    engine = Slow()
    engine.submit("x", request("50"))
    engine.run()
    assert engine.reports("x") == 0 and len(engine.said("x").split()) == 50
