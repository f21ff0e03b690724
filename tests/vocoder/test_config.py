from __future__ import annotations

from pathlib import Path

import pytest
import torch

from streaming_vocoder.config import FLOW_TAGS, FlowConfig, HiftConfig, VocoderConfig, read_flow_yaml
from streaming_vocoder.errors import CheckpointError
from streaming_vocoder.flow import Flow
from streaming_vocoder.hift import Hift

FLOW, ENCODER, DECODER, ESTIMATOR = FLOW_TAGS
OFFICIAL = f"""
flow: {FLOW}
  input_size: 512
  output_size: 80
  spk_embed_dim: 192
  output_type: "mel"
  vocab_size: 6561
  encoder: {ENCODER}
    input_size: 512
    output_size: 512
    input_layer: "linear"
    pre_lookahead_len: 3
    num_blocks: 6
    num_up_blocks: 4
    up_stride: 2
    up_scale_factor: 2
    attention_heads: 8
    pos_enc_layer_type: "rel_pos_espnet"
    selfattention_layer_type: "rel_selfattn"
    key_bias: true
    linear_units: 2048
    dropout_rate: 0.1
    positional_dropout_rate: 0.1
    attention_dropout_rate: 0.1
    normalize_before: True
  decoder: {DECODER}
    inference_cfg_rate: 0.7
    estimator: {ESTIMATOR}
      in_channels: 320
      out_channels: 80
      mlp_ratio: 4.0
      depth: 16
      num_heads: 8
      head_dim: 64
      hidden_size: 512
"""
HIFT = """
hift:
  base_channels: 128
  upsample_rates: [8]
  upsample_kernel_sizes: [16]
  istft_params: {n_fft: 240, hop_len: 60}
  resblock_kernel_sizes: [3, 7]
  resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5]]
  source_resblock_kernel_sizes: [7]
  source_resblock_dilation_sizes: [[1, 3, 5]]
"""


def read(folder: Path, text: str) -> VocoderConfig:
    path = folder / "flow.yaml"
    path.write_text(text)
    return read_flow_yaml(path)


def test_official_yaml_gives_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, OFFICIAL) == VocoderConfig()


def test_defaults_have_the_official_number_of_weights() -> None:
    with torch.device("meta"):
        flow, hift = Flow(FlowConfig()), Hift(HiftConfig())
    assert sum(weight.numel() for weight in flow.parameters()) == 155_802_352
    assert len(flow.state_dict()) == 605
    # The checkpoint's 20,821,295 less one g for every row of every weight-normalised convolution.
    convolutions = [(name, weight) for name, weight in hift.named_parameters() if weight.dim() == 3]
    rows = sum(weight.shape[0] for name, weight in convolutions if not name.startswith("source_downs"))
    assert sum(weight.numel() for weight in hift.parameters()) + rows == 20_821_295


def test_a_hift_section_sets_other_sizes(tmp_path: Path) -> None:
    config = read(tmp_path, OFFICIAL + HIFT).hift
    assert (config.upsample_rates, config.istft_n_fft, config.resblock_kernel_sizes) == ((8,), 240, (3, 7))
    assert config.samples_per_frame == 480


def test_a_mel_section_sets_the_flow_scale(tmp_path: Path) -> None:
    mel = read(tmp_path, OFFICIAL + "mel: {shift: -5.0, scale: 2.5}").flow.mel
    assert mel.apply(torch.tensor([-5.0, 0.0])).tolist() == [0.0, 2.0]
    assert mel.undo(torch.tensor([0.0, 2.0])).tolist() == [-5.0, 0.0]


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!new:os.system", "!name:print", "!ref", "!include:x.yaml"]
)
def test_a_foreign_tag_is_refused_by_name(tmp_path: Path, tag: str) -> None:
    shown = tag.replace("!!", "tag:yaml.org,2002:")
    with pytest.raises(CheckpointError, match=shown.split(":")[-1]):
        read(tmp_path, OFFICIAL + f"extra: {tag} [touch /tmp/x]")


def test_a_misplaced_known_tag_is_plain_data(tmp_path: Path) -> None:
    assert read(tmp_path, OFFICIAL + f"extra: {ESTIMATOR}\n  depth: 1\n") == VocoderConfig()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('input_layer: "linear"', 'input_layer: "conv2d"', "input_layer is 'conv2d'"),
        ("in_channels: 320", "in_channels: 240", "in_channels is 240"),
        ("up_stride: 2", "up_stride: 4", "up_stride is 4"),
        ("flow:", "other:", "`flow:` section"),
        ("flow:", "flow: [", "flow.yaml"),
    ],
)
def test_what_is_unsupported_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem):
        read(tmp_path, OFFICIAL.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("upsample_rates: [8]", "upsample_rates: [4]", "240, expected 480"),
        ("upsample_kernel_sizes: [16]", "upsample_kernel_sizes: [16, 8]", "upsample_kernel_sizes has 2"),
        ("resblock_kernel_sizes: [3, 7]", "resblock_kernel_sizes: [3]", "differ in length"),
    ],
)
def test_hift_sizes_must_fit_together(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem):
        read(tmp_path, OFFICIAL + HIFT.replace(old, new, 1))
