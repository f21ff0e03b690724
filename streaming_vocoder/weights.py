"""Checkpoint files -> modules. One error lists everything that is missing or does not fit."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from streaming_vocoder.config import VocoderConfig, read_flow_yaml
from streaming_vocoder.errors import CheckpointError
from streaming_vocoder.flow import Flow
from streaming_vocoder.hift import Hift

_WEIGHT_NORM_NAMES = (
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ("weight_g", "weight_v"),
)


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace every pair (g, v) by the weight g v / ||v||, with the norm over all dimensions but the first."""
    plain = dict(state)
    for g_name, v_name in _WEIGHT_NORM_NAMES:
        for name in [name for name in plain if name.endswith("." + g_name)]:
            stem = name.removesuffix(g_name)
            if stem + v_name not in plain:
                continue  # kept, and reported with the missing weight
            g, v = plain.pop(name).float(), plain.pop(stem + v_name).float()
            norm = v.flatten(1).norm(dim=1).view(-1, *[1] * (v.dim() - 1))
            plain[stem + "weight"] = g.view_as(norm) * (v / norm)
    return plain


def hift_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of hift.pt (with or without ``generator.``, weight-normalised or plain) -> names of `Hift`."""
    return fold_weight_norm({name.replace("generator.", ""): value for name, value in state.items()})


def load_flow_state(flow: Flow, state: Mapping[str, Tensor]) -> None:
    """Fill ``flow``. Raises `CheckpointError` with everything that does not fit."""
    _raise_all("flow", _fill(flow, state))


def load_hift_state(hift: Hift, state: Mapping[str, Tensor]) -> None:
    """Fill ``hift``. Raises `CheckpointError` with everything that does not fit."""
    _raise_all("hift", _fill(hift, hift_state(state)))


def load_token2wav(folder: Path) -> tuple[VocoderConfig, Flow, Hift]:
    """Read a ``token2wav/`` folder: flow.yaml, flow.pt or flow.safetensors, hift.pt or hift.safetensors.

    Modules are on the CPU, float32, in eval mode. Raises `CheckpointError` with every missing file, or
    else every missing, unexpected or misshapen tensor.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; expected a checkpoint's token2wav folder")
    files = {stem: _weights_file(folder, stem) for stem in ("flow", "hift")}
    missing = [f"{stem}.safetensors or {stem}.pt" for stem, path in files.items() if path is None]
    if not (folder / "flow.yaml").is_file():
        missing.insert(0, "flow.yaml")
    if missing:
        raise CheckpointError(f"{folder}: missing {', '.join(missing)}")
    config = read_flow_yaml(folder / "flow.yaml")
    flow, hift = Flow(config.flow), Hift(config.hift)
    problems: list[str] = []
    for module, stem in ((flow, "flow"), (hift, "hift")):
        path = files[stem]
        assert path is not None
        state = read_tensors(path)
        problems += [
            f"{path.name}: {problem}" for problem in _fill(module, hift_state(state) if stem == "hift" else state)
        ]
    _raise_all(str(folder), problems)
    return config, flow.eval(), hift.eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors or .pt file; nothing in the file is executed."""
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: not a readable tensor file: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: expected a dict of tensors")
    return content


def _weights_file(folder: Path, stem: str) -> Path | None:
    candidates = (folder / f"{stem}.safetensors", folder / f"{stem}.pt")
    return next((path for path in candidates if path.is_file()), None)


def _fill(module: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Copy what fits; return one line per tensor that is missing, unexpected or of another shape."""
    wanted = module.state_dict()
    problems = [f"missing {name} {tuple(value.shape)}" for name, value in wanted.items() if name not in state]
    problems += [f"unexpected {name} {tuple(value.shape)}" for name, value in state.items() if name not in wanted]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, expected {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    if not problems:
        module.load_state_dict({name: value.float() for name, value in state.items()})
    return problems


def _raise_all(where: str, problems: list[str]) -> None:
    if problems:
        raise CheckpointError(f"{where}: {len(problems)} problems\n  " + "\n  ".join(problems))
