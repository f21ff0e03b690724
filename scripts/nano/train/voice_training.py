"""What the trainings of nano's flow and HiFT share: resuming, learning rate, averaged weights, the log.

Dependencies: torch, safetensors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file
from torch import nn

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "work/nano/voice/data"
RUNS = ROOT / "work/nano/voice"
FLOW_YAML = ROOT / "realtime/checkpoints/nano/token2wav/flow.yaml"

WARM_UP_STEPS = 100
SAVE_SECONDS = 180.0
VALIDATION_CPU_SECONDS = 300.0
"""Processor time, not wall time: on a busy machine validation would leave none for training."""
LOG_STEPS = 50
GRADIENT_NORM = 1.0


class Stateful(Protocol):
    """What is saved and goes on with a training."""

    def state_dict(self) -> dict[str, Any]:
        """All of it."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take it back."""


@dataclass
class Training:
    """One model on its way through `steps` steps; `FOLDER/name.pt` holds model, averaged model, optimizer and
    step.

    Started again, it goes on where the file ends, also with another number of steps: the learning rate
    (warm-up, then a cosine to 5 %) depends on the share of steps done only. `average` is the exponential
    moving average of the weights, the one to use."""

    name: str
    model: nn.Module
    steps: int
    learning_rate: float
    folder: Path = RUNS
    decay: float = 0.999
    betas: tuple[float, float] = (0.9, 0.98)
    companion: Stateful | None = None
    """Saved with the model: what `losses` trains beside it."""
    step: int = 0
    average: dict[str, torch.Tensor] = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.learning_rate, betas=self.betas, weight_decay=0.01, fused=True
        )
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        if self.path.exists():
            held = torch.load(self.path)
            self.model.load_state_dict(held["model"])
            self.optimizer.load_state_dict(held["optimizer"])
            self.average, self.step = held["average"], held["step"]
            if self.companion is not None:
                self.companion.load_state_dict(held["companion"])

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.pt"

    def run(self, losses: Callable[[], dict[str, torch.Tensor]], validate: Callable[[], str] | None = None) -> None:
        """Calls `losses` once a step and minimises their sum. `validate` gives a line for the log at every
        save."""
        logged: list[dict[str, float]] = []
        saved = began = time.time()
        validated = time.process_time()
        for _ in self._remaining():
            terms = losses()
            total = torch.stack(list(terms.values())).sum()
            self.optimizer.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
            self.optimizer.step()
            self._update_average()
            logged.append({name: float(value.detach()) for name, value in terms.items()})
            if self.step % LOG_STEPS == 0:
                means = {name: sum(row[name] for row in logged) / len(logged) for name in logged[0]}
                pace = (time.time() - began) / len(logged)
                began = time.time()
                logged = []
                self.log(" ".join(f"{k} {v:.3f}" for k, v in means.items()) + f"  {pace:.2f} s/step")
            last = self.step == self.steps
            if time.time() - saved > SAVE_SECONDS or last:
                self.save()
                saved = time.time()
            if validate and (time.process_time() - validated > VALIDATION_CPU_SECONDS or last):
                self.log("held out: " + validate())
                validated, began, logged = time.process_time(), time.time(), []

    def _remaining(self) -> Iterator[None]:
        while self.step < self.steps:
            share = self.step / self.steps
            rate = self.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
            for group in self.optimizer.param_groups:
                group["lr"] = rate * min(1.0, (self.step + 1) / WARM_UP_STEPS)
            self.step += 1
            yield

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average follows faster, or the first weights would stay in it for long.
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        values = list(self.model.state_dict().values())
        torch._foreach_lerp_(list(self.average.values()), values, 1 - decay)

    def save(self) -> None:
        """Writes the file, whole or not at all."""
        part = self.path.with_suffix(".part")
        content: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        if self.companion is not None:
            content["companion"] = self.companion.state_dict()
        torch.save(content, part)
        part.rename(self.path)

    def log(self, line: str) -> None:
        """One line to stdout and to FOLDER/name.log."""
        line = f"{time.strftime('%H:%M:%S')} {self.name} {self.step}/{self.steps} {line}"
        print(line, flush=True)
        with (self.folder / f"{self.name}.log").open("a") as file:
            file.write(line + "\n")


def load_exported(module: nn.Module, path: Path) -> None:
    """Take the weights that voice_export.py wrote in half precision."""
    module.load_state_dict({name: value.float() for name, value in load_file(path).items()})


def average_of(name: str, folder: Path = RUNS) -> dict[str, torch.Tensor]:
    """The averaged weights that training `name` left behind."""
    average: dict[str, torch.Tensor] = torch.load(folder / f"{name}.pt")["average"]
    return average
