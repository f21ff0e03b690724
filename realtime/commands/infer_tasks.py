"""The tasks of `realtime infer --task` as prompts: transcripts, translations, captions, reading aloud.

The instruct models take a task as system prompt. The base model takes it as the first part of a plain prompt, which it
continues; it was not trained for conversation. The prompts are those of upstream's examples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from realtime.checkpoint.profile import PromptFormat
from realtime.errors import ConfigError
from realtime.ports.engine import SamplingParams
from realtime.ports.messages import Audio, Message, Part, Text

TTS_START = "<tts_start>"
"""Ends a plain prompt whose continuation is spoken."""

CHAT = "chat"


@dataclass(frozen=True, slots=True)
class Task:
    """``chat``, ``plain``: the instruction in each prompt format; None where the model was not trained for the task.

    ``speech``: whether the answer is spoken. ``temperature`` and ``max_tokens`` are those of upstream's examples.
    """

    help: str
    chat: str | None
    plain: str | None
    speech: bool
    temperature: float
    max_tokens: int = 256

    def sampling(self, defaults: SamplingParams) -> SamplingParams:
        """The checkpoint's sampling parameters with this task's temperature and length."""
        return replace(defaults, temperature=self.temperature, max_tokens=self.max_tokens)


TASKS = {
    "transcribe": Task(
        "transcribe a recording", "请记录下你所听到的语音内容。", "请记录下你所听到的语音内容。", False, 0.0
    ),
    "translate": Task(
        "translate a recording into Chinese text",
        "请仔细聆听这段语音，然后将其内容翻译成中文。",
        "请仔细聆听这段语音，然后将其内容翻译成中文",
        False,
        0.1,
    ),
    "interpret": Task(
        "translate a recording into Chinese speech",
        "请仔细聆听这段语音，然后将其内容翻译成中文并用语音播报。",
        "请仔细聆听这段语音，然后将其内容翻译成中文并用语音播报。",
        True,
        0.7,
        2048,
    ),
    "caption": Task(
        "describe the sounds of a recording",
        "Please briefly explain the important events involved in this audio clip.",
        "Please briefly explain the important events involved in this audio clip.",
        False,
        0.1,
    ),
    "read": Task("read --text aloud (base model)", None, "以自然的语速读出下面的文字。\n", True, 0.7, 2048),
    "translate-aloud": Task(
        "translate --text into English speech (base model)",
        None,
        "将下面的文本翻译成英文，并用语音播报。\n",
        True,
        0.7,
        2048,
    ),
    "continue": Task("continue --text or a recording (base model)", None, "", False, 0.7, 2048),
}


def task_messages(name: str, given: Text | Audio, prompt_format: PromptFormat) -> tuple[Message, ...]:
    """The prompt of a task with its input. Raises `ConfigError` for a task that the checkpoint was not trained for."""
    task = TASKS[name]
    if prompt_format == "chat":
        if task.chat is None:
            raise ConfigError(
                f"task {name!r} is for the base model; this checkpoint was trained for conversation: use --text"
            )
        content: str | tuple[Part, ...] = given.text if isinstance(given, Text) else (given,)
        return Message("system", task.chat), Message("human", content)
    if task.plain is None:
        raise ConfigError(f"task {name!r} is not for the base model")
    parts: list[Part] = [Text(task.plain)] if task.plain else []
    parts.append(given)
    if task.speech:
        parts.append(Text(TTS_START))
    return (Message("plain", tuple(parts), closed=False),)
