from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from realtime.errors import CheckpointError
from realtime.model.weights import load_config, load_modules
from tests.model.samples import random_state, write_checkpoint


def load(folder: Path) -> None:
    load_modules(folder, load_config(folder))


def change(folder: Path, changes: dict[str, torch.Tensor | None]) -> None:
    """Replace tensors of a single-file checkpoint; None takes one away."""
    state = load_file(folder / "model.safetensors") | changes
    save_file({name: value for name, value in state.items() if value is not None}, folder / "model.safetensors")


def shard(folder: Path, count: int = 3) -> None:
    """Split a single-file checkpoint into shards with an index, names dealt out in turn."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for k in range(count):
        file = f"model-{k + 1:05}-of-{count:05}.safetensors"
        part = dict(list(state.items())[k::count])
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("sharded", [False, True])
def test_every_weight_arrives(tmp_path: Path, tied: bool, sharded: bool) -> None:
    config = write_checkpoint(tmp_path, tied=tied)
    if sharded:
        shard(tmp_path)
    modules = load_modules(tmp_path, config)
    loaded = {f"encoder.{k}": v for k, v in modules.encoder.state_dict().items()}
    loaded |= {f"adapter.{k}": v for k, v in modules.adapter.state_dict().items()}
    loaded |= modules.decoder.state_dict()
    expected = random_state(config)
    if tied:
        assert loaded["lm_head.weight"].data_ptr() == loaded["model.embed_tokens.weight"].data_ptr()
        del loaded["lm_head.weight"]
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_weights_are_converted_to_the_wanted_type(tmp_path: Path) -> None:
    modules = load_modules(tmp_path, write_checkpoint(tmp_path), dtype=torch.bfloat16)
    for module in (modules.encoder, modules.adapter, modules.decoder):
        assert {parameter.dtype for parameter in module.parameters()} == {torch.bfloat16}
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_all_faults_are_named_in_one_error(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    change(
        tmp_path,
        {
            "adapter.conv.bias": None,
            "model.norm.weight": None,
            "encoder.conv1.weight": torch.zeros(24, 8, 3),
            "model.rotary": torch.zeros(1),
        },
    )
    with pytest.raises(CheckpointError) as raised:
        load(tmp_path)
    message = str(raised.value)
    assert "adapter.conv.bias [24] is missing" in message
    assert "model.norm.weight [32] is missing" in message
    assert "encoder.conv1.weight has shape [24, 8, 3], config.json asks for [24, 16, 3]" in message
    assert "model.rotary is not a tensor of this model" in message


def test_missing_shards_are_named_without_their_tensors(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    shard(tmp_path)
    for k in (1, 3):
        (tmp_path / f"model-{k:05}-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError) as raised:
        load(tmp_path)
    assert "model-00001-of-00003.safetensors is missing" in str(raised.value)
    assert "model-00003-of-00003.safetensors is missing" in str(raised.value)
    assert "encoder." not in str(raised.value)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        load(tmp_path)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="neither model.safetensors.index.json nor model.safetensors"):
        load(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": 3}'])
def test_an_index_that_cannot_be_used_is_named(tmp_path: Path, content: str) -> None:
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match="no usable weight_map"):
        load(tmp_path)


def test_a_tensor_in_the_wrong_shard_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    shard(tmp_path, count=1)
    file = tmp_path / "model-00001-of-00001.safetensors"
    state = load_file(file)
    del state["model.norm.weight"]
    save_file(state, file)
    with pytest.raises(CheckpointError, match=r"lacks model\.norm\.weight, which model.safetensors.index.json"):
        load(tmp_path)


def test_a_long_list_of_faults_is_cut(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    save_file({"other": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"and \d+ more$"):
        load(tmp_path)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_config(tmp_path)
