"""How a checkpoint is used: the file `profile.json` beside the weights.

Official folders have no such file. They get the profile of the official model with the folder's name (`KNOWN`), else
that of the instruct model; ``--profile`` selects another. All differences between models are in the profile: no other
code depends on which model is served.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from realtime.errors import CheckpointError, ConfigError
from realtime.ports.engine import SamplingParams

PromptFormat = Literal["chat", "plain"]
"""``chat``: turns with roles. ``plain``: a sequence of parts without roles, for the base model."""

_THINK_INSTRUCTIONS = (
    "你的名字叫小跃，你是由阶跃星辰(StepFun)公司训练出来的语音大模型，你能听见用户的声音特征并在思维过程中描述出来，"
    "请激活深度思考模式，通过逐步分析、逻辑推理来解决用户的问题。"
)
"""System prompt of the Think model (its examples)."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Defaults of one checkpoint. ``instructions`` may contain {time}, {weekday} and {date}
    (`realtime.checkpoint.instructions`)."""

    name: str = "step-audio-2-mini"
    instructions: str = "You are a helpful assistant."
    sampling: SamplingParams = SamplingParams()
    voice: str = ""
    flow_steps: int = 10
    max_context_tokens: int = 0
    """Context length in tokens that the model was trained for; 0: the size of its position table."""
    thinking_tokens: int = 0
    """Longest thought before an answer, in tokens; 0: the model was not trained to think."""
    opening: str = ""
    """What a user says at the start of a conversation. It stands before the assistant's first turn where no user has
    said anything (a greeting that the client asks for): the model was trained on turns that answer one. Empty: nothing
    stands there."""
    prompt_format: PromptFormat = "chat"
    transcription_hints: bool = False
    """Whether the model follows hints appended to its transcription prompt, as the official models do."""


_INSTRUCT = Profile(transcription_hints=True)
_THINK = Profile(
    name="step-audio-2-mini-think", instructions=_THINK_INSTRUCTIONS, thinking_tokens=2048, transcription_hints=True
)

KNOWN = {
    profile.name: profile
    for profile in (
        _INSTRUCT,
        _THINK,
        Profile(name="step-audio-2-mini-base", instructions="", prompt_format="plain"),
    )
}
"""Profiles of the official models, from the examples of their model cards."""


def load_profile(folder: Path, name: str = "") -> Profile:
    """The profile ``name`` of `KNOWN`; else the folder's profile.json over the defaults; else the known profile of the
    folder's name. Raises `ConfigError` for an unknown name, `CheckpointError` for an invalid file."""
    if name:
        if name not in KNOWN:
            raise ConfigError(f"profile {name!r} is unknown; set --profile to one of {', '.join(KNOWN)}")
        return KNOWN[name]
    path = folder / "profile.json"
    if not path.exists():
        return KNOWN.get(folder.absolute().name.lower(), _INSTRUCT)
    try:
        values = json.loads(path.read_text("utf-8"))
        return _build(values)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}; fix the file, or remove it to use upstream's defaults") from error


def _build(values: dict[str, Any]) -> Profile:
    known = {f.name for f in dataclasses.fields(Profile)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"got unknown entries {', '.join(unknown)}, expected: {', '.join(sorted(known))}")
    sampling = SamplingParams(**values.pop("sampling", {}))
    return Profile(sampling=sampling, **values)
