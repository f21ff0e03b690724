"""The second half of the training of nano's HiFT: against discriminators, for breath and edges in the voice.

    nohup nice -n 5 python scripts/nano/train/polish_hift.py --steps 6000 &

Starts from what train_hift.py left (or, with --from-checkpoint, from the exported weights). Spectral losses alone make
the mean of all sounds that fit a mel: hiss becomes a comb, high harmonics smear, and the voice is hoarse. Losses: ln
mels of three window lengths, F0, the discriminators' verdicts and the distance of their features. Goes on where it
stopped (work/nano/voice/hift-polished.pt; log beside it).

Dependencies: torch, numpy, scipy, pyyaml, safetensors.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano.data.voice_data import SAMPLE_RATE
from scripts.nano.train.discriminators import Discriminators, discrimination_loss, generation_losses
from scripts.nano.train.train_hift import F0_UNIT, Crops, degrade, options, validation
from scripts.nano.train.voice_training import Training, average_of, load_exported
from streaming_vocoder.config import read_flow_yaml
from streaming_vocoder.hift import Hift
from streaming_vocoder.mel import mel_filters

MEL_WINDOWS = ((512, 40), (1024, 64), (2048, 80))
"""Window length and bands of the mels that are compared."""
BATCH = 5
MEL_WEIGHT = 8.0
MATCH_WEIGHT = 2.0
DISCRIMINATOR_RATE = 4e-4
HEAD_START_STEPS = 100
"""Steps in which the discriminators learn and are not yet listened to."""


class MelLoss(nn.Module):
    """L1 of ln mels at MEL_WINDOWS. [B, S] x 2 -> scalar."""

    def __init__(self) -> None:
        super().__init__()
        for size, bands in MEL_WINDOWS:
            self.register_buffer(f"window{size}", torch.hann_window(size), persistent=False)
            self.register_buffer(
                f"filters{size}", mel_filters(SAMPLE_RATE, size, bands, SAMPLE_RATE / 2), persistent=False
            )

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        terms = []
        for size, _ in MEL_WINDOWS:
            window, filters = self.get_buffer(f"window{size}"), self.get_buffer(f"filters{size}")
            a, b = (
                (filters @ torch.stft(x, size, size // 4, window=window, return_complex=True).abs())
                .clamp(min=1e-5)
                .log()
                for x in (made, true)
            )
            terms.append((a - b).abs().mean())
        return torch.stack(terms).mean()


class Polishing:
    """Draws a batch, teaches the discriminators and gives HiFT's losses."""

    def __init__(self, hift: Hift, crops: Crops, rate: float = DISCRIMINATOR_RATE) -> None:
        self.hift, self.crops = hift, crops
        self.judges, self.mel_loss = Discriminators(), MelLoss()
        self.optimizer = torch.optim.AdamW(self.judges.parameters(), lr=rate, betas=(0.8, 0.99), fused=True)

    def losses(self, listen: bool) -> dict[str, Tensor]:
        """Losses of HiFT for one batch, as `Training.run` wants them; whether the discriminators are listened to."""
        mel, f0, audio = self.crops.draw()
        seen = degrade(mel).transpose(1, 2)
        made = self.hift.decode(seen, self.hift.m_source(f0, torch.randn(*audio.shape, 1)))
        terms = {
            "mel": MEL_WEIGHT * self.mel_loss(made, audio),
            "f0": (self.hift.f0_predictor(seen) - f0).abs().mean() / F0_UNIT,
        }
        true = self.judges(audio)
        loss = discrimination_loss(true, self.judges(made.detach()))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if listen:
            self.judges.requires_grad_(False)
            verdict, match = generation_losses(true, self.judges(made))
            self.judges.requires_grad_(True)
            terms |= {"verdict": verdict, "match": MATCH_WEIGHT * match}
        return terms

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to go on."""
        return {"judges": self.judges.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.judges.load_state_dict(state["judges"])
        self.optimizer.load_state_dict(state["optimizer"])


def main() -> None:
    """Run the command line."""
    parser = options(__doc__, "hift-polished", 4e-4)
    parser.add_argument("--from-checkpoint", action="store_true", help="start from the hift.safetensors beside --sizes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    config = read_flow_yaml(arguments.sizes).hift
    hift = Hift(config)
    if arguments.from_checkpoint:
        load_exported(hift, arguments.sizes.with_name("hift.safetensors"))
    else:
        hift.load_state_dict(average_of("hift", arguments.runs))
    polishing = Polishing(hift, Crops(arguments.data, BATCH))
    training = Training(
        arguments.name,
        hift,
        arguments.steps,
        arguments.learning_rate,
        arguments.runs,
        betas=(0.8, 0.99),
        companion=polishing,
    )
    torch.manual_seed(training.step)
    validate = validation(training, config, arguments.data)
    training.log(f"{len(polishing.crops.items)} utterances; before: {validate()}")
    training.run(lambda: polishing.losses(listen=training.step >= HEAD_START_STEPS), validate)


if __name__ == "__main__":
    main()
