"""`realtime serve` refuses wrong settings in one line, survives a lost terminal, and reads its keys again."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from realtime.cli import main
from realtime.commands import serve
from realtime.config import EMBEDDED_CHECKPOINT, Settings
from realtime.transports.http.server import DrainingServer
from tests.serving import free_port

SECRET = "sk-not-to-be-shown"


@pytest.fixture(autouse=True)
def never_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: object, **options: object) -> None:
        raise AssertionError("the server has started")

    monkeypatch.setattr(DrainingServer, "run", run)
    monkeypatch.setattr(serve, "configure_logging", lambda level, format: None)
    monkeypatch.setattr(serve, "log_in_background", lambda: None)


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The line with which these flags are refused, behind the name of the command."""
    try:
        status = main(["serve", *flags])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else -1
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("realtime serve: ") and SECRET not in err
    return err.removeprefix("realtime serve: ").rstrip("\n")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--port", "99999"),
        ("--threads", "-3"),
        ("--max-sessions", "-1"),
        ("--session-seconds", "0"),
        ("--drain-seconds", "nan"),
        ("--dtype", "float8"),
        ("--log-level", "loud"),
        ("--interruption", ""),
        ("--device", "toaster"),
        ("--device", "meta"),
        ("--device", ""),
        ("--model", "/nowhere"),
        ("--model", "/dev/null"),
        ("--model", ""),
        ("--profile", "huge"),
        ("--voice", "nobody"),
        ("--turn-model", "/nowhere.onnx"),
        ("--vocoder-chunks", "1,two"),
        ("--vocoder-chunks", ""),
        ("--vocoder-chunks", "9,5"),
        ("--vocoder-fixed-streams", "2"),
        ("--record", "/dev/null"),
        ("--record", "/proc/nowhere"),
        ("--tools", "dig"),
        ("--tools", "weather"),
        ("--tools", "audio_search"),
        ("--mcp-hosts", "https://example.com/mcp"),
        ("--allowed-origins", "example.com"),
        ("--allowed-origins", "https://["),
        ("--api-key", "two words"),
        ("--api-keys-file", "/nowhere"),
        ("--api-keys-file", "/"),
        ("--api-keys-file", "/dev/zero"),
        ("--api-keys-file", "/dev/null"),
        ("--config", "/nowhere.toml"),
        ("--host", "256.1.1.1"),
        ("--config", "two\nlines"),
        ("--model", "two\nlines"),
        ("--voice", "not utf-8: \udcff"),
        ("--model", "\udcff"),
        ("--host", "a..b"),
        ("--host", "0.0.0.0"),
        ("--tls-cert", "/nowhere.pem"),
        ("--trusted-proxies", "banana"),
        ("--allowed-hosts", "http://example.com"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert flag in refused(capsys, f"{flag}={value}")


def test_an_address_of_another_machine_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "--host", "192.0.2.1", "--allow-anonymous", "--port", str(free_port()))
    assert said.startswith("--host: cannot listen on '192.0.2.1'")


def test_a_port_in_use_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(capsys, f"--port={taken.getsockname()[1]}")
    assert said.startswith("--port: cannot listen on '127.0.0.1'")


def test_a_broken_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, f"--model={tmp_path}").startswith(f"--model: {tmp_path} lacks ")
    for path in EMBEDDED_CHECKPOINT.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "profile.json").unlink()
    (tmp_path / "profile.json").write_text("{")
    assert refused(capsys, f"--model={tmp_path}").startswith("--profile: ")


@pytest.mark.parametrize("url", ["ftp://example.com", "http://[", "http://example.com X-Key"])
def test_a_wrong_endpoint_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "--tools=weather", f"--weather-url={url}").startswith("--tools: weather_url: ")


@pytest.mark.parametrize("flags", [["--prot", "1"], ["--port"], ["a\nb"], ["--api-key"]])
def test_unknown_flags_are_refused_without_the_usage(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, *flags)


def test_a_wrong_secret_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{SECRET} and words")
    assert refused(capsys, f"--api-keys-file={keys}").startswith(f"--api-keys-file: {keys}, line 1: ")
    refused(capsys, f"--api-key={SECRET} and words")


@pytest.mark.parametrize(
    "arguments",
    [
        ["talk", "--timeout", "nan"],
        ["talk", "--text", "hi", "--out", "/nowhere/a.wav"],
        ["talk", "/nowhere.wav"],
        ["infer", "--text", "hi", "--port", "0"],
        ["infer", "--text", "hi", "--out", "/"],
        ["infer", "/nowhere.wav"],
        ["infer", "--task", "dance"],
        ["replay", "/nowhere"],
        ["voice", "preview", "default", "--out", "/tmp/a.wav", "--steps", "0"],
        ["bench", "latency", "--turns", "-1"],
        ["bench", "latency", "--seconds", "inf"],
        ["bench", "latency", "--json", "/nowhere/a.json"],
        ["bench", "turns", "--seed", "-1"],
        ["bench", "turns", "--turn-model", "/nowhere"],
        ["bench", "vocoder", "--minutes", "1e999"],
        ["bench", "vocoder", "--threads", "-1"],
        ["bench", "vocoder", "--chunks", "0"],
        ["bench", "hostile", "--callers", "0"],
        ["bench", "hostile", "--seconds", "0"],
        ["doctor", "--threads", "many"],
    ],
)
def test_other_commands_refuse_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status: object = main(arguments)
    except SystemExit as error:
        status = error.code
    err = capsys.readouterr().err
    assert (status, err.count("\n")) == (2, 1), err


# The process


HANDSHAKE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def status_of(process: subprocess.Popen[bytes], url: str, key: str = "") -> int:
    """The status of the answer, once the server listens."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server has ended with {process.poll()}")


def wait_until_status(process: subprocess.Popen[bytes], url: str, key: str, wanted: int) -> None:
    deadline = time.monotonic() + 10
    while status_of(process, url, key) != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("stderr", ["/dev/full", "closed pipe", "closed"])
def test_a_lost_stderr_does_not_end_the_server(stderr: str) -> None:
    port = free_port()
    command = [sys.executable, "-m", "realtime.cli", "serve", "--log-level", "debug", "--port", str(port)]
    if stderr == "closed":
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=full if stderr == "/dev/full" else writer)
    os.close(writer)
    try:
        assert status_of(process, f"http://127.0.0.1:{port}/") == 200
        assert status_of(process, f"http://127.0.0.1:{port}/healthz") in (200, 503)
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()


def test_a_stderr_that_nobody_reads_does_not_freeze() -> None:
    port = free_port()
    command = [sys.executable, "-m", "realtime.cli", "serve", "--log-level", "debug", "--port", str(port)]
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=writer)
    os.close(writer)
    try:
        status_of(process, f"http://127.0.0.1:{port}/healthz")
        for _ in range(60):  # each leaves two lines in the log, or more
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(HANDSHAKE)
                assert client.recv(16).startswith(b"HTTP/1.1 ")
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM
        assert len(os.read(reader, 8192)) > 3900, "the pipe was not full"
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def test_sighup_reads_the_keys_again(tmp_path: Path) -> None:
    keys, log = tmp_path / "keys", tmp_path / "log"
    keys.write_text("first\n")
    port = free_port()
    command = [sys.executable, "-m", "realtime.cli", "serve", "--port", str(port), "--api-keys-file", str(keys)]
    url = f"http://127.0.0.1:{port}/v1/models"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            assert status_of(process, url, "first") == 200
            keys.write_text("second\n")
            process.send_signal(signal.SIGHUP)
            wait_until_status(process, url, "second", 200)
            assert status_of(process, url, "first") == 401
            for broken in ("two words\n", ""):
                keys.write_text(broken)
                process.send_signal(signal.SIGHUP)
                time.sleep(0.5)
                assert status_of(process, url, "second") == 200
            keys.unlink()
            process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            assert status_of(process, url, "second") == 200
        finally:
            process.terminate()
    told = [line for line in log.read_text().splitlines() if " ERROR " in line]
    assert len(told) == 3 and all("the keys are unchanged: --api-keys-file: " in line for line in told)
    assert "two words" not in log.read_text()


def test_sighup_without_keys_is_ignored(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "realtime.cli", "serve", "--port", str(port)]
    with (tmp_path / "log").open("wb") as output, subprocess.Popen(command, stderr=output) as process:
        try:
            status_of(process, f"http://127.0.0.1:{port}/healthz")
            process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            assert status_of(process, f"http://127.0.0.1:{port}/") == 200
        finally:
            process.terminate()
    assert "draining" in (tmp_path / "log").read_text()


def test_the_console_link_has_the_key_on_terminals() -> None:
    settings = Settings(api_key="k 1/2")
    assert f":{settings.port}/#key=k%201%2F2\n" in serve.greeting(settings, on_terminal=True)
    assert "k%201" not in serve.greeting(settings, on_terminal=False)
    assert "#key" not in serve.greeting(Settings(), on_terminal=True)


def test_the_operators_link_has_the_admin_key() -> None:
    settings = Settings(api_key="k", admin_key="a 1")
    assert "/admin#key=a%201\n" in serve.greeting(settings, on_terminal=True, operators=True)
    assert "a%201" not in serve.greeting(settings, on_terminal=False, operators=True)
    assert "Operators" not in serve.greeting(settings, on_terminal=True)
