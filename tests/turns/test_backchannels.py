"""What of a transcript gives the floor back."""

from __future__ import annotations

import pytest

from realtime.turns.backchannels import DEFAULT_BACKCHANNELS, Backchannels

DEFAULT = Backchannels(DEFAULT_BACKCHANNELS)


@pytest.mark.parametrize(
    "said", ["Yeah.", "uh-huh", "Mhm", "mm-hmm.", "Okay, right!", "yeah yeah", "I see.", "嗯嗯", "对，对。", "好的"]
)
def test_who_only_listens_does_not_take_the_floor(said: str) -> None:
    assert DEFAULT.cover(said)


@pytest.mark.parametrize(
    "said",
    ["", "?", "stop", "no", "wait", "yeah but", "okay stop", "right now", "no no", "what", "不", "停", "等等", "好停"],
)
def test_all_else_does(said: str) -> None:
    assert not DEFAULT.cover(said)


def test_the_list_is_the_operators() -> None:
    assert Backchannels(("ja", "genau")).cover("Ja, genau.")
    assert not Backchannels(("ja",)).cover("yeah")
    assert not Backchannels(()) and not Backchannels(("", " ")) and not Backchannels(()).cover("")
