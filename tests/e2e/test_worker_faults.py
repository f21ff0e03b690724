"""Faults in the engine and the vocoder of a real server with nano: callers are told, and all of them talk on."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect

from realtime import supervision
from realtime.app import Application
from realtime.audio.streams import float_to_pcm16
from realtime.client.connection import WIRE_RATE
from realtime.client.utterance import load_utterance
from realtime.config import Settings
from realtime.transports.http.http import build_app
from realtime.transports.http.server import listen, web_server
from tests.serving import serving

SPEECH = Path(__file__).parents[1] / "data" / "speech" / "what_time_is_it_slt.wav"
STALL_S = 2.0
PATIENCE_S = 60
"""For a loaded machine; every wait ends with an event."""


class Trap:
    """Holds the first thread that enters it after it was set, ``when`` the call's arguments say so."""

    def __init__(self) -> None:
        self.armed = threading.Event()
        self.when: Callable[..., bool] = lambda *_: True
        self.entered = threading.Event()
        self.released = threading.Event()

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self.armed.is_set() and self.when(*arguments):
                self.armed.clear()
                self.entered.set()
                self.released.wait(PATIENCE_S)
            return work(*arguments, **named)

        return call

    async def caught(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE_S)


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.released.set()


class Site:
    """A server in this process, and its inside."""

    def __init__(self, application: Application, port: int) -> None:
        self.application = application
        self.url = f"ws://127.0.0.1:{port}/v1/realtime"
        self.http = f"http://127.0.0.1:{port}"
        assert application._threads is not None
        self.engine = application._threads.engine
        self.vocoder = application._threads.vocoder

    @property
    def runner(self) -> Any:
        """The engine's model runner of now; a new engine has a new one."""
        return self.engine._core._runner

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Let no time pass for the supervisor: on a busy machine the callers take longer than a stall to take part."""
        supervisor = self.application._supervisor
        assert supervisor is not None
        clock, now = supervisor._clock, supervisor._clock()
        supervisor._clock = lambda: now
        try:
            yield
        finally:
            supervisor._clock = clock

    async def health(self) -> tuple[int, dict[str, Any]]:
        def fetch() -> tuple[int, dict[str, Any]]:
            try:
                with urllib.request.urlopen(f"{self.http}/healthz") as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.load(error)

        return await asyncio.to_thread(fetch)

    async def until_unwell(self, name: str) -> None:
        """`/healthz` says which worker, and for how long; nothing is wrong with the others."""
        status, body = await self.health()
        while status == 200:
            await asyncio.sleep(0.02)
            status, body = await self.health()
        assert status == 503 and body["status"] == "unwell" and name in body["reason"]
        workers = body["workers"]
        assert workers[name]["state"] in ("stuck", "restarting") and workers[name]["seconds"] >= 0
        assert {one["state"] for other, one in workers.items() if other != name} == {"ok"}
        assert f"realtime_{name}_silent_seconds" in self.application.metrics.page()

    async def until_healthy(self) -> None:
        while (await self.health())[0] != 200:
            await asyncio.sleep(0.05)


@asynccontextmanager
async def site(monkeypatch: pytest.MonkeyPatch, *, stall_s: float = 0.0) -> AsyncIterator[Site]:
    ends: list[str] = []
    monkeypatch.setattr(supervision, "end_process", ends.append)
    application = Application(Settings(stall_seconds=stall_s, threads=1, max_sessions=8))
    with listen("127.0.0.1", 0) as listener:
        server = web_server(build_app(application, None), drain=application.drain)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(3 * PATIENCE_S):
                while application.health.state != "ready":
                    assert application.health.state == "loading", application.health
                    await asyncio.sleep(0.02)
                yield Site(application, listener.getsockname()[1])
            assert not ends
        finally:
            server.should_exit = True
            await task


class Talker:
    """A caller of a server."""

    def __init__(self, ws: ClientConnection) -> None:
        self._ws = ws

    async def send(self, type: str, **fields: Any) -> None:
        await self._ws.send(json.dumps({"type": type, **fields}))

    async def expect(self, *types: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                event: dict[str, Any] = json.loads(await self._ws.recv())
                if event["type"] in types:
                    return event

    async def ask(self, text: str = "what time is it") -> None:
        content = [{"type": "input_text", "text": text}]
        await self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await self.send("response.create")

    async def speak(self) -> None:
        """A whole turn, with silence behind it."""
        silence = np.zeros(WIRE_RATE, np.float32)
        pcm = float_to_pcm16(np.concatenate([load_utterance(SPEECH).samples, silence]))
        for start in range(0, len(pcm), 9600):
            audio = base64.b64encode(pcm[start : start + 9600]).decode()
            await self.send("input_audio_buffer.append", audio=audio)

    async def outcome(self) -> tuple[str, str | None]:
        """Of the response that ends next: its status and the code of its error."""
        response = (await self.expect("response.done"))["response"]
        error = (response["status_details"] or {}).get("error") or {}
        return response["status"], error.get("code")


async def talkers(stack: AsyncExitStack, site: Site, count: int, **session: Any) -> list[Talker]:
    made = []
    for _ in range(count):
        talker = Talker(await stack.enter_async_context(connect(site.url)))
        await talker.expect("session.created")
        if session:
            await talker.send("session.update", session={"type": "realtime", **session})
            await talker.expect("session.updated")
        made.append(talker)
    return made


FAILED = ("failed", "engine_error")
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
TRANSCRIBED = {"input": {"transcription": {"model": "own"}}}


def in_mid_reply(states: list[Any]) -> bool:
    """Two replies run, and neither has ended."""
    return len(states) == 2 and all(state.audio_count >= 20 for state in states)


async def test_a_stuck_engine_is_replaced_under_its_callers(monkeypatch: pytest.MonkeyPatch, trap: Trap) -> None:
    async with site(monkeypatch, stall_s=STALL_S) as here, AsyncExitStack() as stack:
        running, interrupting, waiting, speaking, answering, idle = await talkers(stack, here, 6, tools=[TOOL])
        await speaking.send("session.update", session={"type": "realtime", "audio": TRANSCRIBED})
        await idle.ask()
        assert await idle.outcome() == ("completed", None)
        here.runner.decode = trap.around(here.runner.decode)
        old = here.engine.worker
        trap.when = in_mid_reply
        trap.armed.set()
        with here.patient():
            await running.ask()
            await interrupting.ask()
            await trap.caught()
            await interrupting.expect("response.created")
            await waiting.ask()
            await speaking.speak()
            call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
            await answering.send("conversation.item.create", item=call)
            result = {"type": "function_call_output", "call_id": "c1", "output": "nothing"}
            await answering.send("conversation.item.create", item=result)
            await answering.send("response.create")
            await interrupting.speak()
            assert (await interrupting.outcome())[0] == "cancelled"  # the barge-in waits for no engine
            for talker in (waiting, speaking, answering, interrupting):
                await talker.expect("response.created")
        for talker in (running, interrupting, waiting, speaking, answering):
            assert await talker.outcome() == FAILED
        await here.until_healthy()
        status, body = await here.health()
        assert body["workers"]["engine"]["restarts"] == 1 and body["workers"]["vocoder"]["restarts"] == 0

        everyone = (running, interrupting, waiting, speaking, answering, idle)
        for talker in everyone:
            await talker.ask()
        for talker in everyone:
            assert await talker.outcome() == ("completed", None)
        trap.released.set()  # the old thread wakes, and ends
        await asyncio.to_thread(old._thread.join, PATIENCE_S)
        assert not old.alive and here.engine.worker.alive
        await idle.ask()
        assert await idle.outcome() == ("completed", None)


async def test_a_stuck_vocoder_is_replaced_under_its_callers(monkeypatch: pytest.MonkeyPatch, trap: Trap) -> None:
    async with site(monkeypatch, stall_s=STALL_S) as here, AsyncExitStack() as stack:
        speaking, waiting, idle, reading = await talkers(stack, here, 4)
        await reading.send("session.update", session={"type": "realtime", "output_modalities": ["text"]})
        vocoder: Any = here.vocoder._vocoder
        monkeypatch.setattr(vocoder, "step", trap.around(vocoder.step))
        await idle.ask()
        assert await idle.outcome() == ("completed", None)
        trap.armed.set()
        with here.patient():
            await speaking.ask()
            await trap.caught()
            await waiting.ask()
            await waiting.expect("response.created")
            await reading.ask()
            assert await reading.outcome() == ("completed", None)
        await here.until_unwell("vocoder")
        assert [await talker.outcome() for talker in (speaking, waiting)] == [FAILED, FAILED]
        await here.until_healthy()
        for talker in (speaking, waiting, idle):
            await talker.ask()
            assert await talker.outcome() == ("completed", None)


def raising(fault: BaseException) -> Callable[..., Any]:
    def work(*_: Any, **__: Any) -> Any:
        raise fault

    return work


def no_numbers(work: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        made = work(*arguments)
        return [one * np.nan for one in made] if isinstance(made, list) else made * np.nan

    return call


FAULTS: dict[str, Callable[[Site], tuple[Any, str, Callable[..., Any]]]] = {
    "a_cache_without_memory": lambda here: (here.runner._model.decoder, "new_cache", raising(MemoryError())),
    "a_prefill_that_raises": lambda here: (here.runner, "prefill", raising(RuntimeError("CUDA"))),
    "a_decode_that_raises": lambda here: (here.runner, "decode", raising(MemoryError())),
    "logits_of_the_prompt": lambda here: (here.runner, "prefill", no_numbers(here.runner.prefill)),
    "logits_of_a_step": lambda here: (
        here.runner._model.decoder,
        "step",
        no_numbers(here.runner._model.decoder.step),
    ),
    "a_vocoder_that_raises": lambda here: (here.vocoder._vocoder, "step", raising(MemoryError())),
    "samples": lambda here: (here.vocoder._vocoder, "step", no_numbers(here.vocoder._vocoder.step)),
}


async def test_each_fault_fails_one_response(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(monkeypatch, stall_s=30.0) as here:
        for name, of in FAULTS.items():
            async with AsyncExitStack() as stack:
                (talker,) = await talkers(stack, here, 1)
                with monkeypatch.context() as broken:
                    broken.setattr(*of(here))
                    await talker.ask()
                    assert await talker.outcome() == FAILED, name
                await talker.ask()
                assert await talker.outcome() == ("completed", None), name
        status, body = await here.health()
        assert status == 200 and body["workers"]["engine"]["restarts"] == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_threads_that_die_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(monkeypatch, stall_s=30.0) as here, AsyncExitStack() as stack:
        (talker,) = await talkers(stack, here, 1)
        for name in ("engine", "vocoder"):
            getattr(here, name).worker._carry_out_commands = raising(SystemExit())
            await talker.ask()
            assert await talker.outcome() == FAILED
            await here.until_healthy()
            await talker.ask()
            assert await talker.outcome() == ("completed", None)


# The end of the process


def test_a_blocked_event_loop_ends_the_process(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    flags = ["--port", "{port}", "--stall-seconds", "2"]
    with serving("tests.e2e.blocked_server serve", log, flags) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
            client.sendall(b"GET /v1/audio/voices HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(1) == b""  # the process has ended
    text = log.read_text()
    assert "the process ends with status 70: the event loop has been blocked" in text
    assert "in _block" in text


def test_the_process_ends_with_its_own_status() -> None:
    code = "from realtime.supervision import end_process; end_process('no CUDA')"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ended.returncode == supervision.EXIT_STATUS == 70
    assert "no CUDA" in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_an_unread_pipe_does_not_keep_the_process() -> None:
    code = """
import fcntl, os, sys
from realtime.supervision import end_process
fcntl.fcntl(2, fcntl.F_SETPIPE_SZ, 4096)
os.write(2, b"x" * 4096)
end_process("nobody reads this")
"""
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        assert process.wait(PATIENCE_S) == supervision.EXIT_STATUS
