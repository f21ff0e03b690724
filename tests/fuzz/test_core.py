"""Any sequence of messages, legal or not, in any dialect: the session answers each by the rules and lives on.

What was found once is in `corpus/found.json`, so that it stays found. A failure prints the two things that repeat it:
add them there with a word on what was wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from realtime.audio import streams as audio
from realtime.session.input import echo_reference as echo_reference
from tests.fuzz.harness import QuickResampler, Violation, play
from tests.fuzz.messages import Message, message

SEQUENCES = int(os.environ.get("REALTIME_FUZZ_SEQUENCES", "1000"))
"""CI plays 20 000 (.ci/run)."""
CORPUS = json.loads((Path(__file__).parent / "corpus" / "found.json").read_text())
OPENING_BYTES = 2
NUMBER_BYTES = 3


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One for all sequences: to make one takes as long as a sequence."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module", autouse=True)
def quick_resampler() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (audio, echo_reference):
            patch.setattr(module, "Resampler", QuickResampler)
        yield


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["was"])
def test_what_was_found_once_holds(case: dict[str, object], loop: asyncio.AbstractEventLoop) -> None:
    opening, messages = case["opening"], case["messages"]
    assert isinstance(opening, int) and isinstance(messages, list)
    play(loop, opening, [one if isinstance(one, str) else bytes(one) for one in messages])


@settings(
    max_examples=SEQUENCES,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(st.binary(min_size=OPENING_BYTES + NUMBER_BYTES, max_size=OPENING_BYTES + 6 * NUMBER_BYTES))
def test_any_message_sequence_is_answered_by_the_rules(loop: asyncio.AbstractEventLoop, drawn: bytes) -> None:
    opening, messages = read(drawn)
    try:
        play(loop, opening, messages)
    except Violation:
        note(json.dumps({"was": "…", "opening": opening, "messages": messages}, default=list))
        raise


def read(drawn: bytes) -> tuple[int, list[Message]]:
    """How the client connects, and what it sends: bytes are what hypothesis draws fastest and shortens well."""
    starts = range(OPENING_BYTES, len(drawn) - NUMBER_BYTES + 1, NUMBER_BYTES)
    numbers = [int.from_bytes(drawn[start : start + NUMBER_BYTES]) for start in starts]
    return int.from_bytes(drawn[:OPENING_BYTES]), [message(number) for number in numbers]
