"""A server on the real transport whose model plays a script: `python -m tests.clients.scripted_server PORT [tls]`.

It calls `get_weather` where it is offered functions, and then speaks what the function gave: what the embedded model
was not trained to do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from realtime.ports.messages import Message, Text
from realtime.ports.tool_calls import ToolCall, render_tool_call
from realtime.transports.http.http import build_app
from realtime.transports.http.self_signed import names_of, write_self_signed
from realtime.transports.http.server import listen, web_server
from tests.fakes import AskedRequest, FakeEngine, FakeGeneration, Step, calling, reply
from tests.transports.test_server import FakeHost

CALL = ToolCall("get_weather", '{"city": "Paris"}')


class WeatherEngine(FakeEngine):
    """Answers each request by what the conversation holds."""

    def generate(self, request: AskedRequest, *, speculative: bool = False) -> FakeGeneration:
        generation = FakeGeneration(self, request, _answer(request.messages), speculative=speculative)
        self.generations.append(generation)
        return generation


def _answer(messages: tuple[Message, ...]) -> list[Step]:
    last = messages[-1]
    if last.role == "input" and isinstance(last.content, tuple):
        result = last.content[0]
        assert isinstance(result, Text)
        return reply("The tool says: ", result.text)
    if any(message.role == "tool_json_schemas" for message in messages):
        return calling("Let me look. ", rest=render_tool_call(CALL))
    return reply("Hello. ", "How can I help you?")


def main(port: int, *, tls: bool) -> None:
    app = build_app(FakeHost(WeatherEngine()), None)
    with listen("127.0.0.1", port) as listener, TemporaryDirectory() as folder:
        files = write_self_signed(Path(folder), names_of("127.0.0.1")) if tls else None
        web_server(app, files).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]), tls="tls" in sys.argv[2:])
