"""The HTTP routes beside `/v1/realtime`, as a client asks them."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from realtime.client.connection import ClientError, is_local, tls_context

_TIMEOUT_S = 30.0


def http_url(url: str, path: str) -> str:
    """``ws://HOST:1/v1/realtime`` and ``/healthz`` -> ``http://HOST:1/healthz``."""
    parts = urlsplit(url)
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}{path}"


async def get_json(
    url: str, *, api_key: str | None = None, any_certificate: bool = False
) -> tuple[int, dict[str, Any]]:
    """The status and the body, which is empty where it is no JSON object. Raises `ClientError` if nothing answers."""
    answer = await asyncio.to_thread(fetch, url, api_key=api_key, any_certificate=any_certificate)
    return answer.status, _object(answer.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answered, whatever its status. ``location``: empty without that header."""

    status: int
    body: bytes
    location: str = ""


def fetch(
    url: str,
    body: bytes | None = None,
    content_type: str = "application/json",
    *,
    api_key: str | None = None,
    any_certificate: bool = False,
    timeout_s: float = _TIMEOUT_S,
) -> Answer:
    """GET, or POST where there is a ``body``. Blocks. Raises `ClientError` if nothing answers."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    if body is not None:
        headers["Content-Type"] = content_type
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=tls_context(any_certificate)),
        *([urllib.request.ProxyHandler({})] if is_local(url) else []),
    ]
    try:
        opener = urllib.request.build_opener(*handlers)
        with opener.open(urllib.request.Request(url, body, headers), timeout=timeout_s) as response:
            return Answer(response.status, response.read(), response.headers["Location"] or "")
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())
    except OSError as error:
        raise ClientError(f"nothing answers at {url} ({error}); start a server with `realtime serve`") from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
