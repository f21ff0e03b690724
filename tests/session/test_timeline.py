"""`session.timeline`: what happens beside the events, for clients that ask for it."""

from __future__ import annotations

import pytest

from realtime.protocol import events as wire
from tests.fakes import Caller, call, reply

ON = {"include": ["session.timeline"]}


def kinds(caller: Caller) -> list[str]:
    return [mark.kind for mark in caller.of(wire.SessionTimeline)]


async def test_a_spoken_turn_is_marked() -> None:
    async with call(reply("Hello."), settings=ON) as caller:
        caller.say(0.5)
        caller.be_silent(1.0)
        done = await caller.expect(wire.ResponseDone)
        await caller.settle_until(lambda: "reply_measured" in kinds(caller))
        marks = {mark.kind: mark for mark in caller.of(wire.SessionTimeline)}
        assert kinds(caller)[:3] == ["pause_started", "speculation_started", "speculation_used"]
        assert 400 <= marks["pause_started"].audio_ms <= 600
        assert marks["audio_made"].response_id == done.response.id
        figures = marks["reply_measured"].figures
        assert figures is not None and figures["chunks"]


async def test_resumed_speech_is_marked() -> None:
    async with call(reply("Hello."), settings=ON) as caller:
        caller.say(0.5)
        caller.be_silent(0.3)
        await caller.settle()
        caller.say(0.5)
        await caller.settle_until(lambda: "speculation_dropped" in kinds(caller))
        assert [kind for kind in kinds(caller) if kind != "audio_made"] == [
            "pause_started",
            "speculation_started",
            "pause_ended",
            "speculation_dropped",
        ]


@pytest.mark.parametrize("settings", [{}, {"include": ["response.thinking"]}])
async def test_marks_must_be_asked_for(settings: dict[str, list[str]]) -> None:
    async with call(reply("Hello."), settings=settings) as caller:
        caller.say(0.5)
        caller.be_silent(1.0)
        await caller.expect(wire.ResponseDone)
        assert not kinds(caller)
