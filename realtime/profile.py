"""What a checkpoint folder says of how it wants to be used: `profile.json` beside the weights.

Official folders have none and get the values of upstream's examples (spec/model.md section 7). Any folder may have
one; the embedded model does.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime.errors import CheckpointError
from realtime.session.ports import SamplingParams


@dataclass(frozen=True, slots=True)
class Profile:
    """Defaults of one checkpoint. ``instructions`` may hold {time}, {weekday} and {date} (`realtime.spoken`)."""

    name: str = "step-audio-2-mini"
    instructions: str = "You are a helpful assistant."
    sampling: SamplingParams = SamplingParams()
    voice: str = ""
    flow_steps: int = 10
    max_context_tokens: int = 0
    """Length of a conversation the model was trained for; 0: its table of positions."""


def load_profile(folder: Path) -> Profile:
    """The folder's profile.json over the defaults. Raises `CheckpointError` on one that cannot be used."""
    path = folder / "profile.json"
    if not path.exists():
        return Profile()
    try:
        values = json.loads(path.read_text("utf-8"))
        return _build(values)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}; correct the file, or remove it for upstream's defaults") from error


def _build(values: dict[str, Any]) -> Profile:
    known = {f.name for f in dataclasses.fields(Profile)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"got unknown entries {', '.join(unknown)}, expected some of {', '.join(sorted(known))}")
    sampling = SamplingParams(**values.pop("sampling", {}))
    return Profile(sampling=sampling, **values)
