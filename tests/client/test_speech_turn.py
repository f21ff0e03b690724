"""The caller's side of a turn: what is sent at which pace, what is measured, and what an error says."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from realtime.client.connection import WIRE_RATE, ClientError, Received, open_session
from realtime.client.speech_turn import TurnRecord, ask, speak
from realtime.client.utterance import Utterance, end_of_speech, load_utterance
from realtime.errors import AudioFormatError
from tests.client.stub_server import StubServer, running

SPEECH = Path(__file__).parents[1] / "data" / "speech"


def _event(type: str, at: float, **body: Any) -> Received:
    return Received(type, {"type": type, **body}, at)


def _sound(at: float, ms: int) -> Received:
    return _event("response.output_audio.delta", at, delta=base64.b64encode(bytes(48 * ms)).decode())


def _created(at: float, id: str = "r1") -> Received:
    return _event("response.created", at, response={"id": id})


def _done(at: float, status: str = "completed") -> Received:
    return _event("response.done", at, response={"id": "r1", "status": status})


def _record(*events: Received, asked: float = 0.0) -> TurnRecord:
    record = TurnRecord(asked=asked)
    for event in events:
        record.take(event)
    return record


def _beep(seconds: float = 0.2, silence: float = 0.0) -> Utterance:
    n = int(WIRE_RATE * seconds)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(n) / WIRE_RATE)
    samples = np.pad(tone, (0, int(WIRE_RATE * silence))).astype(np.float32)
    return Utterance("beep", samples, n)


def test_a_margin_is_the_audio_still_unplayed() -> None:
    record = _record(_created(1.0), _sound(2.0, 100), _sound(2.04, 100), _sound(2.25, 100))
    assert [chunk.margin_s for chunk in record.chunks] == pytest.approx([0.0, 0.06, -0.05])
    assert record.least_margin_s == pytest.approx(-0.05)


def test_a_late_piece_delays_what_is_heard() -> None:
    record = _record(_created(1.0), _sound(2.0, 100), _sound(2.5, 100), _sound(2.5, 100))
    assert record.heard_at == pytest.approx(2.7)


def test_milestones_are_the_first_of_their_kind() -> None:
    text = "response.output_audio_transcript.delta"
    record = _record(
        _event("input_audio_buffer.speech_stopped", 1.0),
        _created(1.1),
        _event(text, 1.2, delta="Hel"),
        _event(text, 1.3, delta="lo"),
        _sound(1.4, 40),
        _sound(1.5, 40),
        _done(1.6),
    )
    assert (record.speech_stopped, record.first_text, record.first_audio, record.done) == (1.0, 1.2, 1.4, 1.6)
    assert (record.transcript, record.status, record.audio_s) == ("Hello", "completed", pytest.approx(0.08))


def test_an_answer_cancelled_by_the_utterance_is_discarded() -> None:
    record = _record(_created(1.0), _sound(1.1, 500), _done(1.2, "cancelled"), _created(2.0), _sound(2.2, 100))
    assert not record.complete
    assert (record.first_audio, record.audio_s) == (2.2, pytest.approx(0.1))


def test_an_answer_before_the_speech_ends_is_partial() -> None:
    assert not _record(_created(1.0), _done(1.5), asked=2.0).complete
    assert _record(_created(1.0), _done(2.5), asked=2.0).complete


def test_the_answer_after_a_tool_call_counts() -> None:
    called = _event("response.output_item.done", 1.2, item={"type": "function_call", "name": "calculate"})
    said = _event("response.output_item.done", 2.2, item={"type": "message"})
    assert not _record(_created(1.0), called, _done(1.5)).complete
    record = _record(_created(1.0), called, _done(1.5), _created(2.0, "r2"), _sound(2.1, 100), said, _done(2.5))
    assert (record.response_id, record.first_audio, record.done) == ("r2", 2.1, 2.5)


def test_a_failed_answer_raises_its_reason() -> None:
    failed = {"id": "r1", "status": "failed", "status_details": {"error": {"message": "out of slots"}}}
    with pytest.raises(ClientError, match="out of slots"):
        _record(_created(1.0), _event("response.done", 2.0, response=failed))


def test_a_missing_field_is_named_with_its_event() -> None:
    with pytest.raises(ClientError, match=r"response.created has no field 'response.id'"):
        _record(_event("response.created", 1.0, response={}))


def test_speech_ends_at_the_last_voiced_window() -> None:
    samples = _beep(0.5, silence=0.3).samples
    assert end_of_speech(samples) == WIRE_RATE // 2
    assert end_of_speech(np.zeros(4800, np.float32)) == 0
    assert end_of_speech(np.zeros(0, np.float32)) == 0


def test_a_noise_floor_is_not_speech() -> None:
    noise = 1e-3 * np.random.default_rng(0).standard_normal(WIRE_RATE).astype(np.float32)
    noise[: WIRE_RATE // 2] += _beep(0.5).samples
    assert end_of_speech(noise) == WIRE_RATE // 2


def test_a_recording_is_resampled_to_the_wire(tmp_path: Path) -> None:
    utterance = load_utterance(SPEECH / "what_time_is_it_slt.wav")
    source, rate = soundfile.read(SPEECH / "what_time_is_it_slt.wav")
    assert len(utterance.samples) == pytest.approx(len(source) * WIRE_RATE / rate, abs=2)
    assert 0.6 < utterance.voiced_s < len(source) / rate


def test_a_silent_or_foreign_file_is_refused(tmp_path: Path) -> None:
    silent, foreign = tmp_path / "silent.wav", tmp_path / "text.wav"
    soundfile.write(silent, np.zeros(1600), 16_000)
    foreign.write_text("hello")
    with pytest.raises(AudioFormatError, match="silent"):
        load_utterance(silent)
    with pytest.raises(AudioFormatError, match="use a WAV"):
        load_utterance(foreign)


def test_the_last_frame_is_filled_with_silence() -> None:
    utterance = Utterance("short", np.full(700, 0.5, np.float32), 700)
    assert [len(utterance.frame(index, 480)) for index in range(3)] == [960, 960, 960]
    assert np.frombuffer(utterance.frame(1, 480), "<i2").tolist() == [16384] * 220 + [0] * 260


async def test_a_spoken_turn_is_streamed_to_its_answer() -> None:
    async with running(StubServer()) as server, open_session(server.url) as connection:
        record = await speak(connection, _beep(), timeout_s=10)
    assert (record.status, record.transcript) == ("completed", server.text)
    assert len(record.audio) == 5 * 2400 * 2
    assert record.speech_stopped is not None and record.first_audio is not None
    assert record.asked < record.speech_stopped <= record.first_audio
    assert server.types() == ["input_audio_buffer.append"]
    assert all(len(base64.b64decode(event["audio"])) == 960 for event in server.received)


async def test_the_microphone_stays_open_during_playback() -> None:
    async with running(StubServer(chunk_gap_s=0)) as server, open_session(server.url) as connection:
        record = await speak(connection, _beep(), timeout_s=10)
    streamed_s = 0.02 * len(server.received)
    assert record.first_audio is not None
    assert streamed_s >= record.audio_s + 0.2, "the frames cover the beep and the whole answer"


async def test_turns_of_one_session_are_independent() -> None:
    async with running(StubServer(chunks=2)) as server, open_session(server.url) as connection:
        first = await speak(connection, _beep(), timeout_s=10)
        second = await speak(connection, _beep(), timeout_s=10)
    assert first.response_id != second.response_id
    assert first.audio == second.audio
    assert second.speech_stopped is not None and second.speech_stopped > second.asked


async def test_a_typed_turn_is_answered() -> None:
    seen: list[str] = []
    async with running(StubServer()) as server, open_session(server.url) as connection:
        record = await ask(connection, "what time is it", watch=lambda event: seen.append(event.type))
    assert record.transcript == server.text
    assert server.types() == ["conversation.item.create", "response.create"]
    assert seen[-1] == "response.done"


async def test_no_answer_in_time_says_what_is_missing() -> None:
    async with running(StubServer()) as server, open_session(server.url) as connection:
        quiet = Utterance("quiet", np.full(4800, 1e-3, np.float32), 4800)
        with pytest.raises(ClientError, match="did not detect the end of the speech"):
            await speak(connection, quiet, timeout_s=0.1)


async def test_a_refused_key_shows_the_servers_message() -> None:
    async with running(StubServer(api_key="right")) as server:
        with pytest.raises(ClientError, match="HTTP 401: Incorrect API key"):
            async with open_session(server.url, api_key="wrong"):
                pass
        async with open_session(server.url, api_key="right"):
            pass


async def test_an_error_event_is_raised() -> None:
    async with running(StubServer()) as server, open_session(server.url) as connection:
        await connection.send("nope")
        with pytest.raises(ClientError, match=r"unknown nope \(invalid_value\)"):
            await connection.receive()


@pytest.fixture(scope="module")
def free_port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]  # bound and not listening: connections are refused


async def test_no_server_says_how_to_start_one(free_port: int) -> None:
    with pytest.raises(ClientError, match="realtime serve"):
        async with open_session(f"ws://127.0.0.1:{free_port}/v1/realtime"):
            pass


def test_frames_follow_each_other_without_overlap() -> None:
    ramp = np.arange(2000, dtype=np.float32) / 32768
    utterance = Utterance("ramp", ramp, 2000)
    sent = b"".join(utterance.frame(index, 480) for index in range(5))
    assert np.frombuffer(sent, "<i2")[:2000].tolist() == list(range(2000))


def _response_done(at: float, *contents: str) -> Received:
    content = [{"type": kind} for kind in contents]
    response = {"id": "r1", "status": "completed", "output": [{"type": "message", "content": content}]}
    return _event("response.done", at, response=response)


def test_a_turn_the_server_plays_ends_with_its_playback() -> None:
    record = TurnRecord(asked=0.0, server_plays=True)
    for event in (_created(1.0), _response_done(1.5, "output_audio")):
        record.take(event)
    assert record.done == 1.5 and not record.complete
    record.take(_event("output_audio_buffer.stopped", 3.0, response_id="r1"))
    assert record.complete


def test_a_silent_answer_has_no_playback_to_end() -> None:
    record = TurnRecord(asked=0.0, server_plays=True)
    for event in (_created(1.0), _response_done(1.5, "output_text")):
        record.take(event)
    assert record.complete
