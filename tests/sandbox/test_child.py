"""A child process that fails in every way costs its parent one request."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.sandbox.child import Child, ChildFailed, ChildUnavailable

MODULE = "tests.sandbox.misbehaving_child"


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    monkeypatch.setenv("REALTIME_API_KEY", "secret")
    child = Child(MODULE, answer_s=3.0)
    child.start()
    yield child
    child.close()
    assert child.pid is None


def test_requests_are_answered_in_one_process(child: Child) -> None:
    pid = child.pid
    assert [child.ask(one) for one in ("one", {"two": [2]}, None)] == ["one", {"two": [2]}, None]
    assert child.pid == pid


def test_what_a_library_prints_is_no_answer(child: Child) -> None:
    assert child.ask("print") == "print"
    assert child.ask("next") == "next"


@pytest.mark.parametrize(
    ("request_", "limit"),
    [
        ("spin", "time"),
        ("grow", "memory"),
        ("sleep", "late"),
        ("exit", "crash"),
        ("garbage", "crash"),
        ("endless", "crash"),
    ],
)
def test_a_child_that_fails_is_killed_and_replaced(child: Child, request_: str, limit: str) -> None:
    pid = child.pid
    assert pid is not None
    began = time.monotonic()
    with pytest.raises(ChildFailed) as failure:
        child.ask(request_)
    assert failure.value.limit == limit
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert child.ask("next") == "next"
    assert child.pid != pid


def test_requests_that_are_not_read_are_given_up(child: Child) -> None:
    pid = child.pid
    assert pid is not None
    os.kill(pid, 19)  # SIGSTOP: it reads nothing, and the pipe holds 64 kB
    with pytest.raises(ChildFailed):
        child.ask("x" * 1_000_000)
    assert child.ask("next") == "next"


def test_children_killed_by_others_are_replaced(child: Child) -> None:
    assert child.pid is not None
    os.kill(child.pid, 9)
    os.waitpid(child.pid, os.WNOHANG)
    deadline = time.monotonic() + 10
    answer = None
    while answer is None and time.monotonic() < deadline:
        try:
            answer = child.ask("next")
        except ChildFailed:  # the request met the dying process
            continue
    assert answer == "next"


def test_a_slow_child_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.sandbox.child.START_S", 0.05)
    child = Child(MODULE, ["slow", "1"])
    try:
        with pytest.raises(ChildUnavailable):
            child.start()
        pid = child.pid
        monkeypatch.undo()
        assert child.ask("one") == "one" and child.pid == pid
    finally:
        child.close()


def test_children_that_never_get_ready_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.sandbox.child.START_S", 0.05)
    monkeypatch.setattr("realtime.sandbox.child.LATEST_START_S", 0.01)
    child = Child(MODULE, ["slow", "60"])
    with pytest.raises(ChildUnavailable):
        child.start()
    assert child.pid is None


def test_children_that_do_not_start_are_retried_later() -> None:
    child = Child(MODULE, ["broken"])
    with pytest.raises(ChildUnavailable):
        child.start()
    began = time.monotonic()
    with pytest.raises(ChildUnavailable):
        child.ask("next")
    assert time.monotonic() - began < 0.5


def test_a_child_ends_with_its_parent() -> None:
    code = (
        "import os\nfrom realtime.sandbox.child import Child\n"
        f"child = Child({MODULE!r})\nchild.start()\nprint(child.pid, flush=True)\nos._exit(0)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    pid = int(done.stdout)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.05)
    assert not _runs(pid)


def test_the_child_of_schemas_has_no_torch() -> None:
    code = "import sys, realtime.sandbox.schema_child; sys.exit('torch' in sys.modules)"
    root = str(Path(__file__).parents[2])
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"
