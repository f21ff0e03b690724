"""Builds the parts from `Settings` and joins them; the only module that imports all of them.

`Application` is the life of a server: loading in the background while `/healthz` answers 503, warm-up, sessions,
draining. `model_threads.start_threads` starts its engine and vocoder; `keys` says who may use it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch

from realtime import memory
from realtime.addresses import ip_addresses, stun_address, turn_server
from realtime.admission.manager import SessionLease, SessionManager
from realtime.admission.queue import QueueEntry
from realtime.checkpoint import instructions as spoken
from realtime.checkpoint.load import LoadedModel, load_model
from realtime.config import Settings, words
from realtime.engine.clip_voices import ClipVoices
from realtime.engine.supervisor import Supervisor, Unit
from realtime.engine.thinking import ThinkingEngine
from realtime.engine.turn_completion import EngineTurnModel
from realtime.engine.vocoder_service import ThreadedVocoder
from realtime.errors import CapacityError, RealtimeError
from realtime.model_threads import ModelThreads, start_threads
from realtime.ports.tools import NoTools, ServerTool, ToolSet
from realtime.protocol.session_config import Session, TranscriptionSession
from realtime.session.config import SessionConfig, SessionLimits
from realtime.session.quota import Quota, QuotaLimits, Quotas
from realtime.session.services import Services
from realtime.supervision import health_of, supervise
from realtime.tools.builtin import ToolConfig, build_tools
from realtime.tools.hosts import HostPolicy
from realtime.tools.mcp_servers import McpServers
from realtime.transports.http.access import is_loopback
from realtime.transports.http.host import Health
from realtime.transports.http.last_hour import Sample
from realtime.transports.http.metrics_page import ServerMetrics
from realtime.transports.http.process_metrics import memory_bytes
from realtime.transports.webrtc.offers import OfferAnswerer
from realtime.turn_spans import start_spans
from realtime.turns.smart_turn import EndOfTurnModel, load_end_of_turn_model
from realtime.turns.vad import SileroVad

logger = logging.getLogger(__name__)

SAMPLE_SECONDS = 5.0
"""So often the process is looked at for the figures of the last hour."""

REMEMBERED_TURNS = 1000
"""Responses whose latencies `/v1/realtime/turns` can list."""


def find_frontend() -> Path | None:
    """The folder of the web page, in a checkout or in an installed wheel; None if it is missing."""
    package = Path(__file__).parent
    folders = (package.parent / "frontend", package / "frontend")
    return next((folder for folder in folders if (folder / "index.html").exists()), None)


def build_tools_of(settings: Settings, vocoder: ThreadedVocoder | None = None) -> ToolSet:
    """The server tools; without ``vocoder`` only to check the settings. Raises `ConfigError` for a tool whose settings
    are missing."""
    voices = ClipVoices(vocoder, settings.model / "token2wav") if vocoder is not None else None
    config = ToolConfig(
        names=tuple(words(settings.tools)),
        weather_url=settings.weather_url,
        web_search_url=settings.web_search_url,
        clips=Path(settings.clips) if settings.clips else None,
    )
    return build_tools(config, lambda clip: voices.voice_of(clip.path, clip.voice) if voices is not None else "")


class WebRtc(OfferAnswerer, Protocol):
    """What answers offers while the server runs."""

    async def close(self) -> None: ...


async def open_webrtc(settings: Settings, metrics: ServerMetrics) -> WebRtc | None:
    """What answers WebRTC offers; None where WebRTC is switched off or not installed. Raises `ConfigError` when the UDP
    sockets that the settings name cannot be opened."""
    if not settings.webrtc:
        return None
    try:
        await asyncio.to_thread(import_module, "realtime.transports.webrtc.answerer")  # it takes a second
        from realtime.transports.webrtc.answerer import WebRtcAnswerer
        from realtime.transports.webrtc.udp import UdpConfig
    except ModuleNotFoundError as error:
        logger.info("WebRTC is off: %s is not installed; pip install 'realtime-voice[webrtc]'", error.name)
        return None
    config = UdpConfig(
        addresses=ip_addresses(settings.webrtc_addresses),
        port=settings.webrtc_port,
        advertised=ip_addresses(settings.webrtc_advertised),
        stun_server=stun_address(settings.webrtc_stun),
        loopback=is_loopback(settings.host),
    )
    turn = turn_server(settings.webrtc_turn)
    if turn is not None:
        turn = replace(turn, username=settings.webrtc_turn_username, password=settings.webrtc_turn_password)
    answerer = WebRtcAnswerer(config, metrics, turn)
    await answerer.open()
    return answerer


class Application:
    """The life of one server; implements `realtime.transports.http.host.Host`. Entering `running` starts loading."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._health = Health("loading", f"loading the model from {settings.model}")
        self._model_name = settings.model.name
        self._turns: deque[dict[str, Any]] = deque(maxlen=REMEMBERED_TURNS)
        self._metrics = ServerMetrics()
        self._spans = start_spans()
        self._quotas = Quotas(
            QuotaLimits(
                settings.key_sessions,
                settings.key_responses,
                settings.key_audio_minutes * 60.0,
                settings.key_out_of_band,
            )
        )
        self._session_config: SessionConfig | None = None
        self._sessions: SessionManager | None = None
        self._threads: ModelThreads | None = None
        self._supervisor: Supervisor | None = None
        self._turn_model: EndOfTurnModel | None = None
        self._tools: ToolSet = NoTools()
        self._webrtc: WebRtc | None = None
        self._loading: asyncio.Task[None] | None = None

    @property
    def health(self) -> Health:
        if self._supervisor is not None and self._health.state == "ready":
            return health_of(self._supervisor)
        return self._health

    @property
    def model_name(self) -> str:
        return self._model_name

    @property
    def metrics(self) -> ServerMetrics:
        return self._metrics

    @property
    def voices(self) -> tuple[str, ...]:
        return self._threads.vocoder.voices if self._threads is not None else ()

    @property
    def server_tools(self) -> tuple[ServerTool, ...]:
        return self._tools.tools

    @property
    def quotas(self) -> Quotas:
        return self._quotas

    @property
    def offers(self) -> OfferAnswerer | None:
        return self._webrtc

    @property
    def waiting_s(self) -> float:
        return float(self._settings.queue_seconds)

    @property
    def handshake_s(self) -> float:
        return float(self._settings.handshake_seconds)

    @property
    def session_config(self) -> SessionConfig | None:
        return self._session_config

    @property
    def sessions(self) -> SessionManager | None:
        """None until the model is ready."""
        return self._sessions

    def holdings(self) -> dict[str, Any]:
        if self._threads is None:
            return {}
        engine, vocoder = self._threads.engine, self._threads.vocoder
        held: dict[str, Any] = {
            "engine_jobs": engine.jobs,
            "kv_caches": engine.open_slots,
            "kv_caches_limit": engine.slots,
            "vocoder_streams": vocoder.open_streams,
            "schema_processes": len(self._threads.schemas.pids),
        }
        if torch.cuda.is_available():
            held["gpu_bytes"] = torch.cuda.memory_reserved()
        return held

    def recent_turns(self, limit: int) -> list[dict[str, Any]]:
        return list(self._turns)[-limit:]

    def admit(self) -> SessionLease:
        if self._sessions is None:
            raise CapacityError(self._health.reason)
        return self._sessions.admit()

    def join_queue(self, key: str = "") -> QueueEntry[SessionLease]:
        if self._sessions is None:
            raise CapacityError(self._health.reason)
        return self._sessions.join_queue(key)

    async def check_tools(self, first: Session | TranscriptionSession, quota: Quota) -> None:
        if self._sessions is None:
            raise CapacityError(self._health.reason)
        await self._sessions.check_tools(first, quota)

    def find_session(self, call_id: str) -> SessionLease | None:
        return self._sessions.find(call_id) if self._sessions is not None else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start loading; at the end refuse new sessions, end the running ones and stop the threads."""
        self._loading = asyncio.create_task(self._load(), name="load the model")
        background = [
            asyncio.create_task(self._metrics.loop_lag.run(), name="measure the event loop's lag"),
            asyncio.create_task(self._sample(), name="sample the process"),
            asyncio.create_task(memory.run(), name="give memory back"),
        ]
        try:
            yield
        finally:
            await self.drain(0.0)
            if self._supervisor is not None:
                await asyncio.to_thread(self._supervisor.stop)
            for task in background:
                task.cancel()
            if self._webrtc is not None:
                await self._webrtc.close()
            if self._threads is not None:
                await asyncio.to_thread(self._threads.stop)
            if self._spans is not None:
                await asyncio.to_thread(self._spans.close)

    async def drain(self, grace_s: float) -> None:
        self._health = Health("draining", "The server is shutting down.")
        if self._loading is not None:
            self._loading.cancel()
        if self._sessions is not None:
            await self._sessions.drain(grace_s)

    async def _load(self) -> None:
        started = time.monotonic()
        try:
            self._turn_model = await asyncio.to_thread(load_end_of_turn_model, self._settings.turn_model)
            loaded = await asyncio.to_thread(load_model, self._settings)
            self._health = Health("loading", "warming up")
            self._threads = await asyncio.to_thread(start_threads, loaded, self._settings, measure=True)
            if self._settings.turn_model == "auto" and loaded.turn_completion is not None:
                self._turn_model = EngineTurnModel(loaded.turn_completion, self._threads.engine)
            self._sessions = self._open_sessions(loaded, self._threads)
            self._webrtc = await open_webrtc(self._settings, self._metrics)
            self._add_gauges(self._sessions, self._threads)
            self._supervise(self._threads)
        except RealtimeError as error:
            self._health = Health("failed", str(error))
            logger.error("the model cannot be loaded: %s", error)
        except Exception as error:  # the loader's border: the server stays up to say what is wrong
            self._health = Health("failed", f"{type(error).__name__}: {error}")
            logger.exception("the model cannot be loaded: %s", error)  # nobody has talked yet
        else:
            self._model_name = loaded.profile.name
            self._health = Health("ready", "serving")
            logger.info("ready after %.1f s: %s", time.monotonic() - started, loaded.profile.name)

    def _open_sessions(self, loaded: LoadedModel, threads: ModelThreads) -> SessionManager:
        profile = loaded.profile
        config = SessionConfig(
            model=profile.name,
            voice=threads.vocoder.voices[0],
            instructions=profile.instructions,
            opening=profile.opening,
            render=lambda template: spoken.fill(template, datetime.now()),
            interruption=self._settings.interruption,
            echo_gate=self._settings.echo_gate,
            backchannels=tuple(self._settings.backchannels.split(",")),
            sampling=profile.sampling,
            transcription_hints=profile.transcription_hints,
            thinking_tokens=profile.thinking_tokens,
            limits=SessionLimits(
                session_s=float(self._settings.session_seconds),
                audio_gap_s=self._settings.audio_gap_ms / 1000,
                progress_s=self._settings.response_seconds,
            ),
            speculate=self._settings.speculate,
        )
        self._session_config = config
        engine = ThinkingEngine(threads.engine)
        self._tools = build_tools_of(self._settings, threads.vocoder)
        services = Services(
            engine,
            threads.vocoder,
            SileroVad(),
            self._remember,
            threads.schemas,
            threads.token_counter,
            self._metrics.speculated,
            self._turn_model,
            self._tools,
            McpServers(HostPolicy.read(self._settings.mcp_hosts)),
        )
        return SessionManager(
            services,
            config,
            max_sessions=threads.max_sessions,
            max_waiting=self._settings.queue_size,
            record=Path(self._settings.record) if self._settings.record else None,
        )

    def _add_gauges(self, sessions: SessionManager, threads: ModelThreads) -> None:
        metrics = self._metrics
        help = "Inputs of all sessions that wait to be handled."
        metrics.gauge("realtime_input_queue_depth", help, lambda: sessions.pending_inputs)
        metrics.gauge("realtime_max_sessions", "Sessions that are admitted at a time.", lambda: threads.max_sessions)
        metrics.gauge("realtime_clients_waiting", "Clients that wait for a session.", lambda: sessions.waiting)
        metrics.gauge("realtime_engine_jobs", "Generations that run or wait.", lambda: threads.engine.jobs)

    async def _sample(self) -> None:
        """Note the state of the process for the operators' page, until cancelled."""
        while True:
            sessions, lag = self._sessions, self._metrics.loop_lag
            running, waiting = (sessions.running, sessions.waiting) if sessions is not None else (0, 0)
            self._metrics.last_hour.sampled(Sample(running, waiting, memory_bytes(), lag.worst_s))
            await asyncio.sleep(SAMPLE_SECONDS)

    def _supervise(self, threads: ModelThreads) -> None:
        if self._settings.stall_seconds:
            units: dict[str, Unit] = {"engine": threads.engine, "vocoder": threads.vocoder}
            self._supervisor = supervise(units, self._settings.stall_seconds, self._metrics)
            self._supervisor.start()

    def _remember(self, response_id: str, summary: Mapping[str, float | None]) -> None:
        self._turns.append({"response_id": response_id, **summary})
        self._metrics.reply_measured(summary)
        if self._spans is not None:
            self._spans.reply_measured(response_id, summary)
