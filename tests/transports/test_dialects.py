"""Talks in the older shapes of the protocol over a real socket: how each is chosen, and what its client reads."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.fakes import delta, reply
from tests.protocol.sdk import BETA_SERVER
from tests.transports.test_server import Server, ask, expect, loud, say, serving

HEADER: dict[str, Any] = {"additional_headers": {"OpenAI-Beta": "assistants=v2, realtime=v1", "api-key": "azure"}}
SUBPROTOCOLS: dict[str, Any] = {
    "subprotocols": ["realtime", "openai-insecure-api-key.secret", "openai-beta.realtime-v1"]
}
LIBRARY_SESSION = {
    "modalities": ["text", "audio"],
    "instructions": "Be brief.",
    "voice": "verse",
    "input_audio_format": "pcm16",
    "output_audio_format": "pcm16",
    "input_audio_transcription": None,
    "turn_detection": None,
    "tools": [],
    "tool_choice": "auto",
    "temperature": 0.8,
    "max_response_output_tokens": 4096,
}
"""What the beta library sends when it connects, all of it."""

REPLY = [
    "response.created",
    "response.output_item.added",
    "conversation.item.created",
    "response.content_part.added",
    "response.audio_transcript.delta",
    "response.audio.delta",
    "response.audio.done",
    "response.audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
]


async def read_until(ws: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """All events up to the first one of a kind; each is valid for a reader of the beta shape."""
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["type"] != kind:
        seen.append(json.loads(await ws.recv()))
        if not seen[-1]["type"].startswith("session."):  # typed with the model names of that day
            BETA_SERVER.validate_json(json.dumps(seen[-1]), strict=True)
    return seen


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


@pytest.mark.parametrize("options", [HEADER, SUBPROTOCOLS], ids=["header", "subprotocol"])
async def test_clients_that_ask_for_beta_get_it_immediately(options: dict[str, Any]) -> None:
    async with serving(reply("Hi.")) as server, connect(server.url, **options) as ws:
        assert ws.subprotocol == ("realtime" if "subprotocols" in options else None)
        created, conversation = await read_until(ws, "conversation.created")
        assert created["session"]["modalities"] == ["text", "audio"]
        assert created["session"]["input_audio_format"] == "pcm16"
        await ask(ws, "hello")
        item, *events = await read_until(ws, "response.done")
        assert item["type"] == "conversation.item.created"
        assert types(events) == REPLY
        assert events[-1]["response"]["conversation_id"] == conversation["conversation"]["id"]


async def test_a_client_that_asks_for_nothing_gets_ga() -> None:
    async with serving(reply("Hi.")) as server, connect(server.url) as ws:
        await ask(ws, "hello")
        assert "audio" in (await expect(ws, "session.created"))["session"]
        assert (await expect(ws, "response.done"))["response"]["output_modalities"] == ["audio"]


async def test_a_beta_conversation_by_hand() -> None:
    """The way of the beta library: settings, speech, commit and the wish for an answer in one go."""
    async with serving(reply("One."), [delta("Two.")]) as server, connect(server.url, **HEADER) as ws:
        await say(ws, type="session.update", session=LIBRARY_SESSION)
        updated = (await read_until(ws, "session.updated"))[-1]["session"]
        assert updated == updated | LIBRARY_SESSION
        await say(ws, type="input_audio_buffer.append", audio=base64.b64encode(loud(0.3)).decode())
        await say(ws, type="input_audio_buffer.commit")
        await say(ws, type="response.create")
        events = await read_until(ws, "response.done")
        assert types(events) == ["input_audio_buffer.committed", "conversation.item.created", *REPLY]
        answer = events[-1]["response"]["output"][0]
        assert answer["content"] == [{"type": "audio", "transcript": "One."}]

        await say(ws, type="conversation.item.truncate", item_id=answer["id"], content_index=0, audio_end_ms=50)
        await read_until(ws, "conversation.item.truncated")
        history = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Earlier."}]}
        await say(ws, type="conversation.item.create", item=history)
        assert (await read_until(ws, "conversation.item.created"))[-1]["item"]["content"] == history["content"]
        await say(ws, type="response.create", response={"modalities": ["text"], "max_response_output_tokens": 50})
        events = await read_until(ws, "response.done")
        assert "response.text.delta" in types(events)
        assert events[-1]["response"]["modalities"] == ["text"]
        assert events[-1]["response"]["max_output_tokens"] == 50


async def test_a_beta_turn_by_voice() -> None:
    async with serving() as server, connect(server.url, **HEADER) as ws:
        quiet = bytes(2 * 24_000)
        for sound in (quiet, loud(1.0), quiet):
            for start in range(0, len(sound), 4800):
                chunk = sound[start : start + 4800]
                await say(ws, type="input_audio_buffer.append", audio=base64.b64encode(chunk).decode())
        events = [event for event in await read_until(ws, "response.done") if event["type"] != "response.audio.delta"]
        heard = ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"]
        created = ["session.created", "conversation.created"]
        said = [kind for kind in REPLY if kind != "response.audio.delta"]
        committed = ["input_audio_buffer.committed", "conversation.item.created"]
        assert types(events) == [*created, *heard, *committed, *said]


async def test_errors_name_beta_s_fields() -> None:
    async with serving() as server, connect(server.url, **HEADER) as ws:
        await say(ws, type="session.update", event_id="c1", session={"input_audio_format": "mp3"})
        error = (await read_until(ws, "error"))[-1]["error"]
        assert (error["code"], error["param"], error["event_id"]) == (
            "invalid_value",
            "session.input_audio_format",
            "c1",
        )
        assert "pcm16" in error["message"]
        await say(ws, type="response.cancel")
        error = (await read_until(ws, "error"))[-1]["error"]
        assert error["code"] is None
        assert error["message"].startswith("Cancellation failed")


# StepFun's console: no header, `?model=step-…`


def console(server: Server) -> Any:
    return connect(server.url + "?model=step-audio-2-mini", additional_headers={"Authorization": "Bearer key"})


async def test_stepfun_consoles_are_known_by_their_first_update() -> None:
    async with serving(reply("Hi.")) as server, console(server) as ws:
        update = LIBRARY_SESSION | {"voice": "", "tools": [{"type": "web_search"}, {"type": "retrieval"}]}
        del update["turn_detection"]
        await say(ws, type="session.update", session=update)
        await ask(ws, "Hello!")
        events = await read_until(ws, "response.done")
        assert types(events) == ["session.created", "session.updated", "conversation.item.created", *REPLY]
        session = events[1]["session"]
        assert session["model"] == "step-audio-2-mini"
        assert session["voice"] == "default"
        assert session["tools"] == []
        assert session["turn_detection"] is None


async def test_stepfun_consoles_get_the_words_of_users() -> None:
    async with serving(reply("What time is it?", tokens=0)) as server, console(server) as ws:
        await say(ws, type="session.update", session=LIBRARY_SESSION)
        await say(ws, type="input_audio_buffer.append", audio=base64.b64encode(loud(0.3)).decode())
        await say(ws, type="input_audio_buffer.commit")
        completed = "conversation.item.input_audio_transcription.completed"
        events = await read_until(ws, completed)
        assert types(events)[2:4] == ["input_audio_buffer.committed", "conversation.item.created"]
        assert events[-1]["transcript"] == "What time is it?"


async def test_stepfun_consoles_survive_a_late_cancel() -> None:
    async with serving() as server, console(server) as ws:
        await say(ws, type="session.update", session={"turn_detection": {"type": "server_vad"}})
        await say(ws, type="response.cancel")
        error = (await read_until(ws, "error"))[-1]["error"]
        assert error["message"] == "no ongoing response to cancel"


async def test_stepfun_s_greeting_is_made_with_its_instructions() -> None:
    async with serving(reply("Welcome.")) as server, console(server) as ws:
        await say(ws, type="response.create", session={"instructions": "Greet the caller."})
        assert "response.audio.delta" in types(await read_until(ws, "response.done"))
        request = server.host.engine.requests[0]
        assert "Greet the caller." in repr(request)


async def test_step_models_alone_select_no_older_dialect() -> None:
    async with serving(reply("Hi.")) as server, console(server) as ws:
        await say(ws, type="session.update", session={"type": "realtime", "instructions": "Be brief."})
        assert "audio" in (await expect(ws, "session.updated"))["session"]
        await ask(ws, "hello")
        await expect(ws, "response.output_audio.delta")
