"""How well nano hears people: digits and open sentences, by its encoder alone and written down by the whole product.

    python scripts/nano/evaluate/hearing.py --digits DIR --encoder work/nano/ears/encoder.pt     # closed choice
    python scripts/nano/evaluate/hearing.py --digits DIR --checkpoint realtime/checkpoints/nano  # as served

DIR holds recordings DIGIT_SPEAKER_NUMBER.wav of single digits; strings of four are put together from them, 150 to
250 ms apart. Open sentences: of a real speaker (the recordings of real_speech.py, where they are installed), and of
held-out voices saying held-out sentences. Nothing measured here is ever trained on.

Dependencies: numpy, scipy, torch, soundfile and this repository's packages.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model.features import log_mel
from realtime.ports.messages import Audio, Message
from scripts.nano import domain
from scripts.nano.data import input_speech, phones, user_speech
from scripts.nano.data.input_speech import SAMPLE_RATE, Samples, resample
from scripts.nano.data.out_of_domain import outside_sentences
from scripts.nano.domain.numbers import DIGIT
from scripts.nano.evaluate import real_speech
from scripts.nano.evaluate.answering import Answerer
from scripts.nano.evaluate.evaluate import interval
from scripts.nano.train.lm import edits
from scripts.nano.train.sizes import AUDIO
from scripts.nano.train.train_encoder import PhoneRecogniser, greedy_phones, load

QUIET = 0.2
STRINGS = 25
GAP = (0.15, 0.25)


def recordings(folder: Path, speakers: Sequence[str]) -> dict[str, list[tuple[str, Samples]]]:
    """Speaker -> (digit, samples at 16 kHz) of the folder; of all speakers where none is named."""
    found: dict[str, list[tuple[str, Samples]]] = defaultdict(list)
    for path in sorted(folder.glob("*_*_*.wav")):
        digit, speaker, _ = path.stem.split("_")
        if not speakers or speaker in speakers:
            samples, rate = soundfile.read(path, dtype="float32")
            found[speaker].append((digit, resample(samples, SAMPLE_RATE / rate)))
    return found


def quieted(samples: Samples, seconds: float = QUIET) -> Samples:
    """With silence around it."""
    return np.pad(samples, int(seconds * SAMPLE_RATE))


def strings(said: Sequence[tuple[str, Samples]], count: int, rng: random.Random) -> list[tuple[str, Samples]]:
    """Put single digits of one speaker together to strings of four."""
    out = []
    for _ in range(count):
        drawn = [rng.choice(said) for _ in range(4)]
        parts = [part for _, s in drawn for part in (s, np.zeros(int(rng.uniform(*GAP) * SAMPLE_RATE), np.float32))]
        out.append(("".join(digit for digit, _ in drawn), np.concatenate(parts[:-1])))
    return out


# --- the encoder alone ------------------------------------------------------------------------------------


@torch.inference_mode()
def posteriors(ears: PhoneRecogniser, samples: Samples) -> Tensor:
    """Log probabilities [2 P, 40] of a clip."""
    mel = log_mel(torch.from_numpy(np.asarray(samples, np.float32)), AUDIO.n_mels)
    return ears(mel[None], [mel.shape[1]])[0].log_softmax(-1)


def best_digit(scores: Tensor) -> str:
    """The digit whose phones are the likeliest."""
    targets = {d: torch.tensor(phones.phone_ids(word)) for d, word in DIGIT.items()}
    losses = {
        d: float(
            F.ctc_loss(scores[:, None], t[None], torch.tensor([len(scores)]), torch.tensor([len(t)]), reduction="sum")
        )
        for d, t in targets.items()
    }
    return min(losses, key=lambda d: losses[d])


def digit_loop(scores: Tensor) -> str:
    """The likeliest string of digits, however long: Viterbi over a loop of the words."""
    table = scores.numpy()
    symbols, begins, ends, word = [phones.BLANK], [], [], [""]
    before: list[list[int]] = [[0]]
    for digit, said in DIGIT.items():
        previous = -1
        for k, phone in enumerate(phones.phone_ids(said)):
            state = len(symbols)
            if k == 0:
                begins.append(state)
                before.append([state, 0])
            else:
                before.append([state, previous - 1, previous] if symbols[previous - 1] != phone else [state, previous])
            symbols += [phone, phones.BLANK]
            word += [digit, digit]
            before.append([state + 1, state])
            previous = state + 1
        ends.append(len(symbols) - 2)
    before[0] = [0, *ends, *(e + 1 for e in ends)]
    for begin in begins:
        before[begin] += [e for e in ends if symbols[e] != symbols[begin]] + [e + 1 for e in ends]
    best = np.full(len(symbols), -np.inf)
    best[[0, *begins]] = table[0, [symbols[s] for s in (0, *begins)]]
    steps = []
    for row in table[1:]:
        came = [max(b, key=lambda s: best[s]) for b in before]
        steps.append(came)
        best = np.array([best[c] for c in came]) + row[symbols]
    state = max([0, *ends, *(e + 1 for e in ends)], key=lambda s: best[s])
    path = [state]
    for came in reversed(steps):
        path.append(came[path[-1]])
    path.reverse()
    return "".join(word[s] for k, s in enumerate(path) if s in begins and (k == 0 or path[k - 1] != s))


def by_encoder(ears: PhoneRecogniser, said: Mapping[str, list[tuple[str, Samples]]]) -> None:
    """Print the rates of each speaker."""
    for speaker, clips in said.items():
        heard = [(digit, posteriors(ears, quieted(samples))) for digit, samples in clips]
        closed = sum(best_digit(scores) == digit for digit, scores in heard)
        free = sum(greedy_phones(scores) == phones.phone_ids(DIGIT[digit]) for digit, scores in heard)
        longer = strings(clips, STRINGS, random.Random(1))
        whole = sum(digit_loop(posteriors(ears, quieted(samples))) == digits for digits, samples in longer)
        print(f"{speaker}: best of ten {interval(closed, len(heard))}; free, exact {interval(free, len(heard))}; "
              f"strings of four {interval(whole, len(longer))}", flush=True)  # fmt: skip


# --- the whole product ------------------------------------------------------------------------------------

_VALUE = {word: digit for digit, word in DIGIT.items()} | {"oh": "0", "o": "0"}


class Scribe:
    """Has a checkpoint write down what it hears, as the server does."""

    def __init__(self, folder: Path) -> None:
        self._answerer = Answerer(folder, temperature=0.0, most=80)

    def write(self, samples: Samples) -> str:
        """The transcript."""
        audio = np.asarray(samples, np.float32)
        answerer = self._answerer
        answerer._features["clip"] = answerer.model.encode_audio(audio)
        messages = [Message("system", domain.TRANSCRIBE), Message("human", (Audio("clip", audio),))]
        return answerer.answer(messages, speech=False).text.strip()


def digits_in(text: str) -> str:
    """The digits that a transcript tells, however written; "?" for a word that is none."""
    words = re.findall(r"[a-z']+|\d", text.lower())
    return "".join(_VALUE.get(word, word if word.isdigit() else "?") for word in words)


def by_product(scribe: Scribe, said: Mapping[str, list[tuple[str, Samples]]], singles: int, show: int) -> None:
    """Print the rates of each speaker, and some transcripts that are wrong."""
    totals: dict[str, list[bool]] = defaultdict(list)
    for speaker, clips in said.items():
        hits: dict[str, list[bool]] = defaultdict(list)
        drawn = random.Random(2).sample(clips, min(singles, len(clips)))
        for kind, part in (("single", drawn), ("strings of four", strings(clips, STRINGS, random.Random(1)))):
            wrong = []
            for digits, samples in part:
                text = scribe.write(quieted(samples))
                hits[kind].append(digits_in(text) == digits)
                wrong += [] if hits[kind][-1] else [f"{digits}: {text!r}"]
            totals[kind] += hits[kind]
            print("   " + "; ".join(wrong[:show])) if show else None
        print(f"{speaker}: " + "; ".join(f"{k} {interval(sum(h), len(h))}" for k, h in hits.items()), flush=True)
    print("all: " + "; ".join(f"{k} {interval(sum(h), len(h))}" for k, h in totals.items()), flush=True)


def word_errors(scribe: Scribe, clips: Sequence[tuple[str, Samples]], show: int) -> str:
    """Word error rate of transcripts."""
    wrong = words = 0
    for text, samples in clips:
        said, heard = domain.plain(text).split(), domain.plain(scribe.write(samples)).split()
        wrong += edits(said, heard)
        words += len(said)
        if show > 0:
            show -= 1
            print(f"   {' '.join(said)} -> {' '.join(heard)}", flush=True)
    return f"{wrong / max(words, 1):.3f} ({len(clips)} clips, {words} words)"


def synthetic(count: int, seed: int = 5) -> dict[str, list[tuple[str, Samples]]]:
    """Held-out sentences in held-out voices: the natural one, and espeak's."""
    out: dict[str, list[tuple[str, Samples]]] = {"flite rms": [], "espeak unseen": []}
    texts = list(outside_sentences("unseen"))
    random.Random(seed).shuffle(texts)
    rng = np.random.default_rng(seed)
    for k, text in enumerate(texts[: 2 * count]):
        voice = input_speech.HELD_OUT[0] if k % 2 else str(rng.choice(input_speech.HELD_OUT[1:]))
        samples = input_speech.augment(input_speech.synthesize(text, voice, rng), rng, 0.2, (0.3, 0.3))
        out["flite rms" if k % 2 else "espeak unseen"].append((text, samples))
    return out


def empty(scribe: Scribe, count: int) -> None:
    """Print how often silence and noise are written down as nothing."""
    rng = np.random.default_rng(7)
    for kind, make in (("silence", user_speech.silence), ("noise", input_speech.non_speech)):
        heard = [scribe.write(make(rng)) for _ in range(count)]
        print(
            f"{kind}: nothing written down {interval(sum(not t for t in heard), count)} {[t for t in heard if t][:6]}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=Path, help="folder of people's digits")
    parser.add_argument("--speakers", nargs="*", default=(), help="only these")
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--singles", type=int, default=40, help="digits of each speaker, as served")
    parser.add_argument("--sentences", type=int, default=60, help="open sentences of each kind")
    parser.add_argument("--show", type=int, default=6, help="transcripts of each kind to print")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    said = recordings(args.digits, args.speakers) if args.digits else {}
    if args.encoder:
        by_encoder(load(args.encoder), said)
    if args.checkpoint:
        scribe = Scribe(args.checkpoint)
        by_product(scribe, said, args.singles, args.show)
        kinds = synthetic(args.sentences)
        if real_speech.SOUNDS.exists():
            outside = real_speech.outside(real_speech.SOUNDS, real_speech.transcripts(real_speech.WORDS))
            real = [(c["text"], c["pcm"].numpy().astype(np.float32) / 32768) for c in outside]
            kinds["real speaker, 8 kHz"] = random.Random(3).sample(real, min(args.sentences, len(real)))
        for kind, clips in kinds.items():
            print(f"open sentences, {kind}: word error rate {word_errors(scribe, clips, args.show)}", flush=True)
        empty(scribe, 20)


if __name__ == "__main__":
    main()
