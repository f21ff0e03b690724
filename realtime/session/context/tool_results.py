"""Results of tools in the prompt: each bound to its call.

The model's format knows no call ids: results are turns behind the assistant's turn that called. So

1. Results that follow their calls stand in the order of the calls, whatever the order they arrived in.
2. With one call its result stands as it is, as the model was trained. With several, each result begins with the name of
   its function; where two calls have one name, with the arguments as well.
3. A result that comes later, behind another turn, stays there and begins with its function's name, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from realtime.ports.messages import Message
from realtime.ports.tool_calls import RESULT_ROLE, with_heading
from realtime.protocol.items import (
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    McpApprovalRequest,
    McpApprovalResponse,
    McpCall,
)

Placed = tuple[InputItem, Message | None]
"""An item and what the model is given of it, if anything."""

_CallItem = FunctionCall | McpApprovalRequest | McpCall


@dataclass(frozen=True, slots=True)
class _Call:
    """``place``: among all calls. ``group``: the turn that made it; ``alone``: as its only one. ``heading``: what tells
    its result from those of the turn's other calls."""

    place: int
    group: int
    alone: bool
    heading: str


def bind_results(placed: Sequence[Placed]) -> list[Message]:
    """The messages that there are, the results of tools ordered and named by the rules above."""
    if not any(message is not None and message.role == RESULT_ROLE for _, message in placed):
        return [message for _, message in placed if message is not None]
    calls = _calls(placed)
    bound: list[Message] = []
    results: list[tuple[_Call | None, Message]] = []
    answered: int | None = None  # the group whose results come now
    for item, message in placed:
        made = calls.get(_made(item))
        if made is not None:
            answered = made.group
        if message is None:
            continue
        if message.role == RESULT_ROLE:
            call = calls.get(message.call_id or _answers(item))
            plain = call is None or (call.alone and call.group == answered)
            results.append((call, message if plain or call is None else with_heading(message, call.heading)))
            continue
        bound += _in_order(results)
        results.clear()
        bound.append(message)
        if made is None:
            answered = None
    return [*bound, *_in_order(results)]


def _calls(placed: Iterable[Placed]) -> dict[str, _Call]:
    """By id. Calls that follow each other are those of one turn."""
    groups: list[list[_CallItem]] = [[]]
    for item, message in placed:
        if _made(item):
            assert isinstance(item, _CallItem)
            if not any(item is one for one in groups[-1]):  # an MCP call comes twice: as a call, and as its result
                groups[-1].append(item)
        elif message is not None and groups[-1]:
            groups.append([])
    return dict(_numbered(groups))


def _numbered(groups: Sequence[Sequence[_CallItem]]) -> Iterator[tuple[str, _Call]]:
    place = 0
    for number, group in enumerate(groups):
        names = Counter(item.name for item in group)
        for item in group:
            heading = item.name if names[item.name] == 1 else f"{item.name} {item.arguments}"
            yield _made(item), _Call(place, number, len(group) == 1, heading)
            place += 1


def _in_order(results: Sequence[tuple[_Call | None, Message]]) -> Iterator[Message]:
    """By the order of their calls; results without a call stay where they are."""
    known = iter(sorted((one for one in results if one[0] is not None), key=lambda one: one[0].place if one[0] else 0))
    return (message if call is None else next(known)[1] for call, message in results)


def _made(item: InputItem) -> str:
    """The id of the call that this item is; ``""``: it is none."""
    match item:
        case FunctionCall(call_id=call_id):
            return call_id or item.id
        case McpApprovalRequest() | McpCall(approval_request_id=None):
            return item.id
    return ""


def _answers(item: InputItem) -> str:
    """The id of the call whose result this item holds."""
    match item:
        case FunctionCallOutput(call_id=call_id):
            return call_id
        case McpApprovalResponse(approval_request_id=request_id):
            return request_id
        case McpCall(approval_request_id=request_id):
            return request_id or item.id
    return ""
