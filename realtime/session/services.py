"""The shared parts that every session works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from realtime.metrics import Speculated
from realtime.ports.engine import Engine, TokenCounter
from realtime.ports.tools import NoServers, NoTools, SchemaCheck, ToolServers, ToolSet, accept_any
from realtime.ports.vocoder import Vocoder
from realtime.session.context.truncation import ApproximateTokenCounter
from realtime.turns.smart_turn import EndOfTurnModel
from realtime.turns.vad import VoiceModel

ReplyListener = Callable[[str, Mapping[str, float | None]], None]
"""Takes a response's id and its latencies (`ReplyTrace.summary`)."""

SpeculationListener = Callable[[Speculated], None]
"""Takes how a speculative reply came out."""


def ignore(*_: object) -> None:
    """A listener that keeps nothing."""


@dataclass(frozen=True, slots=True)
class Services:
    """The same for all sessions of a server."""

    engine: Engine
    vocoder: Vocoder
    vad: VoiceModel
    on_reply: ReplyListener = ignore
    """Called at the end of each response, whatever its status."""
    schema_check: SchemaCheck = accept_any
    """Checks the parameters of every function that a client brings."""
    token_counter: TokenCounter = field(default_factory=ApproximateTokenCounter)
    on_speculation: SpeculationListener = ignore
    end_of_turn: EndOfTurnModel | None = None
    """Estimates whether a turn of `semantic_vad` is complete; without one, prosody does."""
    tools: ToolSet = field(default_factory=NoTools)
    """The server's own, offered in every session."""
    tool_servers: ToolServers = field(default_factory=NoServers)
