"""What can be asked beside a talk, against the pieces of upstream's own examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from realtime.checkpoint.profile import PromptFormat
from realtime.commands.infer_tasks import TASKS, task_messages
from realtime.errors import ConfigError
from realtime.model.prompt import message_pieces, open_reply
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from realtime.ports.engine import SamplingParams
from realtime.ports.messages import Audio, Text
from tests.model.samples import write_tokenizer

CLIP = Audio("a3s", np.zeros(48_000, np.float32))
HEARD = "<audio_start>" + "<audio_patch>" * 38 + "<audio_end>"


def pieces(name: str, given: Text | Audio, prompt_format: PromptFormat, folder: Path) -> list[str]:
    write_tokenizer(folder)
    tokens = SpecialTokens.from_ids(TextTokenizer.load(folder).ids)
    messages = open_reply(task_messages(name, given, prompt_format), speech=TASKS[name].speech)
    return [str(piece) for piece in message_pieces(messages, tokens)]


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("transcribe", CLIP, ["请记录下你所听到的语音内容。", HEARD]),
        ("translate", CLIP, ["请仔细聆听这段语音，然后将其内容翻译成中文", HEARD]),
        ("interpret", CLIP, ["请仔细聆听这段语音，然后将其内容翻译成中文并用语音播报。", HEARD, "<tts_start>"]),
        ("read", Text("你好呀！"), ["以自然的语速读出下面的文字。\n", "你好呀！", "<tts_start>"]),
        ("translate-aloud", Text("你好"), ["将下面的文本翻译成英文，并用语音播报。\n", "你好", "<tts_start>"]),
        ("continue", Text("Once upon"), ["Once upon"]),
    ],
)
def test_the_base_model_is_given_pieces_without_roles(
    name: str, given: Text | Audio, expected: list[str], tmp_path: Path
) -> None:
    assert pieces(name, given, "plain", tmp_path) == expected


def test_the_instruct_model_is_given_a_system_prompt(tmp_path: Path) -> None:
    assert pieces("transcribe", CLIP, "chat", tmp_path) == [
        "<|BOT|>system\n请记录下你所听到的语音内容。<|EOT|>",
        "<|BOT|>human\n",
        HEARD,
        "<|EOT|>",
        "<|BOT|>assistant\n",
    ]


def test_a_task_unknown_to_the_checkpoint_is_refused() -> None:
    with pytest.raises(ConfigError, match="base model"):
        task_messages("read", Text("hi"), "chat")


def test_a_task_brings_its_own_temperature() -> None:
    sampling = TASKS["transcribe"].sampling(SamplingParams(temperature=0.7, top_p=0.5))
    assert (sampling.temperature, sampling.top_p) == (0.0, 0.5)
