"""All options of a vocoder, as one frozen value that is validated on construction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch

from streaming_vocoder.chunk_schedule import ChunkSchedule
from streaming_vocoder.config import FRAMES_PER_TOKEN
from streaming_vocoder.errors import OptionError
from streaming_vocoder.hift_stream import CrossFade
from streaming_vocoder.solver_cache import CHUNK_ROOM, TrimRule

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MOST_STEPS = 100
"""Upper bound of the solver steps. The reference uses 10; each step has its own cache."""
ENCODER_WINDOW_FRAMES = 2000
LEAST_ENCODER_WINDOW = 16
"""The chunk itself is always visible in addition to the window, so a small window works."""


@dataclass(frozen=True, slots=True)
class VocoderOptions:
    """Raises `OptionError` for invalid values and combinations."""

    steps: int = 10
    """Euler steps of flow matching. A voice's snapshot is made for this number."""
    trim: TrimRule = "upstream"
    """What the solver keeps of the past (`solver_cache`)."""
    fade: CrossFade = "upstream"
    """How chunks are joined (`hift_stream`)."""
    dtype: torch.dtype = torch.float32
    """Data type of the solver's products and caches, which are nearly all of the work; encoder and HiFT stay
    float32."""
    ladder: ChunkSchedule = ChunkSchedule()
    """The chunk lengths that the user of `Vocoder` chooses from. `step` accepts other lengths, too."""
    fixed_streams: int = 0
    """Number of streams whose chunks of the ladder's lengths are solved in batches of fixed shape, on CUDA as graphs
    (`fixed_solver`); needs the trim rule ``prompt``."""
    encoder_window_frames: int = ENCODER_WINDOW_FRAMES
    """Past frames that the encoder sees, including the prompt (40 s). Exact up to this length, then a sliding
    window."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise OptionError("steps", f"got {self.steps}, expected 1 to {MOST_STEPS} solver steps")
        for name, known in (("trim", get_args(TrimRule)), ("fade", get_args(CrossFade)), ("dtype", DTYPES)):
            if (value := getattr(self, name)) not in known:
                raise OptionError(name, f"got {value}, expected one of {', '.join(map(str, known))}")
        if self.encoder_window_frames < LEAST_ENCODER_WINDOW:
            problem = f"got {self.encoder_window_frames}, expected at least {LEAST_ENCODER_WINDOW} frames"
            raise OptionError("encoder_window_frames", problem)
        self._check_fixed()

    def _check_fixed(self) -> None:
        if self.fixed_streams < 0:
            raise OptionError("fixed_streams", f"got {self.fixed_streams}, expected 0 (none) or more streams")
        if self.fixed_streams and self.trim != "prompt":
            raise OptionError(
                "fixed_streams", f"got {self.fixed_streams} with trim={self.trim}: fixed shapes need trim=prompt"
            )
        longest = CHUNK_ROOM // FRAMES_PER_TOKEN
        if self.fixed_streams and max(self.ladder.rungs) > longest:
            raise OptionError(
                "fixed_streams",
                f"got {self.fixed_streams} with the ladder {self.ladder}: a chunk of fixed shape has at most {longest} "
                "tokens; remove longer rungs",
            )

    def __str__(self) -> str:
        shapes = f"{self.fixed_streams} streams on fixed shapes" if self.fixed_streams else "no fixed shapes"
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.steps} steps in {dtype}, trim {self.trim}, fade {self.fade}, chunks {self.ladder}, {shapes}"
