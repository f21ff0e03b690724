"""How StepFun's vLLM server turns chat messages into prompt pieces.

Not used for serving (see `realtime.model.prompt`). It reproduces what a backend behind that HTTP API receives: audio
first, a newline after each segment, the speech history rebuilt from strings. Its input is the JSON of a request, so
messages are dicts here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realtime.model.features import mel_frame_count

AUDIO_PLACEHOLDER = "<audio_patch>"
_ROLES = {"user": "human", "function_output": "input"}

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SpeechHistory:
    """An earlier spoken reply, which the server interleaves: its text, and its codes as ``<audio_k>``."""

    tts_text: str
    tts_audio: str
    text: str


HttpPiece = str | SpeechHistory


def http_feature_count(num_samples: int) -> int:
    """The features that the server expects for one segment: it counts the two padding frames as audio."""
    return (mel_frame_count(num_samples) + 5) // 8


def http_pieces(
    messages: Sequence[JsonObject],
    *,
    tools: Sequence[JsonObject] | None = None,
    continue_final_message: bool = False,
    add_generation_prompt: bool = True,
    audio_segments: Callable[[JsonObject], int] = lambda part: 1,
) -> list[HttpPiece]:
    """The pieces that the server tokenizes one by one.

    ``audio_segments``: the number of placeholders of one audio part (clients send one part per segment). With
    ``continue_final_message`` the prompt ends after the last piece of the final message's content.
    """
    turns = [message for message in messages if not _is_open_turn(message)]
    called: dict[str, str] = {}
    pieces: list[HttpPiece] = []
    if tools and not (turns and turns[0]["role"] == "system"):
        pieces += ["<|BOT|>system\n", *_tool_pieces(tools)]
    for message in turns:
        for call in message.get("tool_calls") or ():
            called[call["id"]] = call["function"]["name"]
        if message["role"] == "system" and tools:
            pieces += [
                "<|BOT|>system\n",
                f"{_flatten(message['content'], audio_segments)}<|EOT|>",
                *_tool_pieces(tools),
            ]
        else:
            pieces += _turn(message, called, audio_segments)
    if continue_final_message:
        return _cut_after(pieces, turns[-1]["content"].strip())
    return [*pieces, "<|BOT|>assistant\n"] if add_generation_prompt else pieces


def _is_open_turn(message: JsonObject) -> bool:
    spoken_or_calling = message.get("tts_content") or message.get("tool_calls")
    return message["role"] == "assistant" and not spoken_or_calling and not message.get("content")


def _tool_pieces(tools: Sequence[JsonObject]) -> list[HttpPiece]:
    described = [_described(tool) for tool in tools]
    return ["<|BOT|>", "tool_json_schemas\n", json.dumps(described, ensure_ascii=False) + "<|EOT|>"]


def _described(tool: JsonObject) -> JsonObject:
    """The server's own order of keys; a missing description becomes null."""
    function = tool["function"]
    described = {key: function.get(key) for key in ("name", "description", "parameters")}
    return {"type": tool["type"], "function": described}


def _turn(
    message: JsonObject, called: Mapping[str, str], audio_segments: Callable[[JsonObject], int]
) -> Iterator[HttpPiece]:
    content = _flatten(message.get("content"), audio_segments)
    if message["role"] == "assistant":
        yield from _assistant(message, content)
    elif message["role"] == "tool":
        yield from ("<|BOT|>", f"function_output\n{called[message['tool_call_id']]}\n", content, "<|EOT|>")
    else:
        yield f"<|BOT|>{_ROLES.get(message['role'], message['role'])}\n{content}<|EOT|>"


def _assistant(message: JsonObject, content: str) -> Iterator[HttpPiece]:
    yield "<|BOT|>assistant\n"
    speech = message.get("tts_content")
    if speech:
        yield SpeechHistory(speech["tts_text"], speech["tts_audio"], content)
    elif content:
        yield content
    for call in message.get("tool_calls") or ():
        yield f"<tool_call>function\n{call['function']['name']}\n"
        yield call["function"]["arguments"]
        yield "</tool_call>"
    yield "<|EOT|>"


def _flatten(content: Any, audio_segments: Callable[[JsonObject], int]) -> str:
    """A message's parts as one string: all audio placeholders first, each with a newline, then the texts."""
    if content is None or isinstance(content, str):
        return content or ""
    audio = sum(audio_segments(part) for part in content if part["type"] != "text")
    texts = [part["text"] for part in content if part["type"] == "text"]
    return f"{AUDIO_PLACEHOLDER}\n" * audio + "\n".join(texts)


def _cut_after(pieces: Sequence[HttpPiece], final: str) -> list[HttpPiece]:
    """Remove what follows the final content, i.e. the end of its turn."""
    last = max(i for i, piece in enumerate(pieces) if isinstance(piece, str) and final in piece)
    return list(pieces[: last + 1])
