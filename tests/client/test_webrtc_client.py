"""`realtime talk` over WebRTC, and what its client says of servers that do not answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("aiortc")

import soundfile

from realtime.cli import main
from realtime.client.connection import ClientError
from realtime.client.transports import open_by
from realtime.client.webrtc import calls_url
from tests.client.test_speech_turn import SPEECH
from tests.fakes import reply
from tests.transports.test_server import serving
from tests.transports.webrtc.calls import answering


@pytest.mark.parametrize(
    ("url", "calls"),
    [
        ("ws://h:1/v1/realtime", "http://h:1/v1/realtime/calls"),
        ("wss://h/v1/realtime?model=m", "https://h/v1/realtime/calls?model=m"),
        ("https://h/v1/realtime/calls", "https://h/v1/realtime/calls"),
        ("http://h/v1/realtime/", "http://h/v1/realtime/calls"),
    ],
)
def test_offers_go_beside_the_socket(url: str, calls: str) -> None:
    assert calls_url(url) == calls


async def test_talk_asks_and_saves_what_was_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "answer.wav"
    async with answering(reply("Good", " day.", tokens=20)) as server:
        question = [str(SPEECH / "hello_slt.wav"), "--url", server.url, "--out", str(out), "--transport", "webrtc"]
        assert await asyncio.to_thread(main, ["talk", *question]) == 0
    said, told = capsys.readouterr()
    assert said == "Good day.\n" and "ms first audio" in told
    samples, rate = soundfile.read(out)
    assert rate == 24_000 and 1.4 < len(samples) / rate < 2.2  # 1.6 s were made


async def test_servers_without_webrtc_say_so() -> None:
    async with serving() as server:
        with pytest.raises(ClientError, match=r"HTTP 501: .*realtime-voice\[webrtc\]"):
            async with open_by("webrtc", server.url):
                pass


async def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ClientError, match="nothing answers at http://127.0.0.1:9/v1/realtime/calls"):
        async with open_by("webrtc", "ws://127.0.0.1:9/v1/realtime"):
            pass
