"""Keys are replaced while the server runs."""

from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from realtime.transports.http.access import Access, ApiKeys
from realtime.transports.http.refusal import Refused


def connection(key: str) -> HTTPConnection:
    headers = [(b"authorization", f"Bearer {key}".encode())]
    return HTTPConnection({"type": "http", "path": "/", "headers": headers, "query_string": b""})


def test_a_removed_key_is_refused() -> None:
    access = Access(ApiKeys.read(["old"], "test"))
    access.replace_keys(ApiKeys.read(["new"], "test"))
    access.check_caller(connection("new"))
    with pytest.raises(Refused):
        access.check_caller(connection("old"))


def test_secrets_end_with_their_key() -> None:
    access = Access(ApiKeys.read(["old", "kept"], "test"))
    made = {key: access.secrets.create({}, owner=access.check_key(connection(key)).name)[0] for key in ("old", "kept")}
    access.replace_keys(ApiKeys.read(["kept"], "test"))
    access.check_caller(connection(made["kept"]))
    with pytest.raises(Refused):
        access.check_caller(connection(made["old"]))
