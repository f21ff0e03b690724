"""The supervisor of one server: its metrics, its part of `/healthz`, and the end of a process that cannot go on."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from realtime.engine.supervisor import Supervisor, Unit
from realtime.transports.http.host import Health
from realtime.transports.http.metrics_page import ServerMetrics

logger = logging.getLogger(__name__)

EXIT_STATUS = 70
"""``EX_SOFTWARE``: neither a wrong setting nor a signal."""

LAST_LINE_SECONDS = 2.0


def supervise(units: Mapping[str, Unit], stall_s: float, metrics: ServerMetrics) -> Supervisor:
    """A supervisor of these workers and of the calling thread's event loop, with its metrics. `start` it."""
    supervisor = Supervisor(units, stall_s, lambda: metrics.loop_lag.beat, lambda why: end_process(why))
    for name in supervisor.report():
        help = f"Seconds since the last heartbeat of the {name.replace('_', ' ')} while it had work."
        metrics.gauge(f"realtime_{name}_silent_seconds", help, partial(_figure, supervisor, name, "seconds"))
        if name in units:
            help = f"How often the {name} was replaced."
            metrics.gauge(f"realtime_{name}_restarts", help, partial(_figure, supervisor, name, "restarts"))
    return supervisor


def health_of(supervisor: Supervisor) -> Health:
    """Of a server that is ready: whether its workers are."""
    workers = supervisor.report()
    unwell = [
        f"the {name.replace('_', ' ')} is {one['state']} ({one['seconds']:.0f} s)"
        for name, one in workers.items()
        if one["state"] != "ok"
    ]
    return Health("unwell" if unwell else "ready", "; ".join(unwell) or "serving", workers)


def end_process(why: str) -> None:
    """End at once, whatever hangs: an operator's supervisor starts the server again."""
    last_line = threading.Thread(target=_say_why, args=(why,), daemon=True)
    last_line.start()
    last_line.join(LAST_LINE_SECONDS)  # a pipe that nobody reads must not keep the process alive
    os._exit(EXIT_STATUS)


def _say_why(why: str) -> None:
    logger.critical("the process ends with status %d: %s", EXIT_STATUS, why)
    for handler in logging.getLogger().handlers:  # a handler may write in a thread of its own
        with suppress(OSError, ValueError):
            handler.flush()


def _figure(supervisor: Supervisor, name: str, figure: str) -> float:
    return float(supervisor.report()[name][figure])
