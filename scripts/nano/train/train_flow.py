"""Trains nano's flow (speech codes -> mel) by conditional flow matching on synthesized speech.

    python scripts/nano/data/voice_data.py shards work/nano/voice/data
    nohup nice -n 5 python scripts/nano/train/train_flow.py --steps 6000 &

A row of a batch is a crop of neighbouring tokens. Attention is full or in chunks of 5, 10 or 25 tokens, as in
streaming; half of the rows have a prompt (a prefix whose mel is given as condition), two in ten of all have
no condition at all (classifier-free guidance). Loss: velocity + 0.3 x L1(mu, mel). Goes on where it stopped
(work/nano/voice/flow.pt; log beside it).

The embedding table starts as a sum of one random row per component of the code (phone, position, pitch), and
mel outputs start at the mean mel: the flow works on plain ln mel (mean -5), its noise is N(0, 1).

Dependencies: torch, numpy, scipy, pyyaml, safetensors.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano.data.speech_codes import COMPONENT_SIZES, component_ids
from scripts.nano.data.voice_data import VOICES, load_shards
from scripts.nano.train.voice_training import DATA, FLOW_YAML, RUNS, Training, load_exported
from streaming_vocoder.config import FRAMES_PER_TOKEN, read_flow_yaml
from streaming_vocoder.flow import Flow

CROP_TOKENS = 64
BATCH = 12
MU_WEIGHT = 0.3
CHUNK_TOKENS = (None, None, 5, 10, 25)
PROMPT_SHARE = 0.5
MAX_PROMPT_TOKENS = 40


def speaker_embedding(voice: str = "default", width: int = 192) -> Tensor:
    """The raw embedding [width] of one of nano's voices: a unit vector that stands for it, not measured from
    speech."""
    embedding = torch.zeros(width)
    embedding[list(VOICES).index(voice)] = 1.0
    return embedding


def initialise(flow: Flow, mean_mel: Tensor) -> None:
    """Factorized start of the embedding table; mel outputs at the mean mel [80]."""
    width = flow.config.input_size
    tables = [torch.randn(size, width) for size in COMPONENT_SIZES]
    # Pitch steps are ordered: neighbours start alike.
    tables[2] = torch.linspace(-1, 1, COMPONENT_SIZES[2])[:, None] * torch.randn(width)
    ids = torch.from_numpy(component_ids())
    final = flow.decoder.estimator.final_layer.linear
    with torch.no_grad():
        flow.input_embedding.weight.copy_(
            torch.stack([table[ids[:, i]] for i, table in enumerate(tables)]).sum(dim=0) / len(tables) ** 0.5
        )
        flow.encoder_proj.bias.copy_(mean_mel)
        final.bias.copy_(mean_mel)
        final.weight.mul_(0.1)
        # Gates near zero (as in the DiT paper): every block starts as the identity.
        for block in flow.decoder.estimator.blocks:
            block.adaLN_modulation[1].weight.mul_(0.1)  # type: ignore[index, union-attr]


class Crops:
    """Random runs of CROP_TOKENS tokens out of the training utterances of a voice, laid end to end in random order.

    A crop may cross from one utterance into the next: both end in silence, as sentences of a reply do."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items
        self.voices = sorted({item["voice"] for item in items})
        self.generator = random.Random()
        self.shuffle()

    def shuffle(self) -> None:
        order = self.generator.sample(self.items, len(self.items))
        spoken = {voice: [item for item in order if item["voice"] == voice] for voice in self.voices}
        self.codes = {voice: torch.cat([item["codes"] for item in items]).long() for voice, items in spoken.items()}
        self.mel = {voice: torch.cat([item["mel"] for item in items]) for voice, items in spoken.items()}

    def mean_mel(self) -> Tensor:
        """Mean over all frames [80]."""
        return torch.cat(list(self.mel.values())).float().mean(dim=0)

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """mel [B, F, 80], codes [B, T], speaker embeddings [B, 192]."""
        codes, mel, speakers = [], [], []
        for voice in self.generator.choices(self.voices, k=BATCH):
            start = self.generator.randrange(len(self.codes[voice]) - CROP_TOKENS)
            end = start + CROP_TOKENS
            codes.append(self.codes[voice][start:end])
            mel.append(self.mel[voice][FRAMES_PER_TOKEN * start : FRAMES_PER_TOKEN * end])
            speakers.append(speaker_embedding(voice))
        return torch.stack(mel).float(), torch.stack(codes), torch.stack(speakers)


def losses(flow: Flow, mel: Tensor, codes: Tensor, speakers: Tensor) -> dict[str, Tensor]:
    """Training losses of one batch; everything random from the global generators."""
    count = len(codes)
    prompt = torch.randint(3, MAX_PROMPT_TOKENS + 1, (count,)) * (torch.rand(count) < PROMPT_SHARE)
    found = flow(
        mel,
        codes,
        speakers,
        prompt_frames=FRAMES_PER_TOKEN * prompt,
        chunk_tokens=random.choice(CHUNK_TOKENS),
    )
    return {"velocity": found.velocity, "mu": MU_WEIGHT * found.mu}


class _Mish(torch.autograd.Function):
    """x tanh(softplus(x)), differentiated from two saved tensors: twice as fast on a CPU as torch's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        e = x.clamp(max=15.0).exp()
        n = e * (e + 2.0)
        tanh = n / (n + 2.0)
        ctx.save_for_backward(x, e, tanh)
        return x * tanh

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, e, tanh = ctx.saved_tensors
        return gradients[0] * (tanh + x * (1 - tanh * tanh) * (e / (1 + e)))


def _attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Plain softmax attention: for 128 frames faster on a CPU than the fused kernel."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if attn_mask is not None:
        hidden = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -1e4) if hidden else scores + attn_mask
    return scores.softmax(-1).to(v.dtype) @ v


def use_cpu_kernels() -> None:
    """Puts the two functions above in place of torch's for this process: a quarter off the time of a step."""
    functional.mish = _Mish.apply
    functional.scaled_dot_product_attention = _attention


@torch.no_grad()
def held_out_error(flow: Flow, items: list[dict[str, Any]], steps: int = 6) -> tuple[float, float]:
    """L1 of ln mel against the true one after a prompt of one utterance: generated mel, and mu."""
    prompt, *others = items
    speaker = speaker_embedding()[None]
    made_errors, mu_errors = [], []
    for item in others:
        codes, mel = item["codes"].long()[None], item["mel"].float()
        made = flow.generate(codes, prompt["codes"].long()[None], prompt["mel"].float()[None], speaker, steps=steps)
        made_errors.append((made[0] - mel).abs().mean())
        mu_errors.append((flow.encode(codes)[0] - mel).abs().mean())
    return float(torch.stack(made_errors).mean()), float(torch.stack(mu_errors).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS, help="where the weights go")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--bf16", action="store_true", help="autocast: faster on processors with AMX")
    parser.add_argument("--from-checkpoint", action="store_true", help="start from the flow.safetensors that is served")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    use_cpu_kernels()

    config = read_flow_yaml(FLOW_YAML).flow
    flow, judged = Flow(config), Flow(config).eval()
    crops = Crops(load_shards(arguments.data.glob("train-*.pt")))
    held_out = load_shards([arguments.data / "held-out.pt"])[:13]
    if arguments.from_checkpoint:
        load_exported(flow, FLOW_YAML.with_name("flow.safetensors"))
    else:
        initialise(flow, crops.mean_mel())
    training = Training("flow", flow, arguments.steps, arguments.learning_rate, arguments.runs)
    torch.manual_seed(training.step)
    random.seed(training.step)

    def step() -> dict[str, Tensor]:
        if training.step % 1000 == 0:
            crops.shuffle()
        batch = crops.draw()
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            return losses(flow, *batch)

    def validate() -> str:
        judged.load_state_dict(training.average)
        made, mu = held_out_error(judged, held_out)
        return f"mel L1 {made:.3f}, of mu {mu:.3f}"

    minutes = {voice: round(len(codes) / 25 / 60) for voice, codes in crops.codes.items()}
    training.log(f"{len(crops.items)} utterances, minutes {minutes}")
    training.run(step, validate)


if __name__ == "__main__":
    main()
