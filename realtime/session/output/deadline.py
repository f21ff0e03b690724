"""The time within which engine and vocoder must get on with a reply or a transcript."""

from __future__ import annotations

from collections.abc import Callable

from realtime.session.environment import Environment
from realtime.session.work import Timer


class Deadline:
    """Expires `SessionLimits.progress_s` after the last progress. One timer, which is set anew only when it fires."""

    def __init__(self, env: Environment, on_expiry: Callable[[], None]) -> None:
        self._inputs = env.inputs
        self._timers = env.timers
        self._seconds = env.config.limits.progress_s
        self._on_expiry = on_expiry
        self._latest = 0.0
        self._timer: Timer | None = None

    def start(self) -> None:
        """From now on there must be progress."""
        self.progress()
        if self._timer is None and self._seconds > 0:
            self._timer = self._timers.after(self._seconds, self._check)

    def progress(self) -> None:
        """Something came."""
        self._latest = self._inputs.now()

    def stop(self) -> None:
        """Nothing is waited for any more, and who waited is not kept in memory. May be called more than once."""
        self._on_expiry = _ignore
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        left = self._latest + self._seconds - self._inputs.now()
        if left > 0:
            self._timer = self._timers.after(left, self._check)
        else:
            self._on_expiry()


def _ignore() -> None:
    """Nobody waits."""
