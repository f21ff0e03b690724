"""Builds the parts from `Settings` and joins them; the only module that imports all of them.

`start_threads` starts the engine's and the vocoder's thread for a loaded checkpoint. `Application` is the life of a
server: loading in the background while `/healthz` answers 503, warm-up, sessions, draining.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch

from realtime import memory
from realtime.addresses import ip_addresses, stun_address, turn_server
from realtime.admission.capacity import Capacity
from realtime.admission.manager import SessionLease, SessionManager
from realtime.admission.queue import QueueEntry
from realtime.checkpoint import instructions as spoken
from realtime.checkpoint.load import LoadedModel, load_model
from realtime.config import Settings, naming, words
from realtime.engine.clip_voices import ClipVoices
from realtime.engine.engine import EngineCore
from realtime.engine.runner import ModelRunner
from realtime.engine.supervisor import Supervisor, Unit
from realtime.engine.thinking import ThinkingEngine
from realtime.engine.threaded import ThreadedEngine
from realtime.engine.token_counter import PromptTokenCounter
from realtime.engine.turn_completion import EngineTurnModel
from realtime.engine.vocoder_service import ThreadedVocoder
from realtime.errors import CapacityError, ConfigError, RealtimeError
from realtime.ports.tools import NoTools, ServerTool, ToolSet
from realtime.protocol.session_config import Session, TranscriptionSession
from realtime.sandbox.schemas import SchemaSandbox
from realtime.session.config import SessionConfig, SessionLimits
from realtime.session.quota import Quota, QuotaLimits, Quotas
from realtime.session.services import Services
from realtime.supervision import health_of, supervise
from realtime.tools.builtin import ToolConfig, build_tools
from realtime.tools.hosts import HostPolicy
from realtime.tools.mcp_servers import McpServers
from realtime.transports.http.access import Access, ApiKeys, Origins, is_loopback
from realtime.transports.http.admin_access import AdminAccess
from realtime.transports.http.host import Health
from realtime.transports.http.hosts import Hosts
from realtime.transports.http.last_hour import Sample
from realtime.transports.http.metrics_page import ServerMetrics
from realtime.transports.http.process_metrics import memory_bytes
from realtime.transports.webrtc.offers import OfferAnswerer
from realtime.turn_spans import start_spans
from realtime.turns.smart_turn import EndOfTurnModel, load_end_of_turn_model
from realtime.turns.vad import SileroVad
from streaming_vocoder.streaming import Vocoder

logger = logging.getLogger(__name__)

MODEL_THREADS = 2
"""Threads that compute at the same time: the engine's and the vocoder's."""


STOP_SECONDS = 2.0
"""Limit of the wait for each of them at the end. The operating system takes care of one that is stuck."""

MAX_KEYS_FILE_BYTES = 4 * 2**20
"""Tens of thousands of keys; a device file has no end."""

SAMPLE_SECONDS = 5.0
"""So often the process is looked at for the figures of the last hour."""

REMEMBERED_TURNS = 1000
"""Responses whose latencies `/v1/realtime/turns` can list."""


def find_frontend() -> Path | None:
    """The folder of the web page, in a checkout or in an installed wheel; None if it is missing."""
    package = Path(__file__).parent
    folders = (package.parent / "frontend", package / "frontend")
    return next((folder for folder in folders if (folder / "index.html").exists()), None)


def build_access(settings: Settings) -> Access:
    """Who may connect. Raises `ConfigError`, also for a server without keys that would listen on a public address."""
    keys = read_keys(settings)
    if not keys and not settings.allow_anonymous and not is_loopback(settings.host):
        raise ConfigError(
            f"--host: {settings.host!r} can be reached from other machines and no API key is set: anyone could use "
            "this server. Set REALTIME_API_KEY or --api-keys-file, set --allow-anonymous, or listen on 127.0.0.1"
        )
    hosts = words(settings.allowed_hosts)
    Hosts(hosts)  # raises for names that are none
    with naming("allowed_origins"):
        origins = Origins(words(settings.allowed_origins))
    return Access(keys, origins, hosts=(*hosts, settings.host))


def build_admin_access(settings: Settings) -> AdminAccess:
    """Who may see and end other people's sessions. Raises `ConfigError`, also for an admin key that is an API key."""
    keys = read_admin_keys(settings)
    alone = is_loopback(settings.host) and not settings.allow_anonymous and not settings.trusted_proxies
    return AdminAccess(keys, open_on_loopback=alone and not read_keys(settings) and not keys)


def read_keys(settings: Settings) -> ApiKeys:
    """The API keys of the setting and of the file, as it is now. Raises `ConfigError`."""
    return _read_keys("api_key", settings.api_key, "api_keys_file", settings.api_keys_file)


def read_admin_keys(settings: Settings) -> ApiKeys:
    """The admin keys, likewise. Raises `ConfigError` for one that is an API key, too: those are given to clients."""
    keys = _read_keys("admin_key", settings.admin_key, "admin_keys_file", settings.admin_keys_file)
    if keys.names & read_keys(settings).names:
        flag = "--admin-key" if settings.admin_key else "--admin-keys-file"
        raise ConfigError(f"{flag}: one of the admin keys is an API key, too: every client would be an operator")
    return keys


def _read_keys(setting: str, key: str, file_setting: str, path_text: str) -> ApiKeys:
    with naming(setting):
        keys = ApiKeys.read([key], "the key")
    if not path_text:
        return keys
    path = Path(path_text)
    with naming(file_setting):
        with path.open("rb") as file:
            content = file.read(MAX_KEYS_FILE_BYTES + 1)
        if len(content) > MAX_KEYS_FILE_BYTES:
            raise ConfigError(f"{path} has more than {MAX_KEYS_FILE_BYTES} bytes")
        try:
            listed = ApiKeys.read(content.decode().splitlines(), str(path))
        except UnicodeDecodeError:
            raise ConfigError(f"{path} is not text in UTF-8; it has one key per line") from None
        if not listed:
            raise ConfigError(f"{path} contains no key; write one per line")
    return keys + listed


def reload_keys(settings: Settings, access: Access, admin: AdminAccess) -> None:
    """Read the files of keys again. What is wrong with one leaves all keys as they are, and the log says what."""
    files = {"--api-keys-file": settings.api_keys_file, "--admin-keys-file": settings.admin_keys_file}
    given = {flag: path for flag, path in files.items() if path}
    if not given:
        logger.info("SIGHUP is ignored: there is no --api-keys-file or --admin-keys-file to read again")
        return
    for flag, path in given.items():
        if not os.path.isfile(path):  # a pipe would block
            logger.error("the keys are unchanged: %s: %s is not a file", flag, path)
            return
    try:
        keys, admin_keys = read_keys(settings), read_admin_keys(settings)
    except ConfigError as error:
        logger.error("the keys are unchanged: %s", error)
    else:
        access.replace_keys(keys)
        admin.replace_keys(admin_keys)
        logger.info("the keys were read again")


@dataclass(frozen=True, slots=True, eq=False)
class ModelThreads:
    """The engine's and the vocoder's thread. Call `stop` when done."""

    engine: ThreadedEngine
    vocoder: ThreadedVocoder
    token_counter: PromptTokenCounter
    schemas: SchemaSandbox
    max_sessions: int
    """As set, or as measured."""

    def stop(self) -> None:
        self.schemas.close()
        self.engine.stop(STOP_SECONDS)
        self.vocoder.stop(STOP_SECONDS)


def start_threads(loaded: LoadedModel, settings: Settings, *, measure: bool = False) -> ModelThreads:
    """Warm up engine and vocoder and start their threads. Blocks during the warm-up. ``measure``: find out how
    many sessions the machine serves, if the settings do not say it; else it is 1. Raises `ConfigError` without voices.
    """
    if not loaded.voices:
        raise ConfigError(
            f"model folder {settings.model} has no voices/*.safetensors; set --voice to a .wav of 3 to 15 s to enroll"
        )
    torch.set_num_threads(settings.threads or max(1, (os.cpu_count() or 2) // MODEL_THREADS))
    schemas = SchemaSandbox(settings.model)
    make_runner = partial(_warm_runner, loaded, schemas)
    runner = make_runner()
    loaded.vocoder.prepare(next(iter(loaded.voices.values())))
    chunks = loaded.vocoder.options.ladder
    vocoder = ThreadedVocoder(loaded.vocoder, loaded.voices, chunks, partial(_other_vocoder, loaded))
    vocoder.warm_up()
    max_sessions = settings.max_sessions or (_measure_sessions(runner, vocoder, settings) if measure else 1)
    # Two KV caches per session: transcripts do not share the conversation's. Fewer for responses out of band.
    asides = 2 + max_sessions // 2
    slots = 2 * max_sessions + 1 + asides
    make_core = partial(EngineCore, slots=slots, asides=asides, pressed=lambda: vocoder.urgent)
    engine = ThreadedEngine(make_core(runner), lambda: make_core(make_runner()))
    vocoder.yield_to(lambda: engine.urgent)
    model = loaded.speech_model
    token_counter = PromptTokenCounter(model.tokenizer, model.tokens, runner.max_tokens)
    threads = ModelThreads(engine, vocoder, token_counter, schemas, max_sessions)
    schemas.start()
    threads.engine.start()
    threads.vocoder.start()
    return threads


def _warm_runner(loaded: LoadedModel, schemas: SchemaSandbox) -> ModelRunner:
    """A runner of its own caches, features and grammars."""
    runner = ModelRunner(loaded.speech_model, max_tokens=loaded.profile.max_context_tokens, probe=schemas.probe)
    runner.warm_up()
    return runner


def _other_vocoder(loaded: LoadedModel) -> Vocoder:
    """One to go on with when the first is stuck."""
    twin = loaded.vocoder.twin()
    twin.prepare(next(iter(loaded.voices.values())))
    return twin


def _measure_sessions(runner: ModelRunner, vocoder: ThreadedVocoder, settings: Settings) -> int:
    """How many sessions this machine serves in time; a second on two cores. Says so in the log."""
    began = time.monotonic()
    threads = MODEL_THREADS * torch.get_num_threads()
    parallel = settings.device in ("auto", "cpu") and threads <= _processors() and not torch.cuda.is_available()
    with ThreadPoolExecutor(1, "measurement") as other:

        def time_both(replies: int) -> tuple[float, float]:
            if not parallel:
                return runner.time_step(replies), vocoder.time_speech(replies)
            speech = other.submit(vocoder.time_speech, replies)  # at the same time: they share memory and caches
            steps = [runner.time_step(replies)]
            while not speech.done():
                steps.append(runner.time_step(replies))
            return sorted(steps)[len(steps) // 2], speech.result()

        capacity = Capacity.measured(time_both, parallel=parallel)
    seconds = time.monotonic() - began
    logger.info("--max-sessions is not set: measured in %.1f s, this machine holds %s", seconds, capacity)
    return capacity.sessions


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        lag = asyncio.create_task(self._metrics.loop_lag.run(), name="measure the event loop's lag")
        samples = asyncio.create_task(self._sample(), name="sample the process")
        trim = asyncio.create_task(memory.run(), name="give memory back")
        try:
            yield
        finally:
            await self.drain(0.0)
            if self._supervisor is not None:
                await asyncio.to_thread(self._supervisor.stop)
            lag.cancel()
            samples.cancel()
            trim.cancel()
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
