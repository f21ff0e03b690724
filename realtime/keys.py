"""Who may use the server and who operates it, by its settings; the files of keys can be read again."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from realtime.config import Settings, naming, words
from realtime.errors import ConfigError
from realtime.transports.http.access import Access, ApiKeys, Origins, is_loopback
from realtime.transports.http.admin_access import AdminAccess
from realtime.transports.http.hosts import Hosts

logger = logging.getLogger(__name__)

MAX_KEYS_FILE_BYTES = 4 * 2**20
"""Tens of thousands of keys; a device file has no end."""


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
