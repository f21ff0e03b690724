"""Make the small golden folders of the tests, ``encoder`` and ``llm``, with reference implementations only.

    python scripts/golden/make_speech_model.py tests/data/golden

Expected values come from transformers (Whisper's log-mel, Qwen2-Audio's encoder, Qwen2, its logits
processors) with random weights, never from this repository's own model code. The format is that of the
upstream golden vectors.
"""

# /// script
# dependencies = ["torch", "numpy", "safetensors", "transformers"]
# ///

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import LogitsProcessorList, Qwen2Config, Qwen2ForCausalLM
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.models.qwen2_audio.configuration_qwen2_audio import Qwen2AudioEncoderConfig
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder

AUDIO = {
    "n_mels": 128,
    "n_audio_ctx": 64,
    "n_audio_state": 24,
    "n_audio_head": 3,
    "n_audio_layer": 2,
    "n_codebook_size": 4096,
    "llm_dim": 32,
    "kernel_size": 3,
    "adapter_stride": 2,
    "adapter_hidden": 40,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 72,
    "num_attention_heads": 4,
    "num_attention_groups": 2,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "max_seq_len": 512,
    "vocab_size": 240,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "max_position_embeddings": 512,
    "rope_scaling": None,
    "torch_dtype": "float32",
}
BASE_IDS = 64  # ids of ordinary text; the special ones follow in the official order
SPEECH_CODES = 100
SEGMENTS = {"short": 4005, "mod1": 6401, "even": 7680, "odd": 10700}
PENALTY = 1.05
STEPS = 24


def main() -> None:
    """Write both folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_grad_enabled(False)
    make_encoder(arguments.out / "encoder")
    make_llm(arguments.out / "llm")


def make_encoder(folder: Path) -> None:
    """Weights, segments and their encoder and adapter outputs."""
    weights = audio_weights()
    tensors: dict[str, Tensor] = {}
    cases: dict[str, Any] = {}
    for name, length in SEGMENTS.items():
        waveform = noise(length)
        mel = log_mel(waveform)
        rows = encode(weights, mel)
        tensors |= {f"{name}.waveform": waveform, f"{name}.log_mel": mel, f"{name}.encoder_out": rows}
        tensors[f"{name}.adapter_out"] = adapt(weights, rows)
        cases[name] = {"num_samples": length, "num_tokens": (mel.shape[1] + 3) // 8}
    cases["pair"] = {"order": ["mod1", "short"]}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {"audio_encoder_config": AUDIO})
    write_json(folder / "cases.json", {"cases": cases})
    save_file(weights, folder / "weights.safetensors")
    save_file(tensors, folder / "cases.safetensors")


def make_llm(folder: Path) -> None:
    """A whole checkpoint in two shards, prompts with audio and speech history, greedy replies, sampling."""
    audio, reference = audio_weights(), qwen2()
    ids = special_ids()
    tensors: dict[str, Tensor] = {}
    features: list[Tensor] = []
    for k, length in enumerate((6401, 4005)):
        waveform = noise(length)
        mel = log_mel(waveform)
        features.append(adapt(audio, encode(audio, mel))[: (mel.shape[1] + 3) // 8])
        tensors[f"audio{k}.waveform"] = waveform
        tensors[f"audio{k}.features_single"] = features[k].clone()
    cases: dict[str, Any] = {}
    for name, (prompt, used) in prompts(ids, [len(block) for block in features]).items():
        embeds = merge(reference, prompt, [features[k] for k in used], ids["<audio_start>"])
        tensors[f"{name}.logits_last8"] = reference(inputs_embeds=embeds[None]).logits[0, -8:].clone()
        greedy, steps = continue_greedily(reference, prompt, embeds, penalty=1.0)
        penalised, _ = continue_greedily(reference, prompt, embeds, penalty=PENALTY)
        tensors[f"{name}.greedy_step_logits"] = steps
        cases[name] = {"input_ids": prompt, "audio": used, "features": "single", f"greedy_{STEPS}": greedy}
        cases[name][f"greedy_{STEPS}_repetition_penalty_{str(PENALTY).replace('.', '_')}"] = penalised
    tensors |= sampling(cases["one_audio"]["input_ids"], tensors["one_audio.logits_last8"][-1])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {"text_config": TEXT, "audio_encoder_config": AUDIO})
    write_json(folder / "ids.json", ids)
    write_json(folder / "cases.json", {"cases": cases})
    save_file(tensors, folder / "cases.safetensors")
    write_shards(folder, audio, {name: value.clone() for name, value in reference.state_dict().items()})


def write_json(path: Path, content: Any) -> None:
    """One line an entry would be long: compact, but readable with a tool."""
    path.write_text(json.dumps(content) + "\n", "utf-8")


def write_shards(folder: Path, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """Two safetensors files and their index."""
    shards = {"model-00001-of-00002.safetensors": first, "model-00002-of-00002.safetensors": second}
    for name, state in shards.items():
        save_file(dict(state), folder / name)
    size = sum(4 * value.numel() for state in shards.values() for value in state.values())
    weight_map = {key: name for name, state in shards.items() for key in state}
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})


def noise(length: int) -> Tensor:
    """A waveform [N] with a stretch of zeros, on the 16-bit grid."""
    samples = torch.randn(length) * 0.1 * (1 + torch.arange(length).div(300).sin())
    samples[length // 3 : length // 2] = 0
    return (samples.clamp(-1, 1) * 32767).round() / 32768


def log_mel(waveform: Tensor) -> Tensor:
    """Whisper's log-mel [128, T] of the padded waveform, without the last frame."""
    power = spectrogram(
        np.pad(waveform.double().numpy(), (0, 479)),
        window_function(400, "hann"),
        frame_length=400,
        hop_length=160,
        power=2.0,
        mel_filters=mel_filter_bank(201, AUDIO["n_mels"], 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney"),
        log_mel="log10",
        mel_floor=1e-10,
        dtype=np.float64,
    )[:, :-1]
    return torch.from_numpy((np.maximum(power, power.max() - 8) + 4) / 4).float()


def audio_weights() -> dict[str, Tensor]:
    """Random encoder and adapter, official names."""
    width, hidden, out = AUDIO["n_audio_state"], AUDIO["adapter_hidden"], AUDIO["llm_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.conv1": (width, AUDIO["n_mels"], 3),
        "encoder.conv2": (width, width, 3),
        "adapter.conv": (width, width, 3),
        "adapter.linear1": (hidden, width),
        "adapter.linear2": (out, hidden),
    }
    for i in range(AUDIO["n_audio_layer"]):
        shapes |= {f"encoder.blocks.{i}.attn.{name}": (width, width) for name in ("query", "key", "value", "out")}
        shapes |= {
            f"encoder.blocks.{i}.mlp.0": (4 * width, width),
            f"encoder.blocks.{i}.mlp.2": (width, 4 * width),
        }
    weights = {"encoder.positional_embedding.weight": torch.randn(AUDIO["n_audio_ctx"], width) * 0.3}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = torch.randn(shape) * 1.5 / np.prod(shape[1:]) ** 0.5
        if not name.endswith(".key"):
            weights[f"{name}.bias"] = torch.randn(shape[0]) * 0.3
    norms = [f"blocks.{i}.{name}" for i in range(AUDIO["n_audio_layer"]) for name in ("attn_ln", "mlp_ln")]
    for name in (*norms, "after_norm"):
        weights[f"encoder.{name}.weight"] = 1 + 0.3 * torch.randn(width)
        weights[f"encoder.{name}.bias"] = 0.3 * torch.randn(width)
    return weights


def encode(weights: Mapping[str, Tensor], mel: Tensor) -> Tensor:
    """Qwen2-Audio's encoder on one segment [128, T] -> [P, d], the last position masked as a key."""
    frames = mel.shape[1]
    positions, valid = (frames + 1) // 2, (frames - 1) // 2
    config = Qwen2AudioEncoderConfig(
        num_mel_bins=AUDIO["n_mels"],
        d_model=AUDIO["n_audio_state"],
        encoder_layers=AUDIO["n_audio_layer"],
        encoder_attention_heads=AUDIO["n_audio_head"],
        encoder_ffn_dim=4 * AUDIO["n_audio_state"],
        max_source_positions=positions,
    )
    config._attn_implementation = "eager"
    encoder = Qwen2AudioEncoder(config).eval()
    encoder.load_state_dict(encoder_state(weights, positions))
    vars(encoder.config)["max_source_positions"] = frames / 2  # it insists on an input of twice this
    mask = torch.zeros(1, 1, positions, positions)
    mask[..., valid:] = float("-inf")
    rows: Tensor = encoder(mel[None], attention_mask=mask).last_hidden_state[0]
    return rows


def encoder_state(weights: Mapping[str, Tensor], positions: int) -> dict[str, Tensor]:
    """Official names -> transformers' names."""
    names = {
        "positional_embedding": "embed_positions",
        "after_norm": "layer_norm",
        "blocks": "layers",
        "attn_ln": "self_attn_layer_norm",
        "mlp_ln": "final_layer_norm",
        "attn.query": "self_attn.q_proj",
        "attn.key": "self_attn.k_proj",
        "attn.value": "self_attn.v_proj",
        "attn.out": "self_attn.out_proj",
        "mlp.0": "fc1",
        "mlp.2": "fc2",
    }
    state = {}
    for key, value in weights.items():
        if key.startswith("encoder."):
            name = key.removeprefix("encoder.")
            for ours, theirs in names.items():
                name = name.replace(ours, theirs)
            state[name] = value[:positions] if name.startswith("embed_positions") else value
    return state


def adapt(weights: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    """The adapter [P, d] -> [rows, D], written out."""
    x = nn.functional.conv1d(rows.T[None], weights["adapter.conv.weight"], weights["adapter.conv.bias"], 2, 1)
    x = nn.functional.gelu(x)[0].T
    x = (x @ weights["adapter.linear1.weight"].T + weights["adapter.linear1.bias"]).relu()
    return x @ weights["adapter.linear2.weight"].T + weights["adapter.linear2.bias"]


def qwen2() -> Qwen2ForCausalLM:
    """A random decoder whose logits differ enough for greedy choices to be clear."""
    sizes = {
        key: value for key, value in TEXT.items() if key not in ("num_attention_groups", "max_seq_len", "torch_dtype")
    }
    model = Qwen2ForCausalLM(Qwen2Config(**sizes, attn_implementation="eager")).eval()
    for name, value in model.named_parameters():
        scale = 0.3 if value.dim() == 1 else (4.0 if name.startswith("lm_head") else 1.5) / value.shape[-1] ** 0.5
        offset = 1.0 if "norm" in name else 0.0
        value.copy_(offset + scale * torch.randn_like(value))
    return model


def special_ids() -> dict[str, int]:
    """The names that the prompt format needs, as far from each other as in the official vocabulary."""
    offsets = {
        "<|endoftext|>": 0,
        "<tool_call>": 14,
        "</tool_call>": 15,
        "<|EOT|>": 22,
        "<|BOT|>": 23,
        "<audio_start>": 45,
        "<audio_end>": 46,
        "<audio_patch>": 47,
        "<tts_start>": 50,
        "<tts_end>": 51,
        "<tts_pad>": 52,
        "<audio_0>": 53,
        "<audio_pad>": 53 + SPEECH_CODES,
    }
    return {name: BASE_IDS + offset for name, offset in offsets.items()}


def prompts(ids: Mapping[str, int], counts: list[int]) -> dict[str, tuple[list[int], list[int]]]:
    """By case: prompt ids, and which of the two recordings it uses."""

    def text(n: int) -> list[int]:
        return torch.randint(0, BASE_IDS, (n,)).tolist()

    def audio(k: int) -> list[int]:
        return [ids["<audio_start>"], *[ids["<audio_patch>"]] * counts[k], ids["<audio_end>"]]

    def group() -> list[int]:
        return [*text(1), *(torch.randint(0, SPEECH_CODES, (4,)) + ids["<audio_0>"]).tolist()]

    begin, end, speak = ids["<|BOT|>"], ids["<|EOT|>"], ids["<tts_start>"]
    spoken = [*group(), *group(), ids["<tts_pad>"], *[ids["<audio_pad>"]] * 4, ids["<tts_end>"]]
    heading = [begin, *text(9), end, begin, *text(2)]
    return {
        "text": ([*heading, *text(12), end, begin, *text(2), speak], []),
        "one_audio": ([*heading, *audio(0), end, begin, *text(2)], [0]),
        "two_audio": ([*heading, *audio(0), *audio(1), *text(4), end, begin, *text(2), speak], [0, 1]),
        "history_ta4": (
            [*heading, *audio(1), end, begin, *text(2), speak, *spoken, end, begin, *text(2), *audio(0), end, begin]
            + [*text(2), speak],
            [1, 0],
        ),
    }


def merge(model: Qwen2ForCausalLM, prompt: list[int], features: list[Tensor], audio_start: int) -> Tensor:
    """Prompt embeddings [T, D] with the k-th features after the k-th <audio_start>."""
    embeds = model.get_input_embeddings()(torch.tensor(prompt)).clone()
    starts = [i + 1 for i, id_ in enumerate(prompt) if id_ == audio_start]
    for start, block in zip(starts, features, strict=True):
        embeds[start : start + len(block)] = block
    return embeds


def continue_greedily(
    model: Qwen2ForCausalLM, prompt: list[int], embeds: Tensor, penalty: float
) -> tuple[list[int], Tensor]:
    """Greedy ids without a cache, and the logits that chose them. Refuses choices too close to call."""
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    ids: list[int] = []
    steps = []
    for _ in range(STEPS):
        logits = model(inputs_embeds=embeds[None]).logits[0, -1]
        scores = processor(torch.tensor([prompt + ids]), logits[None].clone())[0]
        best, second = scores.topk(2).values
        if best - second < 0.003:  # rounding moves a logit by 1e-5
            raise SystemExit("two ids are too close for a greedy choice: take another --seed")
        steps.append(logits)
        ids.append(int(scores.argmax()))
        embeds = torch.cat((embeds, model.get_input_embeddings()(torch.tensor(ids[-1:]))))
    return ids, torch.stack(steps)


def sampling(prompt: list[int], logits: Tensor) -> dict[str, Tensor]:
    """The chain of transformers' processors on one row of logits."""
    ids = torch.tensor([prompt])
    penalised = RepetitionPenaltyLogitsProcessor(PENALTY)(ids, logits[None].clone())
    warm, nucleus = TemperatureLogitsWarper(0.7), TopPLogitsWarper(0.9)
    chains = {
        "probs_t0.7_k50_p0.9": LogitsProcessorList([warm, TopKLogitsWarper(50), nucleus]),
        "probs_t0.7_p0.9": LogitsProcessorList([warm, nucleus]),
        "probs_t0.7_k5": LogitsProcessorList([warm, TopKLogitsWarper(5)]),
    }
    tensors = {f"sampling.{name}": chain(ids, penalised.clone())[0].softmax(-1) for name, chain in chains.items()}
    return tensors | {"sampling.logits": logits.clone(), "sampling.after_repetition_penalty": penalised[0]}


if __name__ == "__main__":
    main()
