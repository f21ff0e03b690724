"""Golden checks of `streaming_vocoder`: folders flow, hift, e2e, mel24k, fbank, s3tok.

All sizes, cases and schedules are read from the folder's config.json; tolerances are those of its README.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from scripts.golden.report import Check, Row
from streaming_vocoder.config import VocoderConfig, flow_config, hift_config
from streaming_vocoder.fbank import centred_fbank, fbank
from streaming_vocoder.flow import Flow, time_grid
from streaming_vocoder.flow_stream import FlowState, StreamingFlow
from streaming_vocoder.hift import Hift
from streaming_vocoder.hift_stream import HiftInput, HiftOutput, HiftState, StreamingHift
from streaming_vocoder.mel import PROMPT_FFT, mel_filters, prompt_mel, tokenizer_mel
from streaming_vocoder.options import VocoderOptions
from streaming_vocoder.resample import resample
from streaming_vocoder.s3_tokenizer import S3Tokenizer, S3TokenizerConfig
from streaming_vocoder.streaming import Vocoder, to_int16
from streaming_vocoder.voice import Voice
from streaming_vocoder.weights import load_flow_state, load_hift_state

MEL_TOLERANCE, MU_TOLERANCE, CACHE_TOLERANCE = 1e-4, 2e-5, 1e-4
F0_TOLERANCE, SOURCE_TOLERANCE, DECODE_TOLERANCE = 5e-3, 2e-3, 2e-5
SEAM_TOLERANCE = 5e-5
"""A decoded chunk after the cross-fade, from the given source."""
WAVE_TOLERANCE, WAVE_RMS_TOLERANCE = 5e-3, 5e-4
PCM_TOLERANCE, PCM_RMS_TOLERANCE = 164, 5e-4 * 32767

Tensors = dict[str, Tensor]


def check_flow(folder: Path) -> Iterator[Row]:
    """Conformer, DiT and solver: offline, and every streaming schedule, with all streams of a case in one
    batch too."""
    config, inputs, expected = _read(folder)
    flow = _flow(folder, config)
    steps = config["n_timesteps"]
    if "t_span" in inputs:
        yield _row("t_span", time_grid(len(inputs["t_span"]) - 1), inputs["t_span"], 1e-6)
    if "dit.x" in inputs:
        yield from _check_estimator(flow, inputs, expected)
    for name, case in config["cases"].items():
        yield from _check_offline(name, case, flow, inputs, expected)
    streaming = StreamingFlow(flow, VocoderOptions(steps=steps), inputs["rand_noise"])
    for name, case in config["cases"].items():
        yield from _check_streams(name, case, streaming, inputs, expected)


@torch.inference_mode()
def _check_estimator(flow: Flow, inputs: Tensors, expected: Tensors) -> Iterator[Row]:
    x, mu, cond = (inputs[f"dit.{name}"].transpose(1, 2) for name in ("x", "mu", "cond"))
    estimator = flow.decoder.estimator
    times = inputs["dit.t"]
    if "dit.t_emb" in expected:
        yield _row("dit.t_emb", estimator.t_embedder(times), expected["dit.t_emb"], MEL_TOLERANCE)
    out = estimator(x, mu, times, inputs["dit.spks"], cond).transpose(1, 2)
    yield _row("dit.full.out", out, expected["dit.full.out"], MEL_TOLERANCE)
    chunks = [expected[f"dit.chunk{index}.out"] for index in range(100) if f"dit.chunk{index}.out" in expected]
    if chunks:
        mask = _chunk_mask([chunk.shape[2] for chunk in chunks])
        out = estimator(x, mu, times, inputs["dit.spks"], cond, mask).transpose(1, 2)
        yield _row("dit.chunks.out", out, torch.cat(chunks, dim=2), MEL_TOLERANCE)


def _chunk_mask(frames: list[int]) -> Tensor:
    """Chunk mode as a mask [1, F, F]: a frame sees its own chunk and those before."""
    chunk = torch.arange(len(frames)).repeat_interleave(torch.tensor(frames))
    return (chunk[None, :] <= chunk[:, None])[None]


def _check_offline(name: str, case: dict[str, Any], flow: Flow, inputs: Tensors, expected: Tensors) -> Iterator[Row]:
    prompt, tokens = (inputs[f"{name}.{kind}"].long() for kind in ("prompt_token", "token"))
    for steps in case.get("offline", []):
        mel = flow.generate(
            tokens,
            prompt,
            inputs[f"{name}.prompt_mel"],
            inputs["spk"],
            steps=steps,
            noise=inputs["rand_noise"],
        )
        yield _row(
            f"{name}.offline.n{steps}.mel",
            mel.transpose(1, 2),
            expected[f"{name}.offline.n{steps}.mel"],
            MEL_TOLERANCE,
        )
    if f"{name}.offline.h" in expected:
        with torch.inference_mode():
            mu = flow.encode(torch.cat((prompt, tokens), dim=1))
        yield _row(f"{name}.offline.h", mu, expected[f"{name}.offline.h"], MU_TOLERANCE)


def _check_streams(
    name: str, case: dict[str, Any], flow: StreamingFlow, inputs: Tensors, expected: Tensors
) -> Iterator[Row]:
    prompt, mu, mel = flow.prompt_pass(
        inputs[f"{name}.prompt_token"][0].long(), inputs[f"{name}.prompt_mel"][0], inputs["spk"][0]
    )
    for key, made, tolerance in ((".setup.h", mu, MU_TOLERANCE), (".setup.feat", mel.T, MEL_TOLERANCE)):
        if name + key in expected:
            yield _row(name + key, made, expected[name + key][0], tolerance)
    yield from _cache_rows(f"{name}.setup", prompt, expected)
    tokens = inputs[f"{name}.token"][0].long()
    states = {schedule: flow.fork(prompt) for schedule in case["streams"]}
    # Round by round, the streams of all schedules in one call: batching and interleaving are part of the
    # check.
    for index in range(max((len(stream["calls"]) for stream in case["streams"].values()), default=0)):
        live = [schedule for schedule, stream in case["streams"].items() if index < len(stream["calls"])]
        calls = [case["streams"][schedule]["calls"][index] for schedule in live]
        chunks = [tokens[start:end] for start, end, _ in calls]
        flows = [states[schedule] for schedule in live]
        mus = flow.encode(flows, chunks, [last for _, _, last in calls])
        mels = flow.step_from_mu(flows, mus)
        for schedule, mu, mel in zip(live, mus, mels, strict=True):
            key = f"{name}.{schedule}"
            if f"{key}.h.{index}" in expected:
                yield _row(f"{key}.h.{index}", mu, expected[f"{key}.h.{index}"][0], MU_TOLERANCE)
            yield _row(f"{key}.mel.{index}", mel.T, expected[f"{key}.mel.{index}"][0], MEL_TOLERANCE)
            lengths = case["streams"][schedule].get("estimator_cache_len_after_call")
            if lengths:
                length = len(states[schedule].solver.cache)
                yield Row(f"{key}.cache_len.{index}", abs(length - lengths[index]), 0.0)
    for schedule, state in states.items():
        yield from _cache_rows(f"{name}.{schedule}.end", state, expected)


def _cache_rows(name: str, state: FlowState, expected: Tensors) -> Iterator[Row]:
    """A stream's caches in the packing of the reference, as far as the folder has them."""
    for key, wanted in expected.items():
        kind = key.removeprefix(f"{name}.")
        if key.startswith(f"{name}.") and "_cache" in kind:
            yield _row(key, _packed_cache(kind, state), wanted, CACHE_TOLERANCE)


def _packed_cache(kind: str, state: FlowState) -> Tensor:
    encoder, solver = state.encoder, state.solver
    kind, *place = kind.split(".")
    if kind == "conformer_cnn_cache":  # look-ahead frames, then the repeated ones
        return torch.cat((encoder.lookahead_tail, encoder.upsample_tail.repeat_interleave(2, dim=0))).T[None]
    if kind == "conformer_att_cache":  # the 25 Hz layers twice along time
        slow, fast = (
            torch.cat(cache.frames().unbind(1), dim=-1)[:, None] for cache in (encoder.token_cache, encoder.frame_cache)
        )
        return torch.cat((slow.repeat(1, 1, 1, 2, 1), fast))
    steps, depth = solver.tails.shape[:2]
    last = {"steplast": steps - 1, "blocklast": depth - 1}
    index = [last[part] if part in last else int(part.removeprefix("step").removeprefix("block")) for part in place]
    if kind == "estimator_cnn_cache":  # channels of the first convolution, then of the second
        tails = solver.tails.transpose(-1, -2)  # [N, depth, 2, 2, C, 2]
        return torch.cat(tails.unbind(2), dim=-2)[tuple(index)]
    step, block = index
    return torch.cat(solver.cache.frames(step, block).unbind(0), dim=-1)


@torch.inference_mode()
def check_hift(folder: Path) -> Iterator[Row]:
    """F0, source and decoder apart and together, and the cross-fading stream."""
    config, inputs, expected = _read(folder)
    hift = _hift(folder, config)
    mel = inputs["full.mel"]
    yield _row("full.f0", hift.f0_predictor(mel), expected["full.f0"], F0_TOLERANCE)
    yield _row("full.source", hift.m_source(expected["full.f0"], None), expected["full.source"], SOURCE_TOLERANCE)
    yield from _wave_rows("full.wav", hift(mel)[0], expected["full.wav"])
    wave, source = hift(mel, cached_source=inputs["cached.source"])
    yield _row("cached.source_used", source, expected["cached.source_used"], SOURCE_TOLERANCE)
    yield from _wave_rows("cached.wav", wave, expected["cached.wav"])
    yield _row("decode.wav", hift.decode(mel, inputs["decode.source"]), expected["decode.wav"], DECODE_TOLERANCE)
    wave, source = hift(inputs["noise.mel"], noise=inputs["noise.randn"])
    yield _row("noise.source", source, expected["noise.source"], SOURCE_TOLERANCE)
    yield from _wave_rows("noise.wav", wave, expected["noise.wav"])
    yield from _check_hift_stream(hift, config, inputs, expected)


def _check_hift_stream(hift: Hift, config: dict[str, Any], inputs: Tensors, expected: Tensors) -> Iterator[Row]:
    mels = torch.split(inputs["stream.mel"][0], config["stream_frames"], dim=1)
    for index, out in enumerate(_stream_hift(hift, mels)):
        # F0 comes from the mel here, and its rounding is in the source as much as in the waveform.
        source = expected[f"stream.source.{index}"]
        yield _row(f"stream.source.{index}", out.source[None], source, WAVE_TOLERANCE)
        yield from _wave_rows(f"stream.wav.{index}", out.samples[None], expected[f"stream.wav.{index}"])
        pcm = torch.from_numpy(to_int16(out.samples.numpy()))
        yield _row(f"stream.pcm.{index}", pcm, expected[f"stream.pcm.{index}"], PCM_TOLERANCE)
    given = _GivenSource(hift, [expected[f"stream.source.{index}"] for index in range(len(mels))])
    for index, out in enumerate(_stream_hift(given, mels)):
        name = f"stream.wav.{index}"
        yield _row(f"{name} from the given source", out.samples[None], expected[name], SEAM_TOLERANCE)


def _stream_hift(hift: Any, mels: Sequence[Tensor]) -> Iterator[HiftOutput]:
    streaming = StreamingHift(hift, "upstream")
    state: HiftState | None = None
    for index, mel in enumerate(mels):
        (out,) = streaming.step([HiftInput(state, mel, None, index == len(mels) - 1)])
        state = out.state
        yield out


class _GivenSource:
    """Stands in for a `Hift` whose source is known: call i decodes the i-th of ``sources``."""

    def __init__(self, hift: Hift, sources: list[Tensor]) -> None:
        self.config, self.stft_window = hift.config, hift.stft_window
        self._decode, self._sources = hift.decode, iter(sources)

    def __call__(self, mel: Tensor, **_: Tensor | None) -> tuple[Tensor, Tensor]:
        source = next(self._sources)
        return self._decode(mel, source), source


def check_e2e(folder: Path) -> Iterator[Row]:
    """Tokens to PCM by `Vocoder.step`, on the weights of the folders that config.json names."""
    config = _json(folder)
    expected = load_file(folder / "expected.safetensors")
    flow_folder, hift_folder = (folder / config[name] for name in ("flow", "hift"))
    flow_settings, inputs, _ = _read(flow_folder)
    flow, hift = _flow(flow_folder, flow_settings), _hift(hift_folder, _json(hift_folder))
    vocoder = Vocoder(
        VocoderConfig(flow.config, hift.config),
        flow,
        hift,
        VocoderOptions(steps=flow_settings["n_timesteps"]),
        noise=inputs["rand_noise"],
        source_noise=False,
    )
    replies: dict[str, _Reply] = {}
    for name, case in flow_settings["cases"].items():
        voice = Voice(name, inputs[f"{name}.prompt_token"][0].long(), inputs[f"{name}.prompt_mel"][0], inputs["spk"][0])
        tokens = inputs[f"{name}.token"][0].tolist()
        for schedule, stream in case["streams"].items():
            if f"{name}.{schedule}.pcm" in expected:
                replies[f"{name}.{schedule}"] = voice, _parts(tokens, stream["calls"])
    for key, reply in replies.items():
        chunks = _vocode(vocoder, *reply)
        lengths = config["samples_per_call"][key]
        wrong = sum(len(chunk) != length for chunk, length in zip(chunks, lengths, strict=True))
        yield Row(f"{key}.samples_per_call", wrong, 0.0)
        yield from _sound_rows(key, "", torch.cat(chunks), expected)
    for key, wave in _vocode_together(vocoder, replies).items():
        yield from _sound_rows(key, " of all replies in one step", wave, expected)


_Reply = tuple[Voice, list[list[int]]]
"""Its voice, and the tokens that each call has and no call before it had."""


def _parts(tokens: list[int], calls: list[list[Any]]) -> list[list[int]]:
    starts = [0, *(end for _, end, _ in calls)]
    return [tokens[start:end] for start, (_, end, _) in zip(starts, calls, strict=False)]


def _vocode(vocoder: Vocoder, voice: Voice, parts: list[list[int]]) -> list[Tensor]:
    """One reply alone, a call for each part."""
    stream, last = vocoder.open(voice), len(parts) - 1
    made = [vocoder.step([(stream, part, index == last)])[0] for index, part in enumerate(parts)]
    return [torch.from_numpy(samples.copy()) for samples in made]


def _vocode_together(vocoder: Vocoder, replies: dict[str, _Reply]) -> dict[str, Tensor]:
    """All replies and all their chunks in one step: one batch, and a wavefront."""
    streams = {key: vocoder.open(voice) for key, (voice, _) in replies.items()}
    owners = [key for key, (_, parts) in replies.items() for _ in parts]
    requests = [
        (streams[key], part, index == len(parts) - 1)
        for key, (_, parts) in replies.items()
        for index, part in enumerate(parts)
    ]
    made: dict[str, list[Tensor]] = {key: [] for key in replies}
    for key, samples in zip(owners, vocoder.step(requests), strict=True):
        made[key].append(torch.from_numpy(samples.copy()))
    return {key: torch.cat(chunks) for key, chunks in made.items()}


def _sound_rows(key: str, how: str, wave: Tensor, expected: Tensors) -> Iterator[Row]:
    pcm = torch.from_numpy(to_int16(wave.numpy()))
    yield _row(f"{key}.pcm{how}", pcm, expected[f"{key}.pcm"], PCM_TOLERANCE)
    yield Row(f"{key}.pcm rms{how}", _rms(pcm, expected[f"{key}.pcm"]), PCM_RMS_TOLERANCE)
    if f"{key}.wav" in expected:
        yield from _wave_rows(f"{key}.wav{how}", wave, expected[f"{key}.wav"].clamp(-1.0, 1.0))


def check_mel24k(folder: Path) -> Iterator[Row]:
    """The prompt mel."""
    config, inputs, expected = _read(folder)
    filters = mel_filters(config["sampling_rate"], PROMPT_FFT, config["n_mels"], config["fmax"])
    if "mel_basis" in expected:
        yield _row("mel_basis", filters, expected["mel_basis"], 1e-6)
    for name, wave in inputs.items():
        key = name.replace("wav", "mel")
        yield _row(key, prompt_mel(wave[0]).T[None], expected[key], 1e-4)


def check_fbank(folder: Path) -> Iterator[Row]:
    """Kaldi filter bank and resampling."""
    _, inputs, expected = _read(folder)
    for name, wave in inputs.items():
        kind, _, rest = name.partition(".")
        if kind == "resample":
            source, target = map(int, rest.split("."))
            yield _row(name, resample(wave, source, target), expected[name], 1e-5)
        else:
            yield _row(f"fbank.{rest}", fbank(wave[0]), expected[f"fbank.{rest}"], 2e-3)
            yield _row(f"fbank_cmn.{rest}", centred_fbank(wave[0]), expected[f"fbank_cmn.{rest}"], 2e-3)


@torch.inference_mode()
def check_s3tok(folder: Path) -> Iterator[Row]:
    """The speech tokenizer: log-mel, encoder, quantizer."""
    config, inputs, expected = _read(folder)
    sizes = {name: config[name] for name in ("n_mels", "n_state", "n_head", "n_layer", "fsmn_kernel")}
    tokenizer = S3Tokenizer(S3TokenizerConfig(**sizes)).eval()
    tokenizer.load_state_dict(load_file(folder / "weights.safetensors"))
    for name, wave in inputs.items():
        index = name.split(".")[1]
        mel = tokenizer_mel(wave, config["n_mels"])
        yield _row(f"mel128.{index}", mel, expected[f"mel128.{index}"], 1e-5)
        hidden = tokenizer.encoder(mel[None])
        yield _row(f"hidden.{index}", hidden, expected[f"hidden.{index}"], 1e-4)
        tokens, wanted = tokenizer.quantizer(hidden), expected[f"tokens.{index}"]
        count = int(expected[f"token_len.{index}"])
        yield Row(f"token_len.{index}", abs(tokens.shape[1] - count), 0.0)
        yield Row(f"tokens.{index}", float((tokens != wanted).sum()) if tokens.shape == wanted.shape else 1e9, 0.0)


CHECKS: dict[str, Check] = {
    "flow": check_flow,
    "hift": check_hift,
    "e2e": check_e2e,
    "mel24k": check_mel24k,
    "fbank": check_fbank,
    "s3tok": check_s3tok,
}
"""By the folder's name."""


def _json(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return content


def _read(folder: Path) -> tuple[dict[str, Any], Tensors, Tensors]:
    return _json(folder), load_file(folder / "inputs.safetensors"), load_file(folder / "expected.safetensors")


def _flow(folder: Path, config: dict[str, Any]) -> Flow:
    sections = {name: config[name] for name in ("flow", "encoder", "decoder", "estimator")}
    flow = Flow(flow_config(**sections)).eval()
    load_flow_state(flow, load_file(folder / "weights.safetensors"))
    return flow


def _hift(folder: Path, config: dict[str, Any]) -> Hift:
    hift = Hift(hift_config(config["hift"])).eval()
    load_hift_state(hift, load_file(folder / "weights.safetensors"))
    return hift


def _row(name: str, made: Tensor, wanted: Tensor, tolerance: float) -> Row:
    if made.shape != wanted.shape:
        return Row(f"{name}: shape {tuple(made.shape)}, expected {tuple(wanted.shape)}", float("inf"), tolerance)
    return Row(name, float((made.double() - wanted.double()).abs().max()), tolerance)


def _wave_rows(name: str, made: Tensor, wanted: Tensor) -> Iterator[Row]:
    made = made.view_as(wanted) if made.numel() == wanted.numel() else made
    yield _row(name, made, wanted, WAVE_TOLERANCE)
    yield Row(f"{name} rms", _rms(made, wanted), WAVE_RMS_TOLERANCE)


def _rms(made: Tensor, wanted: Tensor) -> float:
    if made.shape != wanted.shape:
        return float("inf")
    return float((made.double() - wanted.double()).square().mean().sqrt())
