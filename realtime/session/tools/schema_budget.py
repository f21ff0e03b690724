"""Checks of the schemas that a client declares, within a budget of CPU time for its session and its key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from realtime.ports.tools import MAX_SCHEMA_SECONDS, SchemaCheck, SchemaVerdict
from realtime.protocol.errors import ProtocolError, quote
from realtime.protocol.tools import FunctionTool
from realtime.session.quota import SCHEMA_PERIOD_S, Quota
from realtime.session.token_bucket import TokenBucket

SESSION_SCHEMA_SECONDS = 5.0
"""CPU time for checks of one session: all at once, refilled at a second in ten."""


class SchemaBudget:
    """One session's checks."""

    def __init__(self, check: SchemaCheck, quota: Quota, clock: Callable[[], float]) -> None:
        """``clock``: seconds, monotonic."""
        self._check = check
        self._quota = quota
        self._session = TokenBucket(SESSION_SCHEMA_SECONDS, SCHEMA_PERIOD_S, clock, max_debt=SESSION_SCHEMA_SECONDS)

    async def check(self, tools: Sequence[object], where: str) -> None:
        """Raises `ProtocolError` for a function whose arguments cannot be held to its schema, for schemas that take too
        long to compile, and when the budget is used up. ``where``: "session" or "response"."""
        seconds = 0.0
        for index, tool in enumerate(tools):
            if not isinstance(tool, FunctionTool) or tool.parameters is None:
                continue
            param = f"{where}.tools[{index}].parameters"
            verdict = await self._check(tool.parameters, min(self._session.level, self._quota.schema_seconds))
            self._session.spend(verdict.spent)
            self._quota.spend_schema(verdict.spent)
            seconds += verdict.seconds
            self._raise_for(verdict, tool, param)
            if seconds > MAX_SCHEMA_SECONDS:
                raise ProtocolError(
                    "invalid_tool_schema",
                    f"Compiling the schemas of the tools up to {quote(tool.name)} takes more than "
                    f"{MAX_SCHEMA_SECONDS:g} s of CPU time, the most for all tools of a {where}. Name fewer tools, or "
                    "use simpler patterns, multiples and fewer optional properties.",
                    param=param,
                )

    @staticmethod
    def _raise_for(verdict: SchemaVerdict, tool: FunctionTool, param: str) -> None:
        if verdict.unpaid:
            raise ProtocolError(
                "rate_limit_exceeded",
                f"The schema of {quote(tool.name)} was not checked: earlier checks have used up the CPU time of this "
                "session or of its API key. Send the event again in 10 s.",
                param=param,
                type="rate_limit_error",
            )
        if verdict.limit:
            raise ProtocolError(
                "invalid_tool_schema",
                f"The parameters of {quote(tool.name)} cannot be used: {verdict.problem}.",
                param=param,
            )
        if verdict.problem is not None:
            raise ProtocolError(
                "invalid_value",
                f"The parameters of {quote(tool.name)} are no JSON schema that arguments can be held to: "
                f"{verdict.problem}.",
                param=param,
            )
