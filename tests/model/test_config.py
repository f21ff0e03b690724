from __future__ import annotations

import json
from pathlib import Path

import pytest

from realtime.model.config import AudioEncoderConfig, ModelConfig, ModelConfigError, TextConfig
from tests.model.samples import AUDIO, GOLDEN, text_config, without

OFFICIAL_TEXT = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_attention_groups": 4,
    "num_key_value_heads": 4,
    "num_hidden_layers": 28,
    "max_seq_len": 16384,
    "vocab_size": 158720,
    "rms_norm_eps": 1e-06,
    "eos_token_id": 151643,
    "pad_token_id": 151643,
    "rope_theta": 1000000.0,
    "max_position_embeddings": 16384,
    "rope_scaling": None,
    "torch_dtype": "bfloat16",
}
OFFICIAL_AUDIO = {
    "n_mels": 128,
    "n_audio_ctx": 1500,
    "n_audio_state": 1280,
    "n_audio_head": 20,
    "n_audio_layer": 32,
    "n_codebook_size": 4096,
    "llm_dim": 3584,
    "kernel_size": 3,
    "adapter_stride": 2,
}


def test_the_official_config_uses_upstreams_constants() -> None:
    config = ModelConfig.from_dict({"text_config": OFFICIAL_TEXT, "audio_encoder_config": OFFICIAL_AUDIO})
    assert config.text.head_dim == 128
    assert not config.text.tie_word_embeddings
    assert config.audio.adapter_hidden == 2048


def test_config_round_trips_in_the_official_layout() -> None:
    config = ModelConfig(text=text_config(tied=True), audio=AUDIO)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_rope_theta_is_found_inside_rope_parameters() -> None:
    values = {key: value for key, value in OFFICIAL_TEXT.items() if key != "rope_theta"}
    assert TextConfig.from_dict(values | {"rope_parameters": {"rope_theta": 5e5}}).rope_theta == 5e5


def test_all_faults_are_named_at_once() -> None:
    text = {key: value for key, value in OFFICIAL_TEXT.items() if key != "vocab_size"} | {"hidden_size": "big"}
    with pytest.raises(ModelConfigError) as raised:
        ModelConfig.from_dict({"text_config": text, "audio_encoder_config": without(AUDIO, "n_audio_head")})
    message = str(raised.value)
    assert "text_config.hidden_size is 'big'" in message
    assert "text_config.vocab_size is missing" in message
    assert "audio_encoder_config.n_audio_head is missing" in message


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_attention_groups": 7}, "num_attention_groups 7"),
        ({"rope_scaling": {"type": "yarn"}}, "rope_scaling"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"num_key_value_heads": 3, "num_attention_groups": 3}, "not a multiple"),
        ({"torch_dtype": "int8"}, "torch_dtype"),
    ],
)
def test_values_that_the_decoder_cannot_follow_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ModelConfigError, match=named):
        TextConfig.from_dict(OFFICIAL_TEXT | change)


def test_adapter_of_another_rate_is_refused() -> None:
    with pytest.raises(ModelConfigError, match="adapter_stride 2"):
        AudioEncoderConfig.from_dict(OFFICIAL_AUDIO | {"adapter_stride": 4})


def test_encoder_and_decoder_of_different_widths_are_refused() -> None:
    with pytest.raises(ModelConfigError, match=r"llm_dim 64 differs from text_config\.hidden_size 3584"):
        ModelConfig.from_dict({"text_config": OFFICIAL_TEXT, "audio_encoder_config": OFFICIAL_AUDIO | {"llm_dim": 64}})


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_files_that_are_no_config_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(ModelConfigError):
        ModelConfig.from_file(path)


def test_config_of_the_golden_checkpoint_is_read() -> None:
    assert ModelConfig.from_file(GOLDEN / "llm" / "config.json").audio.adapter_hidden == 40
