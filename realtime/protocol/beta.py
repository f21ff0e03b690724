"""Translates the API's beta shape (October 2024 to May 2026) and StepFun's variant of it.

Most differences are names and places: a session's flat keys (`_FIELDS`), the names of events (`_EVENTS`), and the types
of an assistant's content (`_CONTENT`). The others:

* An item is sent once, as ``conversation.item.created``; GA sends ``added`` and ``done``.
* ``conversation.created`` follows ``session.created``.
* ``temperature`` is accepted and not used; the beta default is shown.
* Tools and tool choices may be nested (``{"type": "function", "function": {...}}``), as in the chat API.

Unknown keys pass this module unchanged. `dialect.Connection` removes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from realtime.protocol.errors import ProtocolError
from realtime.protocol.wire import JsonObject

TEMPERATURE = 0.8
"""The beta default. Beta clients may set another; since GA the server chooses the sampling."""

STEPFUN_MODELS = "step-"
"""Prefix of the names of StepFun's models."""

_STEPFUN_MOST_ENERGY = 5000
"""Maximum of ``energy_awakeness_threshold``. Its default, 2500, is the middle, like 0.5 of ``threshold``."""

_BUILT_IN_TOOLS = ("web_search", "retrieval")
"""StepFun runs these on the server; a client that lists them expects no call."""

Shape = Literal["beta", "ga"]


def shape(message: JsonObject) -> Shape | None:
    """The shape of a client's message; None when it could be either.

    A ``session.update`` always shows its shape: GA requires ``session.type``, which the beta does not have. A
    ``response.create`` shows it by its keys only.
    """
    kind = message.get("type")
    if kind == "transcription_session.update" or (kind == "response.create" and "session" in message):
        return "beta"
    body = message.get({"session.update": "session", "response.create": "response"}.get(str(kind), ""))
    if not isinstance(body, dict):
        return None
    if not body.keys().isdisjoint(("audio", "output_modalities")):
        return "ga"
    if kind == "session.update":
        return "ga" if body.get("type") is not None else "beta"
    return None if body.keys().isdisjoint(_TELLING) else "beta"


def refuse_older_keys(message: JsonObject) -> None:
    """Raises `ProtocolError` for keys of the beta that GA lacks and that the core ignores for beta clients."""
    match message:
        case {"type": "session.update", "session": {"temperature": value}} if value is not None:
            param, hint = "session.temperature", "The server chooses it."
        case {"type": "response.create", "response": {"temperature": value}} if value is not None:
            param, hint = "response.temperature", "The server chooses it."
        case {"type": "response.create", "session": value} if value is not None:
            param, hint = "session", "Did you mean 'response'?"
        case _:
            return
    event_id = message.get("event_id")
    raise ProtocolError(
        "unknown_parameter",
        f"Unknown parameter: '{param}'. {hint}",
        param=param,
        event_id=event_id if isinstance(event_id, str) else None,
    )


def older_dialect(model: str | None, conversation_id: str) -> Beta:
    """The dialect of a client that does not speak GA, by its ``model``."""
    is_stepfun = model is not None and model.startswith(STEPFUN_MODELS)
    return StepFun(conversation_id) if is_stepfun else Beta(conversation_id)


# Values


def _same(value: Any) -> Any:
    return value


def _read_modalities(value: Any) -> Any:
    """``["text", "audio"]`` is GA's ``["audio"]``: speech with its transcript."""
    if isinstance(value, list) and value and all(one in ("text", "audio") for one in value):
        return ["audio"] if "audio" in value else ["text"]
    return value


def _write_modalities(value: Any) -> Any:
    return ["text", "audio"] if "audio" in value else ["text"]


_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_FORMAT_NAMES = {ga: beta for beta, ga in _FORMATS.items()}


def _read_format(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    format_type = _FORMATS.get(value, value)
    return {"type": format_type, "rate": 24000} if format_type == "audio/pcm" else {"type": format_type}


def _write_format(value: Any) -> Any:
    return _FORMAT_NAMES.get(value.get("type"), value)


def _read_detection(value: Any) -> Any:
    """``none`` turned it off before null did, and still does in Azure's documents."""
    if not isinstance(value, dict):
        return value
    if value.get("type") == "none":
        return None
    energy = value.pop("energy_awakeness_threshold", None)
    if isinstance(energy, int | float) and not isinstance(energy, bool):
        value.setdefault("threshold", min(max(energy, 0), _STEPFUN_MOST_ENERGY) / _STEPFUN_MOST_ENERGY)
    return value


@dataclass(frozen=True, slots=True)
class _Field:
    """A setting: its key in the beta shape, its place in GA, and its value one way and the other."""

    key: str
    place: tuple[str, ...]
    read: Callable[[Any], Any] = _same
    write: Callable[[Any], Any] = _same


_MODALITIES = _Field("modalities", ("output_modalities",), _read_modalities, _write_modalities)
_VOICE = _Field("voice", ("audio", "output", "voice"))
_OUTPUT_FORMAT = _Field("output_audio_format", ("audio", "output", "format"), _read_format, _write_format)
_FIELDS = (
    _MODALITIES,
    _VOICE,
    _Field("speed", ("audio", "output", "speed")),
    _Field("input_audio_format", ("audio", "input", "format"), _read_format, _write_format),
    _OUTPUT_FORMAT,
    _Field("input_audio_transcription", ("audio", "input", "transcription")),
    _Field("input_audio_noise_reduction", ("audio", "input", "noise_reduction")),
    _Field("turn_detection", ("audio", "input", "turn_detection"), _read_detection),
    _Field("max_response_output_tokens", ("max_output_tokens",)),
)
"""Settings of a session and of ``response.create``."""

OLDER_PLACES: Mapping[str, tuple[str, ...]] = {field.key: field.place for field in _FIELDS}
"""The beta's key of a setting -> its place in GA."""

_RESPONSE_FIELDS = (_MODALITIES, _VOICE, _OUTPUT_FORMAT)
"""Settings in a response object. ``max_output_tokens`` has the same name there in both shapes."""

_TELLING = frozenset(field.key for field in _FIELDS) - {"speed"}
"""Keys that GA does not have at the top level."""

_SESSION_KEPT = ("id", "object", "model", "expires_at", "instructions", "tools", "tool_choice", "tracing")
_RESPONSE_KEPT = ("id", "object", "status", "status_details", "conversation_id", "max_output_tokens", "metadata")

_EVENTS = {
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
}
_CONTENT = {"output_text": "text", "output_audio": "audio"}
_CONTENT_READ = {beta: ga for ga, beta in _CONTENT.items()}

_WORDS = (
    *((".".join((*field.place, "type")), field.key) for field in _FIELDS if field.read is _read_format),
    *((".".join(field.place), field.key) for field in _FIELDS),
    ("audio/pcmu", "g711_ulaw"),
    ("audio/pcma", "g711_alaw"),
    ("audio/pcm", "pcm16"),
    *((f"'{ga}'", f"'{beta}'") for ga, beta in _CONTENT.items()),
)
"""GA's words -> the beta's, for the text and the ``param`` of an error. Longer words come before their parts."""

_WITHOUT_CODE = ("response_cancel_not_active", "conversation_already_has_active_response")
"""Errors that had no code in the beta; its clients match on the text."""


# The dialects


class Beta:
    """The shape of the first Realtime API."""

    name = "beta"
    shows_thoughts = False

    def __init__(self, conversation_id: str) -> None:
        self._conversation_id = conversation_id

    def translate_in(self, message: JsonObject) -> JsonObject:
        match message:
            case {"type": "session.update", "session": dict() as session}:
                self._read_session(session)
            case {"type": "transcription_session.update", "session": dict() as session}:
                _read_fields(session)
                message["type"] = "session.update"
                session["type"] = "transcription"
            case {"type": "response.create"}:
                _read_response_request(message)
            case {"type": "conversation.item.create", "item": item}:
                _read_item(item)
        return message

    def translate_out(self, message: JsonObject) -> Sequence[JsonObject]:
        kind = message["type"]
        if kind == "conversation.item.done":
            return ()
        message["type"] = _EVENTS.get(kind, kind)
        if "item" in message:
            message["item"] = _write_item(message["item"])
        if "response" in message:
            message["response"] = _write_response(message["response"])
        if kind == "error":
            message["error"] = self._write_error(message["error"])
        if kind in ("session.created", "session.updated"):
            if message["session"]["type"] == "transcription":
                message["type"] = f"transcription_{kind}"
            message["session"] = self._write_session(message["session"])
        return (message, self._conversation_created()) if kind == "session.created" else (message,)

    def _read_session(self, session: JsonObject) -> None:
        _read_fields(session)

    def _write_session(self, session: JsonObject) -> JsonObject:
        shown = {key: session[key] for key in _SESSION_KEPT if key in session} | _write_fields(session, _FIELDS)
        return shown if session["type"] == "transcription" else shown | {"temperature": TEMPERATURE}

    def _write_error(self, error: JsonObject) -> JsonObject:
        code, param = error["code"], error["param"]
        return error | {
            "code": None if code in _WITHOUT_CODE else code,
            "message": _beta_words(error["message"]),
            "param": None if param is None else _beta_words(param),
        }

    def _conversation_created(self) -> JsonObject:
        return {
            "type": "conversation.created",
            "conversation": {"id": self._conversation_id, "object": "realtime.conversation"},
        }


class StepFun(Beta):
    """The beta shape as StepFun's service and its console speak it.

    It has one piece of state: whether the client has updated its session. In the first update, fields that are not
    named get StepFun's defaults (manual turns), not OpenAI's.
    """

    name = "stepfun"
    shows_thoughts = True

    def __init__(self, conversation_id: str) -> None:
        super().__init__(conversation_id)
        self._is_set = False

    def _read_session(self, session: JsonObject) -> None:
        if not self._is_set and "audio" not in session:  # a client that knows GA's places names what it wants
            session.setdefault("turn_detection", None)
            session.setdefault("input_audio_transcription", None)
        self._is_set = True
        super()._read_session(session)
        match session:  # StepFun always transcribes: its console shows nothing of the user's speech otherwise
            case {"audio": {"input": {"transcription": None} as heard}}:
                heard["transcription"] = {}

    def _write_session(self, session: JsonObject) -> JsonObject:
        shown = super()._write_session(session)
        match shown:
            case {"turn_detection": {"threshold": threshold} as detection}:
                detection["energy_awakeness_threshold"] = round(threshold * _STEPFUN_MOST_ENERGY)
        return shown

    def _write_error(self, error: JsonObject) -> JsonObject:
        shown = super()._write_error(error)
        if error["code"] == "response_cancel_not_active":  # any other text, and the console disconnects
            shown["message"] = "no ongoing response to cancel"
        return shown


# From the client


def _read_fields(settings: JsonObject) -> None:
    """Move the settings of a session or of a response to their places in GA."""
    for field in _FIELDS:
        if field.key in settings:
            _place(settings, field.place, field.read(settings.pop(field.key)))
    if isinstance(settings.get("tools"), list):
        settings["tools"] = [_flat(tool) for tool in settings["tools"] if not _is_built_in(tool)]
    if "tool_choice" in settings:
        settings["tool_choice"] = _flat(settings["tool_choice"])


def _place(target: JsonObject, place: Sequence[str], value: Any) -> None:
    for key in place[:-1]:
        inner = target.setdefault(key, {})
        if not isinstance(inner, dict):
            return
        target = inner
    target[place[-1]] = value


def _flat(tool: Any) -> Any:
    """A function without the nesting of the chat API."""
    match tool:
        case {"type": "function", "function": dict() as function}:
            return {"type": "function", **function}
    return tool


def _is_built_in(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") in _BUILT_IN_TOOLS


def _read_response_request(message: JsonObject) -> None:
    """Also StepFun's recipe for a greeting: instructions under ``session``."""
    match message:
        case {"session": {"instructions": str() as instructions}}:
            response = message.get("response")
            message["response"] = {"instructions": instructions} | (response if isinstance(response, dict) else {})
    response = message.get("response")
    if not isinstance(response, dict):
        return
    _read_fields(response)
    items = response.get("input")
    for item in items if isinstance(items, list) else ():
        _read_item(item)


def _read_item(item: Any) -> None:
    match item:
        case {"role": "assistant", "content": list() as content}:
            for part in content:
                if isinstance(part, dict) and isinstance(part.get("type"), str):
                    part["type"] = _CONTENT_READ.get(part["type"], part["type"])


# To the client


def _write_fields(settings: Mapping[str, Any], fields: Sequence[_Field]) -> JsonObject:
    shown: JsonObject = {}
    for field in fields:
        value: Any = settings
        for key in field.place:
            if not isinstance(value, Mapping) or key not in value:
                break
            value = value[key]
        else:
            shown[field.key] = field.write(value)
    return shown


def _write_item(item: JsonObject) -> JsonObject:
    if item.get("role") != "assistant":
        return item
    return item | {"content": [part | {"type": _CONTENT.get(part["type"], part["type"])} for part in item["content"]]}


def _write_response(response: JsonObject) -> JsonObject:
    return {
        **{key: response[key] for key in _RESPONSE_KEPT},
        **_write_fields(response, _RESPONSE_FIELDS),
        "temperature": TEMPERATURE,
        "output": [_write_item(item) for item in response["output"]],
        "usage": response["usage"],
    }


def _beta_words(text: str) -> str:
    for ga, beta in _WORDS:
        text = text.replace(ga, beta)
    return text
