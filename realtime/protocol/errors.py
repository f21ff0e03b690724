"""The peer's errors: one exception with a stable code, and its messages.

A `ProtocolError` becomes an ``error`` event, and the session continues (Realtime API, section g). The message says what
came, what was expected and, where that is not obvious, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from realtime.errors import PeerError

_QUOTED_CHARACTERS = 80
"""The longest piece of the peer's text that a message repeats."""

_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "tuple_type": "an array",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""pydantic's error types that mean "another JSON type was expected"."""


class ProtocolError(PeerError):
    """A message cannot be read, or is not legal now.

    ``code`` is stable and may be matched on, ``message`` is for people. ``param`` is the path of the field at
    fault (``session.tools[0].name``), ``event_id`` the id that the client gave to its event, if any.
    """

    def __repr__(self) -> str:
        where = f"param={self.param!r}, event_id={self.event_id!r}"
        return f"ProtocolError({self.code!r}, {self.message!r}, {where})"


def from_validation(
    error: ValidationError, document: object, *, root: str = "", event_id: str | None = None
) -> ProtocolError:
    """The first error that pydantic found in ``document``, as a `ProtocolError`.

    ``document`` is the JSON value that was validated; ``root`` names it (``session``), empty for a whole
    event.
    """
    worst, param = _most_telling(error, document, root)
    kind, value, context = worst["type"], worst["input"], worst.get("ctx", {})
    if kind == "missing":
        return _missing(param, event_id)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = str(context["discriminator"]).strip("'")
        if not isinstance(value, Mapping):
            return _wrong_type(param, "an object", value, event_id)
        param = f"{param}.{key}" if param else key
        if value.get(key) is None:
            return _missing(param, event_id)
        return _not_supported(param, value[key], str(context["expected_tags"]), event_id)
    if kind == "literal_error":
        return _not_supported(param, value, str(context["expected"]), event_id)
    if kind in _EXPECTED:
        return _wrong_type(param, _EXPECTED[kind], value, event_id)
    if kind == "wrong_type":
        return _wrong_type(param, str(context["expected"]), value, event_id)
    why = worst["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return ProtocolError(
        "invalid_value",
        f"Invalid value for '{param}': {quote(value)}: {why}.",
        param=param,
        event_id=event_id,
    )


def _most_telling(error: ValidationError, document: object, root: str) -> tuple[ErrorDetails, str]:
    """The first fault and its path. Where a value matches no member of a union: the deepest fault, which belongs to the
    member that it resembles most."""
    faults = [(fault, _path(fault, document, root)) for fault in error.errors(include_url=False)]
    first = faults[0][1]
    inside = [(fault, path) for fault, path in faults if path.startswith(first)]
    return max(inside, key=lambda fault_and_path: len(fault_and_path[1]))


def _path(fault: ErrorDetails, document: object, root: str) -> str:
    """``("item", "message", "content", 0, "text")`` -> ``item.content[0].text``.

    pydantic also names the union members it tried: the steps that do not exist in the document, except for
    the last one of a missing field.
    """
    path, here, location = root, document, fault["loc"]
    for depth, step in enumerate(location):
        if isinstance(step, int):
            if isinstance(here, Sequence) and not isinstance(here, str) and step < len(here):
                path, here = f"{path}[{step}]", here[step]
            continue
        is_missing = fault["type"] == "missing" and depth == len(location) - 1
        if isinstance(here, Mapping) and (step in here or is_missing):
            path, here = f"{path}.{step}" if path else step, here.get(step)
    return path


def json_type(value: object) -> str:
    """What JSON calls the type of a value, with its article."""
    if value is None:
        return "null"
    names: tuple[tuple[type[Any] | tuple[type[Any], ...], str], ...] = (
        (bool, "a boolean"),
        (str, "a string"),
        (int, "an integer"),
        (float, "a number"),
        (Mapping, "an object"),
        (Sequence, "an array"),
    )
    return next((name for python_type, name in names if isinstance(value, python_type)), "something else")


def quote(value: object) -> str:
    """A value as text for a message, cut where it grows long."""
    if isinstance(value, (Mapping, list, tuple)):
        return json_type(value)
    text = repr(value if not isinstance(value, str) else value[: _QUOTED_CHARACTERS + 1])
    return text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "…'"


def _missing(param: str, event_id: str | None) -> ProtocolError:
    return ProtocolError(
        "missing_required_parameter",
        f"Missing required parameter: '{param}'.",
        param=param,
        event_id=event_id,
    )


def _not_supported(param: str, value: object, supported: str, event_id: str | None) -> ProtocolError:
    message = f"Invalid value: {quote(value)}. Supported values are: {supported}."
    return ProtocolError("invalid_value", message, param=param, event_id=event_id)


def _wrong_type(param: str, expected: str, value: object, event_id: str | None) -> ProtocolError:
    message = f"Invalid type for '{param}': expected {expected}, but got {json_type(value)} instead."
    return ProtocolError("invalid_type", message, param=param, event_id=event_id)
