"""Sizes of nano, in one place: what is trained, and what a checkpoint's config.json says."""

from __future__ import annotations

import json
from pathlib import Path

from realtime.model.config import AudioEncoderConfig, ModelConfig, TextConfig

WIDTH = 320
"""Of the decoder."""
AUDIO = AudioEncoderConfig(
    n_mels=80,
    n_audio_ctx=1500,
    n_audio_state=384,
    n_audio_head=6,
    n_audio_layer=4,
    llm_dim=WIDTH,
    adapter_hidden=512,
)


def model_config(vocabulary_size: int) -> ModelConfig:
    """Sizes of the whole model."""
    text = TextConfig(
        hidden_size=WIDTH,
        intermediate_size=880,
        num_attention_heads=5,
        num_key_value_heads=1,
        num_hidden_layers=8,
        vocab_size=vocabulary_size,
        head_dim=64,
        rope_theta=10000.0,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        torch_dtype="float16",
    )
    return ModelConfig(text, AUDIO)


def of_checkpoint(folder: Path) -> ModelConfig:
    """Sizes of a checkpoint folder."""
    return ModelConfig.from_dict(json.loads((folder / "config.json").read_text("utf-8")))
