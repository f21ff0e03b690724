"""The server's own tools: what they answer, and that nothing they are given harms."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import ConfigError
from realtime.ports.tools import ServerTool
from realtime.tools.builtin import ToolConfig, build_tools
from realtime.tools.calculator import calculate, evaluate, shown
from realtime.tools.clock import get_time
from realtime.tools.endpoints import Endpoint, weather, web_search
from realtime.tools.registry import MAX_RESULT_CHARS, BuiltinTool, Registry, ToolError, schema

NOON = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)


async def ask(tool: BuiltinTool, **arguments: Any) -> str:
    return (await Registry([tool]).call(tool.declaration.name, json.dumps(arguments))).output


# get_time


async def test_time_is_given_in_the_requested_zone() -> None:
    clock = get_time(lambda: NOON)
    assert await ask(clock, timezone="Asia/Shanghai") == "Monday, 9 March 2026, 20:00 (Asia/Shanghai, UTC+0800)"
    assert (await ask(clock)).startswith("Monday, 9 March 2026, ")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "/etc/passwd", "Asia", "x" * 500, "\0"])
async def test_a_zone_that_there_is_not_is_told(zone: str) -> None:
    assert "There is no time zone" in await ask(get_time(lambda: NOON), timezone=zone)


# calculate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 3 * 4", "14"),
        ("(2+3)*4", "20"),
        ("7 / 2", "3.5"),
        ("2^10", "1024"),
        ("6 × 7 ÷ 2", "21"),
        ("-3 ** 2", "-9"),
        ("sqrt(2)", "1.41421356237"),
        ("round(2.5 + max(1, 2), 1)", "4.5"),
        ("0.1 + 0.2", "0.3"),
        ("2 * pi", "6.28318530718"),
        ("10 % 3", "1"),
        ("1e3", "1000"),
    ],
)
def test_expressions_have_their_value(expression: str, value: str) -> None:
    assert shown(evaluate(expression)) == value


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("1 / 0", "divides by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("1e308 * 10", "too large"),
        ("10 ** -400000", "too large"),
        ("sqrt(-1)", "no value"),
        ("(-8) ** 0.5", "no real number"),
        ("2 +", "no arithmetic expression"),
        ("", "no arithmetic expression"),
        ("__import__('os').system('id')", "knows"),
        ("().__class__", "knows"),
        ("[1, 2]", "knows"),
        ("True + 1", "knows"),
        ("'a' * 3", "knows"),
        ("lambda: 1", "knows"),
        ("x + 1", "knows"),
        ("round(1, ndigits=2)", "knows"),
        ("sqrt(1, 2)", "no value"),
        ("1" * 600, "characters"),
        ("-" * 400 + "1", "nested too deeply"),
        ("(" * 250 + "1" + ")" * 249, "no arithmetic expression"),
    ],
)
def test_what_has_no_value_is_told(expression: str, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        evaluate(expression)


@given(st.text("0123456789.+-*/%()^ episqrtlognax,_", max_size=60))
def test_any_text_has_a_value_or_none(expression: str) -> None:
    try:
        assert shown(evaluate(expression))
    except ToolError as error:
        assert str(error)


async def test_the_model_is_told_expression_and_value() -> None:
    assert await ask(calculate(), expression="6*7") == "6*7 = 42"


# Endpoints


@contextmanager
def served(
    status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """An HTTP server on this machine: its address, and what it was asked (path, headers)."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, dict(self.headers)))
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_endpoints_are_asked_with_argument_and_key() -> None:
    with served(body=b'{"temperature": 21,\n "sky": "\\u6674"}') as (url, asked):
        tool = weather(Endpoint.read(f"{url}/v1/{{location}}?units=metric Authorization: Bearer k", "weather_url"))
        assert await ask(tool, location="São Paulo/&x") == '{"temperature": 21, "sky": "晴"}'
        ((path, headers),) = asked
        assert path == "/v1/S%C3%A3o%20Paulo%2F%26x?units=metric"
        assert headers["Authorization"] == "Bearer k"


async def test_without_placeholders_arguments_are_query_parameters() -> None:
    with served(body=b"plain words") as (url, asked):
        assert await ask(web_search(Endpoint.read(f"{url}/find?n=3", "")), query="a b") == "plain words"
        assert asked[0][0] == "/find?n=3&query=a%20b"


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (500, b"trace", {}, "status 500"),
        (302, b"", {"Location": "http://127.0.0.1:1/secret"}, "status 302"),
        (200, b"", {}, "empty answer"),
    ],
)
async def test_failing_services_are_reported_without_their_address(
    status: int, body: bytes, headers: dict[str, str], said: str
) -> None:
    with served(status, body, headers) as (url, asked):
        result = await Registry([web_search(Endpoint.read(f"{url}/?key=secret", ""))]).call(
            "web_search", '{"query":"x"}'
        )
        assert result.fault is not None and said in result.output
        assert "127.0.0.1" not in result.output and "secret" not in result.output
        assert len(asked) == 1


async def test_a_service_that_is_not_there_is_told() -> None:
    assert "cannot be reached" in await ask(web_search(Endpoint.read("http://127.0.0.1:9/", "")), query="x")


async def test_a_long_answer_is_cut() -> None:
    with served(body=b"x" * 100_000) as (url, _):
        assert len(await ask(web_search(Endpoint.read(url, "")), query="x")) < MAX_RESULT_CHARS + 20


# The registry


async def test_arguments_that_are_none_are_told() -> None:
    for arguments in ("{", "[]", "3", "[" * 100_000):
        result = await Registry([calculate()]).call("calculate", arguments)
        assert result.fault is not None and "The arguments are no JSON" in result.output


async def test_hanging_or_broken_tools_give_ordinary_results(caplog: pytest.LogCaptureFixture) -> None:
    async def hang(arguments: Mapping[str, Any]) -> str:
        await asyncio.sleep(60)
        return ""

    async def break_down(arguments: Mapping[str, Any]) -> str:
        raise RuntimeError("secret path")

    tools = [BuiltinTool(ServerTool(work.__name__, "", schema()), work) for work in (hang, break_down)]
    registry = Registry(tools, timeout_s=0.01)
    assert "no answer within" in (await registry.call("hang", "{}")).output
    assert "secret" not in (await registry.call("break_down", "{}")).output
    assert "secret path" in caplog.text
    assert "There is no tool" in (await registry.call("other", "{}")).output


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ToolConfig(("shell",)), "no tool 'shell'"),
        (ToolConfig(("weather",)), "--weather-url"),
        (ToolConfig(("web_search",)), "--web-search-url"),
        (ToolConfig(("web_search",), web_search_url="ftp://x"), "http or https"),
        (ToolConfig(("web_search",), web_search_url="http://x/ nonsense"), "Header: value"),
        (ToolConfig(("audio_search",)), "--clips"),
        (ToolConfig(("audio_search",), clips=Path("/nowhere")), "does not exist"),
    ],
)
def test_tools_that_lack_something_are_named_at_start(config: ToolConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_tools(config, lambda clip: None)


def test_tools_without_settings_may_always_be_named() -> None:
    registry = build_tools(ToolConfig(("calculate", "get_time", "calculate")), lambda clip: None)
    assert [tool.name for tool in registry.tools] == ["calculate", "get_time"]
    assert all(tool.offered for tool in registry.tools)
    none = build_tools(ToolConfig(), lambda clip: None)
    assert [(tool.name, tool.offered) for tool in none.tools] == [("get_time", False), ("calculate", False)]
