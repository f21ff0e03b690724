"""Recognises nano's speech: pocketsphinx with a bigram of all that nano says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


class Recogniser:
    """Skips the test where pocketsphinx is not installed."""

    def __init__(self) -> None:
        for package in ("pocketsphinx", "scipy"):
            pytest.importorskip(package, reason=f"{package} is not installed (make test installs it)")
        from scripts.nano.domain import reply_texts
        from scripts.nano.evaluate import asr_wer

        self._scores: Any = asr_wer
        self._judge = asr_wer.Judge(reply_texts())

    def hear(self, pcm: bytes, rate: int) -> list[str]:
        """PCM16 mono -> words."""
        samples: NDArray[np.float32] = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        return list(self._judge.hear(samples, rate))

    def errors(self, text: str, heard: list[str]) -> float:
        """The share of wrong words against what was to be said."""
        words = self._scores.words_of(text)
        return float(self._scores.edit_distance(words, heard)) / max(1, len(words))
