"""Sizes of the model, read from a checkpoint's config.json in the official Step-Audio 2 layout.

The comments give the values of Step-Audio 2 mini. What upstream has as constants (``adapter_hidden``,
``tie_word_embeddings``) is configuration here, with upstream's value as the default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from realtime.errors import CheckpointError


class ModelConfigError(CheckpointError):
    """An invalid config.json. ``problems`` has one line per fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("config.json: " + "; ".join(problems))
        self.problems = tuple(problems)


class _Section:
    """Reads one JSON object and collects all faults instead of stopping at the first."""

    def __init__(self, name: str, values: object) -> None:
        self.name = name
        self.problems: list[str] = []
        self.values: Mapping[str, Any] = {}
        if isinstance(values, Mapping):
            self.values = values
        else:
            self.problems.append(f"{name} is missing or not an object")

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self._refuse(key, value, "a positive integer")
            return 1
        return value

    def number(self, key: str, default: float) -> float:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            self._refuse(key, value, "a positive number")
            return default
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self._refuse(key, value, "true or false")
            return default
        return value

    def require(self, condition: bool, problem: str) -> None:
        if not condition and not self.problems:
            self.problems.append(f"{self.name}: {problem}")

    def finish(self) -> None:
        if self.problems:
            raise ModelConfigError(self.problems)

    def _refuse(self, key: str, value: object, expected: str) -> None:
        if not self.values:
            return  # the missing section was already reported
        found = "is missing" if value is None else f"is {value!r}"
        self.problems.append(f"{self.name}.{key} {found}, expected {expected}")


@dataclass(frozen=True, slots=True)
class AudioEncoderConfig:
    """Sizes of the audio encoder and its adapter."""

    n_mels: int  # 128
    n_audio_ctx: int  # 1500 positions at 50 Hz: segments of at most 29.98 s
    n_audio_state: int  # 1280
    n_audio_head: int  # 20
    n_audio_layer: int  # 32
    llm_dim: int  # 3584
    kernel_size: int = 3
    adapter_stride: int = 2
    adapter_hidden: int = 2048

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """The ``audio_encoder_config`` object. Raises `ModelConfigError` naming every fault."""
        section = _Section("audio_encoder_config", values)
        config = cls(
            n_mels=section.integer("n_mels"),
            n_audio_ctx=section.integer("n_audio_ctx"),
            n_audio_state=section.integer("n_audio_state"),
            n_audio_head=section.integer("n_audio_head"),
            n_audio_layer=section.integer("n_audio_layer"),
            llm_dim=section.integer("llm_dim"),
            kernel_size=section.integer("kernel_size", 3),
            adapter_stride=section.integer("adapter_stride", 2),
            adapter_hidden=section.integer("adapter_hidden", 2048),
        )
        section.require(
            config.n_audio_state % config.n_audio_head == 0,
            f"n_audio_state {config.n_audio_state} is not a multiple of n_audio_head {config.n_audio_head}",
        )
        section.require(
            config.kernel_size == 3 and config.adapter_stride == 2,
            "only kernel_size 3 with adapter_stride 2 (12.5 features a second) is supported, "
            f"not {config.kernel_size} with {config.adapter_stride}",
        )
        section.finish()
        return config


@dataclass(frozen=True, slots=True)
class TextConfig:
    """Sizes of the Qwen2 decoder."""

    hidden_size: int  # 3584
    intermediate_size: int  # 18944
    num_attention_heads: int  # 28
    num_key_value_heads: int  # 4
    num_hidden_layers: int  # 28
    vocab_size: int  # 158720
    head_dim: int  # 128
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6
    max_position_embeddings: int = 16384
    tie_word_embeddings: bool = False
    torch_dtype: str = "bfloat16"

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """The ``text_config`` object. Raises `ModelConfigError` naming every fault."""
        section = _Section("text_config", values)
        hidden, heads = section.integer("hidden_size"), section.integer("num_attention_heads")
        config = cls(
            hidden_size=hidden,
            intermediate_size=section.integer("intermediate_size"),
            num_attention_heads=heads,
            num_key_value_heads=section.integer("num_key_value_heads"),
            num_hidden_layers=section.integer("num_hidden_layers"),
            vocab_size=section.integer("vocab_size"),
            head_dim=section.integer("head_dim", max(hidden // heads, 1)),
            rms_norm_eps=section.number("rms_norm_eps", 1e-6),
            rope_theta=_rope_theta(section),
            max_position_embeddings=section.integer("max_position_embeddings", 16384),
            tie_word_embeddings=section.flag("tie_word_embeddings", False),
            torch_dtype=str(section.values.get("torch_dtype") or section.values.get("dtype") or "bfloat16"),
        )
        config._check(section)
        section.finish()
        return config

    def _check(self, section: _Section) -> None:
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        groups = section.values.get("num_attention_groups", kv_heads)
        section.require(
            heads % kv_heads == 0,
            f"num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}",
        )
        section.require(
            groups == kv_heads, f"num_attention_groups {groups} differs from num_key_value_heads {kv_heads}"
        )
        section.require(self.head_dim % 2 == 0, f"head_dim {self.head_dim} is odd")
        section.require(not section.values.get("rope_scaling"), "rope_scaling is not supported, expected null")
        section.require(section.values.get("hidden_act", "silu") == "silu", "only hidden_act silu is supported")
        section.require(
            self.torch_dtype in ("float32", "float16", "bfloat16"),
            f"torch_dtype {self.torch_dtype!r}, expected float32, float16 or bfloat16",
        )


def _rope_theta(section: _Section) -> float:
    """Older files have ``rope_theta`` at the top level, newer transformers write it inside ``rope_parameters``."""
    parameters = section.values.get("rope_parameters")
    if "rope_theta" not in section.values and isinstance(parameters, Mapping):
        return _Section("text_config.rope_parameters", parameters).number("rope_theta", 1e6)
    return section.number("rope_theta", 1e6)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The whole speech model: encoder and adapter (``audio``), decoder (``text``)."""

    text: TextConfig
    audio: AudioEncoderConfig

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The content of config.json; raises `ModelConfigError` naming every fault of both sections."""
        problems: list[str] = []
        sections: list[Any] = []
        for parse, key in (
            (TextConfig.from_dict, "text_config"),
            (AudioEncoderConfig.from_dict, "audio_encoder_config"),
        ):
            try:
                sections.append(parse(values.get(key)))
            except ModelConfigError as error:
                problems += error.problems
        if problems:
            raise ModelConfigError(problems)
        text, audio = sections
        if audio.llm_dim != text.hidden_size:
            raise ModelConfigError(
                [
                    f"audio_encoder_config.llm_dim {audio.llm_dim} differs from "
                    f"text_config.hidden_size {text.hidden_size}"
                ]
            )
        return cls(text=text, audio=audio)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a config.json; raises `ModelConfigError` if it is invalid, OSError if it is missing."""
        try:
            values = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ModelConfigError([f"not valid JSON ({error})"]) from error
        if not isinstance(values, dict):
            raise ModelConfigError(["not a JSON object"])
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """The official layout of config.json; `from_dict` reads it back to an equal config."""
        text = asdict(self.text) | {
            "num_attention_groups": self.text.num_key_value_heads,
            "rope_scaling": None,
        }
        return {
            "architectures": ["StepAudio2ForCausalLM"],
            "model_type": "step_audio_2",
            "text_config": text,
            "audio_encoder_config": asdict(self.audio),
        }
