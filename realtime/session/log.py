"""Log records with the id of their session."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any


class SessionLogger(logging.LoggerAdapter[logging.Logger]):
    """Puts the session's id before every record, and on it as ``session``."""

    def __init__(self, logger: logging.Logger, session_id: str) -> None:
        super().__init__(logger, {"session": session_id})
        self.session_id = session_id

    def process(self, msg: str, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        extra = {**(self.extra or {}), **kwargs.get("extra", {})}
        return f"[{self.session_id}] {msg}", {**kwargs, "extra": extra}
