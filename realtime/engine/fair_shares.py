"""Fair queueing: who is to be served next, so that keys, and the sessions of each key, get equal time.

Each contender's time is added up. Who has used least goes first. Who comes, or comes back, begins where the others are:
nobody saves up time while idle, and nobody pays for time that no one else wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from realtime.ports.payer import Payer


class FairShares:
    """The time used by each key and, within it, by each session. In seconds, or any other unit of cost."""

    def __init__(self) -> None:
        self._keys = _Accounts()
        self._sessions: dict[str, _Accounts] = {}

    def contend(self, payers: Iterable[Payer]) -> None:
        """These want to be served now, and no others."""
        by_key: dict[str, set[str]] = {}
        for payer in payers:
            by_key.setdefault(payer.key, set()).add(payer.session)
        self._keys.contend(by_key)
        for key, sessions in by_key.items():
            self._sessions.setdefault(key, _Accounts()).contend(sessions)
        self._sessions = {key: kept for key, kept in self._sessions.items() if key in by_key or self._keys.knows(key)}

    def used(self, payer: Payer) -> tuple[float, float]:
        """What its key has used, and the session within it. Of two contenders the smaller one is to be served."""
        return self._keys.used(payer.key), self._sessions[payer.key].used(payer.session)

    def excess(self, payer: Payer) -> float:
        """How much more than the contender with the least it has used: its key, or it within its key."""
        sessions = self._sessions[payer.key]
        return max(self._keys.excess(payer.key), sessions.excess(payer.session))

    def charge(self, payer: Payer, cost: float) -> None:
        """It was served."""
        self._keys.charge(payer.key, cost)
        self._sessions.setdefault(payer.key, _Accounts()).charge(payer.session, cost)


class _Accounts:
    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self._present: set[str] = set()
        self._level = 0.0
        """Where newcomers begin: what the least served of those who stayed has used."""

    def contend(self, names: Collection[str]) -> None:
        if staying := self._present.intersection(names):
            self._level = max(self._level, min(self._used[name] for name in staying))
        for name in names:
            if name not in self._present:
                self._used[name] = max(self._used.get(name, 0.0), self._level)
        self._present = set(names)
        forgotten = [name for name, used in self._used.items() if used <= self._level and name not in self._present]
        for name in forgotten:
            del self._used[name]

    def knows(self, name: str) -> bool:
        return name in self._used

    def used(self, name: str) -> float:
        return self._used[name]

    def excess(self, name: str) -> float:
        return self._used[name] - min(self._used[present] for present in self._present)

    def charge(self, name: str, cost: float) -> None:
        self._used[name] = self._used.get(name, self._level) + cost
