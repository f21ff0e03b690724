"""How the server ends: nobody is admitted, callers may finish, and the others are told."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.admission import manager
from realtime.audio.streams import float_to_pcm16
from realtime.client.connection import WIRE_RATE
from realtime.client.utterance import load_utterance
from realtime.session.config import SessionLimits
from realtime.transports.http.http import build_app
from realtime.transports.http.server import DrainingServer, listen, web_server
from realtime.transports.websocket import channel
from tests.fakes import FakeEngine, Gate, Step, delta, reply
from tests.serving import RunningServer, health
from tests.serving import serving as serving_process
from tests.transports.test_server import FakeHost, Server, ask, expect, loud, say

SPEECH = Path(__file__).parents[1] / "data" / "speech" / "what_time_is_it_slt.wav"

TOLD = ("server_draining", 1001)


@asynccontextmanager
async def draining(*scripts: Sequence[Step], grace_s: float, **options: Any) -> AsyncIterator[tuple[Server, Any]]:
    """A server in this process, and what begins its end; it has ended when the block is left."""
    host = FakeHost(FakeEngine(*scripts), **options)
    with listen("127.0.0.1", 0) as listener:
        server = web_server(build_app(host, None), drain=host.drain, grace_s=grace_s)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.005)

        def stop() -> None:
            server.should_exit = True

        try:
            yield Server(host, listener.getsockname()[1]), stop
        finally:
            stop()
            await task


async def last_word(ws: ClientConnection) -> tuple[str | None, int | None]:
    """The code of the last error event, and that of the close frame."""
    told = None
    try:
        async with asyncio.timeout(20):
            while True:
                event = json.loads(await ws.recv())
                if event["type"] == "error":
                    told = event["error"]["code"]
    except ConnectionClosed as closed:
        return told, closed.rcvd.code if closed.rcvd is not None else None


async def while_drained(server: Server) -> None:
    async with asyncio.timeout(5):
        while server.host.health.state != "draining":
            await asyncio.sleep(0.005)


async def test_a_running_reply_may_end() -> None:
    gate = Gate()
    async with draining([delta("One", 5), gate, *reply("two")], grace_s=30) as (server, stop):
        ws = await connect(server.url)
        await ask(ws, "count")
        await gate.reached.wait()
        stop()
        await while_drained(server)
        gate.open()
        assert (await expect(ws, "response.done"))["response"]["status"] == "completed"
        assert await last_word(ws) == TOLD


async def test_a_conversation_goes_on_in_the_grace() -> None:
    async with draining(reply("one"), reply("two"), grace_s=30) as (server, stop):
        ws = await connect(server.url)
        await ask(ws, "count")
        stop()
        await expect(ws, "response.done")
        await ask(ws, "more")
        assert (await expect(ws, "response.done"))["response"]["status"] == "completed"
        await ws.close()


async def test_quiet_sessions_do_not_use_up_the_grace() -> None:
    began = time.monotonic()
    async with draining(grace_s=30) as (server, stop):
        ws = await connect(server.url)
        await expect(ws, "session.created")
        stop()
        assert await last_word(ws) == TOLD
    assert time.monotonic() - began < 15


async def test_the_grace_ends_a_caller_who_talks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "QUIET_S", 0.05)
    async with draining(grace_s=0.5) as (server, stop):
        ws = await connect(server.url)
        await say(ws, type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        await ws.send(loud(0.5))
        stop()
        assert await last_word(ws) == TOLD


async def test_new_callers_are_refused_with_the_reason() -> None:
    gate = Gate()
    async with draining([delta("One", 5), gate], grace_s=0.5) as (server, stop):
        ws = await connect(server.url)
        await ask(ws, "count")
        await gate.reached.wait()
        stop()
        await while_drained(server)
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url)
        body = json.loads(refused.value.response.body or b"")
        assert (refused.value.response.status_code, body["error"]["code"]) == (503, "server_draining")
        status, ready = await server.get("/readyz")
        assert (status, ready["status"]) == (503, "draining")
        assert await last_word(ws) == TOLD


async def test_clients_in_the_queue_are_told() -> None:
    async with draining(max_sessions=1, max_waiting=1, grace_s=0) as (server, stop):
        first = await connect(server.url)
        await expect(first, "session.created")
        waiting = await connect(f"{server.url}?wait=events")
        await expect(waiting, "session.queued")
        stop()
        assert await last_word(waiting) == TOLD
        assert await last_word(first) == TOLD


async def test_a_queued_handshake_is_refused() -> None:
    async with draining(max_sessions=1, max_waiting=1, grace_s=0) as (server, stop):
        first = await connect(server.url)
        await expect(first, "session.created")
        waiting = asyncio.create_task(connect(server.url).__aenter__())
        while not server.host.sessions.waiting:
            await asyncio.sleep(0.005)
        stop()
        with pytest.raises(InvalidStatus) as refused:
            await waiting
        assert json.loads(refused.value.response.body or b"")["error"]["code"] == "server_draining"


async def test_no_secret_is_made_while_draining() -> None:
    gate = Gate()
    async with draining([delta("One", 5), gate], grace_s=0.5) as (server, stop):
        ws = await connect(server.url)
        await ask(ws, "count")
        await gate.reached.wait()
        stop()
        await while_drained(server)
        request = urllib.request.Request(f"{server.http}/v1/realtime/client_secrets", data=b"{}", method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            await asyncio.to_thread(urllib.request.urlopen, request)
        with refused.value as answer:
            assert (answer.code, json.load(answer)["error"]["code"]) == (503, "server_draining")
        assert await last_word(ws) == TOLD


async def test_peers_that_never_read_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "CLOSE_SECONDS", 0.2)
    flood = [*[delta("word ", 50)] * 2000, Gate()]
    limits = SessionLimits(lead_s=10_000.0, farewell_s=0.2)
    async with draining(flood, grace_s=0.2, limits=limits) as (server, _):
        deaf = await connect(server.url, max_queue=1)
        await ask(deaf, "talk")
        deaf.transport.pause_reading()
        await asyncio.sleep(1.0)  # the socket's buffers fill
        began = time.monotonic()
    assert time.monotonic() - began < 8
    deaf.transport.abort()


async def test_hanging_sessions_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "LAST_WAIT_S", 0.2)
    async with draining(grace_s=0) as (server, _):
        ws = await connect(server.url)
        await expect(ws, "session.created")
        (lease,) = server.host.sessions._leases
        monkeypatch.setattr(lease, "end_session", lambda: None)
    assert await last_word(ws) == (None, 1001)


async def test_a_drain_that_fails_still_ends_the_server() -> None:
    async def broken(grace_s: float) -> None:
        raise RuntimeError("broken")

    with listen("127.0.0.1", 0) as listener:
        server = web_server(build_app(FakeHost(FakeEngine()), None), drain=broken, grace_s=1)
        assert isinstance(server, DrainingServer)
        server.should_exit = True
        async with asyncio.timeout(10):
            await server.serve(sockets=[listener])


# The real server in its own process


@dataclass
class Ending:
    """What was seen of the end of a real server."""

    told: dict[str, tuple[str | None, int | None]] = field(default_factory=dict)
    completed: int = 0
    refused: int = 0
    ready: int = 0
    health: str = ""
    seconds: float = 0.0
    status: int = 0


GRACE_S = 8
FLAGS = ("--port", "{port}", "--max-sessions", "8", "--drain-seconds", str(GRACE_S), "--log-level", "info")


async def talk(ws: ClientConnection) -> None:
    """Say a question in real time, again and again."""
    pcm = float_to_pcm16(load_utterance(SPEECH).samples)
    piece = WIRE_RATE // 10 * 2
    with suppress(ConnectionClosed):
        while True:
            for start in range(0, len(pcm), piece):
                await ws.send(pcm[start : start + piece])
                await asyncio.sleep(0.1)


async def end_with_callers(server: RunningServer) -> Ending:
    seen = Ending()
    async with asyncio.TaskGroup() as group:
        callers = [await connect(server.url, max_size=None) for _ in range(3)]
        created = [await expect(ws, "session.created") for ws in callers]
        for ws in callers[1:]:
            group.create_task(talk(ws))
        transcription = await connect(f"{server.url}?intent=transcription")
        sideband = await connect(f"{server.url}?call_id={created[1]['session']['id']}")
        await ask(callers[0], "What time is it?")
        await expect(callers[0], "response.created")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        seen.ready, body = await asyncio.to_thread(health, server, "readyz")
        seen.health = body["status"]
        try:
            await connect(server.url)
        except InvalidStatus as refused:
            seen.refused = refused.response.status_code
        if (await expect(callers[0], "response.done"))["response"]["status"] == "completed":
            seen.completed += 1
        names = ("asked", "talks", "talks, too", "transcription", "sideband")
        peers = (*callers, transcription, sideband)
        words = await asyncio.gather(*(group.create_task(last_word(ws)) for ws in peers))
        seen.told = dict(zip(names, words, strict=True))
        seen.status = await asyncio.to_thread(server.process.wait, 20)
        seen.seconds = time.monotonic() - began
    return seen


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Ending:
    log = tmp_path_factory.mktemp("draining") / "log"
    with serving_process("realtime.cli serve", log, FLAGS) as server:
        return asyncio.run(end_with_callers(server))


def test_sigterm_stops_admission(ending: Ending) -> None:
    assert (ending.refused, ending.ready, ending.health) == (503, 503, "draining")


def test_sigterm_lets_a_reply_end(ending: Ending) -> None:
    assert ending.completed == 1


def test_shutting_down_tells_the_callers(ending: Ending) -> None:
    names = ("asked", "talks", "talks, too", "transcription", "sideband")
    assert ending.told == dict.fromkeys(names, TOLD)


def test_sigterm_ends_the_process_after_the_grace(ending: Ending) -> None:
    assert GRACE_S - 1 < ending.seconds < GRACE_S + 8
    assert ending.status == -signal.SIGTERM


def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    async def twice(server: RunningServer) -> tuple[str | None, int | None]:
        ws = await connect(server.url)
        talking = asyncio.create_task(talk(ws))
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        told = await last_word(ws)
        talking.cancel()
        return told

    flags = ("--port", "{port}", "--drain-seconds", "60")
    with serving_process("realtime.cli serve", tmp_path / "log", flags) as server:
        began = time.monotonic()
        assert asyncio.run(twice(server)) == TOLD
        assert server.process.wait(10) == -signal.SIGTERM
        assert time.monotonic() - began < 6
