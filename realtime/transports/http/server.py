"""The web server: uvicorn, with the limits of the protocol, and sessions that end before their sockets.

uvicorn closes WebSockets itself, with 1012, before the application hears of the end. `DrainingServer` ends the sessions
first: at the first SIGTERM or SIGINT nobody is admitted any more, sessions may end within a grace, and the others get
`server_draining` and 1001. Meanwhile it answers, so a load balancer sees 503. A second signal cuts the grace short.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from realtime.errors import ConfigError
from realtime.transports.http.guards import GuardedHttp, GuardedWebSocket
from realtime.transports.http.pending import GuardedListener

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 24 * 2**20
"""One `input_audio_buffer.append` may hold 15 MiB of audio, which is 20 MiB of base64 and its envelope."""

PING_SECONDS = 20.0
"""A half-open socket is detected after twice this time."""

UNREAD_SECONDS = 30
"""The kernel drops a connection whose peer has taken nothing for this time, and frees its buffers."""


CLOSING_SECONDS = 2.0
"""Limit of the wait for peers to answer the close frame. One that has not is disconnected."""

FORCED_SECONDS = 1.0
"""After a second signal, the limit of telling the callers."""

EXIT_SECONDS = 3.0
"""After a second signal the process ends within this time, whatever hangs."""

Drain = Callable[[float], Awaitable[None]]
"""Stops admission, lets sessions go on for at most so many seconds and ends them."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket for `web_server`. Raises OSError when the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.create_server((host, port), family=family, backlog=128)
    listener = GuardedListener(fileno=made.detach())
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted sockets inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
    return listener


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM; ``cert`` with the whole chain."""

    cert: Path
    key: Path


async def _no_sessions(grace_s: float) -> None:
    """The drain of a server without sessions."""


class DrainingServer(uvicorn.Server):
    """uvicorn, which ends the sessions before it closes their sockets."""

    def __init__(self, config: uvicorn.Config, drain: Drain, grace_s: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._grace_s = grace_s
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first begins the drain, the second forces the end."""
        again, forced = self.should_exit, self.force_exit
        super().handle_exit(sig, frame)
        if again and not forced:
            self._force(sig)
        with suppress(RuntimeError):  # no loop: it has ended by itself
            asyncio.get_running_loop().call_soon_threadsafe(self._begin_drain)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's, which at the end raises the signal again: it kills the process, so the log is written before."""
        with super().capture_signals():
            yield
            for handler in logging.getLogger().handlers:
                with suppress(OSError, ValueError):
                    handler.flush()

    async def on_tick(self, counter: int) -> bool:
        if not await super().on_tick(counter):
            return False
        return self.force_exit or self._begin_drain().done()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._end_sessions()
        await super().shutdown(sockets)

    def _begin_drain(self) -> asyncio.Task[None]:
        if self._draining is None:
            logger.info("draining: sessions may end within %g s; a second signal ends them now", self._grace_s)
            self._draining = asyncio.create_task(self._drained(self._grace_s), name="drain")
        return self._draining

    async def _drained(self, grace_s: float) -> None:
        try:
            await self._drain(grace_s)
        except Exception:  # whatever fails in here, the process must end
            logger.exception("the sessions could not be ended")

    async def _end_sessions(self) -> None:
        """Returns when the peers have answered the close frames, or had time to."""
        draining = self._begin_drain()
        while not draining.done() and not self.force_exit:
            await asyncio.wait({draining}, timeout=0.1)
        if not draining.done():
            draining.cancel()
            await asyncio.wait({asyncio.create_task(self._drained(0.0), name="drain now")}, timeout=FORCED_SECONDS)
        limit = FORCED_SECONDS if self.force_exit else CLOSING_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while self._open_sockets():  # noqa: ASYNC110  uvicorn's set of connections has no event
                    await asyncio.sleep(0.05)

    def _open_sockets(self) -> bool:
        return any(isinstance(one, GuardedWebSocket) for one in self.server_state.connections)

    def _force(self, sig: int) -> None:
        self.force_exit = True
        timer = threading.Timer(EXIT_SECONDS, os._exit, (128 + sig,))
        timer.daemon = True
        timer.start()


def web_server(
    app: Starlette,
    tls: TlsFiles | None = None,
    *,
    drain: Drain = _no_sessions,
    grace_s: float = 0.0,
    proxies: Sequence[str] = (),
) -> uvicorn.Server:
    """A server that is not running yet: ``run(sockets=[…])`` or ``await serve(sockets=[…])``, with the socket of
    `listen`. ``drain`` is called with ``grace_s`` when it is to stop. ``proxies``: addresses and networks whose
    ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed.

    The files of ``tls`` are read now. Raises `ConfigError` when they do not match.
    """
    config = uvicorn.Config(
        app,
        http=GuardedHttp,
        ws=GuardedWebSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # base64 audio gains nothing
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        log_config=None,
        access_log=False,
        loop="asyncio",  # uvloop would not call `GuardedListener.accept`
        proxy_headers=bool(proxies),
        forwarded_allow_ips=[str(network) for network in _networks(proxies)],
        timeout_graceful_shutdown=3,  # the sessions have ended by then
        ssl_certfile=tls.cert if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    if tls is not None:
        _read_tls(config, tls)
    return DrainingServer(config, drain, grace_s)


def _networks(proxies: Sequence[str]) -> Iterator[IPv4Network | IPv6Network]:
    for proxy in proxies:
        try:
            yield ip_network(proxy)
        except ValueError as error:
            raise ConfigError(f"--trusted-proxies: {error}; expected an address or a network") from None


def _read_tls(config: uvicorn.Config, tls: TlsFiles) -> None:
    for path in (tls.cert, tls.key):
        if not os.path.isfile(path):  # also in a folder that may not be read
            raise ConfigError(f"TLS file {path} does not exist; give --tls-cert and --tls-key files in PEM")
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"TLS files {tls.cert} and {tls.key}: {error.strerror or error}; expected a certificate and its own "
            "private key, both in PEM, the key without a password"
        ) from error
