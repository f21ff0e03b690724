"""A server's own figures, from its `/metrics`."""

from __future__ import annotations

import re

from realtime.client.connection import ClientError
from realtime.client.http import fetch, http_url


def read_metrics(url: str, api_key: str | None = None, timeout_s: float = 30.0) -> str:
    """The page of the server of this WebSocket. Blocks. Raises `ClientError` where it cannot be read."""
    answer = fetch(http_url(url, "/metrics"), api_key=api_key, timeout_s=timeout_s)
    if answer.status != 200:
        raise ClientError(f"the server's /metrics cannot be read: HTTP {answer.status}")
    return answer.body.decode()


def figure(page: str, name: str) -> float | None:
    """A figure without labels; None where the page does not have it."""
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    return float(found.group(1)) if found else None
