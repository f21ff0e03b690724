"""Train nano's language model, and the adapter that lets it hear.

Stages, each resumable (its own checkpoint, written every few minutes) and limited by wall-clock minutes:

    pseudo   text turns and pseudo audio -> spoken and written replies; no recording is needed
    adapter  the adapter learns to turn encoder rows into the vectors of the pseudo audio
    join     adapter and language model together on encoder rows (the encoder is fixed)

    python scripts/nano/train_lm.py pseudo --work work/nano/mind --minutes 45
    python scripts/nano/train_lm.py adapter --work work/nano/mind --features work/nano/ears/features --minutes 3
    python scripts/nano/train_lm.py join --work work/nano/mind --features work/nano/ears/features --minutes 30

Dependencies: torch, transformers, numpy, tokenizers.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2Model

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from realtime.model.config import AudioEncoderConfig
from realtime.model.encoder import Adapter
from scripts.nano import domain, phones, speech_codes
from scripts.nano.sequences import (
    EncoderRows,
    Heard,
    PseudoAudio,
    Sequence_,
    Vocabulary,
    Voice,
    Weights,
    Writer,
    heard_length,
    pseudo_audio,
    typed,
)

HIDDEN = 256
ENCODER_WIDTH = 192
USED_CODES = len(speech_codes.PHONES) * speech_codes.POSITIONS * speech_codes.PITCHES
AUDIO_CONFIG = AudioEncoderConfig(
    n_mels=128,
    n_audio_ctx=1500,
    n_audio_state=ENCODER_WIDTH,
    n_audio_head=3,
    n_audio_layer=6,
    llm_dim=HIDDEN,
    adapter_hidden=512,
)


def lm_config(vocabulary_size: int) -> Qwen2Config:
    """Sizes of nano's decoder."""
    return Qwen2Config(
        vocab_size=vocabulary_size,
        hidden_size=HIDDEN,
        intermediate_size=704,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        attn_implementation="eager",
    )


# --- model ------------------------------------------------------------------------------------------------


class Mind(nn.Module):
    """Decoder, adapter and the tables that stand in for the adapter while audio is pseudo audio.

    `lm` has the official key names (without the `model.` prefix); `pseudo` [2, 40, D] gives the vector of a pair of
    25 Hz phone frames as the sum of one row for each.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.lm = Qwen2Model(lm_config(vocabulary.size))
        self.adapter = Adapter(AUDIO_CONFIG)
        self.pseudo = nn.Parameter(torch.randn(2, phones.CLASSES, HIDDEN) * 0.04)
        self.used = vocabulary.code0 + USED_CODES
        self.pad_code = vocabulary.code0 + 6561
        self._start_embeddings(vocabulary)

    @torch.no_grad()
    def _start_embeddings(self, vocabulary: Vocabulary) -> None:
        """Codes start as the sum of what they say (phone, position, pitch), so rare ones share with common ones."""
        table = self.lm.embed_tokens.weight
        table.normal_(0.0, 0.04)
        parts = torch.from_numpy(speech_codes.component_ids())
        tables = [torch.randn(size, HIDDEN) * 0.025 for size in speech_codes.COMPONENT_SIZES]
        codes = torch.stack([t[parts[:, k]] for k, t in enumerate(tables)]).sum(0)
        table[vocabulary.code0 : vocabulary.code0 + len(codes)] = codes
        table[self.used : self.pad_code] = table[self.used].clone()

    def pseudo_vectors(self, first: Tensor, second: Tensor, mix: Tensor) -> Tensor:
        """Classes [2n], classes [2n], weights [2n] of the second -> vectors [n, D]."""
        side = torch.arange(len(first)) % 2
        rows = self.pseudo[side, first] * (1 - mix[:, None]) + self.pseudo[side, second] * mix[:, None]
        return rows.view(-1, 2, HIDDEN).sum(1)

    def expected_vectors(self, posteriors: Tensor) -> Tensor:
        """CTC posteriors [2n, 40] -> the pseudo vectors expected under them [n, D]."""
        pairs = posteriors.view(-1, 2, posteriors.shape[-1])
        return torch.einsum("nsk,skd->nd", pairs, self.pseudo)

    def embed(self, ids: Tensor, audio: list[tuple[int, int, Heard]]) -> Tensor:
        """Ids [B, T] and (row, position, heard) -> embeddings [B, T, D] with the audio positions filled."""
        x = self.lm.embed_tokens(ids)
        if not audio:
            return x
        where_row, where_column, vectors = [], [], []
        pseudo = [(b, t, h) for b, t, h in audio if isinstance(h, PseudoAudio)]
        if pseudo:
            heard = [h for _, _, h in pseudo if isinstance(h, PseudoAudio)]
            parts = [
                torch.from_numpy(np.concatenate(p))
                for p in zip(*((h.first, h.second, h.mix) for h in heard), strict=True)
            ]
            vectors.append(self.pseudo_vectors(*parts))
            for b, t, h in pseudo:
                n = len(h.first) // 2
                where_row += [b] * n
                where_column += range(t, t + n)
        real = [(b, t, h) for b, t, h in audio if not isinstance(h, PseudoAudio)]
        if real:
            features = self.adapter(padded_rows([h for _, _, h in real if isinstance(h, EncoderRows)]))
            for k, (b, t, h) in enumerate(real):
                n = heard_length(h)
                vectors.append(features[k, :n])
                where_row += [b] * n
                where_column += range(t, t + n)
        return x.index_put((torch.tensor(where_row), torch.tensor(where_column)), torch.cat(vectors).to(x.dtype))

    def logits(self, hidden: Tensor, everything: bool) -> Tensor:
        """Hidden [N, D] -> logits over all ids, or over text and the codes in use (the padding code comes last)."""
        table = self.lm.embed_tokens.weight
        if not everything:
            table = torch.cat([table[: self.used], table[self.pad_code : self.pad_code + 1]])
        return F.linear(hidden, table)


def padded_rows(heard: Sequence[EncoderRows]) -> Tensor:
    """Encoder rows of several clips -> float32 [B, P, 192], zeros behind each: what the adapter's own edge sees."""
    rows = [torch.from_numpy(h.rows.astype(np.float32)) for h in heard]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Right-padded ids [B, T], loss weights [B, T] and what is heard where."""

    ids: Tensor
    weights: Tensor
    audio: list[tuple[int, int, Heard]]


def collate(sequences: list[Sequence_]) -> Batch:
    """Pad sequences to one batch. Causal attention needs no mask: padding stands behind everything."""
    length = max(len(s.ids) for s in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    weights = torch.zeros(len(sequences), length)
    audio = []
    for b, s in enumerate(sequences):
        ids[b, : len(s.ids)] = torch.tensor(s.ids)
        weights[b, : len(s.ids)] = torch.tensor(s.weights)
        audio += [(b, t, h) for t, h in s.audio]
    return Batch(ids, weights, audio)


def losses(mind: Mind, batch: Batch, code_noise: float, everything: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropies [N] of the predicted ids, the ids [N], their weights [N].

    A share `code_noise` of the codes that the model reads (not of those it must write) is replaced at random.
    """
    ids = batch.ids
    if code_noise:
        code0 = mind.used - USED_CODES
        noisy = (ids >= code0) & (ids < mind.used) & (torch.rand(ids.shape) < code_noise)
        ids = torch.where(noisy, torch.randint(code0, mind.used, ids.shape), ids)
    long = ids.shape[1] > 400
    mind.lm.config._attn_implementation = "sdpa" if long else "eager"
    with torch.autocast("cpu", torch.bfloat16):
        x = mind.embed(ids[:, :-1], [a for a in batch.audio])
        hidden = mind.lm(inputs_embeds=x, use_cache=False).last_hidden_state
        wanted = batch.weights[:, 1:] > 0
        target = batch.ids[:, 1:][wanted]
        logits = mind.logits(hidden[wanted], everything)
    index = target
    if not everything:
        index = torch.where(target == mind.pad_code, mind.used, target)
    return F.cross_entropy(logits.float(), index, reduction="none"), target, batch.weights[:, 1:][wanted]


# --- data -------------------------------------------------------------------------------------------------


MOMENT = ("time", "weekday", "date", "tomorrow")
"""Intents that are answered from the system prompt."""


COUNT_STRETCH = 900
"""Ids of a long count that are worth their training time, about thirty numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A spoken user text as the encoder hears it. No text: noise. `phrasing`: 'train' or 'unseen' wording."""

    text: str
    intent: str
    slots: dict[str, str]
    phrasing: str
    voice: str
    heard: EncoderRows

    def turn(self, context: domain.Context | None, rng: random.Random) -> domain.Turn:
        """What is to be answered."""
        return domain.turn_of(self.intent, self.text, self.slots, context, rng)


def load_clips(folder: Path) -> list[Clip]:
    """Read the shards that `train_encoder.py features` wrote."""
    clips = []
    for path in sorted(folder.glob("*.pt")):
        for item in torch.load(path, weights_only=False):
            frames = int(item["frames"]) - 2
            count = min((frames + 5) // 8, (len(item["enc"]) - 1) // 2 + 1)
            if count < 1:
                continue
            clips.append(
                Clip(
                    item["text"],
                    item["intent"] or "unknown",
                    dict(item["slots"]),
                    item.get("phrasing", "train"),
                    item.get("voice", ""),
                    EncoderRows(item["enc"].numpy(), count),
                )
            )
    return clips


def varied(heard: EncoderRows, rng: random.Random) -> EncoderRows:
    """Another hearing of the same clip: a little faster or slower, noisier, with a moment lost."""
    rows = heard.rows.astype(np.float32)
    if rng.random() < 0.5:
        length = max(4, round(len(rows) * rng.uniform(0.88, 1.12)))
        rows = rows[np.linspace(0, len(rows) - 1, length).round().astype(int)]
    if rng.random() < 0.5:
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(rows.shape, dtype=np.float32)
        rows = rows + noise * rows.std() * rng.uniform(0.0, 0.4)
    for _ in range(rng.choice((0, 0, 1, 2))):
        start = rng.randrange(len(rows))
        rows[start : start + rng.randint(1, 3)] = 0.0
    count = round(heard.count * len(rows) / len(heard.rows))
    return EncoderRows(rows.astype(np.float16), min(max(1, count), (len(rows) - 1) // 2 + 1))


class Conversations:
    """Draws training conversations: domain turns by text, pseudo audio or clips; transcriptions; reading aloud."""

    def __init__(
        self, vocabulary: Vocabulary, voice: Voice, seed: int, clips: list[Clip] | None = None, real: float = 0.0
    ) -> None:
        self.rng = random.Random(seed)
        self.writer = Writer(vocabulary)
        self.voice = voice
        self.real = real
        self.clips = clips or []
        self.spoken_clips = [c for c in self.clips if c.text]
        self.noise_clips = [c for c in self.clips if not c.text]
        self.readable = [t for t in voice.spoken if domain.intent_of(t) is None or domain.intent_of(t) == "repeat"]
        self.words = domain.word_list()
        self.moment_clips = [c for c in self.spoken_clips if c.intent in MOMENT]
        self.share_copy = 0.12
        self.share_count = 0.0
        self.share_transcribe = 0.2
        self.share_read = 0.1
        self.share_text_reply = 0.3
        self.share_typed = 0.25
        self.share_cut = 0.5
        self.share_noise = 0.05
        self.errors = 0.35 if clips else 0.2

    def draw(self) -> Sequence_:
        """Draw one conversation."""
        if self.rng.random() < self.share_count:
            return self._counting()
        if self.rng.random() < self.share_copy:
            return self._moment() if self.rng.random() < 0.7 else self._copying()
        kind = self.rng.random()
        if kind < self.share_transcribe:
            return self._transcription()
        if kind < self.share_transcribe + self.share_read:
            sequence = self._reading()
            if sequence is not None:
                return sequence
        return self._conversation()

    def _transcription(self) -> Sequence_:
        sequence = Sequence_()
        self.writer.system(sequence, domain.TRANSCRIBE)
        if self.spoken_clips and self.rng.random() < self.real:
            clip = self.rng.choice(self.spoken_clips)
            heard: Heard = varied(clip.heard, self.rng)
            text = clip.text
        else:
            if self.rng.random() < 0.5:
                text = domain.sample(self.rng).user_text
            else:
                text = " ".join(self.rng.choice(self.words) for _ in range(self.rng.randint(1, 6)))
            heard = pseudo_audio(text, self.rng, self.errors)
        self.writer.human_audio(sequence, heard)
        self.writer.open_reply(sequence, speech=False)
        self.writer.write(sequence, text)
        return sequence

    def _moment(self) -> Sequence_:
        """Ask for the time or the day: the answer is read off the system prompt."""
        sequence = Sequence_()
        context = domain.sample_context(self.rng)
        turn = domain.sample(self.rng, intent=self.rng.choice(MOMENT), context=(context,))
        heard: Heard | None = None
        if self.moment_clips and self.rng.random() < 0.6:
            clip = self.rng.choice(self.moment_clips)
            turn, heard = clip.turn(context, self.rng), varied(clip.heard, self.rng)
        self.writer.system(sequence, domain.system_prompt(context, self.rng))
        self._write_turn(sequence, turn, heard, cut=self.voice.get(turn.reply_text, self.rng) is not None)
        return sequence

    def _copying(self) -> Sequence_:
        """Teach copying, which answers with a moment or with the user's words need: "say X", X of random words."""
        sequence = Sequence_()
        text = " ".join(self.rng.choice(self.words) for _ in range(self.rng.randint(1, 6)))
        asked = self.rng.choice(domain.BY_NAME["repeat"].phrasings_of("train")).format(a=text)
        self.writer.human_text(sequence, typed(asked, self.rng))
        self.writer.open_reply(sequence, speech=False)
        self.writer.write(sequence, domain.sentence(text))
        return sequence

    def _counting(self) -> Sequence_:
        """Count to any bound: a stretch of the count is the target, so that the bound and not the habit decides."""
        sequence = Sequence_()
        first = 1 if self.rng.random() < 0.8 else self.rng.randint(1, 90)
        last = self.rng.choice((20, 30, 40, 50, 60, 70, 80, 90, 100, 100, 100))
        if last <= first or self.rng.random() < 0.5:
            last = self.rng.randint(first + 1, 100)
        spoken = self.voice.get(domain.count_reply(first, last), self.rng)
        if spoken is None:
            return self._copying()
        intent = domain.BY_NAME["count_to" if first == 1 and self.rng.random() < 0.5 else "count"]
        values = {"a": domain.spoken_number(first), "b": domain.spoken_number(last)}
        asked = self.rng.choice(intent.phrasings_of("train")).format(**values)
        if self.rng.random() < 0.6:
            self.writer.system(sequence, domain.system_prompt(domain.sample_context(self.rng), self.rng))
        if self.rng.random() < 0.5:
            self.writer.human_text(sequence, typed(asked, self.rng))
        else:
            self.writer.human_audio(sequence, pseudo_audio(asked, self.rng, self.errors))
        self.writer.open_reply(sequence, speech=True)
        before = len(sequence.ids)
        self.writer.say(sequence, spoken)
        if len(sequence.ids) - before > COUNT_STRETCH and self.rng.random() < 0.85:
            keep = before + self.rng.randint(COUNT_STRETCH // 2, COUNT_STRETCH)
            del sequence.ids[keep:], sequence.weights[keep:]
        return sequence

    def _reading(self) -> Sequence_ | None:
        """Teach pronunciation: "say X" with X from everything that was ever spoken."""
        if not self.readable:
            return None
        sequence = Sequence_()
        spoken = self.voice.spoken[self.rng.choice(self.readable)]
        if self.rng.random() < 0.2:
            self.writer.system(sequence, self.rng.choice(domain.TIMELESS_PROMPTS))
        self.writer.human_text(sequence, typed("say " + domain.plain(spoken.text), self.rng))
        self.writer.open_reply(sequence, speech=True)
        self.writer.say(sequence, spoken)
        return sequence

    def _conversation(self) -> Sequence_:
        sequence = Sequence_()
        turns = self.rng.choices((1, 2, 3, 4), (0.62, 0.22, 0.11, 0.05))[0]
        context = None if self.rng.random() < 0.12 else domain.sample_context(self.rng)
        asked = [self._turn(context, first=k == 0) for k in range(turns)]
        about_moment = any(t.intent in MOMENT for t, _ in asked)
        if not about_moment and self.rng.random() < 0.5:
            self.writer.system(sequence, self.rng.choice(domain.TIMELESS_PROMPTS))
        elif context is not None or self.rng.random() < 0.8:
            self.writer.system(sequence, domain.system_prompt(context, self.rng))
        for k, (turn, heard) in enumerate(asked):
            self._write_turn(sequence, turn, heard, cut=k + 1 == turns and self.rng.random() < self.share_cut)
        return sequence

    def _turn(self, context: domain.Context | None, first: bool) -> tuple[domain.Turn, Heard | None]:
        """Draw a turn whose reply can be spoken; with what is heard when it is a clip."""
        if self.rng.random() < self.share_noise:
            return domain.sample(self.rng, intent="unknown", context=(context,)), self._noise()
        while True:
            heard: Heard | None = None
            if self.spoken_clips and self.rng.random() < self.real * (1 - self.share_typed):
                clip = self.rng.choice(self.spoken_clips)
                turn, heard = clip.turn(context, self.rng), varied(clip.heard, self.rng)
            else:
                turn = domain.sample(self.rng, context=(context,))
            if len(turn.reply_text) > 420 and (not first or self.rng.random() < 0.5):
                continue
            if not self.voice.spoken or self.voice.get(turn.reply_text, self.rng) is not None:
                return turn, heard

    def _write_turn(self, sequence: Sequence_, turn: domain.Turn, heard: Heard | None, cut: bool) -> None:
        if heard is not None:
            self.writer.human_audio(sequence, heard)
        elif self.rng.random() < self.share_typed / (1 - self.real * (1 - self.share_typed)):
            self.writer.human_text(sequence, typed(turn.user_text, self.rng))
        else:
            self.writer.human_audio(sequence, pseudo_audio(turn.user_text, self.rng, self.errors))
        speech = bool(self.voice.spoken) and self.rng.random() >= self.share_text_reply
        self.writer.open_reply(sequence, speech)
        spoken = self.voice.get(turn.reply_text, self.rng) if speech else None
        if spoken is not None:
            self.writer.say(sequence, spoken, cut)
        else:
            self.writer.write(sequence, turn.reply_text)

    def _noise(self) -> Heard:
        """Draw something that is no question: noise, or words without sense."""
        if self.noise_clips and self.rng.random() < self.real:
            return varied(self.rng.choice(self.noise_clips).heard, self.rng)
        return pseudo_audio("" if self.rng.random() < 0.6 else self._nonsense(), self.rng)

    def _nonsense(self) -> str:
        return " ".join(self.rng.choice(self.words) for _ in range(self.rng.randint(4, 8)))


def batches(source: Conversations, budget: int, longest: int) -> Iterator[Batch]:
    """Group conversations of like length into batches of at most `budget` ids, forever."""
    waiting: deque[list[Sequence_]] = deque()
    while True:
        pool: list[Sequence_] = []
        ids = 0
        while ids < budget * 12:
            sequence = source.draw()
            if len(sequence.ids) <= longest:
                pool.append(sequence)
                ids += len(sequence.ids)
        pool.sort(key=lambda s: len(s.ids))
        group: list[Sequence_] = []
        for sequence in pool:
            if group and len(sequence.ids) * (len(group) + 1) > budget:
                waiting.append(group)
                group = []
            group.append(sequence)
        waiting.append(group)
        shuffled = list(waiting)
        waiting.clear()
        source.rng.shuffle(shuffled)
        for group in shuffled:
            yield collate(group)


# --- training ---------------------------------------------------------------------------------------------


class Optimizers:
    """Muon for the matrices of the decoder's layers, AdamW for vectors, tables and the adapter, as one optimizer."""

    def __init__(self, mind: Mind, lr: float, adapter_lr: float) -> None:
        layers = [p for n, p in mind.lm.named_parameters() if p.ndim == 2 and "embed" not in n]
        rest = [p for n, p in mind.lm.named_parameters() if p.ndim < 2 or "embed" in n]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(layers, lr=2 * lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW([*rest, mind.pseudo], lr=lr, betas=(0.9, 0.97), weight_decay=0.0),
            torch.optim.AdamW(mind.adapter.parameters(), lr=adapter_lr, betas=(0.9, 0.97), weight_decay=0.0),
        ]
        self.rates = (2 * lr, lr, adapter_lr)

    def step(self, factor: float) -> None:
        """Update all parameters with their rates times `factor` and forget the gradients."""
        for part, rate in zip(self.parts, self.rates, strict=True):
            for group in part.param_groups:
                group["lr"] = rate * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the states of the parts."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Take the states that `state_dict` gave."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def train_adapter(mind: Mind, clips: list[Clip], ctc: nn.Linear, minutes: float, seed: int) -> None:
    """Teach the adapter to give the pseudo vectors that the recogniser's posteriors call for."""
    optimizer = torch.optim.AdamW(mind.adapter.parameters(), lr=2e-3, betas=(0.9, 0.97), weight_decay=0.0)
    rng = random.Random(seed)
    clock = Clock(minutes, 0.0, 0.6, warmup=20)
    step, mean = 0, 0.0
    while clock.spent < clock.limit:
        heard = [c.heard for c in rng.sample(clips, 24)]
        rows = padded_rows(heard)
        with torch.no_grad():
            posteriors = ctc(rows).softmax(-1)
            blank = F.one_hot(torch.tensor(phones.BLANK), phones.CLASSES).float()
            wanted = []
            for k, h in enumerate(heard):
                real = posteriors[k, : min(len(h.rows), 2 * h.count)]
                wanted.append(mind.expected_vectors(torch.cat([real, blank.expand(2 * h.count - len(real), -1)])))
            target = torch.cat(wanted)
        given = mind.adapter(rows)
        loss = F.mse_loss(torch.cat([given[k, : h.count] for k, h in enumerate(heard)]), target) / target.var()
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * clock.factor(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        mean += (float(loss) - mean) / min(step + 1, 100)
        step += 1
        if step % 200 == 0:
            print(f"adapter step {step} part of the variance left {mean:.4f}", flush=True)
    print(f"adapter done: {step} steps, part of the variance left {mean:.4f}")


class Clock:
    """Learning-rate shape over wall-clock time: short warm-up by steps, flat, then a linear fall."""

    def __init__(self, minutes: float, spent: float, fall: float, warmup: int = 60) -> None:
        self.limit, self.began, self.fall, self.warmup = minutes * 60, time.time() - spent, fall, warmup

    @property
    def spent(self) -> float:
        """Seconds of this stage so far, earlier runs included."""
        return time.time() - self.began

    def factor(self, step: int) -> float:
        """Return the factor on the learning rate."""
        left = 1 - self.spent / self.limit
        return min(1.0, (step + 1) / self.warmup, max(0.02, left / self.fall))


def save(path: Path, mind: Mind, optimizer: Optimizers | None, step: int, spent: float) -> None:
    """Write a checkpoint in one move."""
    state: dict[str, Any] = {"mind": mind.state_dict(), "step": step, "spent": spent}
    if optimizer is not None:
        state["optimizer"] = optimizer.state_dict()
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


class Meter:
    """Running means of the cross-entropy by kind of id."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.v = vocabulary
        self.sums: dict[str, list[float]] = {}

    def add(self, loss: Tensor, target: Tensor, weights: Tensor) -> None:
        """Count one batch."""
        v = self.v
        spoken = weights != Writer(v).w.text
        kinds = {
            "code": target >= v.code0,
            "pad": target == v.tts_pad,
            "word": (target < v.text_size) & spoken,
            "text": ~spoken,
        }
        for name, mask in kinds.items():
            total = self.sums.setdefault(name, [0.0, 0.0])
            total[0] += float(loss[mask].sum())
            total[1] += int(mask.sum())

    def line(self) -> str:
        """Return the means and start anew."""
        text = " ".join(f"{k} {s / max(n, 1):.3f}" for k, (s, n) in self.sums.items())
        self.sums = {}
        return text


def train_steps(mind: Mind, source: Conversations, args: argparse.Namespace, name: str, lr: float) -> None:
    """Train decoder (and adapter) until the minutes are spent; go on from the stage's checkpoint when there is one."""
    path = args.work / f"{name}.pt"
    optimizer = Optimizers(mind, lr, args.adapter_lr or lr)
    step, spent = 0, 0.0
    if path.exists() and not args.restart:
        state = torch.load(path, weights_only=True)
        mind.load_state_dict(state["mind"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
        print(f"going on from step {step}, {spent / 60:.1f} min")
    source.rng.seed(args.seed * 1000 + step)
    torch.manual_seed(args.seed * 1000 + step)
    clock = Clock(args.minutes, spent, args.fall)
    meter = Meter(source.writer.v)
    ids, logged, saved = 0, time.time(), time.time()
    for batch in batches(source, args.budget, args.longest):
        if clock.spent >= clock.limit:
            break
        loss, target, weights = losses(mind, batch, args.code_noise, everything=step % 6 == 0)
        total = (loss * weights).sum() / weights.sum()
        total.backward()
        norm = float(nn.utils.clip_grad_norm_(mind.parameters(), 1.0))
        optimizer.step(clock.factor(step))
        meter.add(loss.detach(), target, weights)
        ids += batch.ids.numel()
        step += 1
        if step % args.log == 0:
            print(
                f"{name} {clock.spent / 60:5.1f} min step {step} {meter.line()} norm {norm:.2f} "
                f"{ids / (time.time() - logged):.0f} ids/s",
                flush=True,
            )
            ids, logged = 0, time.time()
        if time.time() - saved > args.save_every:
            save(path, mind, optimizer, step, clock.spent)
            saved = time.time()
    save(path, mind, optimizer, step, clock.spent)
    print(f"{name} done: {step} steps, {clock.spent / 60:.1f} min")


# --- looking at the result --------------------------------------------------------------------------------


@torch.inference_mode()
def generate(
    mind: Mind, prompts: list[Sequence_], longest: int, stop: int, temperature: float = 0.0
) -> list[list[int]]:
    """Continue all prompts at once, greedily or at a temperature, up to and without `stop`."""
    mind.lm.config._attn_implementation = "eager"
    embedded = [mind.embed(torch.tensor([p.ids]), [(0, t, h) for t, h in p.audio])[0] for p in prompts]
    width = max(len(e) for e in embedded)
    x = torch.stack([F.pad(e, (0, 0, width - len(e), 0)) for e in embedded])
    mask = torch.stack([F.pad(torch.ones(len(e), dtype=torch.long), (width - len(e), 0)) for e in embedded])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = None
    out: list[list[int]] = [[] for _ in prompts]
    going = [True] * len(prompts)
    for _ in range(longest):
        result = mind.lm(
            inputs_embeds=x, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        cache = result.past_key_values
        logits = F.linear(result.last_hidden_state[:, -1], mind.lm.embed_tokens.weight)
        if temperature:
            chosen = torch.multinomial((logits / temperature).softmax(-1), 1)[:, 0]
        else:
            chosen = logits.argmax(-1)
        for b, i in enumerate(chosen.tolist()):
            going[b] = going[b] and i != stop
            if going[b]:
                out[b].append(i)
        if not any(going):
            break
        x = mind.lm.embed_tokens(chosen)[:, None]
        mask = F.pad(mask, (0, 1), value=1)
        positions = positions[:, -1:] + 1
    return out


def spoken_phones(codes: Sequence[int]) -> list[str]:
    """Speech codes -> the phones that they start, silence left out."""
    parts = [speech_codes.decode(c) for c in codes if c < USED_CODES]
    found = []
    last = ""
    for part in parts:
        if (part.position != speech_codes.CONTINUED or part.phone != last) and part.phone != "pau":
            found.append(part.phone)
        last = part.phone
    return found


def edits(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the edit distance of two sequences."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def probe(mind: Mind, source: Conversations, count: int, split: str, how: str, show: int, temperature: float) -> str:
    """Answer `count` turns asked by text, pseudo audio or clips. Returns a line of rates."""
    rng, v = random.Random(99), source.writer.v
    turns: list[domain.Turn] = []
    prompts = []
    clips = [c for c in source.spoken_clips if c.phrasing == split]
    while len(prompts) < count:
        clip = rng.choice(clips) if how == "clip" else None
        turn = clip.turn(domain.sample_context(rng), rng) if clip else domain.sample(rng, split)
        if len(turn.reply_text) > 150 or source.voice.get(turn.reply_text, rng) is None:
            continue
        sequence = Sequence_()
        source.writer.system(sequence, domain.system_prompt(turn.context))
        if how == "text":
            source.writer.human_text(sequence, turn.user_text)
        else:
            source.writer.human_audio(sequence, clip.heard if clip else pseudo_audio(turn.user_text, rng, 0.1))
        source.writer.open_reply(sequence, speech=True)
        turns.append(turn)
        prompts.append(sequence)
    exact = intent = wrong = phones_ = ended = 0
    for at in range(0, count, 32):
        group = turns[at : at + 32]
        for turn, ids in zip(group, generate(mind, prompts[at : at + 32], 420, v.tts_end, temperature), strict=True):
            text = v.decode(ids)
            exact += domain.right_reply(turn, text)
            intent += domain.right_intent(turn, text)
            ended += len(ids) < 420
            spoken = source.voice.get(text, rng)
            rate = ""
            if spoken is not None:
                reference = spoken_phones(spoken.codes)
                errors = edits(spoken_phones([i - v.code0 for i in ids if i >= v.code0]), reference)
                wrong += errors
                phones_ += len(reference)
                rate = f"{errors}/{len(reference)}"
            if show:
                show -= 1
                print(f"   {turn.user_text} -> {text} [{rate}] {'' if domain.right_reply(turn, text) else 'WRONG'}")
    return (
        f"{how} {split}: exact {exact / count:.3f} intent {intent / count:.3f} ended {ended / count:.3f} "
        f"phone errors {wrong / max(phones_, 1):.3f} (n {count}, {phones_} phones)"
    )


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("pseudo", "adapter", "join", "probe"))
    parser.add_argument("--work", type=Path, required=True, help="folder of tokenizer (ckpt/), codes and checkpoints")
    parser.add_argument(
        "--codes", type=Path, nargs="*", help="jsonl files of voice_data.py (default WORK/codes*.jsonl)"
    )
    parser.add_argument("--features", type=Path, help="folder of encoder rows")
    parser.add_argument("--encoder", type=Path, help="encoder.pt of train_encoder.py, for the adapter stage")
    parser.add_argument("--real", type=float, default=0.8, help="share of clips among what is heard")
    parser.add_argument("--written", type=float, default=0.3, help="share of replies that are text only")
    parser.add_argument("--transcribe", type=float, default=0.2, help="share of transcriptions")
    parser.add_argument("--read", type=float, default=0.1, help="share of texts to read aloud")
    parser.add_argument("--copy", type=float, default=0.12, help="share of exercises in copying")
    parser.add_argument("--counts", type=float, default=0.0, help="share of counts to any bound")
    parser.add_argument("--code-weight", type=float, default=0.4, help="loss weight of a speech code (a word: 3)")
    parser.add_argument("--start", type=Path, help="checkpoint to begin a new stage from")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--adapter-lr", type=float, default=None)
    parser.add_argument("--fall", type=float, default=0.4, help="share of the time in which the rate falls")
    parser.add_argument("--budget", type=int, default=3072, help="ids in a batch")
    parser.add_argument("--longest", type=int, default=3000, help="ids in a conversation")
    parser.add_argument("--code-noise", type=float, default=0.06)
    parser.add_argument("--log", type=int, default=25)
    parser.add_argument("--save-every", type=float, default=240.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", help="name of the stage's checkpoint (default: the stage)")
    parser.add_argument("--count", type=int, default=64, help="turns to probe")
    parser.add_argument("--show", type=int, default=12, help="probed turns to print")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=1, help="two processes of one thread beat one of two")
    parser.add_argument("--restart", action="store_true", help="do not go on from the stage's checkpoint")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    vocabulary = Vocabulary(args.work / "ckpt")
    mind = Mind(vocabulary)
    if args.start:
        mind.load_state_dict(torch.load(args.start, weights_only=True)["mind"])
    files = args.codes if args.codes is not None else sorted(args.work.glob("codes*.jsonl"))
    voice = Voice(files)
    print(f"{sum(p.numel() for p in mind.lm.parameters())} parameters, {len(voice.spoken)} spoken texts")
    clips = load_clips(args.features) if args.features else []
    name = args.name or args.stage
    if args.stage == "adapter":
        state = torch.load(args.encoder, weights_only=True)
        ctc = nn.Linear(ENCODER_WIDTH, phones.CLASSES)
        ctc.load_state_dict({k.removeprefix("ctc."): x for k, x in state.items() if k.startswith("ctc.")})
        train_adapter(mind, clips, ctc, args.minutes, args.seed)
        save(args.work / f"{name}.pt", mind, None, 0, 0.0)
    source = Conversations(vocabulary, voice, args.seed, clips, args.real if clips else 0.0)
    source.writer = Writer(vocabulary, Weights(code=args.code_weight))
    source.share_text_reply, source.share_transcribe = args.written, args.transcribe
    source.share_read, source.share_copy, source.share_count = args.read, args.copy, args.counts
    if args.stage in ("pseudo", "join"):
        train_steps(mind, source, args, name, args.lr)
    if args.stage == "probe":
        mind.eval()
        for how in ("text", "pseudo", *(["clip"] if clips else [])):
            for split in ("train", "unseen"):
                print(probe(mind, source, args.count, split, how, args.show, args.temperature), flush=True)


if __name__ == "__main__":
    main()
