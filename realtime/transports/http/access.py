"""Who may use the server: API keys, client secrets, and the web pages that may connect.

A key is sent as ``Authorization: Bearer KEY`` or as ``api-key: KEY`` (Azure's clients). A browser cannot set headers on
a WebSocket; it offers the subprotocol ``openai-insecure-api-key.KEY``. On Azure's paths ``?api-key=KEY`` is accepted,
too. The server keeps SHA-256 hashes of keys: enough for random keys, and fast enough for every handshake.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from realtime.errors import ConfigError, PeerError
from realtime.transports.http.client_secrets import PREFIX as SECRET_PREFIX
from realtime.transports.http.client_secrets import ClientSecret, ClientSecrets
from realtime.transports.http.refusal import Refused

KEY_SUBPROTOCOL = "openai-insecure-api-key."
AZURE_PATHS = "/openai/"
"""Prefix of Azure's routes. A key in the URL counts only there: URLs end up in logs."""
HASH_PREFIX = "sha256:"
"""Marks a hash in a file of keys. Without it, 64 hexadecimal digits are a key: many keys look like that."""

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class ApiKeys:
    """The keys of this server, as hashes. Without keys the server is open."""

    def __init__(self, digests: Iterable[bytes] = ()) -> None:
        self._digests = tuple(digests)

    @classmethod
    def read(cls, lines: Iterable[str], source: str) -> ApiKeys:
        """Parse lines with a key, or ``sha256:`` and the hash of one; empty lines and ``#`` comments are skipped.

        ``source`` names the file or variable in a `ConfigError`, which never repeats a key.
        """
        stripped = ((number, line.strip()) for number, line in enumerate(lines, 1))
        return cls([_digest_of_line(line, f"{source}, line {number}") for number, line in stripped if _says(line)])

    def __bool__(self) -> bool:
        return bool(self._digests)

    @property
    def names(self) -> frozenset[str]:
        """The names under which callers with these keys are known (`Caller.name`)."""
        return frozenset(_name_of_digest(digest) for digest in self._digests)

    def __add__(self, other: ApiKeys) -> ApiKeys:
        return ApiKeys(self._digests + other._digests)

    def know(self, key: str) -> bool:
        """Whether this is a key. Takes the same time for every key, known or not."""
        digest = sha256(key.encode()).digest()
        return sum(hmac.compare_digest(digest, ours) for ours in self._digests) > 0


def _says(line: str) -> bool:
    return bool(line) and not line.startswith("#")


def _digest_of_line(line: str, where: str) -> bytes:
    if line.startswith(HASH_PREFIX):
        try:
            digest = bytes.fromhex(line.removeprefix(HASH_PREFIX))
        except ValueError:
            digest = b""
        if len(digest) != sha256().digest_size:
            raise ConfigError(f"{where}: expected 64 hexadecimal digits after {HASH_PREFIX!r}")
        return digest
    if not line.isascii() or not line.isprintable() or " " in line:
        raise ConfigError(f"{where}: a key is one word of ASCII characters, since it travels in a header")
    return sha256(line.encode()).digest()


@dataclass(frozen=True, slots=True)
class _Origin:
    scheme: str
    host: str
    port: int | None


class Origins:
    """Which web pages may connect. Browsers send the page's origin; other clients send none and are not checked here.

    Pages of this server and of the client's own machine may connect. ``allowed``: further origins, as
    ``https://HOST[:PORT]``; ``*`` is all. The names under which the server itself is reached are checked elsewhere
    (`hosts`).
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """Raises `ConfigError` for anything but an origin."""
        names = tuple(allowed)
        self._any = "*" in names
        self._allowed = frozenset(_parse_allowed(name) for name in names if name != "*")

    def admit(self, origin: str, host: str) -> bool:
        """``origin`` and ``host``: the headers of these names."""
        if self._any:
            return True
        page = _parse_origin(origin)
        if page is None:
            return False
        return page in self._allowed or is_loopback(page.host) or is_own_origin(origin, host)

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts of the further origins; ``*``: all."""
        return ("*",) if self._any else tuple(origin.host for origin in self._allowed)


def _parse_origin(text: str) -> _Origin | None:
    try:
        parts = urlsplit(text)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname:
        return None
    return _Origin(parts.scheme, parts.hostname, port)


def is_own_origin(origin: str, host: str) -> bool:
    """Whether a page of ``origin`` is of this server, which is reached as ``host``: the headers of these names. A proxy
    may have taken the TLS away, so the schemes are not compared."""
    page = _parse_origin(origin)
    return page is not None and page == _parse_origin(f"{page.scheme}://{host}")


def _parse_allowed(text: str) -> _Origin:
    origin = _parse_origin(text)
    if origin is None or urlsplit(text).path.strip("/"):
        raise ConfigError(f"allowed origin {text!r}: expected https://HOST or https://HOST:PORT, without a path, or *")
    return origin


def host_of(host: str) -> str | None:
    """The name or address in a ``Host`` header, in lower case, without its port; None for anything else."""
    origin = _parse_origin(f"http://{host}")
    return origin.host if origin is not None and not urlsplit(f"http://{host}").path else None


def is_address(host: str) -> bool:
    """Whether this is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether this host can only be this machine."""
    if is_address(host):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


@dataclass(frozen=True, slots=True)
class Credential:
    """What a client came with, and where it stood."""

    text: str
    by: Literal["header", "subprotocol"]


def credential_of(connection: HTTPConnection) -> Credential | None:
    """The key or client secret of a request; None without one."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return Credential(token.strip(), "header")
    if "api-key" in connection.headers:
        return Credential(connection.headers["api-key"], "header")
    if connection.url.path.startswith(AZURE_PATHS) and "api-key" in connection.query_params:
        return Credential(connection.query_params["api-key"], "header")
    for offered in connection.scope.get("subprotocols", ()):
        if offered.startswith(KEY_SUBPROTOCOL):
            return Credential(offered.removeprefix(KEY_SUBPROTOCOL), "subprotocol")
    return None


def reads_status(connection: HTTPConnection) -> bool:
    """Whether the client sees why a handshake failed. A browser does not; it gets an event instead."""
    credential = credential_of(connection)
    if credential is not None:
        return credential.by == "header"
    return "origin" not in connection.headers and not connection.scope.get("subprotocols")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who connects. ``name``: of the key, for quotas; without keys, of the address. ``secret``: what the caller came
    with, if that was one."""

    name: str
    secret: ClientSecret | None = None

    @property
    def secret_id(self) -> str:
        """Of the secret; empty without one."""
        return self.secret.id if self.secret is not None else ""


def _name_of_key(key: str) -> str:
    return _name_of_digest(sha256(key.encode()).digest())


def _name_of_digest(digest: bytes) -> str:
    return f"key:{digest.hex()[:16]}"


def _name_of_address(connection: HTTPConnection) -> str:
    return f"address:{connection.client.host}" if connection.client is not None else "address:unknown"


class Access:
    """Checks who connects. Every method raises `Refused`."""

    def __init__(
        self,
        keys: ApiKeys | None = None,
        origins: Origins | None = None,
        secrets: ClientSecrets | None = None,
        hosts: Iterable[str] = (),
    ) -> None:
        """The default is open to everyone except pages of other origins. ``hosts``: further names under which a server
        without keys is reached."""
        self._keys = keys or ApiKeys()
        self.hosts = tuple(hosts)
        self.origins = origins or Origins()
        self.secrets = secrets or ClientSecrets()

    @property
    def has_keys(self) -> bool:
        """Whether clients are known by their keys."""
        return bool(self._keys)

    def replace_keys(self, keys: ApiKeys) -> None:
        """From now on these keys count; client secrets of other keys end. Sessions that run go on."""
        self._keys = keys
        self.secrets.keep_owners(keys.names)

    def check_origin(self, connection: HTTPConnection) -> None:
        """A browser's page must be of an allowed origin."""
        origin = connection.headers.get("origin")
        if origin is None or self.origins.admit(origin, connection.headers.get("host", "")):
            return
        message = (
            f"Pages of {origin[:200]!r} may not connect here. The server's --allowed-origins names those that may."
        )
        raise Refused(403, PeerError("origin_not_allowed", message))

    def check_key(self, connection: HTTPConnection) -> Caller:
        """For all routes but sessions: one of the server's keys, if it has any."""
        credential = credential_of(connection)
        if not self._keys:
            return Caller(_name_of_address(connection))
        if credential is None or not self._keys.know(credential.text):
            raise _bad_key(credential)
        return Caller(_name_of_key(credential.text))

    def check_caller(self, connection: HTTPConnection) -> Caller:
        """For a session: a key, or a client secret with its settings.

        A secret must be known on an open server, too: otherwise its session would not have the settings that were set
        up.
        """
        credential = credential_of(connection)
        if credential is not None and self._keys.know(credential.text):
            return Caller(_name_of_key(credential.text))
        if credential is not None and credential.text.startswith(SECRET_PREFIX):
            secret = self.secrets.find(credential.text)
            if secret is not None:
                return Caller(secret.owner, secret)
        elif not self._keys:
            return Caller(_name_of_address(connection))
        raise _bad_key(credential)


def _bad_key(credential: Credential | None) -> Refused:
    if credential is None:
        message = "This server needs an API key. Send it as 'Authorization: Bearer KEY'."
    elif credential.text.startswith(SECRET_PREFIX):
        message = "The client secret is unknown, has expired, or is used for more than a session. Ask for a new one."
    else:
        message = "Incorrect API key provided. Use one of the keys that this server was started with."
    return Refused(401, PeerError("invalid_api_key", message))
