"""Clients' schemas are compiled in a child: what is costly is refused, and costs nobody else."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.model.schemas import MAX_DEPTH, MAX_PROPERTIES
from realtime.ports.tools import SchemaVerdict
from realtime.sandbox import schemas
from realtime.sandbox.child import Child, ChildFailed
from realtime.sandbox.schemas import CPU_S, SchemaSandbox
from tests.sandbox.hostile import INTERSECTION, MULTIPLE, optional

NANO = Path(__file__).parents[2] / "realtime" / "checkpoints" / "nano"
PLAIN = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SchemaSandbox]:
    sandbox = SchemaSandbox(NANO)
    sandbox.start()
    yield sandbox
    sandbox.close()
    assert not sandbox.pids


def test_a_server_starts_without_its_child(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("realtime.sandbox.child.START_S", 0.0)
    sandbox = SchemaSandbox(NANO)
    try:
        sandbox.start()
        assert "schemas cannot be checked yet" in caplog.text
        monkeypatch.undo()
        assert sandbox.probe(PLAIN).problem is None
    finally:
        sandbox.close()


async def test_a_usual_schema_costs_milliseconds_once(sandbox: SchemaSandbox) -> None:
    first = await sandbox(PLAIN, math.inf)
    assert first.problem is None and 0 <= first.spent == first.seconds < 0.1
    again = await sandbox(dict(PLAIN), 0.0)
    assert again == SchemaVerdict(seconds=first.seconds)


@pytest.mark.parametrize("schema", [INTERSECTION, MULTIPLE], ids=["patterns", "multipleOf"])
async def test_a_costly_schema_is_refused_and_remembered(sandbox: SchemaSandbox, schema: dict[str, Any]) -> None:
    verdict = await sandbox(schema, math.inf)
    assert verdict.limit and verdict.problem is not None and "CPU time" in verdict.problem
    assert verdict.spent == CPU_S
    assert await sandbox(schema, 0.0) == SchemaVerdict(verdict.problem, True, CPU_S)
    assert (await sandbox({**PLAIN, "title": str(schema)[:40]}, math.inf)).problem is None


async def test_the_event_loop_runs_on_meanwhile(sandbox: SchemaSandbox) -> None:
    check = asyncio.ensure_future(sandbox({**INTERSECTION, "title": "another"}, math.inf))
    turns = 0
    while not check.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert check.result().limit and turns > 20


async def test_without_budget_only_known_schemas_are_answered(sandbox: SchemaSandbox) -> None:
    assert await sandbox({**PLAIN, "title": "never seen"}, 0.0) == SchemaVerdict(unpaid=True)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (7, "JSON schema object"),
        (optional(MAX_PROPERTIES + 1), "properties"),
        (optional(1000), "items"),
        ({"type": "object", "properties": {"x": {"pattern": "("}}}, "regex"),
    ],
)
async def test_schemas_without_a_grammar_are_refused_with_reasons(
    sandbox: SchemaSandbox, schema: Any, text: str
) -> None:
    verdict = await sandbox(schema, math.inf)
    assert verdict.problem is not None and text in verdict.problem


async def test_nesting_is_bounded(sandbox: SchemaSandbox) -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(50 * MAX_DEPTH):
        schema = {"type": "object", "properties": {"x": schema}}
    verdict = await sandbox(schema, math.inf)
    assert verdict.problem is not None and "deep" in verdict.problem


async def test_heavy_users_wait_in_their_own_lane(sandbox: SchemaSandbox) -> None:
    costly = asyncio.ensure_future(sandbox({**INTERSECTION, "title": "slow lane"}, 1.0))
    await asyncio.sleep(0)
    plain = await sandbox({**PLAIN, "title": "quick lane"}, math.inf)
    assert plain.problem is None and not costly.done()
    assert (await costly).limit


async def test_equal_schemas_are_compiled_once_for_all_sessions(sandbox: SchemaSandbox) -> None:
    verdicts = await asyncio.gather(*(sandbox({**PLAIN, "title": "same"}, math.inf) for _ in range(8)))
    assert sum(verdict.spent > 0 for verdict in verdicts) <= 1


@pytest.mark.parametrize("answer", [None, 7, {"problem": None}, {"problem": None, "seconds": "x"}])
def test_an_answer_of_another_form_is_a_refusal(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    sandbox = SchemaSandbox(NANO)
    monkeypatch.setattr(Child, "ask", lambda *_: answer)
    assert sandbox.probe(PLAIN).limit


@pytest.mark.parametrize(("limit", "asked"), [("memory", 1), ("crash", 1), ("time", 1), ("late", 2)])
def test_failures_are_remembered_unless_the_machine_was_busy(
    monkeypatch: pytest.MonkeyPatch, limit: Any, asked: int
) -> None:
    calls = []

    def fail(*_: object) -> None:
        calls.append(1)
        raise ChildFailed(limit, "it has ended")

    sandbox = SchemaSandbox(NANO)
    monkeypatch.setattr(Child, "ask", fail)
    assert sandbox.probe(PLAIN).limit and sandbox.probe(PLAIN).limit
    assert len(calls) == asked


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "REMEMBERED", 3)
    monkeypatch.setattr(Child, "ask", lambda *_: {"problem": None, "seconds": 0.001})
    sandbox = SchemaSandbox(NANO)
    for number in range(10):
        sandbox.probe({**PLAIN, "title": str(number)})
    assert len(sandbox._known) == 3


def test_children_that_cannot_start_refuse_for_the_moment(tmp_path: Path) -> None:
    sandbox = SchemaSandbox(tmp_path)  # no tokenizer
    began = time.monotonic()
    verdict = sandbox.probe(PLAIN)
    assert verdict.limit and "try again" in str(verdict.problem) and not verdict.spent
    assert sandbox.probe(PLAIN).limit and time.monotonic() - began < 20
    sandbox.close()
