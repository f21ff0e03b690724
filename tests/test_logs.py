"""The log: what is redacted, which records of libraries pass, and what it shows of exceptions."""

from __future__ import annotations

import errno
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from realtime.commands.background_log import log_in_background
from realtime.errors import (
    CheckpointError,
    EngineError,
    PeerError,
    RealtimeError,
    ToolServerError,
    forget_frames,
    log_text,
)
from realtime.logs import JsonFormatter, TextFormatter, configure_logging, redact
from realtime.session.log import SessionLogger

WORDS = "tender words"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    names = ("", "realtime", "streaming_vocoder")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    hooks = threading.excepthook, sys.unraisablehook, logging.raiseExceptions
    yield
    threading.excepthook, sys.unraisablehook, logging.raiseExceptions = hooks
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.mark.parametrize(
    "line",
    [
        "GET /openai/v1/realtime?model=x&api-key=K3yK3yK3y HTTP/1.1",
        "GET /v1/realtime?call_id=K3yK3yK3y",
        "> Authorization: Bearer K3yK3yK3y",
        "> authorization: K3yK3yK3y",
        "> api-key: K3yK3yK3y",
        "{'Api-Key': 'K3yK3yK3y'}",
        "[(b'api-key', b'K3yK3yK3y'), (b'host', b'a')]",
        "[(b'authorization', b'Bearer K3yK3yK3y')]",
        '{"client_secret": "K3yK3yK3y"}',
        "api_key=K3yK3yK3y",
        "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.K3yK3yK3y",
        "the secret ek_K3yK3yK3y",
        "sk-K3yK3yK3y is not known",
        "wss://user:K3yK3yK3y@example.org/v1",
        "Cookie: a=K3yK3yK3y",
        "password='K3yK3yK3y'",
    ],
)
def test_keys_are_redacted(line: str) -> None:
    assert "K3y" not in redact(line)


@pytest.mark.parametrize(
    "line",
    [
        "response resp_1 completed: first_token_ms=12.5 total_ms=310.0 late_chunks=0",
        "a reply of 120 tokens had 2 dropped tokens",
        "draining: sessions may end within 5 s; a second signal ends them now",
        "what? this = that",
    ],
)
def test_other_lines_stay_as_they_are(line: str) -> None:
    assert redact(line) == line


def test_only_the_beginning_of_session_ids_is_shown() -> None:
    assert redact("[sess_abcdefghIJKLMNOPQRSTUV] opened") == "[sess_abcdefgh] opened"
    assert redact("call rtc_abcdefghIJKLMNOPQRSTUV") == "call rtc_abcdefgh"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_libraries_never_log_below_warning(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level)
    for name in ("websockets.server", "uvicorn.error", "httpx", "openai", "aiortc", "asyncio", "mcp", "new.library"):
        logging.getLogger(name).debug(WORDS)
        logging.getLogger(name).info(WORDS)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_our_own_level_is_the_chosen_one(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level)
    for name in ("realtime.session", "streaming_vocoder.streaming"):
        logger = logging.getLogger(name)
        chosen = logging.getLevelNamesMapping()[level.upper()]
        logger.log(chosen, "shown")
        logger.log(chosen - 1, "hidden")
    written = capsys.readouterr().err
    assert written.count("shown") == 2 and "hidden" not in written


@pytest.mark.parametrize(
    ("library", "message", "shown"),
    [
        ("asyncio", f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{WORDS}')>", "never"),
        ("asyncio", f"Exception in callback answer('{WORDS}')", "Exception in callback answer"),
        ("uvicorn.error", "Invalid HTTP request received.", "Invalid HTTP request received."),
        ("uvicorn.error", f"ASGI callable should return None, but returned '{WORDS}'.", "should return None"),
        ("uvicorn.error", f"Traceback (most recent call last):\nValueError: {WORDS}", "Traceback"),
        ("mcp.client", f"Unknown SSE event: {WORDS}", "mcp.client"),
        ("root", f"Could not fetch prompts: {WORDS}", "left out"),
    ],
)
def test_libraries_do_not_repeat_what_they_got(library: str, message: str, shown: str) -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        text = formatter.format(logging.LogRecord(library, logging.ERROR, "lib.py", 3, message, (), None))
        assert shown in text and WORDS not in text


def test_arguments_of_libraries_are_not_shown() -> None:
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "lib.py", 3, '%s - "%s"', (WORDS, WORDS), None)
    assert WORDS not in TextFormatter().format(record)


def raised(raise_it: Callable[[], None]) -> list[str]:
    """The lines of the log of what is raised."""
    try:
        raise_it()
    except BaseException as error:
        fault = (type(error), error, error.__traceback__)
        record = logging.LogRecord("realtime.x", logging.ERROR, "x.py", 1, "it failed", (), fault)
        lines = [line.strip() for line in TextFormatter().format(record).splitlines()]
        assert lines[1:] == [one.strip() for one in json.loads(JsonFormatter().format(record))["exception"].split("\n")]
        return lines
    raise AssertionError


def fail_plainly() -> None:
    raise ValueError(WORDS)


def fail_with_cause() -> None:
    try:
        fail_plainly()
    except ValueError as error:
        raise KeyError(WORDS) from error


def fail_meanwhile() -> None:
    try:
        fail_plainly()
    except ValueError:
        raise RuntimeError(WORDS)  # noqa: B904


def fail_in_a_group() -> None:
    raise ExceptionGroup(WORDS, [ValueError(WORDS), ExceptionGroup(WORDS, [KeyError(WORDS)])])


def fail_with_a_note() -> None:
    error = ValueError()
    error.add_note(WORDS)
    raise error


@pytest.mark.parametrize(
    ("fail", "kinds"),
    [
        (fail_plainly, ["ValueError"]),
        (fail_with_cause, ["ValueError", "This led to:", "KeyError"]),
        (fail_meanwhile, ["ValueError", "While that was handled:", "RuntimeError"]),
        (fail_in_a_group, ["ExceptionGroup", "ValueError", "ExceptionGroup", "KeyError"]),
        (fail_with_a_note, ["ValueError"]),
    ],
)
def test_exceptions_show_kinds_and_frames_without_words(fail: Callable[[], None], kinds: list[str]) -> None:
    lines = raised(fail)
    assert WORDS not in "".join(lines)
    assert any(line.endswith(f"in {fail.__name__}") and "test_logs.py" in line for line in lines)
    assert [line for line in lines if line in ("This led to:", "While that was handled:") or line.isalpha()] == kinds


def test_a_circle_of_causes_is_cut() -> None:
    def fail() -> None:
        first, second = ValueError(), KeyError()
        first.__cause__, second.__cause__ = second, first
        raise first

    assert raised(fail).count("ValueError") < 50


@pytest.mark.parametrize("error", [PeerError("code", WORDS), ToolServerError(WORDS), EngineError(WORDS)])
def test_errors_that_quote_peers_are_not_shown(error: RealtimeError) -> None:
    assert log_text(error) == type(error).__name__


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CheckpointError("no config.json"), "CheckpointError: no config.json"),
        (OSError(errno.ENOSPC, "no space", WORDS), "OSError: No space left on device"),
        (ConnectionError(WORDS), "ConnectionError"),
    ],
)
def test_operators_see_what_they_can_mend(error: Exception, text: str) -> None:
    assert log_text(error) == text


def test_faults_of_computing_keep_their_message() -> None:
    import torch

    try:
        torch.zeros(2) @ torch.zeros(3)
    except RuntimeError as error:
        assert log_text(error) == "RuntimeError"  # called from here, not from the model
    compute: dict[str, object] = {"__name__": "realtime.model.decoder", "torch": torch}
    with pytest.raises(RuntimeError) as caught:
        exec("torch.zeros(2) @ torch.zeros(3)", compute)
    assert "size" in log_text(caught.value)


def test_a_peer_cannot_forge_a_line() -> None:
    record = logging.LogRecord("realtime.x", logging.INFO, "x.py", 1, "label %s", ("a\n2026 ERROR b\x1b[2J\r",), None)
    lines = TextFormatter().format(record).split("\n")
    assert [line.startswith("    ") for line in lines] == [False, True]
    assert "\x1b" not in "".join(lines) and "\r" not in "".join(lines)
    assert "\n" not in JsonFormatter().format(record)


def test_json_lines_hold_session_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    log = SessionLogger(logging.getLogger("realtime.session"), "sess_abcdefghIJKLMNOPQRSTUV")
    log.info("closed", extra={"fields": {"turns": 2, "reason": "Bearer K3yK3yK3y"}})
    line = json.loads(capsys.readouterr().err)
    assert line["session"] == "sess_abcdefgh" and line["message"] == "[sess_abcdefgh] closed"
    assert (line["turns"], line["reason"]) == (2, "Bearer [redacted]")
    assert (line["level"], line["logger"]) == ("info", "realtime.session")


def test_lines_written_in_background_are_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    log_in_background()
    try:
        fail_plainly()
    except ValueError as error:
        logging.getLogger("realtime.x").exception("it failed at 100%")
        forget_frames(error)
    logging.getLogger("mcp").error(WORDS)
    logging.getLogger().handlers[0].flush()
    written = capsys.readouterr().err
    assert WORDS not in written and "in fail_plainly" in written and written.count("it failed at 100%") == 1
    assert written.count("\n    ") == written.count("\n") - 2


def test_threads_that_fail_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    thread = threading.Thread(target=fail_plainly, name="worker")
    thread.start()
    thread.join()
    written = capsys.readouterr().err
    assert "worker ended by an exception" in written and WORDS not in written
