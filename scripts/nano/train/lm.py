"""Nano's decoder and adapter as they are trained, the loss, and generation for a look at the result.

Everything works on the device of the weights. Dependencies: torch, transformers, numpy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2Model

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model.config import ModelConfig, TextConfig
from realtime.model.encoder import Adapter
from scripts.nano.data import phones, speech_codes
from scripts.nano.data.pseudo_audio import EncoderRows, Heard, PseudoAudio, heard_length
from scripts.nano.data.sequences import Sequence_, Vocabulary
from scripts.nano.train.precision import autocast
from scripts.nano.train.sizes import model_config

USED_CODES = len(speech_codes.PHONES) * speech_codes.POSITIONS * speech_codes.PITCHES


def lm_config(sizes: TextConfig) -> Qwen2Config:
    """The decoder's sizes as transformers takes them."""
    return Qwen2Config(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.num_hidden_layers,
        num_attention_heads=sizes.num_attention_heads,
        num_key_value_heads=sizes.num_key_value_heads,
        head_dim=sizes.head_dim,
        max_position_embeddings=sizes.max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        rms_norm_eps=sizes.rms_norm_eps,
        tie_word_embeddings=sizes.tie_word_embeddings,
        attn_implementation="eager",
    )


# --- model ------------------------------------------------------------------------------------------------


class Mind(nn.Module):
    """Decoder, adapter and the tables that stand in for the adapter while audio is pseudo audio.

    `lm` has the official key names (without the `model.` prefix); `pseudo` [2, 40, D] gives the vector of a pair of
    25 Hz phone frames as the sum of one row for each.
    """

    def __init__(self, vocabulary: Vocabulary, sizes: ModelConfig | None = None) -> None:
        """`sizes`: those of a checkpoint that exists; nano's own by default."""
        super().__init__()
        sizes = sizes or model_config(vocabulary.size)
        self.lm = Qwen2Model(lm_config(sizes.text))
        self.adapter = Adapter(sizes.audio)
        self.pseudo = nn.Parameter(torch.randn(2, phones.CLASSES, sizes.text.hidden_size) * 0.04)
        self.used = vocabulary.code0 + USED_CODES
        self.pad_code = vocabulary.code0 + 6561
        self._start_embeddings(vocabulary)

    @torch.no_grad()
    def _start_embeddings(self, vocabulary: Vocabulary) -> None:
        """Codes start as the sum of what they say (phone, position, pitch), so rare ones share with common ones."""
        table = self.lm.embed_tokens.weight
        table.normal_(0.0, 0.04)
        parts = torch.from_numpy(speech_codes.component_ids())
        tables = [torch.randn(size, table.shape[1]) * 0.025 for size in speech_codes.COMPONENT_SIZES]
        codes = torch.stack([t[parts[:, k]] for k, t in enumerate(tables)]).sum(0)
        table[vocabulary.code0 : vocabulary.code0 + len(codes)] = codes
        table[self.used : self.pad_code] = table[self.used].clone()

    def pseudo_vectors(self, first: Tensor, second: Tensor, mix: Tensor) -> Tensor:
        """Classes [2n], classes [2n], weights [2n] of the second -> vectors [n, D]."""
        side = torch.arange(len(first), device=first.device) % 2
        rows = self.pseudo[side, first] * (1 - mix[:, None]) + self.pseudo[side, second] * mix[:, None]
        return rows.view(-1, 2, rows.shape[-1]).sum(1)

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
                torch.from_numpy(np.concatenate(p)).to(x.device)
                for p in zip(*((h.first, h.second, h.mix) for h in heard), strict=True)
            ]
            vectors.append(self.pseudo_vectors(*parts))
            for b, t, h in pseudo:
                n = len(h.first) // 2
                where_row += [b] * n
                where_column += range(t, t + n)
        real = [(b, t, h) for b, t, h in audio if not isinstance(h, PseudoAudio)]
        if real:
            rows = padded_rows([h for _, _, h in real if isinstance(h, EncoderRows)])
            features = self.adapter(rows.to(x.device))
            for k, (b, t, h) in enumerate(real):
                n = heard_length(h)
                vectors.append(features[k, :n])
                where_row += [b] * n
                where_column += range(t, t + n)
        where = torch.tensor([where_row, where_column], device=x.device)
        return x.index_put((where[0], where[1]), torch.cat(vectors).to(x.dtype))

    def output_table(self, everything: bool) -> Tensor:
        """Rows [V, D] of all ids, or of text and the codes in use (the padding code comes last)."""
        table = self.lm.embed_tokens.weight
        return table if everything else torch.cat([table[: self.used], table[self.pad_code : self.pad_code + 1]])


def cross_entropies(hidden: Tensor, table: Tensor, index: Tensor) -> Tensor:
    """Hidden [N, D], output rows [V, D], wanted rows [N] -> float32 losses [N]. Compiled, a third of the time."""
    return F.cross_entropy(F.linear(hidden, table).float(), index, reduction="none")


Scores = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`cross_entropies` or a compiled one."""


def padded_rows(heard: Sequence[EncoderRows]) -> Tensor:
    """Encoder rows of several clips -> float32 [B, P, d], zeros behind each: what the adapter's own edge sees."""
    rows = [h.rows if isinstance(h.rows, Tensor) else torch.from_numpy(h.rows.astype(np.float32)) for h in heard]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Right-padded ids [B, T], loss weights [B, T] and what is heard where."""

    ids: Tensor
    weights: Tensor
    audio: list[tuple[int, int, Heard]]

    def to(self, device: torch.device) -> Batch:
        """The same on a device; what is heard moves when it is embedded."""
        return Batch(self.ids.to(device), self.weights.to(device), self.audio)


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


def losses(
    mind: Mind, batch: Batch, code_noise: float, everything: bool, scores: Scores = cross_entropies
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropies [N] of the predicted ids, the ids [N], their weights [N].

    A share `code_noise` of the codes that the model reads (not of those it must write) is replaced at random.
    """
    ids = batch.ids
    if code_noise:
        code0 = mind.used - USED_CODES
        noisy = (ids >= code0) & (ids < mind.used) & (torch.rand(ids.shape, device=ids.device) < code_noise)
        ids = torch.where(noisy, torch.randint(code0, mind.used, ids.shape, device=ids.device), ids)
    fused = ids.is_cuda or ids.shape[1] > 400  # on a CPU plain products are faster for short sequences
    mind.lm.config._attn_implementation = "sdpa" if fused else "eager"
    with autocast(ids.device.type):
        x = mind.embed(ids[:, :-1], batch.audio)
        hidden = mind.lm(inputs_embeds=x, use_cache=False).last_hidden_state
        wanted = batch.weights[:, 1:] > 0
        target = batch.ids[:, 1:][wanted]
        index = target if everything else torch.where(target == mind.pad_code, mind.used, target)
        loss = scores(hidden[wanted], mind.output_table(everything), index)
    return loss, target, batch.weights[:, 1:][wanted]


@torch.inference_mode()
def generate(
    mind: Mind, prompts: list[Sequence_], longest: int, stop: int, temperature: float = 0.0
) -> list[list[int]]:
    """Continue all prompts at once, greedily or at a temperature, up to and without `stop`."""
    mind.lm.config._attn_implementation = "eager"
    device = mind.pseudo.device
    embedded = [mind.embed(torch.tensor([p.ids], device=device), [(0, t, h) for t, h in p.audio])[0] for p in prompts]
    width = max(len(e) for e in embedded)
    x = torch.stack([F.pad(e, (0, 0, width - len(e), 0)) for e in embedded])
    ones = [torch.ones(len(e), dtype=torch.long, device=device) for e in embedded]
    mask = torch.stack([F.pad(one, (width - len(one), 0)) for one in ones])
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


def edits(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the edit distance of two sequences."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]
