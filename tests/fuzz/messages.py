"""What a client might send, sane or not: every message from one number, so that a sequence of numbers is a test."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any

Message = str | bytes
"""A text or a binary frame."""

IDS = ("a", "a", "a", "b", "item_t1", "item_t1", "item_t2", "item_t3")
"""Few, so that messages speak of the same items; the server's own are among them (`Ids("t")`)."""

STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    0.5,
    1e300,
    2**63,
    "",
    "x",
    "null",
    "\x00",
    "naïve ☃ 日本",
    "x" * 600,
    [],
    [[]],
    {},
    {"type": "x"},
    {"a": {"b": [1, {}]}},
)
"""What may stand where something else is expected."""

PCM_LOUD = (8000).to_bytes(2, "little", signed=True)


def message(number: int) -> Message:
    """The message that this number stands for."""
    random = Random(number)
    if random.random() < 0.08:
        return _garbage(random)
    event = deepcopy(random.choices(_KINDS, _WEIGHTS)[0](random))  # the tables' own parts stay as they are
    if random.random() < 0.6:
        event["event_id"] = f"client{number}" if random.random() < 0.95 else random.choice(STRANGE)
    for _ in range(random.choice((0, 0, 0, 0, 0, 0, 1, 2))):
        _spoil(random, event)
    return json.dumps(event, ensure_ascii=random.random() < 0.5)


def _garbage(random: Random) -> Message:
    kind = random.randrange(8)
    if kind == 0:
        return bytes(random.randrange(256) for _ in range(random.choice((0, 1, 2, 7, 100))))
    if kind == 1:
        return random.choice(("", " ", "{", "null", "[]", "1", '"response.create"', "{}", "\ufeff{}", "NaN"))
    if kind == 2:
        depth = random.choice((2, 61, 62, 63, 200))
        return '{"type":"session.update","session":' + '{"tools":' * depth + "1" + "}" * (depth + 1)
    if kind == 3:
        return '{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":NaN}'
    if kind == 4:
        return '{"type":"conversation.item.delete","item_id":"\\ud800","event_id":"\\udfff"}'
    if kind == 5:
        return '{"type":"response.cancel","type":"nope","event_id":"twice"}'
    whole = json.dumps(random.choices(_KINDS, _WEIGHTS)[0](random))
    if kind == 6:
        return whole[: random.randrange(len(whole))]
    place = random.randrange(len(whole))
    return whole[:place] + random.choice('{}[]",:\\0') + whole[place + 1 :]


def _spoil(random: Random, value: dict[str, Any]) -> None:
    """Change one place of the event, however deep."""
    while True:
        key = random.choice([*value, "extra"])
        inner = value.get(key)
        if isinstance(inner, dict) and inner and random.random() < 0.8:
            value = inner
            continue
        if isinstance(inner, list) and inner and isinstance(inner[0], dict) and random.random() < 0.8:
            value = inner[0]
            continue
        break
    if random.random() < 0.3:
        value.pop(key, None)
    else:
        value[key] = deepcopy(random.choice(STRANGE))


# The events


def _append(random: Random) -> dict[str, Any]:
    samples = random.choice((0, 1, 240, 480, 480, 2400))
    sound = random.choice((PCM_LOUD, b"\0\0")) * samples + random.choice((b"", b"", b"\1"))
    audio = base64.b64encode(sound).decode()
    return {"type": "input_audio_buffer.append", "audio": audio if random.random() < 0.9 else audio[:-1] + "*"}


def _turn(random: Random) -> dict[str, Any]:
    """Enough sound for the voice detector, or enough silence for the end of a turn."""
    sound = random.choice((PCM_LOUD, b"\0\0"))
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(sound * 12_000).decode()}


def _bare(kind: str) -> Callable[[Random], dict[str, Any]]:
    return lambda _: {"type": kind}


def _about_item(kind: str) -> Callable[[Random], dict[str, Any]]:
    return lambda random: {"type": kind, "item_id": random.choice(IDS)}


def _truncate(random: Random) -> dict[str, Any]:
    end = random.choice((0, 1, 100, 100.7, 10**6, -5))
    index = random.choice((0, 0, 0, 1, 7))
    return _about_item("conversation.item.truncate")(random) | {"content_index": index, "audio_end_ms": end}


def _create_item(random: Random) -> dict[str, Any]:
    event: dict[str, Any] = {"type": "conversation.item.create", "item": _item(random)}
    if random.random() < 0.4:
        event["previous_item_id"] = random.choice((None, "root", "nowhere", *IDS))
    return event


def _item(random: Random) -> dict[str, Any]:
    item = random.choice(_ITEMS)(random)
    if random.random() < 0.6:
        item["id"] = random.choice(("a", "a", "b", "c", "item_t1"))
    if random.random() < 0.2:
        item["status"] = random.choice(("completed", "incomplete", "in_progress"))
    return item


def _user_message(random: Random) -> dict[str, Any]:
    parts = [
        {"type": "input_text", "text": random.choice(("hi", "", "\u2028"))},
        {"type": "input_audio", "audio": base64.b64encode(PCM_LOUD * 480).decode()},
        {"type": "input_audio", "transcript": "said"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
    ]
    return {"type": "message", "role": "user", "content": random.choices(parts, k=random.randrange(3))}


def _assistant_message(random: Random) -> dict[str, Any]:
    kind = random.choice(("output_text", "text", "output_audio", "audio"))
    part = {"type": kind, "text": "before"} if "text" in kind else {"type": kind, "transcript": "before"}
    return {"type": "message", "role": "assistant", "content": [part]}


def _system_message(_: Random) -> dict[str, Any]:
    return {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "rules"}]}


def _function_call(random: Random) -> dict[str, Any]:
    arguments = random.choice(("{}", '{"city":"Paris"}', "", "{", "[1]"))
    return {"type": "function_call", "name": "get_weather", "call_id": "call_t1", "arguments": arguments}


def _function_output(_: Random) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": "call_t1", "output": "21 degrees"}


def _mcp_item(random: Random) -> dict[str, Any]:
    return random.choice(
        (
            {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
            {"type": "mcp_call", "server_label": "s", "name": "n", "arguments": "{}"},
            {"type": "mcp_list_tools", "server_label": "s", "tools": []},
            {"type": "mcp_approval_request", "server_label": "s", "name": "n", "arguments": "{}"},
        )
    )


_ITEMS = (
    _user_message,
    _user_message,
    _assistant_message,
    _system_message,
    _function_call,
    _function_output,
    _mcp_item,
)

_TOOLS: tuple[dict[str, Any], ...] = (
    {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}},
    {"type": "function", "name": "second", "description": "Another."},
    {"type": "function", "function": {"name": "nested", "parameters": {}}},
    {"type": "mcp", "server_label": "s", "server_url": "http://127.0.0.1:9/mcp"},
    {"type": "web_search"},
)
_CHOICES: tuple[Any, ...] = (
    "auto",
    "none",
    "required",
    "sometimes",
    {"type": "function", "name": "get_weather"},
    {"type": "function", "name": "unknown"},
)
_FORMATS: tuple[Any, ...] = (
    {"type": "audio/pcm", "rate": 24000},
    {"type": "audio/pcm", "rate": 16000},
    {"type": "audio/pcm", "rate": 44100},
    {"type": "audio/pcmu"},
    {"type": "audio/pcma"},
    "pcm16",
)
_DETECTION: tuple[Any, ...] = (
    None,
    {"type": "server_vad"},
    {"type": "server_vad", "silence_duration_ms": 100, "idle_timeout_ms": 5000},
    {"type": "server_vad", "create_response": False},
    {"type": "server_vad", "interrupt_response": False},
    {"type": "semantic_vad", "eagerness": "high"},
    {"type": "server_vad", "interruption": "pause"},
    {"type": "server_vad", "interruption": "play_on", "silence_duration_ms": 200},
    {"threshold": 0.9},
    {"type": "none"},
)


def _response_create(random: Random) -> dict[str, Any]:
    if random.random() < 0.4:
        return {"type": "response.create"}
    asked: dict[str, Any] = {
        "conversation": random.choice(("auto", "none", None, "other")),
        "metadata": random.choice(({"a": "b"}, {}, None, {"k": 1}, {str(n): "" for n in range(20)})),
        "output_modalities": random.choice((["text"], ["audio"], ["text", "audio"], [])),
        "instructions": random.choice(("Be brief.", "", None)),
        "input": [_item(random) if random.random() < 0.7 else {"type": "item_reference", "id": random.choice(IDS)}],
        "max_output_tokens": random.choice((1, 4096, 4097, 0, "inf", "some")),
        "tools": random.sample(_TOOLS, k=2),
        "tool_choice": random.choice(_CHOICES),
        "audio": {"output": {"voice": random.choice(("default", "other", {"id": "x"}))}},
        "reasoning": {"effort": random.choice(("low", "most"))},
    }
    beta: dict[str, Any] = {"modalities": ["text"], "voice": "other", "temperature": 0.7}
    shown = beta if random.random() < 0.2 else asked
    kept = random.sample(sorted(shown), k=random.randrange(min(4, len(shown) + 1)))
    return {"type": "response.create", "response": {key: shown[key] for key in kept}}


def _cancel(random: Random) -> dict[str, Any]:
    event: dict[str, Any] = {"type": "response.cancel"}
    if random.random() < 0.4:
        event["response_id"] = random.choice((None, "resp_t1", "resp_t2", "resp_t3", "nowhere"))
    return event


def _update(random: Random) -> dict[str, Any]:
    heard: dict[str, Any] = {
        "format": random.choice(_FORMATS),
        "transcription": random.choice((None, {"model": "whisper-1"}, {"language": "en"}, {})),
        "noise_reduction": random.choice((None, {"type": "near_field"}, {"type": "loud"})),
        "turn_detection": random.choice(_DETECTION),
    }
    spoken: dict[str, Any] = {
        "format": random.choice(_FORMATS),
        "voice": random.choice(("default", "other", {"id": "voice_1"})),
        "speed": random.choice((0.25, 1, 1.5, 2)),
    }
    audio = {"input": _some(random, heard), "output": _some(random, spoken)}
    session: dict[str, Any] = {
        "audio": _some(random, audio),
        "instructions": random.choice(("", "Be brief.", None)),
        "output_modalities": random.choice((["audio"], ["text"], ["text", "audio"])),
        "tools": random.sample(_TOOLS, k=random.randrange(3)),
        "tool_choice": random.choice(_CHOICES),
        "max_output_tokens": random.choice((100, "inf", -1)),
        "tracing": random.choice((None, "auto", {"workflow_name": "w"})),
        "truncation": random.choice(
            ("auto", "disabled", {"type": "retention_ratio", "retention_ratio": 0.5}, {"type": "retention_ratio"})
        ),
        "prompt": random.choice((None, {"id": "p"})),
        "include": random.choice((None, ["item.input_audio_transcription.logprobs"])),
        "model": "any",
    }
    kind = random.choice(("realtime",) * 12 + ("transcription", "other"))
    return {"type": "session.update", "session": {"type": kind} | _some(random, session)}


def _beta_update(random: Random) -> dict[str, Any]:
    session: dict[str, Any] = {
        "modalities": random.choice((["text", "audio"], ["text"], "text")),
        "voice": random.choice(("default", "", "alloy")),
        "input_audio_format": random.choice(("pcm16", "g711_ulaw", "mp3")),
        "output_audio_format": random.choice(("pcm16", "g711_alaw")),
        "input_audio_transcription": random.choice((None, {"model": "whisper-1"})),
        "turn_detection": random.choice((*_DETECTION, {"type": "server_vad", "energy_awakeness_threshold": 2500})),
        "tools": random.sample(_TOOLS, k=random.randrange(3)),
        "temperature": 0.8,
        "max_response_output_tokens": random.choice((4096, "inf", 0)),
        "instructions": "Be brief.",
    }
    kind = random.choice(("session.update", "session.update", "session.update", "transcription_session.update"))
    return {"type": kind, "session": _some(random, session)}


def _some(random: Random, values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if random.random() < 0.2}


def _unknown(random: Random) -> dict[str, Any]:
    return {"type": random.choice(("nope", "", "response.created", "session.created", "error", "session.Update"))}


_TABLE: Sequence[tuple[int, Callable[[Random], dict[str, Any]]]] = (
    (12, _append),
    (3, _turn),
    (6, _bare("input_audio_buffer.commit")),
    (3, _bare("input_audio_buffer.clear")),
    (1, _bare("output_audio_buffer.clear")),
    (20, _create_item),
    (5, _about_item("conversation.item.delete")),
    (6, _about_item("conversation.item.retrieve")),
    (8, _truncate),
    (16, _response_create),
    (6, _cancel),
    (10, _update),
    (5, _beta_update),
    (2, _unknown),
)
_WEIGHTS = [weight for weight, _ in _TABLE]
_KINDS = [kind for _, kind in _TABLE]
