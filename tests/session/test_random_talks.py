"""Random orders of everything that a caller can do, over a whole session with fakes: the wire stays legal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.audio.streams import Resampler, float_to_pcm16
from realtime.protocol import events as wire
from tests.fakes import Caller, FakeClock, Gate, Step, call, delta, done, heard, reply
from tests.turns import sounds

WORD = float_to_pcm16(
    Resampler(16_000, 24_000).push(
        sounds.read(Path(__file__).parents[1] / "data" / "speech" / "short" / "stop_rms.wav", -22)
    )
)
SCRIPTS = [
    reply("One ", "two.", tokens=25),
    [delta("Long", 200), done()],
    reply("Short.", tokens=1),
    [delta("Broken", 5), done("failed", "lost")],
] * 6

HEARD: dict[str, Callable[[], list[Step]]] = {
    "yeah": lambda: heard("yeah"),
    "nothing": lambda: heard(""),
    "stop": lambda: heard("stop"),
    "unsure": lambda: heard("yeah", 0.3),
    "too late": lambda: [Gate()],
    "broken": lambda: [RuntimeError("broken")],
}
"""What the model makes of a short word over a reply."""

MOVES: dict[str, Callable[[Caller], None]] = {
    "speak": lambda caller: caller.say(0.4),
    "word": lambda caller: caller.append(WORD),
    "blip": lambda caller: caller.say(0.1),
    "hush": lambda caller: caller.be_silent(0.25),
    "silence": lambda caller: caller.be_silent(0.8),
    "commit": lambda caller: caller.send("input_audio_buffer.commit"),
    "clear": lambda caller: caller.send("input_audio_buffer.clear"),
    "create": lambda caller: caller.send("response.create"),
    "cancel": lambda caller: caller.send("response.cancel"),
    "by hand": lambda caller: caller.turn_detection(None),
    "immediate": lambda caller: caller.turn_detection({"type": "server_vad", "interruption": "immediate"}),
    "pause": lambda caller: caller.turn_detection({"type": "server_vad", "interruption": "pause"}),
    "play on": lambda caller: caller.turn_detection({"type": "semantic_vad", "interruption": "play_on"}),
    "side by side": lambda caller: caller.turn_detection({"type": "server_vad", "interrupt_response": False}),
    "a second": lambda caller: _pass(caller.clock, 1.0),
    "a minute": lambda caller: _pass(caller.clock, 60.0),
    "truncate": lambda caller: _truncate(caller),
}


LIKELY = ["create", "speak", "silence", "word"] * 3
"""Most of a talk is talk."""


def _pass(clock: FakeClock, seconds: float) -> None:
    clock.now += seconds


def _truncate(caller: Caller) -> None:
    if deltas := caller.of(wire.ResponseOutputAudioDelta):
        caller.send("conversation.item.truncate", item_id=deltas[-1].item_id, content_index=0, audio_end_ms=100)


class Rules:
    """What holds of every event, seen one after the other."""

    def __init__(self) -> None:
        self.running: str | None = None
        self.ended: set[str] = set()
        self.speaking: str | None = None
        self.paused = False
        self.stopped: list[str] = []
        self.resumed = 0

    def see(self, event: wire._ServerEvent) -> None:
        response = getattr(event, "response_id", None)
        if isinstance(response, str) and not isinstance(
            event, wire.OutputAudioBufferPaused | wire.OutputAudioBufferResumed
        ):
            assert response not in self.ended, f"{event.type} after the end of {response}"
            assert response == self.running, f"{event.type} of {response} while {self.running} runs"
        match event:
            case wire.ResponseCreated(response=made):
                assert self.running is None, "two responses at once"
                self.running = made.id
            case wire.ResponseDone(response=made):
                assert made.id == self.running
                self.running = None
                self.ended.add(made.id)
            case wire.InputAudioBufferSpeechStarted(item_id=item_id):
                assert self.speaking is None, "speech started twice"
                self.speaking, self.paused = item_id, False
            case wire.InputAudioBufferSpeechStopped(item_id=item_id):
                assert item_id == self.speaking, "a stop without its start"
                self.speaking = None
                self.stopped.append(item_id)
            case wire.InputAudioBufferCommitted(item_id=item_id):
                assert self.speaking in (None, item_id), "another turn was committed than the one that is spoken"
                self.speaking = None  # by hand, without a stop
            case wire.InputAudioBufferCleared():
                self.speaking = None
            case wire.OutputAudioBufferPaused():
                assert not self.paused and self.speaking is None
                self.paused = True
            case wire.OutputAudioBufferResumed():
                assert self.paused
                self.paused = False
                self.resumed += 1
            case wire.Error(error=error):
                assert error.type == "invalid_request_error", error.message


async def play(
    moves: list[str], at_once: list[bool], interruption: str = "immediate", words: Sequence[str] = ()
) -> Rules:
    detection = {"type": "server_vad", "idle_timeout_ms": 5000, "interruption": interruption}
    config: dict[str, Any] = {"audio": {"input": {"turn_detection": detection}}}
    transcripts = [HEARD[word]() for word in words]
    async with call(*SCRIPTS, settings=config, words=transcripts) as caller:
        for move, together in zip(moves, at_once, strict=True):
            MOVES[move](caller)
            if not together:
                await caller.settle()
        await caller.settle()
        _pass(caller.clock, 100.0)
        assert not caller.task.done(), "the session has ended"
        rules = Rules()
        for event in caller.seen:
            rules.see(event)
        assert len(rules.stopped) == len(set(rules.stopped))
        return rules


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([*MOVES, *LIKELY]), st.booleans()), min_size=5, max_size=25),
    st.sampled_from(["immediate", "pause", "pause", "play_on"]),
    st.lists(st.sampled_from([*HEARD]), max_size=8),
)
def test_no_order_of_events_makes_the_wire_illegal(
    talk: list[tuple[str, bool]], interruption: str, words: list[str]
) -> None:
    asyncio.run(play([move for move, _ in talk], [together for _, together in talk], interruption, words))


def test_replies_may_be_interrupted_again_and_again() -> None:
    asyncio.run(play(["create", *["speak", "silence", "word", "silence"] * 4], [False] * 17, "pause"))


def test_starts_and_stops_pair_when_servers_detect_turns() -> None:
    rules = asyncio.run(play(["speak", "hush", "speak", "silence", "speak", "silence"] * 3, [False] * 18))
    assert rules.speaking is None and len(rules.stopped) >= 3


def test_transcribed_words_return_the_floor_or_take_it() -> None:
    """The talks above do reach both verdicts."""
    talk, words = ["create", *["hush", "word", "silence"] * 3], ["yeah", "nothing", "stop"]
    rules = asyncio.run(play(talk, [False] * len(talk), "pause", words))
    assert rules.resumed == 2 and len(rules.stopped) == 1
