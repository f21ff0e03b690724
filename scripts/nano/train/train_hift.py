"""Trains nano's HiFT (mel -> waveform) on synthesized speech, with the true F0 as its source.

    python scripts/nano/data/voice_data.py shards work/nano/voice/data
    nohup nice -n 5 python scripts/nano/train/train_hift.py --steps 6000 &

Losses: spectral convergence and log magnitude L1 over four STFT sizes, L1 of the ln mel, L1 / 100 Hz of the
predicted F0; polish_hift.py goes on from there with discriminators. The input mels are blurred and noisy now
and then, as a flow's are. Goes on where it stopped (work/nano/voice/hift.pt; log beside it).

Dependencies: torch, numpy, scipy, pyyaml, safetensors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano.data.voice_data import load_shards
from scripts.nano.train.voice_training import DATA, FLOW_YAML, RUNS, Training
from streaming_vocoder.config import HOP_SAMPLES, HiftConfig, read_flow_yaml
from streaming_vocoder.hift import Hift
from streaming_vocoder.mel import prompt_mel

FFT_SIZES = (240, 512, 1024, 2048)
CROP_FRAMES = 32
BATCH = 8
F0_UNIT = 100.0
START_LOG_MAGNITUDE = -4.0
"""exp(0) would be far louder than speech: untrained, the spectrum starts near this."""


def stft_loss(made: Tensor, true: Tensor) -> Tensor:
    """[B, S] x 2 -> mean over FFT_SIZES of spectral convergence + log magnitude L1."""
    terms = []
    for size in FFT_SIZES:
        window = torch.hann_window(size)
        a, b = (
            torch.stft(x, size, size // 4, window=window, return_complex=True).abs().clamp(min=1e-4)
            for x in (made, true)
        )
        convergence = (a - b).norm(dim=(1, 2)) / b.norm(dim=(1, 2)).clamp(min=1e-3)
        terms.append(convergence.clamp(max=2.0).mean() + (a.log() - b.log()).abs().mean())
    return torch.stack(terms).mean()


def degrade(mel: Tensor) -> Tensor:
    """ln mel [B, F, 80] -> half of the crops smoothed over time by a random part, all with a little noise."""
    count = mel.shape[0]
    smooth = F.avg_pool1d(mel.transpose(1, 2), 3, 1, 1, count_include_pad=False).transpose(1, 2)
    part = torch.rand(count, 1, 1) * (torch.rand(count, 1, 1) < 0.5)
    noisy = torch.lerp(mel, smooth, part)
    return noisy + torch.randn_like(mel) * 0.15 * torch.rand(count, 1, 1)


class Crops:
    """Random crops of the training utterances, in memory."""

    def __init__(self, folder: Path, batch: int = BATCH) -> None:
        self.batch = batch
        items = [i for i in load_shards(folder.glob("train-*.pt")) if len(i["f0"]) >= CROP_FRAMES]
        self.items = items

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """mel [B, F, 80], f0 [B, F], audio [B, S]."""
        mels, f0s, waves = [], [], []
        for index in torch.randint(len(self.items), (self.batch,)).tolist():
            item = self.items[index]
            start = int(torch.randint(len(item["f0"]) - CROP_FRAMES + 1, ()))
            end = start + CROP_FRAMES
            mels.append(item["mel"][start:end].float())
            f0s.append(item["f0"][start:end])
            waves.append(item["pcm"][start * HOP_SAMPLES : end * HOP_SAMPLES].float() / 32767)
        return torch.stack(mels), torch.stack(f0s), torch.stack(waves)


def losses(hift: Hift, mel: Tensor, f0: Tensor, audio: Tensor) -> dict[str, Tensor]:
    """Training losses of one batch; noise from the global generator."""
    seen = degrade(mel).transpose(1, 2)
    source = hift.m_source(f0, torch.randn(*audio.shape, 1))
    made = hift.decode(seen, source)
    made_mel = torch.stack([prompt_mel(wave) for wave in made])
    return {
        "stft": stft_loss(made, audio),
        "mel": (made_mel - mel).abs().mean(),
        "f0": (hift.f0_predictor(seen) - f0).abs().mean() / F0_UNIT,
    }


@torch.no_grad()
def held_out_mel_error(hift: Hift, folder: Path, count: int = 12) -> tuple[float, float]:
    """Mean L1 of the ln mel after resynthesis from true mels, whole utterances, and mean error of F0 in
    Hz."""
    mel_errors, f0_errors = [], []
    for item in load_shards([folder / "held-out.pt"])[:count]:
        mel = item["mel"].float()
        wave, _ = hift(mel.T[None], noise=torch.randn(1, len(item["pcm"]), 1))
        mel_errors.append((prompt_mel(wave[0]) - mel).abs().mean())
        f0_errors.append((hift.f0_predictor(mel.T[None])[0] - item["f0"]).abs().mean())
    return float(torch.stack(mel_errors).mean()), float(torch.stack(f0_errors).mean())


def options(description: str | None, name: str, learning_rate: float) -> argparse.ArgumentParser:
    """What both trainings of HiFT can be told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sizes", type=Path, default=FLOW_YAML, help="a flow.yaml with a `hift:` section")
    parser.add_argument("--name", default=name, help="of the file and the log that it leaves")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where the weights are and go")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    return parser


def validation(training: Training, config: HiftConfig, data: Path) -> Callable[[], str]:
    """Judge the averaged weights of a training on the held-out utterances, whenever it is called."""
    judged = Hift(config).eval()

    def validate() -> str:
        judged.load_state_dict(training.average)
        mel_error, f0_error = held_out_mel_error(judged, data)
        return f"mel L1 {mel_error:.3f}, F0 error {f0_error:.1f} Hz"

    return validate


def main() -> None:
    """Run the command line."""
    arguments = options(__doc__, "hift", 1e-3).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    config = read_flow_yaml(arguments.sizes).hift
    hift = Hift(config)
    with torch.no_grad():
        hift.conv_post.weight.mul_(0.3)
        hift.conv_post.bias[: config.istft_n_fft // 2 + 1].fill_(START_LOG_MAGNITUDE)  # type: ignore[index]
    training = Training(arguments.name, hift, arguments.steps, arguments.learning_rate, arguments.runs)
    torch.manual_seed(training.step)
    crops = Crops(arguments.data)
    training.log(f"{len(crops.items)} utterances, {sum(p.numel() for p in hift.parameters())} parameters")
    training.run(lambda: losses(hift, *crops.draw()), validation(training, config, arguments.data))


if __name__ == "__main__":
    main()
