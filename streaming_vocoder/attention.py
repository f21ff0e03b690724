"""Attention over keys in separate tensors: those of a shared prompt and the stream's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Part = tuple[Tensor, Tensor]
"""Keys and values [B, n, K] of a part of the frames."""


def attend(queries: Tensor, parts: Sequence[Part], bias: Tensor | None = None) -> Tensor:
    """queries [B, F, K], already divided by sqrt(K) -> [B, F, K]. ``bias`` [B, F, all n] is added to the scores.

    One softmax runs over all parts without copying them; parts without frames are skipped.
    """
    parts = [part for part in parts if part[0].shape[1]]
    sizes = [keys.shape[1] for keys, _ in parts]
    scores = queries.new_empty((*queries.shape[:2], sum(sizes)))
    for (keys, _), place in zip(parts, torch.split(scores, sizes, dim=2), strict=True):
        torch.bmm(queries, keys.transpose(1, 2), out=place)
    if bias is not None:
        scores += bias
    weights = torch.split(torch.softmax(scores, dim=2), sizes, dim=2)
    heard = torch.bmm(weights[0], parts[0][1])
    for weight, (_, values) in zip(weights[1:], parts[1:], strict=True):
        heard.baddbmm_(weight, values)
    return heard
