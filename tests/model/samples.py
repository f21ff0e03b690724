"""Small configurations, tokens and a tokenizer that the model tests share."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn

from realtime.model.config import AudioEncoderConfig, ModelConfig, TextConfig
from realtime.model.decoder import Decoder
from realtime.model.encoder import Adapter, AudioEncoder

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
SHARED_GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"

AUDIO = AudioEncoderConfig(
    n_mels=16,
    n_audio_ctx=1500,
    n_audio_state=24,
    n_audio_head=3,
    n_audio_layer=2,
    llm_dim=32,
    adapter_hidden=20,
)
SPECIAL_NAMES = (
    "<|endoftext|> <tool_call> </tool_call> <|EOT|> <|BOT|> <audio_start> <audio_end> <audio_patch> <tts_start> "
    "<tts_end> <tts_pad>"
).split()
SPEECH_CODES = 10
CORPUS = [
    "the system said hello to the human",
    "assistant human input\n",
    "你好，世界。今天天气很好。",
    "one two three\n\n",
]


def text_config(vocab_size: int = 300, *, tied: bool = False) -> TextConfig:
    """A decoder with grouped heads and a head width that is not hidden / heads."""
    return TextConfig(
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=2,
        vocab_size=vocab_size,
        head_dim=12,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        torch_dtype="float32",
    )


def randomize(module: nn.Module, seed: int = 0) -> None:
    """Weights at which every bias, norm and mask shows in the result."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        scale = 0.3 if parameter.dim() == 1 else 1.5 / parameter[0].numel() ** 0.5
        offset = 1.0 if "norm" in name or "_ln" in name else 0.0
        parameter.data = offset + scale * torch.randn(parameter.shape, generator=generator)


def encoder_and_adapter() -> tuple[AudioEncoder, Adapter]:
    """Random ones of the sizes `AUDIO`."""
    encoder, adapter = AudioEncoder(AUDIO), Adapter(AUDIO)
    randomize(encoder, 1)
    randomize(adapter, 2)
    return encoder, adapter


def write_tokenizer(folder: Path, *, merges: int = 120) -> int:
    """A byte-level BPE in Qwen2's files, special tokens after the text; gives the number of ids."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    bpe.train_from_iterator(CORPUS * 3, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    bpe.model.save(str(folder))
    base = bpe.get_vocab_size()
    names = [*SPECIAL_NAMES, *(f"<audio_{k}>" for k in range(SPEECH_CODES)), "<audio_6561>"]
    added = {name: base + i for i, name in enumerate(names)}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    decoder = {str(id_): _added_token(name) for name, id_ in added.items()}
    config = {
        "added_tokens_decoder": decoder,
        "tokenizer_class": "Qwen2Tokenizer",
        "pad_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "bos_token": None,
        "unk_token": None,
        "errors": "replace",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return base + len(names)


def _added_token(name: str) -> dict[str, object]:
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    return {"content": name, "special": not name.endswith("tool_call>"), **flags}


def write_checkpoint(folder: Path, *, tied: bool = False) -> ModelConfig:
    """A whole random checkpoint in the official layout: config, tokenizer, weights in one file."""
    vocab_size = write_tokenizer(folder) + 3  # ids above the tokenizer's are unused, as in the official one
    config = ModelConfig(text=text_config(vocab_size, tied=tied), audio=AUDIO)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    save_file(random_state(config), folder / "model.safetensors")
    return config


def random_state(config: ModelConfig) -> dict[str, Tensor]:
    """All tensors of a checkpoint by their official names; a tied head is left out."""
    modules = nn.ModuleDict({"encoder": AudioEncoder(config.audio), "adapter": Adapter(config.audio)})
    decoder = Decoder(config.text)
    randomize(modules, 1)
    randomize(decoder, 2)
    state = {**modules.state_dict(), **decoder.state_dict()}
    if config.text.tie_word_embeddings:
        del state["lm_head.weight"]
    return {name: value.contiguous() for name, value in state.items()}


def without(config: object, *fields: str) -> dict[str, object]:
    """A config dataclass as a dict that lacks some fields."""
    values = dataclasses.asdict(config)  # type: ignore[call-overload]
    return {key: value for key, value in values.items() if key not in fields}
