"""The server's log on stderr: as text or as lines of JSON, without secrets and without words of a conversation.

Three rules hold at every level:

* Libraries log from WARNING on. Below that they log headers, URLs and messages.
* Of an exception, its type and its frames are logged, and its message only where that cannot hold what a client, a
  tool or the model wrote (`realtime.errors.log_text`). Of a library's record, only its fixed beginning is logged.
* What looks like a key, a query string or the id of a session is removed from every line. Whoever knows a session's id
  may attach to it on a server without keys, so the log has its beginning only.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from realtime.errors import log_text

OURS = ("realtime", "streaming_vocoder")
"""Packages whose records hold nothing that a peer wrote."""

_PLAIN = ("asyncio", "uvicorn")
"""Libraries whose records begin with fixed words, which are worth reading."""

_REDACTED = "[redacted]"

_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"\b(sess|rtc)_(\w{8})\w+", r"\1_\2"),
        (r"\bek_\w+", f"ek_{_REDACTED}"),
        (r"\b(sk|pk|rk)-[\w-]{4,}", f"sk-{_REDACTED}"),
        (r"(openai-insecure-api-key\.)[^\s,'\"]+", rf"\1{_REDACTED}"),
        (r"\b(Bearer|Basic)\s+[\w.~+/=:-]{4,}", rf"\1 {_REDACTED}"),
        (r"(://)[^/\s@'\"]+@", rf"\1{_REDACTED}@"),
        (r"\?[^\s?'\"]*=[^\s'\"]*", f"?{_REDACTED}"),
        (
            r"((?<!\w)(?:x-)?(?:api[_-]?key|authorization|(?:set-)?cookie|(?:client_)?secret|password)b?['\"]?\s*[:=,]\s*"
            r"b?['\"]?)(?!\[redacted\]|(?:Bearer|Basic)\s)[^\s'\",;&)}\]]+",
            rf"\1{_REDACTED}",
        ),
    )
)

_MAX_CHAIN = 16
"""Exceptions of one chain or group that are shown."""

_log = logging.getLogger(__name__)


def configure_logging(level: str, format: Literal["text", "json"] = "text") -> None:
    """Log to stderr: our own records from ``level`` on, those of libraries from WARNING on. Messages of a session begin
    with the beginning of its id. What cannot be written is lost, without a traceback."""
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    chosen: int = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(chosen, logging.WARNING))
    for name in OURS:
        logging.getLogger(name).setLevel(chosen)
    threading.excepthook = _log_thread_fault
    sys.unraisablehook = _log_unraisable


def redact(text: str) -> str:
    """The text without keys, query strings and most of a session's id."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


class TextFormatter(logging.Formatter):
    """A line for each record; the lines of an exception, or of a longer message, are indented below it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).isoformat(" ", "milliseconds")
        text = f"{at} {record.levelname:<7} {record.name}: {_message(record)}"
        if record.exc_info:
            text += "\n" + "\n".join(_exception(record.exc_info[1]))
        lines = map(_printable, redact(text).splitlines())
        return "\n    ".join(lines)


class JsonFormatter(logging.Formatter):
    """An object a record: ``time`` (UTC), ``level``, ``logger``, ``message``, ``session``, ``exception``, and the
    ``fields`` that the record was given (``extra={"fields": {…}}``)."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": at, "level": record.levelname.lower(), "logger": record.name}
        line["message"] = redact(_message(record))
        session = getattr(record, "session", None)
        if isinstance(session, str):
            line["session"] = redact(session)
        if record.exc_info:
            line["exception"] = redact("\n".join(_exception(record.exc_info[1])))
        fields = getattr(record, "fields", None)
        if isinstance(fields, Mapping):
            line |= {name: redact(value) if isinstance(value, str) else value for name, value in fields.items()}
        return json.dumps(line, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    if record.name.split(".")[0] in OURS:
        return record.getMessage()
    library = record.name.split(".")[0]
    if library in _PLAIN and isinstance(record.msg, str):
        return re.split(r"[\n%(<{\['\"]", record.msg, maxsplit=1)[0].strip()
    return f"a message that may hold what a peer wrote is left out ({record.module}:{record.lineno})"


def _printable(line: str) -> str:
    """Without control characters: a peer's text must not move the terminal's cursor."""
    return "".join(one if one.isprintable() or one == "\t" else f"\\x{ord(one):02x}" for one in line)


def _exception(error: BaseException | None) -> Iterator[str]:
    """The lines of a traceback with the exceptions that led to it, as Python writes it but for the messages."""
    chain: list[tuple[BaseException, str]] = []
    while error is not None and len(chain) < _MAX_CHAIN:
        if error.__cause__ is not None:
            chain.append((error, "This led to:"))
            error = error.__cause__
        else:
            chain.append((error, "While that was handled:"))
            error = None if error.__suppress_context__ else error.__context__
    for position, (one, joint) in enumerate(reversed(chain)):
        if position:
            yield joint
        yield from _one_exception(one)


def _one_exception(error: BaseException) -> Iterator[str]:
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        for part in traceback.format_tb(error.__traceback__):
            yield from part.splitlines()
    yield log_text(error)
    if isinstance(error, BaseExceptionGroup):
        for number, one in enumerate(error.exceptions[:_MAX_CHAIN], 1):
            yield f"  of them, {number}:"
            yield from ("  " + line for line in _exception(one))


def _log_thread_fault(fault: threading.ExceptHookArgs) -> None:
    if fault.exc_value is not None:
        name = fault.thread.name if fault.thread is not None else "a thread"
        _log.error("%s ended by an exception", name, exc_info=fault.exc_value)


def _log_unraisable(fault: Any) -> None:  # sys.UnraisableHookArgs is no name at run time
    if fault.exc_value is not None:
        _log.error("an exception had nobody to go to", exc_info=fault.exc_value)
