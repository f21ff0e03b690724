"""Is a transcript a backchannel? Words that listeners say without taking the floor (Yngve 1970)."""

from __future__ import annotations

import re
from collections.abc import Iterable

DEFAULT_BACKCHANNELS = (
    "yeah", "yep", "yup", "yes", "uh huh", "mm", "mhm", "mm hm", "mm hmm", "hm", "hmm", "okay", "ok", "right", "sure",
    "all right", "alright", "i see", "got it", "oh", "ah", "aha", "嗯", "哦", "啊", "对", "是", "是的", "好", "好的",
)  # fmt: skip
"""English, and Chinese since Step-Audio 2 is bilingual. Without "no", "stop" and "wait", which are barge-ins."""

_JOINTS = re.compile(r"[^\w]+|_")


class Backchannels:
    """A list of words and phrases; case, hyphens and punctuation do not matter."""

    def __init__(self, phrases: Iterable[str]) -> None:
        spoken = sorted({_bare(phrase) for phrase in phrases} - {""}, key=len, reverse=True)
        self._pattern = re.compile(f"(?:{'|'.join(map(re.escape, spoken))})+") if spoken else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    def cover(self, transcript: str) -> bool:
        """Whether the transcript is nothing but entries of the list, one or more: "yeah, right", not "yeah but"."""
        return self._pattern is not None and self._pattern.fullmatch(_bare(transcript)) is not None


def _bare(text: str) -> str:
    """Letters only: transcripts differ in "mm-hm", "mm hm" and "mmhm"."""
    return _JOINTS.sub("", text.casefold())
