"""What a checkpoint can be asked beside a talk: transcripts, translations, captions, reading aloud. As messages.

The instruct models take a task as system prompt. The base model takes it as the first piece of a plain prompt, and
continues what it is given; it was not trained to talk (spec/model.md section 7).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from realtime.checkpoint.profile import PromptFormat
from realtime.errors import ConfigError
from realtime.ports.engine import SamplingParams
from realtime.ports.messages import Audio, Message, Part, Text

TTS_START = "<tts_start>"
"""Ends a plain prompt whose continuation is to be spoken."""

CHAT = "chat"


@dataclass(frozen=True, slots=True)
class Task:
    """``chat``, ``plain``: the task's words in each format of prompts, None where the model was not trained for it.

    ``speech``: whether the answer is spoken. ``temperature`` and ``max_tokens`` are those of upstream's examples.
    """

    help: str
    chat: str | None
    plain: str | None
    speech: bool
    temperature: float
    max_tokens: int = 256

    def sampling(self, defaults: SamplingParams) -> SamplingParams:
        """The checkpoint's own, with what the task is done best with."""
        return replace(defaults, temperature=self.temperature, max_tokens=self.max_tokens)


TASKS = {
    "transcribe": Task(
        "the words of a recording", "请记录下你所听到的语音内容。", "请记录下你所听到的语音内容。", False, 0.0
    ),
    "translate": Task(
        "a recording's words in Chinese",
        "请仔细聆听这段语音，然后将其内容翻译成中文。",
        "请仔细聆听这段语音，然后将其内容翻译成中文",
        False,
        0.1,
    ),
    "interpret": Task(
        "a recording's words, spoken in Chinese",
        "请仔细聆听这段语音，然后将其内容翻译成中文并用语音播报。",
        "请仔细聆听这段语音，然后将其内容翻译成中文并用语音播报。",
        True,
        0.7,
        2048,
    ),
    "caption": Task(
        "what is heard in a recording",
        "Please briefly explain the important events involved in this audio clip.",
        "Please briefly explain the important events involved in this audio clip.",
        False,
        0.1,
    ),
    "read": Task("--text read aloud (base model)", None, "以自然的语速读出下面的文字。\n", True, 0.7, 2048),
    "translate-aloud": Task(
        "--text spoken in English (base model)", None, "将下面的文本翻译成英文，并用语音播报。\n", True, 0.7, 2048
    ),
    "continue": Task("what follows on --text or a recording (base model)", None, "", False, 0.7, 2048),
}


def task_messages(name: str, given: Text | Audio, prompt_format: PromptFormat) -> tuple[Message, ...]:
    """The prompt of a task over what the user gives. Raises `ConfigError` where the checkpoint does not know it."""
    task = TASKS[name]
    if prompt_format == "chat":
        if task.chat is None:
            raise ConfigError(f"task {name!r} is for the base model; this checkpoint was trained to talk: use --text")
        content: str | tuple[Part, ...] = given.text if isinstance(given, Text) else (given,)
        return Message("system", task.chat), Message("human", content)
    if task.plain is None:
        raise ConfigError(f"task {name!r} is not for the base model")
    parts: list[Part] = [Text(task.plain)] if task.plain else []
    parts.append(given)
    if task.speech:
        parts.append(Text(TTS_START))
    return (Message("plain", tuple(parts), closed=False),)
