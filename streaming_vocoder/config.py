"""Sizes of the vocoder. All defaults are the official values (Step-Audio 2 mini, `token2wav/flow.yaml`).

The official checkpoint has no configuration for HiFT: its sizes are the defaults of `HiftConfig`. Other
checkpoints put a ``hift:`` section (and, if they need one, a ``mel:`` section) into the same flow.yaml.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml
from torch import Tensor

from streaming_vocoder.errors import CheckpointError

logger = logging.getLogger(__name__)

SAMPLE_RATE = 24_000
TOKEN_RATE = 25
MEL_RATE = 50
HOP_SAMPLES = SAMPLE_RATE // MEL_RATE
FRAMES_PER_TOKEN = MEL_RATE // TOKEN_RATE
SAMPLES_PER_TOKEN = HOP_SAMPLES * FRAMES_PER_TOKEN

FLOW_TAGS = (
    "!new:cosyvoice2.flow.flow.CausalMaskedDiffWithXvec",
    "!new:cosyvoice2.transformer.upsample_encoder_v2.UpsampleConformerEncoderV2",
    "!new:cosyvoice2.flow.flow_matching.CausalConditionalCFM",
    "!new:cosyvoice2.flow.decoder_dit.DiT",
)
"""The only tags allowed in a flow.yaml. They are read as mappings; nothing is imported or called."""


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Conformer encoder: tokens at 25 Hz -> frames at 50 Hz."""

    input_size: int = 512
    output_size: int = 512
    pre_lookahead_len: int = 3
    num_blocks: int = 6
    num_up_blocks: int = 4
    up_stride: int = 2
    attention_heads: int = 8
    key_bias: bool = True
    linear_units: int = 2048


@dataclass(frozen=True, slots=True)
class EstimatorConfig:
    """DiT: the velocity field. ``in_channels`` = x, mu, speaker and condition, ``out_channels`` each."""

    in_channels: int = 320
    out_channels: int = 80
    mlp_ratio: float = 4.0
    depth: int = 16
    num_heads: int = 8
    head_dim: int = 64
    hidden_size: int = 512


@dataclass(frozen=True, slots=True)
class MelScale:
    """The flow works on (ln mel - shift) / scale; voices and HiFT use plain ln mel. Official: no scaling."""

    shift: float = 0.0
    scale: float = 1.0

    def apply(self, mel: Tensor) -> Tensor:
        """ln mel -> the flow's own range."""
        return mel if self == MelScale() else (mel - self.shift) / self.scale

    def undo(self, mel: Tensor) -> Tensor:
        """The flow's own range -> ln mel."""
        return mel if self == MelScale() else mel * self.scale + self.shift


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """Token embedding, speaker projection and the two networks of flow matching."""

    input_size: int = 512
    output_size: int = 80
    spk_embed_dim: int = 192
    vocab_size: int = 6561
    inference_cfg_rate: float = 0.7
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    mel: MelScale = field(default_factory=MelScale)


@dataclass(frozen=True, slots=True)
class HiftConfig:
    """HiFT. Any number of upsampling stages; ``samples_per_frame`` must be 480."""

    in_channels: int = 80
    base_channels: int = 512
    f0_cond_channels: int = 512
    nb_harmonics: int = 8
    sampling_rate: int = SAMPLE_RATE
    nsf_alpha: float = 0.1
    nsf_sigma: float = 0.003
    nsf_voiced_threshold: float = 10.0
    upsample_rates: tuple[int, ...] = (8, 5, 3)
    upsample_kernel_sizes: tuple[int, ...] = (16, 11, 7)
    istft_n_fft: int = 16
    istft_hop: int = 4
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 3
    source_resblock_kernel_sizes: tuple[int, ...] = (7, 7, 11)
    source_resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 3
    lrelu_slope: float = 0.1
    audio_limit: float = 0.99

    @property
    def samples_per_frame(self) -> int:
        """Samples per mel frame."""
        samples = self.istft_hop
        for rate in self.upsample_rates:
            samples *= rate
        return samples


@dataclass(frozen=True, slots=True)
class VocoderConfig:
    """All sizes of one checkpoint."""

    flow: FlowConfig = field(default_factory=FlowConfig)
    hift: HiftConfig = field(default_factory=HiftConfig)


# Arguments of the reference classes for which this package supports one value only.
_FIXED: Mapping[str, Any] = {
    "output_type": "mel",
    "input_layer": "linear",
    "pos_enc_layer_type": "rel_pos_espnet",
    "selfattention_layer_type": "rel_selfattn",
    "normalize_before": True,
}
# Dropout only affects training; up_scale_factor duplicates up_stride.
_IGNORED = {"dropout_rate", "positional_dropout_rate", "attention_dropout_rate", "up_scale_factor"}

_Config = TypeVar("_Config")


def read_flow_yaml(path: Path) -> VocoderConfig:
    """Read flow.yaml. Raises `CheckpointError` if it is invalid, has an unknown tag or requires something
    unsupported."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)
    except yaml.YAMLError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(content, dict) or not isinstance(content.get("flow"), dict):
        raise CheckpointError(f"{path}: expected a mapping with a `flow:` section")
    try:
        return vocoder_config(content)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def vocoder_config(content: Mapping[str, Any]) -> VocoderConfig:
    """`VocoderConfig` from the sections ``flow`` (with ``encoder``, ``decoder``, ``estimator`` nested),
    ``hift``, ``mel``."""
    flow = dict(content["flow"])
    decoder = dict(flow.pop("decoder", {}))
    config = flow_config(
        flow=flow,
        encoder=flow.pop("encoder", {}),
        estimator=decoder.pop("estimator", {}),
        decoder=decoder,
        mel=content.get("mel", {}),
    )
    return VocoderConfig(flow=config, hift=hift_config(content.get("hift", {})))


def flow_config(
    flow: Mapping[str, Any],
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    estimator: Mapping[str, Any],
    mel: Mapping[str, Any] | None = None,
) -> FlowConfig:
    """`FlowConfig` from the arguments of the four reference classes (names as in flow.yaml)."""
    config = _build(
        FlowConfig,
        {
            **flow,
            **decoder,
            "encoder": _build(EncoderConfig, encoder, "flow.encoder"),
            "estimator": _build(EstimatorConfig, estimator, "flow.decoder.estimator"),
            "mel": _build(MelScale, mel or {}, "mel"),
        },
        "flow",
    )
    if config.encoder.up_stride != FRAMES_PER_TOKEN:
        raise CheckpointError(f"flow.encoder.up_stride is {config.encoder.up_stride}, only {FRAMES_PER_TOKEN} works")
    if config.estimator.in_channels != 4 * config.output_size:
        raise CheckpointError(
            f"flow.decoder.estimator.in_channels is {config.estimator.in_channels}, "
            f"expected 4 x output_size = {4 * config.output_size}"
        )
    return config


def hift_config(section: Mapping[str, Any]) -> HiftConfig:
    """`HiftConfig` from a ``hift:`` section; names as in the reference generator; missing ones keep the
    official value."""
    values = dict(section)
    istft = values.pop("istft_params", None)
    if istft is not None:
        values |= {"istft_n_fft": istft["n_fft"], "istft_hop": istft["hop_len"]}
    config = _build(HiftConfig, {name: _tuples(value) for name, value in values.items()}, "hift")
    stages = len(config.upsample_rates)
    for name in ("upsample_kernel_sizes", "source_resblock_kernel_sizes", "source_resblock_dilation_sizes"):
        if len(getattr(config, name)) != stages:
            raise CheckpointError(f"hift.{name} has {len(getattr(config, name))} entries for {stages} upsample_rates")
    if len(config.resblock_kernel_sizes) != len(config.resblock_dilation_sizes):
        raise CheckpointError("hift.resblock_kernel_sizes and hift.resblock_dilation_sizes differ in length")
    if config.samples_per_frame != HOP_SAMPLES:
        raise CheckpointError(
            f"hift: upsample_rates x istft hop is {config.samples_per_frame}, "
            f"expected {HOP_SAMPLES} samples per mel frame"
        )
    return config


def _build(kind: type[_Config], values: Mapping[str, Any], section: str) -> _Config:
    names = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    known: dict[str, Any] = {}
    for name, value in values.items():
        if name in names:
            known[name] = value
        elif name in _FIXED:
            if value != _FIXED[name]:
                raise CheckpointError(f"{section}.{name} is {value!r}, only {_FIXED[name]!r} works")
        elif name not in _IGNORED:
            logger.warning("flow.yaml: %s.%s is unknown and ignored", section, name)
    return kind(**known)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


class _PlainLoader(yaml.SafeLoader):
    """A SafeLoader that also reads the four reference tags, as mappings. Other tags are errors."""


def _plain_mapping(loader: yaml.SafeLoader, node: yaml.Node) -> dict[Any, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(None, None, f"{node.tag} is no mapping", node.start_mark)
    return loader.construct_mapping(node, deep=True)


def _refuse(_loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    problem = f"the tag {node.tag!r} is not allowed here; known tags: {', '.join(FLOW_TAGS)}"
    raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


for _tag in FLOW_TAGS:
    _PlainLoader.add_constructor(_tag, _plain_mapping)
_PlainLoader.add_constructor(None, _refuse)
