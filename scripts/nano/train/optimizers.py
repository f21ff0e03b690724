"""Muon for the matrices of transformer layers and AdamW for all else, as one optimizer.

Dependencies: torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Optimizers:
    """Muon at twice the rate on `matrices`, AdamW on groups of other parameters at rates of their own."""

    def __init__(
        self, matrices: Iterable[Tensor], rate: float, others: Iterable[tuple[Iterable[Tensor], float]]
    ) -> None:
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(list(matrices), lr=2 * rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
        ]
        self.rates = [2 * rate]
        for parameters, other in others:
            self.parts.append(torch.optim.AdamW(list(parameters), lr=other, betas=(0.9, 0.97), weight_decay=0.0))
            self.rates.append(other)

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
