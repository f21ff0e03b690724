"""The same numbers on a CUDA device as on the CPU, in float32, on the embedded checkpoint. Run with ``-m gpu``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from realtime.config import EMBEDDED_CHECKPOINT
from realtime.model.prompt import render
from realtime.model.speech_model import SpeechModel
from realtime.ports.messages import Audio, Message
from streaming_vocoder.options import VocoderOptions
from streaming_vocoder.streaming import Vocoder
from streaming_vocoder.voice import Voice

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
STEPS = 20


@pytest.fixture(autouse=True)
def exact_products() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def greedy_reply(device: str) -> tuple[list[int], torch.Tensor]:
    model = SpeechModel.load(EMBEDDED_CHECKPOINT, device)
    samples = (0.1 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
    prompt = render([Message("human", (Audio("a", samples),))], model.tokenizer, model.tokens, speech=True)
    cache = model.decoder.new_cache()
    embeds = model.embed(prompt, {"a": model.encode_audio(samples)})
    first = logits = model.decoder.prefill(embeds, cache)[-1]
    ids = []
    for _ in range(STEPS):
        ids.append(int(logits.argmax()))
        logits = model.decoder.step(torch.tensor(ids[-1:], device=device), [cache])[0]
    return ids, first.cpu()


def test_the_speech_model_answers_alike() -> None:
    (cpu_ids, cpu_logits), (gpu_ids, gpu_logits) = greedy_reply("cpu"), greedy_reply("cuda")
    torch.testing.assert_close(gpu_logits, cpu_logits, atol=1e-3, rtol=1e-3)
    assert gpu_ids == cpu_ids


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-3), (torch.bfloat16, 5e-2), (torch.float16, 2e-2)])
def test_the_vocoder_sounds_alike_from_graphs(dtype: torch.dtype, error: float) -> None:
    """Three streams, so that the batch of four has a dummy; 25, 25 and 10 tokens, then a ragged end."""
    voice = Voice.load(EMBEDDED_CHECKPOINT / "voices" / "default.safetensors")
    tokens, sounds = voice.tokens.tolist()[:70], []
    for device, options in (("cpu", {}), ("cuda", {"fixed_streams": 3, "dtype": dtype})):
        vocoder = Vocoder.load(EMBEDDED_CHECKPOINT / "token2wav", device, VocoderOptions(trim="prompt", **options))
        vocoder.source_noise = False
        streams = [vocoder.open(voice) for _ in range(3)]
        made = []
        for start, stop in ((0, 28), (28, 53), (53, 63), (63, 70)):
            made.append(vocoder.step([(stream, tokens[start:stop], stop == 70) for stream in streams]))
        sounds.append([np.concatenate(parts) for parts in zip(*made, strict=True)])
    for one, other in zip(*sounds, strict=True):
        assert np.sqrt(np.mean((one - other) ** 2)) < error


def test_the_vocoder_sounds_alike() -> None:
    voice = Voice.load(EMBEDDED_CHECKPOINT / "voices" / "default.safetensors")
    sounds = []
    for device in ("cpu", "cuda"):
        vocoder = Vocoder.load(EMBEDDED_CHECKPOINT / "token2wav", device)
        vocoder.source_noise = False  # its generator is the device's own
        stream = vocoder.open(voice)
        tokens = voice.tokens.tolist()
        parts = [vocoder.step([(stream, tokens[:30], False)])[0], vocoder.step([(stream, tokens[30:], True)])[0]]
        sounds.append(np.concatenate(parts))
    assert np.sqrt(np.mean((sounds[0] - sounds[1]) ** 2)) < 1e-3
