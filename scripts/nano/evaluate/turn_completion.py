"""How often `semantic_vad` splits a sentence at a pause, and how late it finds the end, with each end-of-turn model.

    python scripts/nano/evaluate/turn_completion.py                     # the turn benchmark's clips, parted
    python scripts/nano/evaluate/turn_completion.py --data work/turn_ends     # and `turn_ends`' held-out speech
    python scripts/nano/evaluate/turn_completion.py --real --head FILE --only medium

Real sessions in virtual time, as in `realtime bench turns`. Sentences are spoken as a whole and parted by digital
silence of `--pause` seconds where a speaker may pause; rooms are quiet (-70 dBFS).
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.bench.turns.corpus import SPEECH_DB, Case, clips
from realtime.bench.turns.runner import Mode, observe
from realtime.bench.turns.scoring import endpointing_figures, score
from realtime.bench.turns.synthetic_noise import Samples, at_level, noise, silence
from realtime.commands.bench_turns import EAGERNESS
from realtime.model.turn_completion import HEAD_FILE, TurnCompletionHead, TurnCompletionModel
from realtime.model.weights import load_config, load_modules
from realtime.turns.smart_turn import EndOfTurnModel, load_end_of_turn_model
from realtime.turns.vad import SileroVad

NANO = Path("realtime/checkpoints/nano")


def case(kind: str, parts: Sequence[Samples], seed: int) -> Case:
    """A turn of these parts in a quiet room."""
    speech = np.concatenate([silence(0.7), *parts])
    room = noise(5.0, "pink", -70.0, np.random.default_rng(seed))
    return Case(f"{kind}-{seed}", kind, speech, len(speech), room, clips("reply")[0])


def bench_cases(pause_s: float) -> Iterator[Case]:
    """The benchmark's sentences, parted and whole, and its short answers."""
    for index, clip in enumerate(clips("sentence")):
        if clip.cut is not None:
            yield case("parted", (clip.samples[: clip.cut], silence(pause_s), clip.samples[clip.cut :]), index)
        yield case("whole", (clip.samples,), index)
    for index, clip in enumerate(clips("short")):
        yield case("short", (clip.samples,), index)


def held_out_cases(path: Path, pause_s: float) -> Iterator[Case]:
    """Unseen sentences in the voices that were kept from training, likewise."""
    from scripts.nano.data import input_speech, turn_ends  # needs what training needs

    for index, turn in enumerate(turn_ends.read(path / "held-out.npz")):
        if turn.voice not in input_speech.HELD_OUT or turn.kind not in ("turn", "short"):
            continue
        samples = at_level(turn.samples, SPEECH_DB)
        for cut in turn.cuts:
            yield case("parted, held out", (samples[:cut], silence(pause_s), samples[cut:]), index)
        yield case("short, held out" if turn.kind == "short" else "whole, held out", (samples,), index)


def real_cases(pause_s: float, count: int = 60) -> Iterator[Case]:
    """Sentences of a real person, which nothing here is trained on, likewise; see `real_speech`."""
    from scripts.nano.data import turn_ends
    from scripts.nano.evaluate import real_speech

    rng = random.Random(0)
    said = sorted(real_speech.transcripts(real_speech.WORDS).items())
    for index, (name, words) in enumerate(rng.sample(said, len(said))):
        spoken = " ".join(re.sub(r"[^a-z' ]", " ", words.lower()).split())
        sound = real_speech.recording(real_speech.SOUNDS, name)
        if sound is None or not 5 <= len(spoken.split()) <= 16 or len(spoken.split()) != len(words.split()):
            continue
        starts = turn_ends.word_starts(sound, spoken)
        open_ends = [i for i in range(2, len(starts) - 1) if words.split()[i - 1][-1].isalpha()]
        if not open_ends:
            continue
        cut = turn_ends.quietest_near(sound, starts[rng.choice(open_ends)])
        samples = at_level(sound, SPEECH_DB)
        yield case("parted, real", (samples[:cut], silence(pause_s), samples[cut:]), index)
        yield case("whole, real", (samples,), index)
        count -= 1
        if not count:
            return


def own_model(checkpoint: Path, head: Path) -> EndOfTurnModel:
    """The encoder of a checkpoint with a head."""
    config = load_config(checkpoint)
    encoder = load_modules(checkpoint, config).encoder
    return TurnCompletionModel(encoder, TurnCompletionHead.load(head, config.audio.n_audio_state), config.audio.n_mels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=NANO)
    parser.add_argument("--head", type=Path, help="(default: the checkpoint's)")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--real", action="store_true", help="also sentences of a real person (see real_speech.py)")
    parser.add_argument("--pause", type=float, default=1.0)
    parser.add_argument("--only", default="", help="modes with this in their name, as medium or prosody")
    args = parser.parse_args()
    torch.set_num_threads(1)
    head = args.head or args.checkpoint / HEAD_FILE
    models = {
        "prosody": None,
        "own head": own_model(args.checkpoint, head) if head.is_file() else None,
        "smart-turn": load_end_of_turn_model("smart-turn"),
    }
    cases = [*bench_cases(args.pause), *(held_out_cases(args.data, args.pause) if args.data else ())]
    cases += real_cases(args.pause) if args.real else ()
    vad, kinds = SileroVad(), list(dict.fromkeys(case.kind for case in cases))
    print(f"| mode | {' | '.join(f'{kind}: split, p50, p95 ms' for kind in kinds)} |\n|{'---|' * (len(kinds) + 1)}")
    for name, model in models.items():
        for eagerness in EAGERNESS:
            mode = Mode(f"{name} {eagerness}", {"type": "semantic_vad", "eagerness": eagerness}, model)
            if args.only not in mode.name or (model is None and name != "prosody"):
                continue
            cells = []
            for kind in kinds:
                found = endpointing_figures([score(one, observe(one, mode, vad)) for one in cases if one.kind == kind])
                cells.append(f"{found.cut_in_rate or 0:.0%}, {found.delay_p50_ms:.0f}, {found.delay_p95_ms:.0f}")
            print(f"| {mode.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
