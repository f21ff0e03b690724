"""Which function calls wait for a result, by their ``call_id``.

A call and its result are items of the conversation. A client that deletes a result may give another. Calls that a
response makes out of band are no items; `Ids.call_beside` remembers their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from realtime.protocol.conversation import FRONT
from realtime.protocol.errors import ProtocolError, quote
from realtime.protocol.ids import Ids
from realtime.protocol.items import FunctionCall, FunctionCallOutput, InputItem, Item, ItemReference
from realtime.protocol.tools import check_function_name
from realtime.session.context.history import History


def check_item(item: Item, history: History, ids: Ids, previous_item_id: str | None = None) -> None:
    """Raises `ProtocolError` for a call or a result of the client that cannot be an item of the conversation."""
    known = [entry.item for entry in history]
    if isinstance(item, FunctionCall):
        _check_call(item, known, ids, "item")
    elif isinstance(item, FunctionCallOutput):
        _check_result(item, known, ids, "item")
        _check_order(item, known, previous_item_id)


def check_input(items: Sequence[InputItem], history: History, ids: Ids) -> None:
    """`check_item` for the input that replaces the conversation in `response.create`. A result may answer a call of the
    input or of the conversation.
    """
    before: list[Item] = []
    for index, item in enumerate(items):
        where = f"response.input[{index}]"
        if isinstance(item, ItemReference):
            entry = history.get(item.id)
            if entry is not None:
                before.append(entry.item)
            continue
        if isinstance(item, FunctionCall):
            check_function_name(item.name, f"{where}.name")
            if item.call_id and find_call(before, item.call_id) is not None:
                raise _taken(item.call_id, where)
        elif isinstance(item, FunctionCallOutput):
            calls = [entry.item for entry in history if isinstance(entry.item, FunctionCall)]
            _check_result(item, [*calls, *before], ids, where)
        before.append(item)


def with_call_id(item: Item, ids: Ids) -> Item:
    """The item. A call without an id gets one."""
    if isinstance(item, FunctionCall) and not item.call_id:
        return item.model_copy(update={"call_id": ids.call()})
    return item


def awaits_result(history: History, call_id: str) -> bool:
    """Whether this call is in the conversation and has no result."""
    items = [entry.item for entry in history]
    return find_call(items, call_id) is not None and not _has_result(items, call_id)


def find_call(items: Iterable[Item], call_id: str) -> FunctionCall | None:
    return next((item for item in items if isinstance(item, FunctionCall) and item.call_id == call_id), None)


def _has_result(items: Iterable[Item], call_id: str) -> bool:
    return any(isinstance(item, FunctionCallOutput) and item.call_id == call_id for item in items)


def _check_call(call: FunctionCall, known: Sequence[Item], ids: Ids, where: str) -> None:
    check_function_name(call.name, f"{where}.name")
    taken = find_call(known, call.call_id) is not None or ids.is_call_beside(call.call_id)
    if call.call_id and (taken or ids.is_future_call(call.call_id)):
        raise _taken(call.call_id, where)


def _check_result(result: FunctionCallOutput, known: Sequence[Item], ids: Ids, where: str) -> None:
    if find_call(known, result.call_id) is None and not ids.is_call_beside(result.call_id):
        raise ProtocolError(
            "invalid_tool_call_id",
            f"No function call with call_id {quote(result.call_id)} is known. Give that of a function_call item.",
            param=f"{where}.call_id",
        )
    if _has_result(known, result.call_id):
        raise ProtocolError(
            "invalid_tool_call_id",
            f"The function call {quote(result.call_id)} has its result already. Delete that item to give another.",
            param=f"{where}.call_id",
        )


def _check_order(result: FunctionCallOutput, known: Sequence[Item], previous_item_id: str | None) -> None:
    call = find_call(known, result.call_id)
    if call is None or previous_item_id is None:
        return
    order = [item.id for item in known]
    if previous_item_id == FRONT or (
        previous_item_id in order and order.index(previous_item_id) < order.index(call.id)
    ):
        raise ProtocolError(
            "invalid_value",
            f"The result of a function call comes behind the call. Put it behind the item {quote(call.id)}.",
            param="previous_item_id",
        )


def _taken(call_id: str, where: str) -> ProtocolError:
    return ProtocolError(
        "invalid_tool_call_id",
        f"The call_id {quote(call_id)} is taken by another function call. Choose another, or leave it out.",
        param=f"{where}.call_id",
    )
