"""Checks of tool schemas: awaited without harm to the session, within a budget, and replayed as they were."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.bench.replay import difference, replay
from realtime.ports.tools import SchemaVerdict
from realtime.protocol import events as wire
from realtime.session.quota import KEY_SCHEMA_SECONDS, Quota
from realtime.session.tools.schema_budget import SESSION_SCHEMA_SECONDS
from tests.fakes import FakeClock, LoudnessVad, call
from tests.session.test_replay import InMemory

SCHEMA = {"type": "object", "properties": {}}


def function(name: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {**SCHEMA, **parameters}}


class Check:
    """A `SchemaCheck` in which every schema costs the same."""

    def __init__(self, spent: float = 0.0, seconds: float = 0.0, problem: str | None = None) -> None:
        self.verdict = SchemaVerdict(problem, problem is not None, seconds, spent)
        self.budgets: list[float] = []

    async def __call__(self, schema: Any, budget_s: float) -> SchemaVerdict:
        self.budgets.append(budget_s)
        return self.verdict if budget_s > 0 else SchemaVerdict(unpaid=True)


async def test_sessions_over_their_schema_budget_get_an_error() -> None:
    clock, check = FakeClock(), Check(spent=1.0)
    async with call(schema_check=check, clock=clock) as caller:
        for _ in range(int(SESSION_SCHEMA_SECONDS)):
            caller.update(tools=[function("f")])
            await caller.expect(wire.SessionUpdated)
        caller.update(tools=[function("g")])
        error = await caller.expect_error()
        assert (error.code, error.param) == ("rate_limit_exceeded", "session.tools[0].parameters")
        caller.update(instructions="Be brief.", tools=[])
        await caller.expect(wire.SessionUpdated)
        clock.now += 10.0
        caller.update(tools=[function("g")])
        await caller.expect(wire.SessionUpdated)


async def test_the_sessions_of_a_key_share_a_budget() -> None:
    clock = FakeClock()
    quota = Quota(clock=clock)
    quota.spend_schema(KEY_SCHEMA_SECONDS)
    assert not quota.idle
    async with call(schema_check=Check(spent=1.0), clock=clock, quota=quota) as caller:
        caller.update(tools=[function("f")])
        assert (await caller.expect_error()).code == "rate_limit_exceeded"


@pytest.mark.parametrize("event", ["session", "response"])
async def test_a_costly_schema_is_refused_by_name(event: str) -> None:
    async with call(schema_check=Check(problem="compiling it takes more than 0.5 s of CPU time")) as caller:
        if event == "session":
            caller.update(tools=[function("lookup")])
        else:
            caller.send("response.create", response={"tools": [function("lookup")]})
        error = await caller.expect_error()
        assert (error.code, error.param) == ("invalid_tool_schema", f"{event}.tools[0].parameters")
        assert "lookup" in error.message and "0.5 s" in error.message


async def test_all_tools_together_are_bounded() -> None:
    async with call(schema_check=Check(seconds=0.3)) as caller:
        caller.update(tools=[function(f"f{index}") for index in range(3)])
        await caller.expect(wire.SessionUpdated)
        caller.update(tools=[function(f"f{index}") for index in range(4)])
        error = await caller.expect_error()
        assert (error.code, error.param) == ("invalid_tool_schema", "session.tools[3].parameters")


async def test_a_replay_gives_the_verdicts_that_were_recorded() -> None:
    memory = InMemory()
    check = Check(spent=3.0)
    async with call(schema_check=check, recording=memory.recording) as caller:
        for name in ("f", "g", "h"):
            caller.update(tools=[function(name)])
        await caller.expect(wire.SessionUpdated)
        await caller.expect(wire.SessionUpdated)
        assert (await caller.expect_error()).code == "rate_limit_exceeded"
    await caller.settle()
    recorded = memory.call(caller.seen)
    assert difference(recorded, await replay(recorded, LoudnessVad())) is None
    assert len(check.budgets) == 3
