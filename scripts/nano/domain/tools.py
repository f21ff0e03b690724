"""Tools that a session may offer: how clients name and describe them, and what they answer.

A capability is what a tool does, whatever its name. `offer` dresses it in one of the names and parameter names that
clients use; the schema is OpenAI's, as the product hands it to the model.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from realtime.ports.tool_calls import ToolCall
from realtime.ports.tools import ServerTool
from realtime.tools.calculator import calculate


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: its canonical name first, then names that clients use instead."""

    names: tuple[str, ...]
    type: str = "string"
    description: str = ""
    required: bool = True
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A capability with the names and descriptions that clients give it, canonical ones first."""

    capability: str
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    another: bool = False
    """Another declaration of a capability that stands before: with fewer arguments, or as our own server has it."""
    closed: bool = False
    """Declared with "additionalProperties": false."""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool as one session declares it. `renamed`: canonical parameter name -> the declared one."""

    capability: str
    name: str
    description: str
    parameters: tuple[Parameter, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    bare: bool = False
    """Declared without what a lazy client leaves out: parameter descriptions and the list of required ones."""
    closed: bool = False
    """Declared with "additionalProperties": false, as strict clients do."""

    def schema(self) -> dict[str, Any]:
        """Return the declaration in the API's chat format, keys in the order that the product writes."""
        properties: dict[str, Any] = {}
        for parameter in self.parameters:
            described: dict[str, Any] = {"type": parameter.type}
            if parameter.choices:
                described["enum"] = list(parameter.choices)
            if parameter.description and not self.bare:
                described["description"] = parameter.description
            properties[self.renamed[parameter.names[0]]] = described
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        required = [self.renamed[p.names[0]] for p in self.parameters if p.required]
        if required and not self.bare:
            schema["required"] = required
        if self.closed:
            schema["additionalProperties"] = False
        function: dict[str, Any] = {"name": self.name}
        if self.description:
            function["description"] = self.description
        return {"type": "function", "function": function | {"parameters": schema}}

    def fitted(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Put (canonical) arguments in terms of its own parameters; None where it cannot take them."""
        known = self.renamed
        if "minutes" in known and "unit" in arguments:
            per_unit = {"minutes": 1, "hours": 60}.get(arguments["unit"])
            return None if per_unit is None else {"minutes": arguments["amount"] * per_unit}
        return dict(arguments) if all(name in known for name in arguments) else None

    def call(self, arguments: Mapping[str, Any]) -> ToolCall:
        """Call it with canonical arguments, written in the order of its declaration."""
        named = {self.renamed[p.names[0]]: arguments[p.names[0]] for p in self.parameters if p.names[0] in arguments}
        return ToolCall(self.name, json.dumps(named, ensure_ascii=False))


CLOSED = 0.15
"""Share of declarations that close their object of arguments."""


def offer(tool: Tool, rng: random.Random | None = None) -> OfferedTool:
    """Declare a tool: as we name it ourselves, or with `rng` half the time under other names."""
    if rng is None or rng.random() < 0.5:
        renamed = {p.names[0]: p.names[0] for p in tool.parameters}
        name, description = tool.names[0], tool.descriptions[0]
        return OfferedTool(tool.capability, name, description, tool.parameters, renamed, closed=tool.closed)
    renamed = {p.names[0]: rng.choice(p.names) for p in tool.parameters}
    description = rng.choice((*tool.descriptions, "")) if rng.random() < 0.8 else ""
    name = rng.choice(tool.names)
    if rng.random() < 0.1:
        head, *tail = name.split("_")
        name = head + "".join(part.capitalize() for part in tail)
    bare, closed = rng.random() < 0.5, tool.closed or rng.random() < CLOSED
    return OfferedTool(tool.capability, name, description, tool.parameters, renamed, bare, closed)


def schemas(tools: Sequence[OfferedTool]) -> list[dict[str, Any]]:
    """Return the declarations of all."""
    return [tool.schema() for tool in tools]


def _as_served(declaration: ServerTool) -> Tool:
    """A tool of our own server, whose name and parameters are the canonical ones, as sessions are told of it."""
    described = declaration.parameters["properties"].items()
    parameters = tuple(Parameter((name,), p["type"], p["description"]) for name, p in described)
    return Tool(
        declaration.name, (declaration.name,), (declaration.description,), parameters, another=True, closed=True
    )


def _city(required: bool = True) -> Parameter:
    return Parameter(("city", "location", "place"), description="The name of the city.", required=required)


def _room() -> Parameter:
    return Parameter(("room", "place", "location"), description="The room.")


def _item() -> Parameter:
    return Parameter(("item", "thing", "name"), description="What to buy.")


def _name(description: str) -> Parameter:
    return Parameter(("name", "person", "contact"), description=description)


CATALOGUE: tuple[Tool, ...] = (
    Tool(
        "set_timer",
        ("set_timer", "start_timer", "create_timer", "timer"),
        ("Start a timer.", "Set a timer.", "Starts a timer that rings at the end."),
        (
            Parameter(("amount", "duration", "number"), "integer", "How long."),
            Parameter(("unit", "time_unit"), "string", "The unit of time.", choices=("seconds", "minutes", "hours")),
        ),
    ),
    Tool(
        "set_timer",
        ("set_timer", "start_timer", "create_timer", "timer"),
        ("Start a timer.", "Set a timer for some minutes.", "Starts a timer that rings at the end."),
        (Parameter(("minutes", "duration_minutes", "duration"), "integer", "How many minutes."),),
        another=True,
    ),
    Tool(
        "timer_left",
        ("get_timer", "check_timer", "timer_left"),
        ("Get the time left on the timer.", "Check the timer."),
    ),
    Tool("cancel_timer", ("cancel_timer", "stop_timer", "delete_timer"), ("Stop the timer.", "Cancel the timer.")),
    Tool(
        "set_alarm",
        ("set_alarm", "create_alarm", "add_alarm", "wake_up"),
        ("Set an alarm.", "Set the alarm clock.", "Wake the user up at a time."),
        (Parameter(("time", "at", "clock"), description="The time as HH:MM."),),
    ),
    Tool("cancel_alarm", ("cancel_alarm", "delete_alarm", "stop_alarm"), ("Cancel the alarm.", "Delete the alarm.")),
    Tool(
        "remind",
        ("add_reminder", "set_reminder", "create_reminder", "remind_me"),
        ("Add a reminder.", "Remind the user of something.", "Set a reminder at a time or in some minutes."),
        (
            Parameter(("text", "task", "what"), description="What to do."),
            Parameter(("time", "at"), description="The time as HH:MM.", required=False),
            Parameter(("minutes", "in_minutes"), "integer", "In how many minutes.", required=False),
        ),
    ),
    Tool("reminders", ("list_reminders", "get_reminders"), ("List the reminders.", "Get all reminders.")),
    Tool(
        "list_add",
        ("add_to_list", "add_item", "list_add"),
        ("Add something to the shopping list.", "Put something on the list."),
        (_item(),),
    ),
    Tool(
        "list_remove",
        ("remove_from_list", "remove_item", "list_remove"),
        ("Remove something from the shopping list.", "Take something off the list."),
        (_item(),),
    ),
    Tool("list_read", ("read_list", "get_list", "show_list"), ("Read the shopping list.", "Get what is on the list.")),
    Tool(
        "light",
        ("set_light", "switch_light", "light", "control_light"),
        ("Turn a light on or off.", "Switch the light in a room."),
        (_room(), Parameter(("state", "power"), description="on or off.", choices=("on", "off"))),
    ),
    Tool(
        "light_colour",
        ("set_light_color", "set_color", "light_color"),
        ("Set the color of a light.", "Change the color of the light in a room."),
        (_room(), Parameter(("color", "colour"), description="The color.")),
    ),
    Tool(
        "light_level",
        ("set_brightness", "dim_light", "set_light_level"),
        ("Set how bright a light is.", "Dim the light in a room."),
        (_room(), Parameter(("percent", "level", "brightness"), "integer", "From 0 to 100.")),
    ),
    Tool(
        "volume",
        ("set_volume", "volume", "change_volume"),
        ("Set the volume.", "Set how loud the sound is."),
        (Parameter(("level", "volume", "percent"), "integer", "From 0 to 100."),),
    ),
    Tool(
        "volume_step",
        ("adjust_volume", "volume_step", "step_volume"),
        ("Turn the volume up or down.", "Make it louder or quieter."),
        (Parameter(("direction", "way"), description="up or down.", choices=("up", "down")),),
    ),
    Tool("mute", ("mute", "mute_sound", "sound_off"), ("Mute the sound.", "Turn the sound off.")),
    Tool(
        "play_music",
        ("play_music", "play", "start_music"),
        ("Play music.", "Play some kind of music."),
        (Parameter(("kind", "genre", "style"), description="The kind of music."),),
    ),
    Tool("stop_music", ("stop_music", "pause_music", "stop"), ("Stop the music.", "Pause the music.")),
    Tool(
        "call_person",
        ("call_person", "call", "phone", "make_call"),
        ("Call a person.", "Make a phone call."),
        (_name("Who to call."),),
    ),
    Tool(
        "calculate",
        ("calculate", "calculator", "compute", "math"),
        ("Calculate.", "Work out a calculation.", "A calculator for numbers."),
        (Parameter(("expression", "formula", "input"), description="For example 12 + 5."),),
    ),
    _as_served(calculate().declaration),
    Tool(
        "convert",
        ("convert", "convert_units", "unit_converter"),
        ("Convert units.", "Convert a value from one unit to another."),
        (
            Parameter(("value", "amount", "number"), "number", "The value."),
            Parameter(("from", "from_unit"), description="The unit it has."),
            Parameter(("to", "to_unit"), description="The unit it gets."),
        ),
    ),
    Tool(
        "weather",
        ("get_weather", "weather", "fetch_weather", "get_current_weather"),
        ("Get the weather in a city.", "Get the weather.", "Tells the weather of a place."),
        (
            _city(),
            Parameter(("day", "when"), description="today or tomorrow.", required=False, choices=("today", "tomorrow")),
        ),
    ),
    Tool(
        "weather",
        ("get_weather", "weather", "fetch_weather", "get_current_weather"),
        ("Get the weather in a city.", "Get the current weather.", "Tells the weather of a place."),
        (_city(),),
        another=True,
    ),
    Tool(
        "time",
        ("get_time", "current_time", "get_current_time", "clock"),
        ("Get the time.", "Get the time in a city.", "Tells what time it is."),
        (_city(required=False),),
    ),
    Tool(
        "search",
        ("web_search", "search", "search_web", "search_internet"),
        ("Search the web.", "Search the internet.", "Look something up on the web."),
        (Parameter(("query", "q", "text"), description="What to search for."),),
    ),
    Tool("news", ("get_news", "news", "read_news"), ("Get the news.", "Read the latest news.")),
    Tool(
        "confirm",
        ("confirm", "answer", "give_answer"),
        ("Take the answer yes or no.", "The caller says yes or no."),
        (Parameter(("answer", "value"), description="yes or no.", choices=("yes", "no")),),
    ),
    Tool(
        "digits",
        ("enter_number", "enter_digits", "customer_number"),
        ("Take the number of the caller.", "Enter a number digit by digit."),
        (Parameter(("digits", "number", "code"), description="The digits."),),
    ),
    Tool(
        "choose_day",
        ("choose_day", "book_day", "book_appointment"),
        ("Book a day.", "Book an appointment on a day."),
        (Parameter(("day", "weekday"), description="The day of the week."),),
    ),
    Tool(
        "take_name",
        ("take_name", "set_name", "enter_name"),
        ("Take the name of the caller.", "Note the name of the user."),
        (_name("The name."),),
    ),
    Tool(
        "transfer",
        ("transfer", "transfer_call", "connect"),
        ("Transfer the call.", "Connect the caller to somebody."),
        (Parameter(("department", "to", "target"), description="Who to connect to."),),
    ),
)
TOOL = {tool.capability: tool for tool in CATALOGUE if not tool.another}
ANOTHER = {tool.capability: tool for tool in CATALOGUE if tool.another}
