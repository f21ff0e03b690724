"""Logits -> the next id, in transformers' order: repetition penalty, temperature, top_k, top_p.

Letters: V vocabulary, C candidates that may still be chosen.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_NUCLEUS_GUESS = 512
"""Candidates examined first when only top_p limits them: sorting the vocabulary of 158 720 costs far more."""


class Sampler:
    """Samples the ids of one sequence and stores which ids occurred. Not shared between sequences."""

    def __init__(
        self,
        vocab_size: int,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """``temperature`` 0: greedy. ``top_k`` 0 and ``top_p`` 1: off. ``seed`` None: a random one.

        Raises ValueError for a parameter out of range.
        """
        if temperature < 0 or top_k < 0 or not 0 < top_p <= 1 or repetition_penalty <= 0:
            raise ValueError(
                "expected temperature >= 0, top_k >= 0, 0 < top_p <= 1, repetition_penalty > 0, got "
                f"{temperature}, {top_k}, {top_p}, {repetition_penalty}"
            )
        self.temperature = temperature
        self.top_k = min(top_k, vocab_size)
        self.top_p = top_p
        self.repetition_penalty = repetition_penalty
        self._seen = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        self._generator = torch.Generator(device)
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    @torch.inference_mode()
    def observe(self, ids: Iterable[int]) -> None:
        """Add ids of the prompt and other ids that were not sampled. Ids from `next` are added automatically."""
        self._seen[torch.tensor(list(ids), dtype=torch.long, device=self._seen.device)] = True

    @torch.inference_mode()
    def next(self, logits: Tensor, allowed: Tensor | None = None) -> int:
        """Logits [V] -> the sampled id, one of those in ``allowed`` (bool [V]; None: all)."""
        penalised = self.penalise(logits)
        if allowed is not None:
            penalised = penalised.masked_fill(~allowed.to(penalised.device), -torch.inf)
        if self.temperature == 0:
            id_ = int(penalised.argmax())
        else:
            ids, weights = self._candidates(penalised)
            id_ = int(ids[torch.multinomial(weights, 1, generator=self._generator)])
        self._seen[id_] = True
        return id_

    @torch.inference_mode()
    def penalise(self, logits: Tensor) -> Tensor:
        """Logits [V] -> float32 [V]; seen ids are divided by the penalty where positive, else multiplied."""
        logits = logits.float()
        if self.repetition_penalty == 1.0:
            return logits
        penalty = self.repetition_penalty
        lowered = torch.where(logits > 0, logits / penalty, logits * penalty)
        return torch.where(self._seen, lowered, logits)

    @torch.inference_mode()
    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits [V] -> float32 [V]: the probability that `next` returns each id (temperature > 0)."""
        ids, weights = self._candidates(self.penalise(logits))
        return torch.zeros_like(logits, dtype=torch.float32).scatter_(0, ids, weights / weights.sum())

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Penalised logits [V] -> ids [C] and their weights [C], which need not sum to 1."""
        scaled = logits / self.temperature
        if self.top_k:
            values, ids = scaled.topk(self.top_k)
            return self._nucleus(ids, values.softmax(0))
        if self.top_p == 1.0:
            return torch.arange(len(scaled), device=scaled.device), scaled.softmax(0)
        probabilities = scaled.softmax(0)
        values, ids = probabilities.topk(min(_NUCLEUS_GUESS, len(scaled)))
        if float(values.sum()) < self.top_p:
            values, ids = probabilities.sort(descending=True)
        return self._nucleus(ids, values)

    def _nucleus(self, ids: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest set of most likely ids with a total probability of ``top_p``. Both inputs [C], most likely
        first."""
        if self.top_p == 1.0:
            return ids, probabilities
        before = probabilities.cumsum(0) - probabilities
        kept = max(1, int((before < self.top_p).sum()))
        return ids[:kept], probabilities[:kept]
