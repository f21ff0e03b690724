"""Opens a session by the transport that a command names."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal

from realtime.client.connection import ClientError, RealtimeConnection, open_session

Transport = Literal["websocket", "webrtc"]
TRANSPORTS: tuple[Transport, ...] = ("websocket", "webrtc")


def open_by(
    transport: Transport, url: str, *, api_key: str | None = None, any_certificate: bool = False
) -> AbstractAsyncContextManager[RealtimeConnection]:
    """A session at ``ws(s)://HOST/v1/realtime``; over WebRTC its offer goes to the same host. Raises `ClientError`."""
    if transport == "websocket":
        return open_session(url, api_key=api_key, any_certificate=any_certificate)
    try:
        from realtime.client.webrtc import open_call
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed; WebRTC needs pip install 'realtime-voice[webrtc]'"
        raise ClientError(message) from None
    return open_call(url, api_key=api_key, any_certificate=any_certificate)
