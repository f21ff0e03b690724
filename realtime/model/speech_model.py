"""A checkpoint in memory: from samples and text to logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from realtime.errors import CheckpointError
from realtime.model.config import ModelConfig
from realtime.model.decoder import DecoderRuntime
from realtime.model.encoder import Adapter, AudioEncoder, encode_segment
from realtime.model.features import feature_count, log_mel, split_segments
from realtime.model.prompt import AudioSpan, Prompt
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from realtime.model.weights import load_config, load_modules


@dataclass(frozen=True, slots=True, eq=False)
class SpeechModel:
    """Tokenizer, audio encoder, adapter and decoder of one checkpoint. Use from one thread."""

    config: ModelConfig
    tokenizer: TextTokenizer
    tokens: SpecialTokens
    encoder: AudioEncoder
    adapter: Adapter
    decoder: DecoderRuntime

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load a folder in the official layout, of any size. Raises `CheckpointError` with all faults."""
        config = load_config(folder)
        tokenizer = TextTokenizer.load(folder)
        tokens = SpecialTokens.from_ids(tokenizer.ids)
        if len(tokenizer) > config.text.vocab_size:
            raise CheckpointError(
                f"{folder}: the tokenizer has {len(tokenizer)} ids, the model's vocabulary {config.text.vocab_size}"
            )
        modules = load_modules(folder, config, device, dtype)
        return cls(config, tokenizer, tokens, modules.encoder, modules.adapter, DecoderRuntime(modules.decoder))

    @torch.inference_mode()
    def encode_audio(self, samples: NDArray[np.float32]) -> Tensor:
        """Mono samples [N] at 16 kHz -> features [n, D] of all its 25 s segments, concatenated."""
        return encode_audio(self.encoder, self.adapter, samples, self.config.audio.n_mels)

    def embed(self, prompt: Prompt, features: Mapping[str, Tensor], start: int = 0, stop: int | None = None) -> Tensor:
        """Positions ``start`` to ``stop`` of a prompt -> embeddings [T, D], with the audio features inserted.

        ``features``: `encode_audio` of each `Audio` part by its id; those of spans outside may be omitted.
        """
        ids = torch.tensor(prompt.ids[start:stop], device=self.decoder.device)
        return place_features(self.decoder.embed(ids), prompt.spans, features, start)


def encode_audio(encoder: AudioEncoder, adapter: Adapter, samples: NDArray[np.float32], n_mels: int) -> Tensor:
    """Mono samples [N] at 16 kHz -> features [n, D] of all its 25 s segments, concatenated."""
    weight = adapter.linear2.weight
    waveform = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).to(weight.device)
    features = [weight.new_empty(0, weight.shape[0])]
    for start, stop in split_segments(len(samples)):
        if feature_count(stop - start):
            features.append(encode_segment(encoder, adapter, log_mel(waveform[start:stop], n_mels)))
    return torch.cat(features)


@torch.inference_mode()
def place_features(
    embeds: Tensor, spans: tuple[AudioSpan, ...], features: Mapping[str, Tensor], start: int = 0
) -> Tensor:
    """Overwrite the positions of a prompt's audio in place: ``embeds`` [T, D] are its positions from ``start`` on."""
    stop = start + len(embeds)
    for span in spans:
        begin, end = max(span.offset, start), min(span.offset + span.count, stop)
        if begin < end:
            shift = span.first - span.offset
            embeds[begin - start : end - start] = features[span.audio_id][begin + shift : end + shift]
    return embeds
