"""Helpers of the packed streaming paths: rows of several streams in one tensor, layers as matrix products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

Product = tuple[Tensor, Tensor]
"""Weight [in, out] and bias [out]. With few rows this layout is faster than that of `nn.Linear`."""


def product(x: Tensor, weights: Product, memory: Callable[[int, int], Tensor]) -> Tensor:
    """x [rows, in] -> [rows, out], written to ``memory(rows, out)``."""
    weight, bias = weights
    return torch.addmm(bias, x, weight, out=memory(len(x), weight.shape[1]))


def fused_product(*layers: nn.Linear, dtype: torch.dtype = torch.float32) -> Product:
    """One product with the concatenated outputs of all ``layers``."""
    weights = [layer.weight.detach() for layer in layers]
    biases = [
        torch.zeros_like(weight[:, 0]) if layer.bias is None else layer.bias.detach()
        for layer, weight in zip(layers, weights, strict=True)
    ]
    return torch.cat(weights).T.to(dtype).contiguous(), torch.cat(biases).to(dtype)


def conv_product(conv: nn.Conv1d, dtype: torch.dtype = torch.float32) -> Product:
    """A convolution as a product with `sliding_rows`: weight [kernel * in, out]."""
    assert conv.bias is not None
    weight = conv.weight.detach().permute(2, 1, 0).flatten(0, 1)
    return weight.to(dtype).contiguous(), conv.bias.detach().to(dtype)


def spans(counts: Sequence[int]) -> Iterator[slice]:
    """The row range of each stream."""
    start = 0
    for count in counts:
        yield slice(start, start + count)
        start += count


def turns(owners: Sequence[object]) -> list[list[int]]:
    """Groups of indices of ``owners`` without a repeated owner in a group: [a, b, a] -> [[0, 1], [2]]."""
    seen: Counter[int] = Counter()
    rounds: list[list[int]] = []
    for index, owner in enumerate(owners):
        turn = seen[id(owner)]
        seen[id(owner)] += 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(index)
    return rounds


def sliding_rows(x: Tensor, kernel: int) -> Tensor:
    """[n, D] -> a view [n - kernel + 1, kernel * D]: the input window of a convolution at each position, oldest
    first."""
    x = x.contiguous()
    rows, width = x.shape
    return x.as_strided((rows - kernel + 1, kernel * width), x.stride(), x.storage_offset())
