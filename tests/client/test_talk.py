"""`realtime talk`, and the loudspeaker's queue behind its microphone mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import soundfile

from realtime.cli import main
from realtime.client.connection import Received, open_session
from realtime.client.sound_device import Playback, converse
from realtime.client.speech_turn import beside
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


def test_a_file_and_a_text_together_are_refused() -> None:
    assert main(["talk", "x.wav", "--text", "hello"]) == 2


def test_playback_is_seamless_and_silent_at_its_end() -> None:
    playback = Playback()
    playback.push("a", b"\1\1" * 3)
    playback.push("a", b"\2\2" * 2)
    assert playback.pull(8) == b"\1\1" * 3 + b"\2\2"
    assert playback.pull(8) == b"\2\2" + b"\0" * 6


def test_stopping_playback_tells_what_was_played_of_which_answer() -> None:
    playback = Playback()
    playback.push("a", bytes(480))
    playback.push("b", bytes(96_000))
    playback.pull(480)
    playback.pull(4_800)
    assert playback.stop() == ("b", 100)
    assert playback.pull(4) == bytes(4)
    assert playback.stop() is None


def test_an_answer_heard_to_its_end_was_not_cut_off() -> None:
    playback = Playback()
    playback.push("a", bytes(480))
    playback.pull(480)
    assert playback.stop() is None


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


async def test_speaking_during_an_answer_stops_it_and_tells_what_was_heard() -> None:
    caller = _ScriptedCaller()
    async with running(StubServer(chunks=50)) as server, open_session(server.url) as connection:
        async with beside(converse(connection, caller, caller.watch), name="conversation"):
            await asyncio.wait_for(caller.truncated.wait(), 10)
    truncate = next(event for event in server.received if event["type"] == "conversation.item.truncate")
    assert truncate["audio_end_ms"] == 100
