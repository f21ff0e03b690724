from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from streaming_vocoder.config import FLOW_TAGS
from streaming_vocoder.errors import CheckpointError
from streaming_vocoder.weights import fold_weight_norm, hift_state, load_token2wav
from tests.vocoder.conftest import SIZES, make_flow, make_hift

FLOW, ENCODER, DECODER, ESTIMATOR = FLOW_TAGS


def write_yaml(folder: Path) -> None:
    flow, hift = SIZES.flow, SIZES.hift
    encoder = {name: getattr(flow.encoder, name) for name in flow.encoder.__slots__}
    estimator = {name: getattr(flow.estimator, name) for name in flow.estimator.__slots__}
    section = {name: getattr(hift, name) for name in hift.__slots__}
    (folder / "flow.yaml").write_text(
        f"flow: {FLOW}\n  input_size: {flow.input_size}\n  vocab_size: {flow.vocab_size}\n"
        f"  encoder: {ENCODER}\n    " + "\n    ".join(f"{k}: {json.dumps(v)}" for k, v in encoder.items()) + "\n"
        f"  decoder: {DECODER}\n    inference_cfg_rate: 0.7\n    estimator: {ESTIMATOR}\n      "
        + "\n      ".join(f"{k}: {json.dumps(v)}" for k, v in estimator.items())
        + f"\nhift: {json.dumps(section)}\n"
    )


def weight_normalised(state: dict[str, Tensor], g: str, v: str, prefix: str = "") -> dict[str, Tensor]:
    """The same weights as (g, v) pairs, v of another length than g."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith(".weight") and value.dim() == 3 and "source_downs" not in name:
            stem = prefix + name.removesuffix("weight")
            out[stem + g] = value.flatten(1).norm(dim=1)[:, None, None]
            out[stem + v] = 3.0 * value
        else:
            out[prefix + name] = value
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_yaml(tmp_path)
    save_file(make_flow().state_dict(), tmp_path / "flow.safetensors")
    save_file(make_hift().state_dict(), tmp_path / "hift.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("g", "v"),
    [
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        ("weight_g", "weight_v"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "generator."])
def test_weight_norm_is_folded_under_every_spelling(g: str, v: str, prefix: str) -> None:
    plain = dict(make_hift().state_dict())
    folded = hift_state(weight_normalised(plain, g, v, prefix))
    assert folded.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(folded[name], value)


def test_transposed_convolutions_are_normalised_by_input_channel() -> None:
    v = torch.randn(4, 2, 3)
    folded = fold_weight_norm({"ups.0.weight_g": torch.ones(4, 1, 1), "ups.0.weight_v": v})
    torch.testing.assert_close(folded["ups.0.weight"].flatten(1).norm(dim=1), torch.ones(4))


def test_a_folder_of_safetensors_loads(folder: Path) -> None:
    config, flow, hift = load_token2wav(folder)
    assert config == SIZES
    assert not flow.training and not hift.training
    for made, wanted in ((flow, make_flow()), (hift, make_hift())):
        for name, value in wanted.state_dict().items():
            torch.testing.assert_close(made.state_dict()[name], value)


def test_a_folder_of_pt_files_loads(folder: Path) -> None:
    for stem, module in (("flow", make_flow()), ("hift", make_hift())):
        (folder / f"{stem}.safetensors").unlink()
        torch.save(module.state_dict(), folder / f"{stem}.pt")
    assert load_token2wav(folder)[0] == SIZES


def test_half_precision_weights_load_as_float32(folder: Path) -> None:
    save_file({name: value.half() for name, value in make_flow().state_dict().items()}, folder / "flow.safetensors")
    _, flow, _ = load_token2wav(folder)
    assert {value.dtype for value in flow.state_dict().values()} == {torch.float32}


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        load_token2wav(tmp_path / "nowhere")


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_token2wav(tmp_path)
    assert all(name in str(caught.value) for name in ("flow.yaml", "flow.safetensors or flow.pt", "hift.pt"))


def test_every_misfitting_tensor_is_named_at_once(folder: Path) -> None:
    flow = make_flow().state_dict()
    del flow["encoder_proj.bias"]
    flow["input_embedding.weight"] = torch.zeros(7, 16)
    flow["surplus"] = torch.zeros(1)
    hift = make_hift().state_dict()
    del hift["conv_post.bias"]
    save_file(flow, folder / "flow.safetensors")
    save_file(hift, folder / "hift.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_token2wav(folder)
    for part in (
        "4 problems",
        "flow.safetensors: missing encoder_proj.bias (80,)",
        "input_embedding.weight has shape (7, 16), expected (40, 16)",
        "unexpected surplus",
        "hift.safetensors: missing conv_post.bias",
    ):
        assert part in str(caught.value)


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_nothing_in_a_pt_file_is_executed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "flow.safetensors").unlink()
    torch.save({"weight": Malice()}, folder / "flow.pt")
    with pytest.raises(CheckpointError, match="flow.pt"):
        load_token2wav(folder)
    (folder / "flow.pt").write_bytes(pickle.dumps(Malice(), protocol=2))
    with pytest.raises(CheckpointError, match="flow.pt"):
        load_token2wav(folder)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a tensor file", b"\x00" * 64])
@pytest.mark.parametrize("name", ["flow.safetensors", "flow.pt"])
def test_a_broken_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / "flow.safetensors").unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        load_token2wav(folder)
