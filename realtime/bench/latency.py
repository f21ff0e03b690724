"""Latency of spoken turns against a server: what the caller measures, joined with what the server tells.

All times of a turn count from its last voiced sample, in ms. A server of ours also lists its latest replies
at `/v1/realtime/turns`; without that list the server's own figures stay None.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from realtime.client.connection import ClientError, open_session
from realtime.client.speech_turn import TurnRecord, speak
from realtime.client.utterance import Utterance

_POLL_S = 0.25
_TURN_LIST_PATIENCE_S = 1.0
"""The server writes a reply down after its last event has left."""


@dataclass(frozen=True, slots=True)
class TurnFigures:
    """One turn. Milestones in ms after the last voiced sample; ``error``: why there is no figure.

    ``wait_ms``: from speech_stopped to the first audio sent, both as the server saw them. ``ahead_ms``: how long before
    speech_stopped the answer was begun that was given; ``wasted_drafts``: others that were begun in vain.
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
"""The figures that percentiles are made of."""


async def measure(
    url: str, utterances: Sequence[Utterance], *, api_key: str | None = None, conversation: bool = False
) -> AsyncIterator[TurnFigures]:
    """One spoken turn an utterance: each in a session of its own, or all in one ``conversation``."""
    if not conversation:
        for turn, utterance in enumerate(utterances, 1):
            async for figures in _session(url, api_key, [(turn, utterance)]):
                yield figures
        return
    async for figures in _session(url, api_key, list(enumerate(utterances, 1))):
        yield figures


async def _session(url: str, api_key: str | None, turns: Sequence[tuple[int, Utterance]]) -> AsyncIterator[TurnFigures]:
    """Turns of one session; the first that fails ends it, for what follows would not be comparable."""
    turn, utterance = turns[0]
    try:
        async with open_session(url, api_key=api_key) as connection:
            for turn, utterance in turns:
                record = await speak(connection, utterance)
                server = await server_figures(url, record.response_id)
                yield figures_of(turn, utterance, record, server)
    except ClientError as error:
        yield TurnFigures(turn, utterance.name, error=str(error))


def figures_of(turn: int, utterance: Utterance, record: TurnRecord, server: dict[str, Any]) -> TurnFigures:
    """Join both views. The server tells durations from its own speech_stopped on; nothing arrives before it was
    sent, so that moment lies no later than either of the two arrivals allows."""

    def since(at: float | None) -> float | None:
        return None if at is None else round((at - record.asked) * 1000, 1)

    stopped, received = since(record.speech_stopped), since(record.first_audio)
    to_token = _sum(*(server.get(part) for part in ("queued_ms", "encoded_ms", "first_token_ms")))
    to_audio = _sum(to_token, server.get("first_audio_ms"))
    begin = stopped
    if begin is not None and received is not None and to_audio is not None:
        begin = min(begin, received - to_audio)
    return TurnFigures(
        turn=turn,
        utterance=utterance.name,
        seconds=round(utterance.voiced_s, 1),
        speech_stopped_ms=stopped,
        first_token_ms=_sum(begin, to_token),
        first_text_ms=since(record.first_text),
        audio_sent_ms=_sum(begin, to_audio),
        wait_ms=to_audio,
        audio_received_ms=received,
        audio_ms=round(record.audio_s * 1000, 1),
        decoder_rtf=server.get("decoder_rtf"),
        vocoder_rtf=server.get("vocoder_rtf"),
        least_margin_ms=None if record.least_margin_s is None else round(record.least_margin_s * 1000, 1),
        ahead_ms=server.get("ahead_ms"),
        wasted_drafts=server.get("wasted_drafts"),
        margins_ms=tuple(round(chunk.margin_s * 1000, 1) for chunk in record.chunks),
        transcript=record.transcript,
    )


def percentiles(turns: Sequence[TurnFigures], percent: float) -> dict[str, float | None]:
    """The nearest-rank percentile of each of `MEASURES`: a value that was really seen.

    The small end is the bad one for margins: their p95 is what 95 % of the turns were better than.
    """
    return {name: _percentile([getattr(turn, name) for turn in turns], name, percent) for name in MEASURES}


def _percentile(values: Sequence[float | None], name: str, percent: float) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    rank = 100 - percent if name == "least_margin_ms" else percent
    return float(np.percentile(known, rank, method="inverted_cdf"))


def _sum(*parts: float | None) -> float | None:
    return None if any(part is None for part in parts) else round(sum(part or 0.0 for part in parts), 1)


async def server_figures(url: str, response_id: str) -> dict[str, Any]:
    """The server's own record of this response; empty when it keeps none."""
    deadline = time.perf_counter() + _TURN_LIST_PATIENCE_S
    while time.perf_counter() < deadline:
        status, body = await _get(http_url(url, "/v1/realtime/turns?limit=20"))
        if status != 200:
            return {}
        for turn in reversed(body.get("data", [])):
            if turn.get("response_id") == response_id:
                return dict(turn)
        await asyncio.sleep(_POLL_S)
    return {}


async def wait_until_ready(url: str) -> None:
    """Until `/healthz` says 200. Raises `ClientError` when it says that this will never be, or nothing."""
    while True:
        status, body = await _get(http_url(url, "/healthz"))
        if status == 200:
            return
        if body.get("status") != "loading":
            raise ClientError(f"the server is not ready: {body.get('reason') or f'HTTP {status}'}")
        await asyncio.sleep(_POLL_S)


def http_url(url: str, path: str) -> str:
    """``ws://HOST:1/v1/realtime`` and ``/healthz`` -> ``http://HOST:1/healthz``."""
    parts = urlsplit(url)
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}{path}"


async def _get(url: str) -> tuple[int, dict[str, Any]]:
    return await asyncio.to_thread(_fetch, url)


def _fetch(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _json_or_nothing(error.read())
    except (OSError, ValueError) as error:
        raise ClientError(f"{url}: {error}") from error


def _json_or_nothing(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
