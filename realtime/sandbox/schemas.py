"""Checks of clients' schemas in child processes, with limits and a cache.

A schema of 1.5 kB can take any time and memory to compile, and the grammar library holds the interpreter's lock
meanwhile, so it is compiled in a `Child` first. What that finds cheap may then be compiled in the server.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from realtime.errors import log_text
from realtime.model.schemas import shape_problem
from realtime.ports.tools import SchemaVerdict
from realtime.sandbox.child import Child, ChildFailed, ChildUnavailable

logger = logging.getLogger(__name__)

CPU_S = 0.5
"""CPU time for one schema; usual ones take 1 to 5 ms."""

MEMORY_BYTES = 256 * 1024 * 1024
"""Memory for one schema, beyond the child's own."""

REMEMBERED = 4096
"""Schemas whose verdict is remembered, sound or not, each by a digest."""

GOOD_STANDING_S = 4.5
"""Who has this much of its budget left goes by the quick lane, so that honest callers do not wait behind those who have
sent costly schemas."""

_CHILD = "realtime.sandbox.schema_child"
_PROBLEMS = {
    "time": f"compiling it takes more than {CPU_S:g} s of CPU time, the most for one schema",
    "memory": f"compiling it takes more than {MEMORY_BYTES // 2**20} MB of memory, the most for one schema",
    "late": "compiling it took too long; try again later",
    "crash": "it cannot be compiled",
}


class SchemaSandbox:
    """`realtime.ports.tools.SchemaCheck` in child processes. `start` first, `close` at the end; safe in any thread."""

    def __init__(self, folder: Path) -> None:
        """``folder``: a checkpoint, for its tokenizer."""
        self._lanes = [Child(_CHILD, [str(folder)]) for _ in range(2)]
        self._threads = [ThreadPoolExecutor(1, f"schemas {index + 1}") for index in range(len(self._lanes))]
        self._known: OrderedDict[bytes, SchemaVerdict] = OrderedDict()
        self._guard = threading.Lock()

    def start(self) -> None:
        """Start the first child and wait until it is ready; the second one starts when it is needed. Where it does not
        start, a warning says so, and it is tried again for the next schema: only sessions with tools need it."""
        try:
            self._lanes[0].start()
        except ChildUnavailable as error:
            logger.warning("clients' schemas cannot be checked yet: %s", log_text(error))

    def close(self) -> None:
        """Kill the children."""
        for thread in self._threads:
            thread.shutdown(wait=False, cancel_futures=True)
        for child in self._lanes:
            child.close()

    @property
    def pids(self) -> list[int]:
        """Of the children that run."""
        return [child.pid for child in self._lanes if child.pid is not None]

    async def __call__(self, schema: Any, budget_s: float) -> SchemaVerdict:
        """As `SchemaCheck`: without blocking the event loop."""
        shape = shape_problem(schema)
        if shape is not None or schema is None:
            return SchemaVerdict(shape)
        text, digest = _digest(schema)
        known = self._find(digest)
        if known is not None:
            return known
        if budget_s <= 0:
            return SchemaVerdict(unpaid=True)
        lane = 0 if budget_s >= GOOD_STANDING_S else 1
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads[lane], self._ask, self._lanes[lane], text, digest)

    def probe(self, schema: Any) -> SchemaVerdict:
        """The same for a thread that may wait, at no client's cost: of schemas that came another way than by an event
        (from an MCP server, with a client secret), or that were forgotten."""
        shape = shape_problem(schema)
        if shape is not None or schema is None:
            return SchemaVerdict(shape)
        text, digest = _digest(schema)
        return self._find(digest) or self._ask(self._lanes[1], text, digest)

    def _find(self, digest: bytes) -> SchemaVerdict | None:
        with self._guard:
            known = self._known.get(digest)
            if known is not None:
                self._known.move_to_end(digest)
            return known

    def _ask(self, child: Child, text: str, digest: bytes) -> SchemaVerdict:
        if (known := self._find(digest)) is not None:  # another session has asked meanwhile
            return known
        try:
            answer = child.ask(json.loads(text))
            verdict = SchemaVerdict(answer["problem"], seconds=float(answer["seconds"]))
            spent = verdict.seconds
        except ChildFailed as failure:
            logger.warning("a schema of %d characters was given up: %s (%s)", len(text), failure.limit, failure)
            verdict, spent = SchemaVerdict(_PROBLEMS[failure.limit], limit=True, seconds=CPU_S), CPU_S
        except ChildUnavailable:
            logger.exception("schemas cannot be checked")
            return SchemaVerdict("the server cannot check schemas now; try again later", limit=True)
        except (KeyError, TypeError, ValueError):
            logger.exception("a child process gave an answer of another form")
            return SchemaVerdict(_PROBLEMS["crash"], limit=True, spent=CPU_S)
        if verdict.problem != _PROBLEMS["late"]:
            self._remember(digest, verdict)
        return SchemaVerdict(verdict.problem, verdict.limit, verdict.seconds, spent)

    def _remember(self, digest: bytes, verdict: SchemaVerdict) -> None:
        with self._guard:
            self._known[digest] = verdict
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)


def _digest(schema: Any) -> tuple[str, bytes]:
    text = json.dumps(schema)
    return text, hashlib.sha256(text.encode()).digest()
