"""Which channels play the speech themselves."""

from __future__ import annotations

from typing import Literal

from realtime.ports.channel import plays_audio
from tests.fakes import MemoryChannel


class Loudspeaker(MemoryChannel):
    @property
    def plays_audio(self) -> Literal[True]:
        return True


def test_a_channel_plays_only_where_it_says_so() -> None:
    assert plays_audio(Loudspeaker())
    assert not plays_audio(MemoryChannel())
