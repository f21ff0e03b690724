from __future__ import annotations

import pytest

from realtime.ports.tool_calls import ParsedReply, ToolCall, parse_tool_calls, render_tool_call

SEARCH = ToolCall("search", '{"query": "上证指数"}')


def test_rendered_calls_are_read_back() -> None:
    calls = (SEARCH, ToolCall("now", "{}"))
    text = "好的" + "".join(map(render_tool_call, calls)) + "done"
    assert parse_tool_calls(text) == ParsedReply("好的done", calls)


def test_arguments_may_hold_line_breaks() -> None:
    call = ToolCall("write", '{\n  "a": 1\n}')
    assert parse_tool_calls(render_tool_call(call)).calls == (call,)


@pytest.mark.parametrize(
    "text",
    [
        "no call",
        '<tool_call>function\nsearch\n{"a": </tool_call>',
        '<tool_call>function\nsearch\n{"a": 1}',
        "<tool_call>function\nsearch</tool_call>",
        "<tool_call></tool_call>",
        '<tool_call>function\nsearch\n{"a": NaN}</tool_call>',
        pytest.param(f"<tool_call>function\nsearch\n{'[' * 100_000}</tool_call>", id="nested without end"),
    ],
)
def test_what_is_no_valid_call_stays_text(text: str) -> None:
    assert parse_tool_calls(text) == ParsedReply(text, ())


def test_tools_that_were_not_offered_are_not_called() -> None:
    text = render_tool_call(SEARCH) + render_tool_call(ToolCall("format_disk", "{}"))
    assert parse_tool_calls(text, {"search"}).calls == (SEARCH,)
    assert parse_tool_calls(text, set()) == ParsedReply(text, ())


def test_unfinished_calls_beside_others_are_no_content() -> None:
    sound = render_tool_call(ToolCall("now", "{}"))
    reply = parse_tool_calls(f"One moment.{sound}</tool_call><tool_call>function\nnow\n{{")
    assert (reply.content, len(reply.calls)) == ("One moment.", 1)
