"""`realtime talk`, and the loudspeaker's queue behind its microphone mode."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

from realtime import commands
from realtime.bench.latency import wait_until_ready
from realtime.checkpoint import instructions as spoken
from realtime.cli import main
from realtime.client.connection import ClientError, RealtimeConnection, Received, open_session
from realtime.client.sound_device import Playback, converse
from realtime.client.speech_turn import beside
from tests.client.real_server import serving_the_model
from tests.client.stub_server import StubServer, running
from tests.client.test_speech_turn import SPEECH, _beep


async def _realtime(*arguments: str) -> int:
    return await asyncio.to_thread(main, arguments)


async def test_a_recording_is_answered_and_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "answer.wav"
    async with running(StubServer()) as server:
        question = str(SPEECH / "hello_rms.wav")
        assert await _realtime("talk", question, "--url", server.url, "--out", str(out)) == 0
    said, told = capsys.readouterr()
    assert said == f"{server.text}\n"
    assert "end of speech +" in told and "ms speech_stopped" in told and "ms first audio" in told
    samples, rate = soundfile.read(out)
    assert (rate, len(samples)) == (24_000, 12_000)


async def test_a_text_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(StubServer()) as server:
        assert await _realtime("talk", "--text", "hello", "--url", server.url) == 0
    said, told = capsys.readouterr()
    assert said == f"{server.text}\n"
    assert "speech_stopped" not in told


async def test_a_fault_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(StubServer(api_key="right")) as server:
        assert await _realtime("talk", "--text", "hello", "--url", server.url, "--api-key", "wrong") == 1
    said, told = capsys.readouterr()
    assert said == "" and told.startswith("realtime talk: ") and told.count("\n") == 1


NAMED = [
    ([], {"get_time": True, "weather": False, "calculate": False}, ["get_time", "calculate"]),
    (["--server-tools", "weather"], {"get_time": True, "weather": False, "calculate": False}, ["get_time", "weather"]),
    (["--server-tools", ""], {"get_time": True, "calculate": False}, None),
    ([], {"calculate": True}, None),
    ([], None, None),
]


@pytest.mark.parametrize(("flags", "tools", "named"), NAMED)
async def test_tools_add_to_the_operators(flags: list[str], tools: dict[str, bool] | None, named: object) -> None:
    async with running(StubServer(tools=tools)) as server:
        assert await _realtime("talk", "--text", "hello", "--url", server.url, *flags) == 0
    updates = [event["session"] for event in server.received if event["type"] == "session.update"]
    assert updates == ([] if named is None else [{"type": "realtime", "server_tools": named}])


async def test_an_unknown_server_tool_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(StubServer(tools={"calculate": False})) as server:
        arguments = ("--text", "hello", "--url", server.url, "--server-tools", "calculator")
        assert await _realtime("talk", *arguments) == 1
    assert "no tool 'calculator'; it has: calculate" in capsys.readouterr().err


async def test_the_shipped_recordings_are_answered_right(capsys: pytest.CaptureFixture[str]) -> None:
    recordings = sorted((Path(commands.__file__).parent / "speech").glob("*.wav"))
    async with serving_the_model() as page:
        url = page.replace("http", "ws") + "v1/realtime"
        async with asyncio.timeout(120):
            await wait_until_ready(url)
        for recording in recordings:
            began = datetime.now()
            assert await _realtime("talk", str(recording), "--url", url) == 0
            answer = capsys.readouterr().out.strip().lower()
            times = {spoken.time(at) for at in (began, datetime.now())}
            right = {"hello": {"hello"}, "what_is_two_plus_three": {"five"}, "what_time_is_it": times}[recording.stem]
            assert any(words in answer for words in right), (recording.stem, answer)


def test_a_file_and_a_text_together_are_refused() -> None:
    assert main(["talk", "x.wav", "--text", "hello"]) == 2


def test_playback_is_seamless_and_silent_at_its_end() -> None:
    playback = Playback()
    playback.push("a", b"\1\1" * 3)
    playback.push("a", b"\2\2" * 2)
    assert playback.pull(8) == b"\1\1" * 3 + b"\2\2"
    assert playback.pull(8) == b"\2\2" + b"\0" * 6


def test_stop_returns_the_answer_and_played_ms() -> None:
    playback = Playback()
    playback.push("a", bytes(480))
    playback.push("b", bytes(96_000))
    playback.pull(480)
    playback.pull(4_800)
    assert playback.stop() == ("b", 100)
    assert playback.pull(4) == bytes(4)
    assert playback.stop() is None


def test_a_completely_played_answer_is_not_interrupted() -> None:
    playback = Playback()
    playback.push("a", bytes(480))
    playback.pull(480)
    assert playback.stop() is None


def test_paused_playback_resumes_at_the_same_sample() -> None:
    playback, sound = Playback(), bytes(range(200))
    playback.push("a", sound[:120])
    heard = playback.pull(50)
    playback.pause()
    assert playback.pull(50) == bytes(50)
    playback.push("a", sound[120:])
    assert playback.pull(50) == bytes(50)
    playback.resume()
    assert heard + playback.pull(150) == sound


def test_stop_while_paused_counts_up_to_the_pause() -> None:
    playback = Playback()
    playback.push("a", bytes(48_000))
    playback.pull(4_800)
    playback.pause()
    playback.pull(4_800)
    assert playback.stop() == ("a", 100)


class _Told:
    """A connection that says what it is given, then nothing any more; notes what it was told."""

    def __init__(self, *events: dict[str, object]) -> None:
        self.told: list[str] = []
        self.updates: list[object] = []
        self._events = list(events)

    async def send(self, type: str, **fields: object) -> None:
        self.told.append(type)
        self.updates += [fields["session"]] if type == "session.update" else []

    async def append(self, pcm: bytes) -> None: ...

    async def truncate(self, item_id: str, played_ms: int) -> None:
        self.told.append(f"truncate {item_id} {played_ms}")

    async def receive(self) -> Received:
        if not self._events:
            raise ClientError("the end")
        body = self._events.pop(0)
        return Received(str(body["type"]), body, 0.0)


class _Device:
    """A loudspeaker that plays ``ms`` after each event of the server; what was heard is in ``heard``."""

    def __init__(self, ms: int = 20) -> None:
        self.playback = Playback()
        self.heard = b""
        self._length = ms * 48

    def watch(self, _: Received) -> None:
        self.heard += self.playback.pull(self._length)

    async def frames(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""


PAUSED: dict[str, object] = {"type": "output_audio_buffer.paused"}
RESUMED: dict[str, object] = {"type": "output_audio_buffer.resumed"}
STARTED: dict[str, object] = {"type": "input_audio_buffer.speech_started"}
OTHER: dict[str, object] = {"type": "rate_limits.updated"}


def _sound(first: int, count: int) -> dict[str, object]:
    samples = (np.arange(first, first + count) % 30_000 + 1).astype("<i2").tobytes()
    return {"type": "response.output_audio.delta", "item_id": "a", "delta": base64.b64encode(samples).decode()}


async def _converse(*events: dict[str, object]) -> tuple[_Told, _Device]:
    told, device = _Told(*events), _Device()
    with pytest.raises(ClientError, match="the end"):
        await converse(cast(RealtimeConnection, told), device, device.watch)
    return told, device


async def test_a_conversation_pauses_and_resumes_exactly() -> None:
    told, device = await _converse(_sound(0, 1200), PAUSED, OTHER, _sound(1200, 1200), RESUMED, *[OTHER] * 5)
    assert told.updates == [{"type": "realtime", "audio": {"input": {"turn_detection": {"interruption": "pause"}}}}]
    heard = np.frombuffer(device.heard, "<i2")
    assert np.array_equal(heard[heard != 0], np.arange(1, 2401))
    assert not heard[960:2400].any(), "it was heard while it was held"


async def test_a_conversation_clears_playback_on_barge_in() -> None:
    told, device = await _converse(_sound(0, 1200), OTHER, PAUSED, OTHER, STARTED, OTHER, OTHER)
    heard = np.frombuffer(device.heard, "<i2")
    assert np.array_equal(heard[heard != 0], np.arange(1, 961))
    assert told.told[-1] == "truncate a 40"


class _ScriptedCaller:
    """Says a beep, hears 100 ms of the answer, speaks again, and waits for what comes of it."""

    def __init__(self) -> None:
        self.playback = Playback()
        self.answering = asyncio.Event()
        self.truncated = asyncio.Event()

    def watch(self, event: Received) -> None:
        if event.type == "response.output_audio.delta":
            self.answering.set()
        if event.type == "conversation.item.truncated":
            self.truncated.set()

    async def frames(self) -> AsyncIterator[bytes]:
        beep = _beep(0.1)
        for index in range(25):
            yield beep.frame(index, 480)
        await self.answering.wait()
        await asyncio.sleep(0.05)  # until the sound, sent before the event was seen, is in the queue
        self.playback.pull(4_800)
        yield beep.frame(0, 480)
        await asyncio.Event().wait()


async def test_speech_during_an_answer_truncates_it() -> None:
    caller = _ScriptedCaller()
    async with running(StubServer(chunks=50)) as server, open_session(server.url) as connection:
        async with beside(converse(connection, caller, caller.watch), name="conversation"):
            await asyncio.wait_for(caller.truncated.wait(), 10)
    truncate = next(event for event in server.received if event["type"] == "conversation.item.truncate")
    assert truncate["audio_end_ms"] == 100
