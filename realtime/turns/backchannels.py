"""Is it "go on, I am listening", by its words? What listeners say without wanting the floor (Yngve 1970)."""

from __future__ import annotations

import re
from collections.abc import Iterable

DEFAULT_BACKCHANNELS = (
    "yeah", "yep", "yup", "yes", "uh huh", "mm", "mhm", "mm hm", "mm hmm", "hm", "hmm", "okay", "ok", "right", "sure",
    "all right", "alright", "i see", "got it", "oh", "ah", "aha", "嗯", "哦", "啊", "对", "是", "是的", "好", "好的",
)  # fmt: skip
"""English, and Chinese since Step-Audio 2 is bilingual. Never "no", "stop" or "wait": those want the floor."""

_JOINTS = re.compile(r"[^\w]+|_")


class Backchannels:
    """A list of such words and phrases, whatever their case, hyphens and punctuation."""

    def __init__(self, phrases: Iterable[str]) -> None:
        spoken = sorted({_bare(phrase) for phrase in phrases} - {""}, key=len, reverse=True)
        self._pattern = re.compile(f"(?:{'|'.join(map(re.escape, spoken))})+") if spoken else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    def cover(self, transcript: str) -> bool:
        """Whether all that was said is of the list, once or more often: "yeah, right", not "yeah but"."""
        return self._pattern is not None and self._pattern.fullmatch(_bare(transcript)) is not None


def _bare(text: str) -> str:
    """Letters alone: transcripts do not agree on "mm-hm", "mm hm" and "mmhm"."""
    return _JOINTS.sub("", text.casefold())
