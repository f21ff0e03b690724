"""A checkpoint folder's safetensors -> modules. One error lists everything that is missing or does not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from realtime.errors import CheckpointError
from realtime.model.config import ModelConfig
from realtime.model.decoder import Decoder
from realtime.model.encoder import Adapter, AudioEncoder

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
_MOST_PROBLEMS = 40  # lines of one error: a wrong folder may lack hundreds of tensors


@dataclass(frozen=True, slots=True, eq=False)
class SpeechModules:
    """The three networks of a checkpoint, in eval mode."""

    encoder: AudioEncoder
    adapter: Adapter
    decoder: Decoder


def load_config(folder: Path) -> ModelConfig:
    """The folder's config.json. Raises `CheckpointError` if it is missing or invalid."""
    path = folder / "config.json"
    if not path.exists():
        raise CheckpointError(f"{folder}: config.json is missing")
    return ModelConfig.from_file(path)


def load_modules(
    folder: Path, config: ModelConfig, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> SpeechModules:
    """Load all weights, converted to ``dtype`` on ``device`` one tensor at a time, so that memory for one copy
    suffices.

    Raises `CheckpointError` with every missing file, missing or unexpected tensor and wrong shape.
    """
    modules = _empty_modules(config)
    root = nn.ModuleDict({"encoder": modules.encoder, "adapter": modules.adapter})
    expected = _shapes(root) | _shapes(modules.decoder)
    if config.text.tie_word_embeddings:
        del expected["lm_head.weight"]
    files, problems = _find_tensors(folder)
    problems += _compare(expected, files, complete=not problems)
    if problems:
        raise CheckpointError(_message(folder, problems))
    state = {name: files[name].read(name).to(device=device, dtype=dtype) for name in expected}
    _assign(root, {name: state[name] for name in state if name.startswith(("encoder.", "adapter."))})
    _assign(modules.decoder, {name: state[name] for name in state if name.startswith(("model.", "lm_head."))})
    modules.decoder.tie_weights()
    return modules


@dataclass(frozen=True, slots=True)
class _TensorFile:
    """One safetensors file and the shapes in it."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def open(cls, path: Path) -> _TensorFile:
        with safe_open(path, "pt") as file:
            return cls(path, {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()})

    def read(self, name: str) -> Tensor:
        with safe_open(self.path, "pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor


def _empty_modules(config: ModelConfig) -> SpeechModules:
    with torch.device("meta"):
        modules = SpeechModules(AudioEncoder(config.audio), Adapter(config.audio), Decoder(config.text))
    for module in (modules.encoder, modules.adapter, modules.decoder):
        module.eval().requires_grad_(False)
    return modules


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _assign(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Replace the module's empty parameters by the tensors; ``state`` has no tied head."""
    missing = module.load_state_dict(state, assign=True, strict=False).missing_keys
    assert set(missing) <= {"lm_head.weight"}
    for parameter in module.parameters():
        parameter.requires_grad_(False)


def _find_tensors(folder: Path) -> tuple[dict[str, _TensorFile], list[str]]:
    """The file of each tensor by name, and the problems of the files."""
    problems: list[str] = []
    by_file = _file_names(folder, problems)
    found: dict[str, _TensorFile] = {}
    for name, promised in by_file.items():
        path = folder / name
        if not path.exists():
            problems.append(f"{name} is missing ({len(promised)} tensors)")
            continue
        try:
            file = _TensorFile.open(path)
        except (SafetensorError, OSError) as error:
            problems.append(f"{name} cannot be read ({error}); is the download complete?")
            continue
        lacking = sorted(promised - set(file.shapes))
        problems += [f"{name} lacks {tensor}, which {INDEX_FILE} promises" for tensor in lacking]
        found |= dict.fromkeys(file.shapes, file)
    return found, problems


def _file_names(folder: Path, problems: list[str]) -> dict[str, set[str]]:
    """The weight files and the tensors that the index lists for each (empty without an index)."""
    index = folder / INDEX_FILE
    if not index.exists():
        if not (folder / SINGLE_FILE).exists():
            problems.append(f"neither {INDEX_FILE} nor {SINGLE_FILE} exists")
            return {}
        return {SINGLE_FILE: set()}
    try:
        weight_map = json.loads(index.read_text("utf-8"))["weight_map"]
        files: dict[str, set[str]] = {}
        for tensor, name in weight_map.items():
            files.setdefault(name, set()).add(tensor)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        problems.append(f"{INDEX_FILE} has no usable weight_map ({type(error).__name__}: {error})")
        return {}
    return dict(sorted(files.items()))


def _compare(expected: Mapping[str, tuple[int, ...]], files: Mapping[str, _TensorFile], *, complete: bool) -> list[str]:
    """The differences between the config's tensors and those found. ``complete`` False: missing files are already
    reported, so missing tensors are not."""
    problems = []
    for name, shape in expected.items():
        if name not in files:
            if complete:
                problems.append(f"{name} {list(shape)} is missing")
        elif files[name].shapes[name] != shape:
            found = files[name].shapes[name]
            problems.append(f"{name} has shape {list(found)}, config.json asks for {list(shape)}")
    tied_head = {"lm_head.weight"}
    surplus = sorted(set(files) - set(expected) - tied_head)
    return problems + [f"{name} is not a tensor of this model" for name in surplus]


def _message(folder: Path, problems: list[str]) -> str:
    shown = problems[:_MOST_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    return f"{folder} is not a usable checkpoint:\n  " + "\n  ".join(shown)
