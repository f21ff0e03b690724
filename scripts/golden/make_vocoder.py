# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "numpy", "safetensors", "pyyaml", "soundfile", "s3tokenizer==0.3.0"]
# ///
"""Makes the small golden folders that the repository carries (tests/data/golden) from the full ones.

    python -m scripts.golden.make_vocoder FULL tests/data/golden

flow, mel24k and fbank are parts of FULL (made by the reference code); s3tok comes from the package
s3tokenizer; hift and e2e are this package's own results in float64, at sizes that FULL does not have (one
upsampling stage, old weight-norm names): they notice change, FULL proves agreement.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scripts.golden.vocoder import _flow, _hift, _parts, _vocode
from streaming_vocoder.config import VocoderConfig, hift_config
from streaming_vocoder.hift import Hift
from streaming_vocoder.hift_stream import HiftInput, HiftState, StreamingHift
from streaming_vocoder.streaming import Vocoder, to_int16
from streaming_vocoder.voice import Voice

FLOW_CASES = {"A": "mixed", "C": "onlylast"}
NOISE_FRAMES = 230
HIFT = {
    "base_channels": 8,
    "f0_cond_channels": 8,
    "upsample_rates": [8],
    "upsample_kernel_sizes": [16],
    "istft_params": {"n_fft": 240, "hop_len": 60},
    "resblock_kernel_sizes": [3, 7],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]],
    "source_resblock_kernel_sizes": [7],
    "source_resblock_dilation_sizes": [[1, 3, 5]],
}
FULL_FRAMES, NOISE_CALL_FRAMES = 10, 2
STREAM_FRAMES = [9, 8, 4]
S3TOK = {"n_mels": 128, "n_state": 64, "n_head": 1, "n_layer": 1, "codebook": 6561, "fsmn_kernel": 31}

Tensors = dict[str, Tensor]


def sample_flow(full: Path, out: Path) -> None:
    """Two cases, one schedule each."""
    config = json.loads((full / "config.json").read_text())
    config["cases"] = {
        name: {**config["cases"][name], "streams": {stream: config["cases"][name]["streams"][stream]}}
        for name, stream in FLOW_CASES.items()
    }
    config["cases"]["A"].pop("offline")
    inputs, expected = _load(full)
    inputs["rand_noise"] = inputs["rand_noise"][:, :, :NOISE_FRAMES].contiguous()
    kept_inputs = {name: value for name, value in inputs.items() if name[0] in "AC" or "." not in name}
    weights = load_file(full / "weights.safetensors")
    config["flow"]["vocab_size"] = _drop_unused_codes(kept_inputs, weights)
    wanted = ("A.mixed.", "C.offline.n", "C.onlylast.")
    kept = {name: value for name, value in expected.items() if name.startswith(wanted)}
    _write(out, config, kept_inputs, kept, weights)


def _drop_unused_codes(inputs: Tensors, weights: Tensors) -> int:
    """Renumbers the tokens that occur, in place, and cuts the embedding to them; gives their count."""
    names = [name for name in inputs if name.endswith("token")]
    used = torch.cat([inputs[name].flatten() for name in names]).unique().long()
    for name in names:
        inputs[name] = torch.searchsorted(used, inputs[name].long()).int()
    weights["input_embedding.weight"] = weights["input_embedding.weight"][used]
    return len(used)


def sample_features(full: Path, out: Path) -> None:
    """mel24k, fbank: the shorter recording, one rate."""
    config = json.loads((full / "config.json").read_text())
    inputs, expected = _load(full)
    kept = [name for name in inputs if name in ("wav.1", "wav16.1", "resample.22050.16000")]
    results = {
        name: value
        for name, value in expected.items()
        if name in kept or name.endswith(".1") and not name.startswith("resample")
    }
    _write(out, config, {name: inputs[name] for name in kept}, results)


def sample_hift(out: Path) -> None:
    """Random weights, results in float64."""
    generator = torch.Generator().manual_seed(7)
    hift = Hift(hift_config(HIFT)).eval()
    for name, value in hift.named_parameters():
        gain = 1.0 if name.endswith("alpha") else 0.7 / max(1, value[0].numel()) ** 0.5
        noise = torch.randn(value.shape, generator=generator)
        value.data = 0.5 + torch.rand(value.shape, generator=generator) if name.endswith("alpha") else gain * noise
    hift.f0_predictor.classifier.weight.data *= 300.0
    weights = _weight_normalised(dict(hift.state_dict()), generator)
    mel, long_mel = (torch.randn(1, 80, frames, generator=generator) for frames in (FULL_FRAMES, sum(STREAM_FRAMES)))
    inputs = {
        "full.mel": mel,
        "cached.source": 0.1 * torch.randn(1, 1, 3840, generator=generator),
        "decode.source": 0.1 * torch.randn(1, 1, 480 * FULL_FRAMES, generator=generator),
        "noise.mel": mel[:, :, :NOISE_CALL_FRAMES].contiguous(),
        "noise.randn": torch.randn(1, 480 * NOISE_CALL_FRAMES, 9, generator=generator),
        "stream.mel": long_mel,
    }
    _write(out, {"hift": HIFT, "stream_frames": STREAM_FRAMES}, inputs, {}, weights)
    exact = _hift(out, {"hift": HIFT}).double()
    margin = min(float((exact.f0_predictor(m.double()) - 10.0).abs().min().detach()) for m in (mel, long_mel))
    assert margin > 0.05, "an F0 lies on the voicing threshold: take another seed"
    results = _hift_results(exact, {name: value.double() for name, value in inputs.items()})
    save_file({name: value.contiguous() for name, value in results.items()}, out / "expected.safetensors")


@torch.inference_mode()
def _hift_results(hift: Hift, inputs: Tensors) -> Tensors:
    results: Tensors = {"full.f0": hift.f0_predictor(inputs["full.mel"])}
    results["full.wav"], results["full.source"] = hift(inputs["full.mel"])
    cached = hift(inputs["full.mel"], cached_source=inputs["cached.source"])
    results["cached.wav"], results["cached.source_used"] = cached
    results["decode.wav"] = hift.decode(inputs["full.mel"], inputs["decode.source"])
    results["noise.wav"], results["noise.source"] = hift(inputs["noise.mel"], noise=inputs["noise.randn"])
    streaming, state = StreamingHift(hift, "upstream"), None
    state: HiftState | None
    for index, part in enumerate(torch.split(inputs["stream.mel"][0], STREAM_FRAMES, dim=1)):
        (made,) = streaming.step([HiftInput(state, part, None, index == len(STREAM_FRAMES) - 1)])
        state = made.state
        results[f"stream.wav.{index}"] = made.samples[None]
        results[f"stream.source.{index}"] = made.source[None]
    results = {name: value.float() for name, value in results.items()}
    for index in range(len(STREAM_FRAMES)):
        pcm = to_int16(results[f"stream.wav.{index}"][0].numpy())
        results[f"stream.pcm.{index}"] = torch.from_numpy(pcm)
    return results


def _weight_normalised(state: Tensors, generator: torch.Generator) -> Tensors:
    """As old checkpoints spell it: weight_g, weight_v for every convolution that is weight-normalised, g
    unlike ||v||."""
    out: Tensors = {}
    for name, value in state.items():
        if not name.endswith(".weight") or value.dim() != 3 or name.startswith("source_downs"):
            out[name] = value
            continue
        scale = 0.5 + torch.rand(len(value), 1, 1, generator=generator)
        out[name + "_g"] = value.flatten(1).norm(dim=1)[:, None, None]
        out[name + "_v"] = value * scale
    return out


def sample_e2e(flow_folder: Path, hift_folder: Path, out: Path) -> None:
    """Tokens to PCM of case C."""
    flow_settings = json.loads((flow_folder / "config.json").read_text())
    hift_settings = json.loads((hift_folder / "config.json").read_text())
    inputs, _ = _load(flow_folder)
    flow, hift = _flow(flow_folder, flow_settings), _hift(hift_folder, hift_settings)
    vocoder = Vocoder(
        VocoderConfig(flow.config, hift.config), flow, hift, noise=inputs["rand_noise"], source_noise=False
    )
    voice = Voice("C", inputs["C.prompt_token"][0].long(), inputs["C.prompt_mel"][0], inputs["spk"][0])
    calls = flow_settings["cases"]["C"]["streams"]["onlylast"]["calls"]
    chunks = _vocode(vocoder, voice, _parts(inputs["C.token"][0].tolist(), calls))
    wave = torch.cat(chunks)
    config = {
        "samples_per_call": {"C.onlylast": [len(chunk) for chunk in chunks]},
        "flow": "../flow",
        "hift": "../hift",
    }
    expected = {"C.onlylast.pcm": torch.from_numpy(to_int16(wave.numpy()))}
    _write(out, config, {}, expected)
    (out / "inputs.safetensors").unlink()


def sample_s3tok(full: Path, out: Path) -> None:
    """The package s3tokenizer with random weights."""
    import s3tokenizer
    from s3tokenizer.model_v2 import ModelConfig, S3TokenizerV2

    torch.manual_seed(3)
    sizes = ModelConfig(n_audio_state=S3TOK["n_state"], n_audio_head=S3TOK["n_head"], n_audio_layer=S3TOK["n_layer"])
    model = S3TokenizerV2("speech_tokenizer_v2_25hz", sizes).eval()
    for name, value in model.named_parameters():
        value.data = (name.endswith("ln.weight") * 1.0) + torch.randn(value.shape) / max(1, value[0].numel()) ** 0.5
    wave = load_file(full / "inputs.safetensors")["wav16.1"]
    mel = s3tokenizer.log_mel_spectrogram(wave)
    length = torch.tensor([mel.shape[1]])
    with torch.inference_mode():
        hidden, count = model.encoder(mel[None], length)
        tokens = model.quantizer.encode(hidden)
        down = torch.tanh(model.quantizer._codebook.project_down(hidden)) * 0.9990000128746033
    margin = float(((down + 0.5).frac().abs() - 0.5).abs().sub(0.5).abs().min())
    assert margin > 1e-3, "a value lies on a rounding edge: take another seed"
    expected = {"mel128.1": mel, "hidden.1": hidden, "tokens.1": tokens.int(), "token_len.1": count.int()}
    weights = {name: value for name, value in model.state_dict().items() if name in _s3_names(model)}
    _write(out, {**S3TOK, "rounding_margin": [margin]}, {"wav16.1": wave}, expected, weights)


def _s3_names(model: Any) -> set[str]:
    return {name for name, _ in model.named_parameters()}


def _load(folder: Path) -> tuple[Tensors, Tensors]:
    return load_file(folder / "inputs.safetensors"), load_file(folder / "expected.safetensors")


def _write(
    out: Path, config: dict[str, Any], inputs: Tensors, expected: Tensors, weights: Tensors | None = None
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    for name, tensors in (("inputs", inputs), ("expected", expected), ("weights", weights)):
        if tensors is not None:
            contiguous = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
            save_file(contiguous, out / f"{name}.safetensors")


def main() -> None:
    full, out = map(Path, sys.argv[1:3])
    torch.set_num_threads(1)
    sample_flow(full / "flow", out / "flow")
    sample_features(full / "mel24k", out / "mel24k")
    sample_features(full / "fbank", out / "fbank")
    sample_hift(out / "hift")
    sample_e2e(out / "flow", out / "hift", out / "e2e")
    sample_s3tok(full / "s3tok", out / "s3tok")


if __name__ == "__main__":
    main()
