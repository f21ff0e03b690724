"""Small tools of the packed streaming paths: rows of several streams side by side, convolutions as
products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


def spans(counts: Sequence[int]) -> Iterator[slice]:
    """Where the rows of each stream lie."""
    start = 0
    for count in counts:
        yield slice(start, start + count)
        start += count


def sliding_rows(x: Tensor, kernel: int) -> Tensor:
    """[..., n, D] -> a view [..., n - kernel + 1, kernel * D]: what a convolution sees at each place, oldest
    first."""
    x = x.contiguous()
    rows, width = x.shape[-2:]
    return x.as_strided((*x.shape[:-2], rows - kernel + 1, kernel * width), x.stride(), x.storage_offset())


def fused_linear(*layers: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of one product that gives the outputs of all ``layers`` side by side."""
    weights = [layer.weight.detach() for layer in layers]
    biases = [
        torch.zeros_like(weight[:, 0]) if layer.bias is None else layer.bias.detach()
        for layer, weight in zip(layers, weights, strict=True)
    ]
    return torch.cat(weights), torch.cat(biases)
