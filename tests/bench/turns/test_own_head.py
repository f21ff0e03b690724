"""`semantic_vad` with nano's own head on the benchmark's clips: sentences with a pause of 1 s stay whole."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.bench.turns.corpus import Case, clips
from realtime.bench.turns.runner import Mode, observe
from realtime.bench.turns.scoring import EndpointingFigures, endpointing_figures, score
from realtime.bench.turns.synthetic_noise import Samples, noise, silence
from realtime.commands.bench_turns import turn_models
from realtime.config import EMBEDDED_CHECKPOINT
from realtime.turns.vad import SileroVad

PAUSE_S = 1.0


@pytest.fixture(scope="module")
def auto() -> Mode:
    model = turn_models("auto", EMBEDDED_CHECKPOINT)["own head"]
    return Mode("auto", {"type": "semantic_vad", "eagerness": "auto"}, model)


def figures(mode: Mode, turns: list[tuple[Samples, ...]]) -> EndpointingFigures:
    room = noise(5.0, "pink", -70.0, np.random.default_rng(0))
    vad, reply, outcomes = SileroVad(), clips("reply")[0], []
    for parts in turns:
        speech = np.concatenate([silence(0.7), *parts])
        case = Case("", "turn", speech, len(speech), room, reply)
        outcomes.append(score(case, observe(case, mode, vad)))
    return endpointing_figures(outcomes)


def test_a_pause_of_a_second_splits_no_sentence(auto: Mode) -> None:
    parted = [(c.samples[: c.cut], silence(PAUSE_S), c.samples[c.cut :]) for c in clips("sentence") if c.cut]
    assert (figures(auto, parted).cut_in_rate or 0.0) < 0.1


def test_short_answers_wait_slightly_longer_than_by_prosody(auto: Mode) -> None:
    """40 ms: the price of fewer split sentences, whose threshold is the same."""
    turns = [(clip.samples,) for clip in clips("short")]
    prosody = Mode("prosody", auto.detection, None)
    assert (figures(auto, turns).delay_p50_ms or 0.0) <= (figures(prosody, turns).delay_p50_ms or 0.0) + 50


def test_whole_sentences_are_not_delayed(auto: Mode) -> None:
    assert (figures(auto, [(clip.samples,) for clip in clips("sentence")]).delay_p50_ms or 0.0) < 680
