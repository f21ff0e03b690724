"""Golden checks of the speech model: folders ``encoder``, ``llm`` and ``prompt``.

Sizes, cases and lengths are read from the folders; tolerances are those of their READMEs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from realtime.model.config import AudioEncoderConfig
from realtime.model.decoder import DecoderRuntime
from realtime.model.encoder import Adapter, AudioEncoder, encode_batch, pad_mels
from realtime.model.features import feature_count, log_mel, mel_frame_count, split_segments
from realtime.model.http_prompt import HttpPiece, http_feature_count, http_pieces
from realtime.model.interleave import Demultiplexer, Split, interleave
from realtime.model.prompt import AudioSpan, Piece, ReplyPiece, message_pieces, part_pieces
from realtime.model.sampling import Sampler
from realtime.model.speech_model import encode_audio, place_features
from realtime.model.tokens import SpecialTokens
from realtime.model.weights import SpeechModules, load_config, load_modules
from realtime.ports.messages import Audio, Message, Part, Text, Tokens
from realtime.ports.tool_calls import parse_tool_calls
from scripts.golden.report import Check, Row
from streaming_vocoder.resample import resample

LOG_MEL = 1e-4
FROM_MEL = 5e-5
FROM_WAVEFORM = 1e-4
RESAMPLING = 1e-5
LOGITS = 1e-4
PROBABILITIES = 1e-5

MODEL_RATE = 16_000

Json = Mapping[str, Any]


# --- encoder
# ---------------------------------------------------------------------------------------------------


def check_encoder(folder: Path) -> Iterator[Row]:
    """Front end, encoder, adapter, batching, token counts and resampling."""
    config = AudioEncoderConfig.from_dict(_json(folder / "config.json")["audio_encoder_config"])
    encoder, adapter = _encoder(folder, config)
    tensors = load_file(folder / "cases.safetensors")
    cases: dict[str, Json] = _json(folder / "cases.json")["cases"]
    singles = {name: case for name, case in cases.items() if "order" not in case}
    with torch.inference_mode():
        for name, case in singles.items():
            yield from _segment_rows(name, case, tensors, encoder, adapter)
        yield _batch_row("one batch of all", list(singles), tensors, encoder, adapter)
        for name in (name for name in cases if name not in singles):
            yield _batch_row(f"{name} equals alone", cases[name]["order"], tensors, encoder, adapter)
    yield from _count_rows(_json(folder / "token_counts.json"))
    yield from _resampling_rows(tensors)


def _encoder(folder: Path, config: AudioEncoderConfig) -> tuple[AudioEncoder, Adapter]:
    encoder, adapter = AudioEncoder(config).eval(), Adapter(config).eval()
    modules = torch.nn.ModuleDict({"encoder": encoder, "adapter": adapter})
    modules.load_state_dict(load_file(folder / "weights.safetensors"))
    return encoder, adapter


def _segment_rows(
    name: str, case: Json, tensors: Mapping[str, Tensor], encoder: AudioEncoder, adapter: Adapter
) -> Iterator[Row]:
    given = tensors[f"{name}.log_mel"]
    count = case["num_tokens"]
    mel = log_mel(tensors[f"{name}.waveform"], given.shape[0])
    yield _difference(f"{name} log_mel", mel, given, LOG_MEL)
    yield from _step_rows(name, tensors, encoder)
    rows = encoder(given[None])
    yield _difference(f"{name} encoder_out from mel", rows[0], tensors[f"{name}.encoder_out"], FROM_MEL)
    expected = tensors[f"{name}.adapter_out"]
    yield _difference(f"{name} adapter_out from mel", adapter(rows)[0], expected, FROM_MEL)
    features = encode_audio(encoder, adapter, tensors[f"{name}.waveform"].numpy(), given.shape[0])
    yield _difference(f"{name} features from waveform", features, expected[:count], FROM_WAVEFORM)
    http = tensors.get(f"{name}.vllm_adapter_out")
    if http is not None:
        unmasked = adapter(encoder(given[None], valid_frames=[given.shape[1]]))[0]
        yield _difference(f"{name} adapter_out of the HTTP server", unmasked[: len(http)], http, FROM_MEL)


def _step_rows(name: str, tensors: Mapping[str, Tensor], encoder: AudioEncoder) -> Iterator[Row]:
    """The steps inside the encoder, for cases that have them."""
    if f"{name}.block_in" not in tensors:
        return
    steps: dict[str, Tensor] = {}

    def keep(step: str, change: Callable[[Tensor], Tensor] = lambda x: x) -> Callable[..., None]:
        def hook(module: torch.nn.Module, args: object, output: Tensor) -> None:
            steps[step] = change(output)[0]

        return hook

    hooks = [
        encoder.conv1.register_forward_hook(keep("conv1", torch.nn.functional.gelu)),
        encoder.conv2.register_forward_hook(keep("conv2", torch.nn.functional.gelu)),
        *(block.register_forward_hook(keep(f"block{i}_out")) for i, block in enumerate(encoder.blocks)),
    ]
    given = tensors[f"{name}.log_mel"]
    encoder(given[None])
    for hook_handle in hooks:
        hook_handle.remove()
    steps["block_in"] = encoder.embed_frames(given[None], [given.shape[1]])[0]
    for step, found in steps.items():
        yield _difference(f"{name} {step}", found, tensors[f"{name}.{step}"], FROM_MEL)


def _batch_row(
    label: str, order: Sequence[str], tensors: Mapping[str, Tensor], encoder: AudioEncoder, adapter: Adapter
) -> Row:
    """Several segments in one padded batch must have the numbers that each has alone."""
    mel, frames = pad_mels([tensors[f"{name}.log_mel"] for name in order])
    batch = encode_batch(encoder, adapter, mel, frames)
    errors = [
        _error(batch.features[i, :count], tensors[f"{name}.adapter_out"][:count])
        for i, (name, count) in enumerate(zip(order, batch.feature_counts, strict=True))
    ]
    return Row(label, max(errors), FROM_MEL)


def _count_rows(entries: Sequence[Json]) -> Iterator[Row]:
    segments = [[stop - start for start, stop in split_segments(entry["num_samples"])] for entry in entries]
    for key, count in (
        ("segments", lambda length: length),
        ("mel_frames", mel_frame_count),
        ("num_tokens", feature_count),
        ("num_tokens_vllm", http_feature_count),
    ):
        found = [[count(length) for length in lengths] for lengths in segments]
        yield _mismatches(f"counts: {key}", found, [entry[key] for entry in entries])


def _resampling_rows(tensors: Mapping[str, Tensor]) -> Iterator[Row]:
    for name in sorted(tensors):
        if match := re.fullmatch(r"(resample(\d+))\.in", name):
            found = resample(tensors[name], int(match[2]), MODEL_RATE)
            yield _difference(f"{match[1]} to {MODEL_RATE}", found, tensors[f"{match[1]}.out"], RESAMPLING)


# --- llm
# -------------------------------------------------------------------------------------------------------


def check_llm(folder: Path) -> Iterator[Row]:
    """Checkpoint loading, features in their places, prefill and decode with a cache, sampling."""
    config = load_config(folder)
    modules = load_modules(folder, config)
    runtime = DecoderRuntime(modules.decoder)
    tokens = SpecialTokens.from_ids(_json(folder / "ids.json"))
    tensors = load_file(folder / "cases.safetensors")
    content = _json(folder / "cases.json")
    features: dict[str, Tensor] = {}
    for name in sorted({name.split(".")[0] for name in tensors if name.endswith(".waveform")}):
        features[name] = _features(name, tensors, modules)
        expected = tensors[f"{name}.features_single"]
        yield _difference(f"{name} features from waveform", features[name], expected, FROM_WAVEFORM)
    for name, case in content["cases"].items():
        used = [features[f"audio{k}"] for k in case["audio"]]
        if case.get("features") == "batched":  # upstream's numbers, which depend on the other segments
            used = [tensors[f"audio{k}.features_batched"] for k in case["audio"]]
        yield from _case_rows(name, case, used, tensors, runtime, modules, tokens)
    yield from _sampling_rows(content["cases"], tensors)


def _features(name: str, tensors: Mapping[str, Tensor], modules: SpeechModules) -> Tensor:
    n_mels = modules.encoder.conv1.in_channels
    with torch.inference_mode():
        return encode_audio(modules.encoder, modules.adapter, tensors[f"{name}.waveform"].numpy(), n_mels)


def _case_rows(
    name: str,
    case: Json,
    features: Sequence[Tensor],
    tensors: Mapping[str, Tensor],
    runtime: DecoderRuntime,
    modules: SpeechModules,
    tokens: SpecialTokens,
) -> Iterator[Row]:
    embeds = _merge(case["input_ids"], features, runtime, tokens)
    if f"{name}.inputs_embeds" in tensors:
        yield _difference(f"{name} inputs_embeds", embeds, tensors[f"{name}.inputs_embeds"], FROM_WAVEFORM)
    last_key = next(key for key in tensors if re.fullmatch(rf"{re.escape(name)}\.logits_last\d+", key))
    last = tensors[last_key]
    with torch.inference_mode():
        full = modules.decoder(embeds[None])[0, -len(last) :]
    yield _difference(f"{name} logits, one pass", full, last, LOGITS)
    cache = runtime.new_cache(capacity=8)
    logits = runtime.prefill(embeds, cache, last=len(last))
    yield _difference(f"{name} logits, prefill", logits, last, LOGITS)
    prefilled = cache.length
    for key, wanted in case.items():
        if match := re.fullmatch(r"greedy_\d+(?:_repetition_penalty_([\d_]+))?", key):
            cache.truncate(prefilled)
            penalty = float(match[1].replace("_", ".")) if match[1] else 1.0
            sampler = Sampler(logits.shape[-1], temperature=0, repetition_penalty=penalty)
            sampler.observe(case["input_ids"])
            ids, steps = _greedy(logits[-1], len(wanted), sampler, runtime, cache)
            yield _mismatches(f"{name} {key}", ids, wanted)
            if not match[1] and f"{name}.greedy_step_logits" in tensors:
                expected = tensors[f"{name}.greedy_step_logits"]
                yield _difference(f"{name} step logits", steps, expected, LOGITS)


def _merge(ids: Sequence[int], features: Sequence[Tensor], runtime: DecoderRuntime, tokens: SpecialTokens) -> Tensor:
    """Embed the ids; the k-th features go right after the k-th <audio_start>."""
    starts = [offset + 1 for offset, id_ in enumerate(ids) if id_ == tokens.audio_start]
    spans = tuple(
        AudioSpan(str(k), offset, 0, len(block)) for k, (offset, block) in enumerate(zip(starts, features, strict=True))
    )
    embeds = runtime.embed(torch.tensor(ids))
    return place_features(embeds, spans, {str(k): block for k, block in enumerate(features)})


def _greedy(
    logits: Tensor, count: int, sampler: Sampler, runtime: DecoderRuntime, cache: Any
) -> tuple[list[int], Tensor]:
    """The next ``count`` ids by cached steps, and the logits [count, V] that chose them."""
    ids, steps = [sampler.next(logits)], [logits]
    while len(ids) < count:
        steps.append(runtime.step(torch.tensor(ids[-1:]), [cache])[0])
        ids.append(sampler.next(steps[-1]))
    return ids, torch.stack(steps)


def _sampling_rows(cases: Json, tensors: Mapping[str, Tensor]) -> Iterator[Row]:
    """The chain of penalty, temperature, top_k and top_p; its parameters stand in the names of the
    tensors."""
    if "sampling.logits" not in tensors:
        return
    logits = tensors["sampling.logits"]
    case = next(case for name, case in cases.items() if _is_last(logits, name, tensors))
    penalties = [re.fullmatch(r"greedy_\d+_repetition_penalty_([\d_]+)", key) for key in case]
    penalty = next(float(match[1].replace("_", ".")) for match in penalties if match)
    for name in sorted(tensors):
        match = re.fullmatch(r"sampling\.probs_t([\d.]+?)(?:_k(\d+))?(?:_p([\d.]+))?", name)
        if not match and name != "sampling.after_repetition_penalty":
            continue
        temperature, top_k, top_p = match.groups() if match else (None, None, None)
        sampler = Sampler(
            len(logits),
            temperature=float(temperature or 1),
            top_k=int(top_k or 0),
            top_p=float(top_p or 1),
            repetition_penalty=penalty,
        )
        sampler.observe(case["input_ids"])
        found = sampler.probabilities(logits) if match else sampler.penalise(logits)
        yield _difference(name, found, tensors[name], PROBABILITIES if match else LOGITS)


def _is_last(logits: Tensor, name: str, tensors: Mapping[str, Tensor]) -> bool:
    last = next((value for key, value in tensors.items() if key.startswith(f"{name}.logits_last")), None)
    return last is not None and torch.equal(last[-1], logits)


# --- prompt
# ----------------------------------------------------------------------------------------------------


def check_prompt(folder: Path) -> Iterator[Row]:
    """Pieces of both prompt formats, the TA4 pattern, tool calls; all exact."""
    ta4 = _json(folder / "ta4_and_tools.json")
    tokens = _special_tokens(ta4["special_ids"])
    content = _json(folder / "prompts.json")
    lengths: Mapping[str, int] = content["audio_num_samples"]
    for name, case in content["cases"].items():
        pieces = _pieces(case["messages_inprocess"], lengths, tokens)
        wanted = [_expand(piece) for piece in case["pieces_inprocess"]]
        yield _mismatches(f"{name} in-process", [_plain(piece) for piece in pieces], wanted)
        if "mel_frames" in case:
            segments = [stop - start for clip in _clips(case) for start, stop in split_segments(lengths[clip])]
            yield _mismatches(f"{name} mel_frames", [mel_frame_count(n) for n in segments], case["mel_frames"])
        if "http_pieces" in case:
            yield _http_row(name, case, lengths)
    yield from _interleave_rows(ta4["interleave"], tokens)
    yield from _split_rows(ta4["split"], tokens)
    yield from _tool_rows(ta4["tool_calls"])


def _special_tokens(ids: Mapping[str, int]) -> SpecialTokens:
    """The folder names the ids of the speech tokens; the other names stand where the official order has
    them."""
    start = ids["<tts_start>"]
    return SpecialTokens(
        endoftext=start - 50,
        tool_call=start - 36,
        tool_call_end=start - 35,
        eot=start - 28,
        bot=start - 27,
        audio_start=start - 5,
        audio_end=start - 4,
        audio_patch=start - 3,
        tts_start=start,
        tts_end=ids["<tts_end>"],
        tts_pad=ids["<tts_pad>"],
        audio_0=ids["<audio_0>"],
        speech_padding=max(ids.values()),
    )


def _pieces(messages: Sequence[Any], lengths: Mapping[str, int], tokens: SpecialTokens) -> list[Piece]:
    """Messages are turns with a role; a list without roles is a prompt of the base model."""
    if any(isinstance(message, str) or "role" not in message for message in messages):
        return part_pieces([_part(part, lengths) for part in messages], tokens, trusted=True)
    return message_pieces([_message(message, lengths) for message in messages], tokens)


def _message(message: Json, lengths: Mapping[str, int]) -> Message:
    content = message["content"]
    if isinstance(content, list):
        content = tuple(_part(part, lengths) for part in content)
        if message["role"] == "assistant":
            content = tuple(replace(part, control=True) if isinstance(part, Text) else part for part in content)
    role: Any = "human" if message["role"] == "user" else message["role"]
    return Message(role, content, closed=message.get("eot", True))


def _part(part: Any, lengths: Mapping[str, int]) -> Part:
    if isinstance(part, str):
        return Text(part)
    if part["type"] == "text":
        return Text(part["text"])
    if part["type"] == "token":
        return Tokens(tuple(part["token"]))
    return Audio(part["audio"], np.zeros(lengths[part["audio"]], np.float32))


def _plain(piece: Piece) -> str | list[int]:
    return list(piece.reply.ids) if isinstance(piece, ReplyPiece) else str(piece)


def _expand(piece: str | list[int]) -> str | list[int]:
    """``<audio_patch*38>`` stands for 38 repetitions."""
    if isinstance(piece, list):
        return piece
    return re.sub(r"<audio_patch\*(\d+)>", lambda match: "<audio_patch>" * int(match[1]), piece)


def _clips(case: Json) -> list[str]:
    contents = [message["content"] for message in case["messages_inprocess"]]
    return [part["audio"] for parts in contents if isinstance(parts, list) for part in parts if "audio" in part]


def _http_row(name: str, case: Json, lengths: Mapping[str, int]) -> Row:
    found = http_pieces(
        case["messages_http"],
        tools=case["tools_http"],
        audio_segments=lambda part: len(split_segments(lengths[part["audio"]])),
        **case["http_request_flags"],
    )
    return _mismatches(f"{name} HTTP", [_plain_http(piece) for piece in found], case["http_pieces"])


def _plain_http(piece: HttpPiece) -> str | dict[str, str]:
    if isinstance(piece, str):
        return piece
    return {"tts_text": piece.tts_text, "tts_audio": piece.tts_audio, "text": piece.text}


def _interleave_rows(cases: Sequence[Json], tokens: SpecialTokens) -> Iterator[Row]:
    for key, pad_short in (("mar2026", True), ("sept2025", False)):
        found = [interleave(case["text"], case["audio"], tokens, pad_short=pad_short) for case in cases]
        yield _mismatches(f"interleave {key}", found, [case[key] for case in cases])


def _split_rows(case: Json, tokens: SpecialTokens) -> Iterator[Row]:
    whole = Demultiplexer(tokens).push(case["generated"])
    yield _mismatches("split, whole", _channels(whole), case["nonstreaming"])
    stream = Demultiplexer(tokens)
    found = [_channels(stream.push(step["delta"])) for step in case["streaming"]]
    yield _mismatches("split, streaming", found, [step["out"] for step in case["streaming"]])


def _channels(split: Split) -> list[list[int]]:
    return [list(split.text), list(split.speech), list(split.rest)]


def _tool_rows(cases: Sequence[Json]) -> Iterator[Row]:
    parsed = [parse_tool_calls(case["text"]) for case in cases]
    called = [bool(reply.calls) for reply in parsed]
    calls = [[{"name": call.name, "arguments": call.arguments} for call in reply.calls] for reply in parsed]
    yield _mismatches("tools_called", called, [case["tools_called"] for case in cases])
    yield _mismatches("tool calls", calls, [case["calls"] for case in cases])
    contents = [case["content"] or "" for case in cases]
    yield _mismatches("text outside of tool calls", [reply.content for reply in parsed], contents)


# --- common
# ----------------------------------------------------------------------------------------------------


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _error(found: Tensor, expected: Tensor) -> float:
    """Largest absolute difference; another shape is an infinite one."""
    if found.shape != expected.shape:
        return float("inf")
    return float((found.double() - expected.double()).abs().max()) if found.numel() else 0.0


def _difference(name: str, found: Tensor, expected: Tensor, tolerance: float) -> Row:
    return Row(name, _error(found, expected), tolerance)


def _mismatches(name: str, found: Iterable[Any], expected: Iterable[Any]) -> Row:
    missing = object()
    wrong = sum(a != b for a, b in zip_longest(found, expected, fillvalue=missing))
    return Row(name, float(wrong), 0.0)


CHECKS: dict[str, Check] = {"encoder": check_encoder, "llm": check_llm, "prompt": check_prompt}
"""By kind of folder."""
