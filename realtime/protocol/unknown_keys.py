"""Finds the keys of a client's JSON that the protocol does not know.

The models of the protocol ignore unknown keys when they read JSON, so a misspelt or misplaced setting would have no
effect without an error. `refuse_unknown` raises ``unknown_parameter`` with the path of the key and, where one is known,
the right place. `drop_unknown` removes such keys, for the older dialects.

A key whose value is null counts as not given. Free-form objects (``metadata``, JSON schemas, headers) are not searched.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from realtime.protocol.errors import ProtocolError
from realtime.protocol.wire import Wire

Form = Any
"""The annotation of a model's field."""

Path = tuple[str | int, ...]

_SIMILAR = 0.7
"""difflib's ratio from which a key counts as misspelt: "instrutions" and "instructions" have 0.96."""

_MOST_PLACES = 8
"""How deep the models are searched for the right place of a key."""


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """``path`` ends with the key. ``siblings``: the keys known at its place. ``owner``: the object that has it."""

    path: Path
    siblings: tuple[str, ...]
    owner: dict[str, Any]


def refuse_unknown(
    value: object,
    form: Form,
    *,
    root: str = "",
    older_names: Mapping[str, tuple[str, ...]] | None = None,
    telling_nulls: Collection[str] = (),
    event_id: str | None = None,
) -> None:
    """Raises `ProtocolError` (``unknown_parameter``) for the first key in ``value`` that ``form`` does not have.

    ``root`` names the value in paths (``session``). ``older_names``: what a key was called in the API's beta -> the
    end of its path today. ``telling_nulls``: keys that are found even where their value is null.
    """
    unknown = next(find_unknown(value, form, telling_nulls), None)
    if unknown is not None:
        param = join(root, unknown.path)
        hint = _hint(unknown, form, root, older_names or {})
        raise ProtocolError("unknown_parameter", f"Unknown parameter: '{param}'.{hint}", param=param, event_id=event_id)


def drop_unknown(value: object, form: Form) -> None:
    """Remove from ``value``, in place, every key that ``form`` does not have."""
    for unknown in list(find_unknown(value, form)):
        del unknown.owner[str(unknown.path[-1])]


def find_unknown(value: object, form: Form, telling_nulls: Collection[str] = ()) -> Iterator[UnknownKey]:
    """The keys in ``value`` that ``form`` does not have, outermost first."""
    return _search(value, _shape(form), telling_nulls, ())


def _search(value: object, shape: _Shape, telling_nulls: Collection[str], path: Path) -> Iterator[UnknownKey]:
    if isinstance(value, dict):
        models = _candidates(value, shape.models)
        if not models:
            return
        known = _known(models)
        for key, item in value.items():
            inner = known.get(key)
            if inner is not None:
                if isinstance(item, (dict, list)):
                    yield from _search(item, inner, telling_nulls, (*path, key))
            elif (item is not None or key in telling_nulls) and not any(key in one.unused_keys for one in models):
                yield UnknownKey((*path, key), tuple(known), value)
    elif isinstance(value, list) and shape.element is not None:
        for index, item in enumerate(value):
            if isinstance(item, (dict, list)):
                yield from _search(item, shape.element, telling_nulls, (*path, index))


def join(root: str, path: Path) -> str:
    """``session`` and ``("tools", 0, "name")`` -> ``session.tools[0].name``."""
    text = root
    for step in path:
        if isinstance(step, int):
            text = f"{text}[{step}]"
        else:
            text = f"{text}.{step}" if text else step
    return text


# Forms


@dataclass(frozen=True, slots=True)
class _Shape:
    """The models that an object of a form may be, and the shape of an array's elements."""

    models: tuple[type[Wire], ...]
    element: _Shape | None = None


@cache
def fields(model: type[Wire]) -> Mapping[str, _Shape]:
    """The keys of a model and the shapes of their values."""
    return {name: _shape(field.annotation) for name, field in model.model_fields.items()}


@cache
def _known(models: tuple[type[Wire], ...]) -> Mapping[str, _Shape]:
    """The keys of all these models together."""
    known: dict[str, _Shape] = {}
    for model in models:
        for key, shape in fields(model).items():
            before = known.get(key, _Shape(()))
            both = tuple(dict.fromkeys(before.models + shape.models))
            known[key] = _Shape(both, shape.element or before.element)
    return known


def _candidates(value: Mapping[str, Any], models: tuple[type[Wire], ...]) -> tuple[type[Wire], ...]:
    """Of the models that an object may be, those whose ``type`` and ``role`` agree with it; all where none does."""
    if len(models) < 2:
        return models
    return tuple(model for model in models if _agrees(value, model)) or models


def _agrees(value: Mapping[str, Any], model: type[Wire]) -> bool:
    return all(value.get(key) is None or value.get(key) in names for key, names in _tags(model).items())


@cache
def _tags(model: type[Wire]) -> Mapping[str, tuple[str, ...]]:
    """The keys that tell models of one union apart, with the values that they have in this one."""
    return {
        key: get_args(field.annotation)
        for key, field in model.model_fields.items()
        if key in ("type", "role") and get_origin(field.annotation) is Literal
    }


def _shape(form: Form) -> _Shape:
    parts = tuple(_parts(form))
    models = tuple(one for one in parts if isinstance(one, type) and issubclass(one, Wire))
    elements = (_shape(get_args(one)[0]) for one in parts if get_origin(one) is tuple)
    return _Shape(models, next((one for one in elements if one.models), None))


def _parts(form: Form) -> Iterator[Form]:
    """The members of a union, without annotations."""
    origin: Any = get_origin(form)
    if origin is Annotated:
        yield from _parts(get_args(form)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(form):
            yield from _parts(one)
    else:
        yield form


# Where a key belongs


def _hint(unknown: UnknownKey, form: Form, root: str, older_names: Mapping[str, tuple[str, ...]]) -> str:
    key = str(unknown.path[-1])
    here = tuple(step for step in unknown.path if isinstance(step, str))
    places: dict[str, list[tuple[str, ...]]] = {}
    _collect(_shape(form), (), places)
    older = older_names.get(key)
    if older is not None:
        for place in places.get(older[-1], ()):
            if place[-len(older) :] == older:
                return _did_you_mean(root, place)
    if here in places.get(key, ()):
        owners = ", ".join(_owners(_shape(form), here))
        return f" It belongs to {owners} only." if owners else ""
    if len(places.get(key, ())) == 1:
        return _did_you_mean(root, places[key][0])
    similar = difflib.get_close_matches(key, unknown.siblings, 1, _SIMILAR)
    if similar:
        return _did_you_mean(root, (*unknown.path[:-1], similar[0]))
    elsewhere = difflib.get_close_matches(key, [name for name, found in places.items() if len(found) == 1], 1, _SIMILAR)
    return _did_you_mean(root, places[elsewhere[0]][0]) if elsewhere else ""


def _did_you_mean(root: str, place: Path) -> str:
    return f" Did you mean '{join(root, place)}'?"


def _owners(shape: _Shape, path: tuple[str, ...]) -> Iterator[str]:
    """The ``type`` of each model that has the last key of this path at its place."""
    models = shape.models
    for step in path[:-1]:
        inner = _known(models).get(step, _Shape(()))
        models = inner.models or (inner.element.models if inner.element is not None else ())
    for model in models:
        if path[-1] in fields(model):
            yield from (f"'{name}'" for name in _tags(model).get("type", ()))


def _collect(shape: _Shape, path: tuple[str, ...], places: dict[str, list[tuple[str, ...]]]) -> None:
    """Every key below this shape and the paths at which it is known. Not those in arrays: which element is meant?"""
    if len(path) < _MOST_PLACES:
        for key, inner in _known(shape.models).items():
            places.setdefault(key, []).append((*path, key))
            _collect(inner, (*path, key), places)
