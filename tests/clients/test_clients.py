"""Published clients, unmodified, hold conversations with the server: only the URL is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import Client, Servers, converse

CLIENTS = (
    Client("openai-agents (Python)", "drive_openai_agents.py"),
    Client("pipecat-ai (Python)", "drive_pipecat.py"),
    Client("livekit-plugins-openai (Python)", "drive_livekit.py"),
    Client("@openai/agents-realtime (JavaScript)", "drive_agents_realtime.mjs"),
    Client("openai (JavaScript)", "drive_openai_node.mjs", tls_only=True),
    Client("the beta library (JavaScript)", "drive_beta_library.mjs"),
)

pytestmark = [
    pytest.mark.clients,
    pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.driver),
]


def test_spoken_questions_are_answered_in_speech_with_transcripts(
    client: Client, servers: Servers, speech: Path
) -> None:
    seen = converse(client, servers.model(tls=client.tls_only), "spoken", speech)
    assert seen.errors == []
    assert seen.heard and seen.transcript
    assert 0.5 < seen.audio_seconds < 10


def test_speaking_into_an_answer_stops_it(client: Client, servers: Servers, speech: Path) -> None:
    seen = converse(client, servers.model(tls=client.tls_only), "barge_in", speech)
    assert seen.errors == []
    assert seen.interrupted
    assert seen.transcript


def test_functions_are_called_and_their_results_are_spoken(client: Client, servers: Servers, speech: Path) -> None:
    seen = converse(client, servers.scripted(tls=client.tls_only), "tool", speech)
    assert seen.errors == []
    assert seen.calls == [["get_weather", "21 degrees in Paris"]]
    assert "21 degrees" in seen.transcript
    assert seen.audio_seconds > 0.1
