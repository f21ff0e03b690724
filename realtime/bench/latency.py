"""Latency of spoken turns against a server: the client's measurements joined with the server's own.

All times of a turn are in ms after its last voiced sample. This server lists its latest replies at
`/v1/realtime/turns`; for a server without that list, the server's figures are None.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from realtime.bench.stats import percentile, to_ms
from realtime.client.connection import ClientError
from realtime.client.http import get_json, http_url
from realtime.client.speech_turn import TurnRecord, speak
from realtime.client.transports import Transport, open_by
from realtime.client.utterance import Utterance

_POLL_S = 0.25
_TURN_LIST_TIMEOUT_S = 1.0
"""The server lists a reply shortly after it has sent the reply's last event."""


@dataclass(frozen=True, slots=True)
class TurnLatency:
    """One turn. Milestones in ms after the last voiced sample; ``error``: why there are no figures.

    ``wait_ms``: from speech_stopped to the first audio sent, both on the server's clock. ``ahead_ms``: how long before
    speech_stopped the reply was started, if it was speculative; ``wasted_drafts``: speculative replies discarded
    before.
    """

    turn: int
    utterance: str
    seconds: float = 0.0
    speech_stopped_ms: float | None = None
    first_token_ms: float | None = None
    first_text_ms: float | None = None
    audio_sent_ms: float | None = None
    wait_ms: float | None = None
    audio_received_ms: float | None = None
    audio_ms: float | None = None
    decoder_rtf: float | None = None
    vocoder_rtf: float | None = None
    least_margin_ms: float | None = None
    ahead_ms: float | None = None
    wasted_drafts: float | None = None
    margins_ms: tuple[float, ...] = ()
    transcript: str = ""
    error: str | None = None


MEASURES = (
    "speech_stopped_ms",
    "first_token_ms",
    "first_text_ms",
    "audio_sent_ms",
    "wait_ms",
    "audio_received_ms",
    "audio_ms",
    "decoder_rtf",
    "vocoder_rtf",
    "least_margin_ms",
    "ahead_ms",
    "wasted_drafts",
)
"""The figures that have percentiles."""


async def measure(
    url: str,
    utterances: Sequence[Utterance],
    *,
    api_key: str | None = None,
    conversation: bool = False,
    transport: Transport = "websocket",
) -> AsyncIterator[TurnLatency]:
    """Speak each utterance as one turn, each in its own session or all in one ``conversation``; yield one result
    each."""
    if not conversation:
        for turn, utterance in enumerate(utterances, 1):
            async for figures in _session(url, api_key, transport, [(turn, utterance)]):
                yield figures
        return
    async for figures in _session(url, api_key, transport, list(enumerate(utterances, 1))):
        yield figures


async def _session(
    url: str, api_key: str | None, transport: Transport, turns: Sequence[tuple[int, Utterance]]
) -> AsyncIterator[TurnLatency]:
    """Turns of one session. The first failure ends it: later turns would have another history than in other runs."""
    turn, utterance = turns[0]
    try:
        async with open_by(transport, url, api_key=api_key) as connection:
            for turn, utterance in turns:
                record = await speak(connection, utterance)
                server = await server_figures(url, record.response_id)
                yield turn_latency(turn, utterance, record, server)
    except ClientError as error:
        yield TurnLatency(turn, utterance.name, error=str(error))


def turn_latency(turn: int, utterance: Utterance, record: TurnRecord, server: dict[str, Any]) -> TurnLatency:
    """Join both views on the client's clock.

    The server reports durations that start at its own speech_stopped. That moment is taken as the earlier of two: when
    the client received speech_stopped, and the latest moment at which the first audio can have been sent in time.
    """

    def since(at: float | None) -> float | None:
        return None if at is None else to_ms(at - record.asked)

    stopped, received = since(record.speech_stopped), since(record.first_audio)
    to_token = _sum(*(server.get(part) for part in ("queued_ms", "encoded_ms", "first_token_ms")))
    to_audio = _sum(to_token, server.get("first_audio_ms"))
    begin = stopped
    if begin is not None and received is not None and to_audio is not None:
        begin = min(begin, received - to_audio)
    return TurnLatency(
        turn=turn,
        utterance=utterance.name,
        seconds=round(utterance.voiced_s, 1),
        speech_stopped_ms=stopped,
        first_token_ms=_sum(begin, to_token),
        first_text_ms=since(record.first_text),
        audio_sent_ms=_sum(begin, to_audio),
        wait_ms=to_audio,
        audio_received_ms=received,
        audio_ms=to_ms(record.audio_s),
        decoder_rtf=server.get("decoder_rtf"),
        vocoder_rtf=server.get("vocoder_rtf"),
        least_margin_ms=to_ms(record.least_margin_s),
        ahead_ms=server.get("ahead_ms"),
        wasted_drafts=server.get("wasted_drafts"),
        margins_ms=tuple(round(chunk.margin_s * 1000, 1) for chunk in record.chunks),
        transcript=record.transcript,
    )


def percentiles(turns: Sequence[TurnLatency], percent: float) -> dict[str, float | None]:
    """The percentile of each of `MEASURES`.

    Small margins are the bad ones, so the p95 of the margin is the value that 95 % of the turns exceed.
    """
    ranks = {name: 100 - percent if name == "least_margin_ms" else percent for name in MEASURES}
    return {name: percentile([getattr(turn, name) for turn in turns], rank) for name, rank in ranks.items()}


def _sum(*parts: float | None) -> float | None:
    return None if any(part is None for part in parts) else round(sum(part or 0.0 for part in parts), 1)


async def server_figures(url: str, response_id: str) -> dict[str, Any]:
    """The server's own record of this response; empty when it has none."""
    deadline = time.perf_counter() + _TURN_LIST_TIMEOUT_S
    while time.perf_counter() < deadline:
        status, body = await get_json(http_url(url, "/v1/realtime/turns?limit=20"))
        if status != 200:
            return {}
        for turn in reversed(body.get("data", [])):
            if turn.get("response_id") == response_id:
                return dict(turn)
        await asyncio.sleep(_POLL_S)
    return {}


async def wait_until_ready(url: str) -> None:
    """Returns when `/healthz` answers 200. Raises `ClientError` when loading has failed or nothing answers."""
    while True:
        status, body = await get_json(http_url(url, "/healthz"))
        if status == 200:
            return
        if body.get("status") != "loading":
            raise ClientError(f"the server is not ready: {body.get('reason') or f'HTTP {status}'}")
        await asyncio.sleep(_POLL_S)
