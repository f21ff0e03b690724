"""JSON from the HTTP routes beside `/v1/realtime`."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from realtime.client.connection import ClientError, is_local, tls_context

_TIMEOUT_S = 30


def http_url(url: str, path: str) -> str:
    """``ws://HOST:1/v1/realtime`` and ``/healthz`` -> ``http://HOST:1/healthz``."""
    parts = urlsplit(url)
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}{path}"


async def get_json(
    url: str, *, api_key: str | None = None, any_certificate: bool = False
) -> tuple[int, dict[str, Any]]:
    """The status and the body, which is empty where it is no JSON object. Raises `ClientError` if nothing answers."""
    return await asyncio.to_thread(_fetch, url, api_key, any_certificate)


def _fetch(url: str, api_key: str | None, any_certificate: bool) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {api_key}"} if api_key else {})
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=tls_context(any_certificate)),
        *([urllib.request.ProxyHandler({})] if is_local(url) else []),
    ]
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_S) as response:
            return response.status, _object(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _object(error.read())
    except OSError as error:
        raise ClientError(f"{url}: {error}") from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
