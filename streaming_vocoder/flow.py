"""Flow matching: speech tokens, voice and noise -> mel. Training and offline synthesis (streaming:
`flow_stream`).

Letters: B batch, T tokens (25 Hz), F = 2 T mel frames (50 Hz), N solver steps. Mels are [B, F, 80] here; ln
mel outside, scaled by `MelScale` inside. Module names are the checkpoint's keys (`flow.pt`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streaming_vocoder.config import FRAMES_PER_TOKEN, FlowConfig
from streaming_vocoder.conformer import UpsampleConformerEncoder
from streaming_vocoder.dit import DiT

NOISE_FRAMES = 30_000
NOISE_SEED = 0
CONDITION_DROPOUT = 0.2
"""Share of training examples without mu, speaker and condition (classifier-free guidance)."""


def time_grid(steps: int) -> Tensor:
    """Times t_0 = 0 ... t_N = 1 of the solver, float32 [N + 1]: dense at the start (cosine)."""
    return 1.0 - torch.cos(torch.arange(steps + 1, dtype=torch.float64) * (0.5 * math.pi / steps)).float()


def default_noise(frames: int = NOISE_FRAMES, channels: int = 80) -> Tensor:
    """The buffer [1, 80, frames] that every solve starts from. The reference draws it randomly per process;
    here it is seeded."""
    return torch.randn(1, channels, frames, generator=torch.Generator().manual_seed(NOISE_SEED))


def block_mask(
    frames: int,
    chunk_frames: int | None = None,
    prefix_frames: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor | None:
    """The attention mask, bool [B|1, frames, frames] (True = visible); None if everything is visible.

    ``chunk_frames``: a frame sees its own chunk and all chunks before, as in streaming. ``prefix_frames`` [B]: the
    prompt, a chunk of its own; the other chunks begin at its end. ``lengths`` [B]: valid frames; later ones are hidden
    (but see themselves).
    """
    if chunk_frames is None and lengths is None:
        return None
    index = torch.arange(frames)
    visible = torch.ones(1, frames, frames, dtype=torch.bool)
    if chunk_frames is not None:
        prefix = torch.zeros(1, dtype=torch.long) if prefix_frames is None else prefix_frames.cpu()
        chunk = torch.div(index - prefix[:, None], chunk_frames, rounding_mode="floor").clamp(min=-1)
        visible = chunk[:, None, :] <= chunk[:, :, None]
    if lengths is not None:
        visible = visible & (index < lengths.cpu()[:, None])[:, None, :]
    return visible | torch.eye(frames, dtype=torch.bool)


@dataclass(frozen=True, slots=True, eq=False)
class FlowLoss:
    """``velocity``: the flow matching loss. ``mu``: L1 between the encoder's output and the scaled mel, an
    optional auxiliary loss."""

    velocity: Tensor
    mu: Tensor


class ConditionalFlowMatching(nn.Module):
    """The velocity network and the Euler solver with classifier-free guidance."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.guidance = config.inference_cfg_rate
        self.estimator = DiT(config.estimator)

    def solve(
        self, noise: Tensor, mu: Tensor, speaker: Tensor, cond: Tensor, steps: int, mask: Tensor | None = None
    ) -> Tensor:
        """noise, mu, cond [B, F, 80], speaker [B, 80] -> x at time 1 [B, F, 80]."""
        count, x = noise.shape[0], noise
        mu2, speaker2, cond2 = (torch.cat((value, torch.zeros_like(value))) for value in (mu, speaker, cond))
        mask2 = mask if mask is None or mask.shape[0] == 1 else torch.cat((mask, mask))
        grid = time_grid(steps).to(noise.device)
        for now, after in zip(grid[:-1], grid[1:], strict=True):
            both = self.estimator(torch.cat((x, x)), mu2, now.expand(2 * count), speaker2, cond2, mask2)
            velocity = torch.lerp(both[count:], both[:count], 1.0 + self.guidance)
            x = x + (after - now) * velocity
        return x

    def loss(
        self,
        target: Tensor,
        mu: Tensor,
        speaker: Tensor,
        cond: Tensor,
        weight: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Mean squared error of the velocity at a random time, over the frames of ``weight`` [B, F].
        Scalar."""
        count = target.shape[0]
        t = 1.0 - torch.cos(torch.rand(count, device=target.device) * (0.5 * math.pi))
        noise = torch.randn_like(target)
        x = torch.lerp(noise, target, t[:, None, None])
        keep = (torch.rand(count, device=target.device) > CONDITION_DROPOUT).to(target.dtype)
        velocity = self.estimator(
            x, mu * keep[:, None, None], t, speaker * keep[:, None], cond * keep[:, None, None], mask
        )
        error: Tensor = (velocity - (target - noise)).square().mean(dim=-1)
        return (error * weight).sum() / weight.sum().clamp(min=1.0)


class Flow(nn.Module):
    """Tokens, speaker and prompt -> mel."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.input_embedding = nn.Embedding(config.vocab_size, config.input_size)
        self.spk_embed_affine_layer = nn.Linear(config.spk_embed_dim, config.output_size)
        self.encoder = UpsampleConformerEncoder(config.encoder)
        self.encoder_proj = nn.Linear(config.encoder.output_size, config.output_size)
        self.decoder = ConditionalFlowMatching(config)

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens int [B, T] -> mu [B, F, 80]; mask over frames [B|1, F, F] (see `block_mask`)."""
        return self.encoder_proj(self.encoder(self.input_embedding(tokens), mask))  # type: ignore[no-any-return]

    def project_speaker(self, embedding: Tensor) -> Tensor:
        """Raw speaker embedding [B, 192] -> [B, 80]."""
        return self.spk_embed_affine_layer(F.normalize(embedding, dim=-1))  # type: ignore[no-any-return]

    def forward(
        self,
        mel: Tensor,
        tokens: Tensor,
        speaker: Tensor,
        *,
        prompt_frames: Tensor | None = None,
        lengths: Tensor | None = None,
        chunk_tokens: int | None = None,
    ) -> FlowLoss:
        """Losses of one training batch; condition dropout, time and noise are drawn from the global
        generator.

        mel: ln mel [B, F, 80]; tokens int [B, F / 2]; speaker: raw embedding [B, 192]; ``prompt_frames`` [B]:
        number of first frames given as condition (excluded from the velocity loss); ``lengths``
        [B]: real frames; ``chunk_tokens``: attention as in streaming with chunks of that size after the
        prompt, None = full attention.
        """
        target = self.config.mel.apply(mel)
        frames = target.shape[1]
        chunk_frames = None if chunk_tokens is None else FRAMES_PER_TOKEN * chunk_tokens
        mask = block_mask(frames, chunk_frames, prompt_frames, lengths)
        mask = None if mask is None else mask.to(target.device)
        index = torch.arange(frames, device=target.device)
        real = torch.ones_like(target[..., 0]) if lengths is None else (index < lengths[:, None]).to(target.dtype)
        prompt = torch.zeros_like(real) if prompt_frames is None else (index < prompt_frames[:, None]).to(target.dtype)
        mu = self.encode(tokens, mask)
        mu_loss = ((mu - target).abs().mean(dim=-1) * real).sum() / real.sum()
        cond = target * prompt[..., None]
        velocity = self.decoder.loss(target, mu, self.project_speaker(speaker), cond, real * (1 - prompt), mask)
        return FlowLoss(velocity, mu_loss)

    @torch.inference_mode()
    def generate(
        self,
        tokens: Tensor,
        prompt_tokens: Tensor,
        prompt_mel: Tensor,
        speaker: Tensor,
        *,
        steps: int = 10,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Offline synthesis with full attention: tokens [B, T], prompt_mel ln mel [B, P, 80] -> ln mel [B, 2
        T, 80].

        ``noise``: buffer [1, 80, >= frames], default `default_noise`.
        """
        mu = self.encode(torch.cat((prompt_tokens, tokens), dim=1))
        prompt, total = prompt_mel.shape[1], mu.shape[1]
        cond = F.pad(self.config.mel.apply(prompt_mel), (0, 0, 0, total - prompt))
        buffer = default_noise(max(total, 1), self.config.output_size) if noise is None else noise
        start = buffer[:, :, :total].transpose(1, 2).expand_as(mu).to(mu)
        x = self.decoder.solve(start, mu, self.project_speaker(speaker), cond, steps)
        return self.config.mel.undo(x[:, prompt:])
