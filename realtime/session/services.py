"""The shared parts that every session works with."""

from __future__ import annotations

from dataclasses import dataclass, field

from realtime.ports.engine import Engine, TokenCounter
from realtime.ports.tools import NoServers, NoTools, ToolServers, ToolSet
from realtime.ports.vocoder import Vocoder
from realtime.session.context.truncation import ApproximateTokenCounter
from realtime.session.output.responses import ReplyListener, ignore_reply
from realtime.session.output.speculation import SpeculationListener, ignore_speculation
from realtime.session.tools.offer import SchemaCheck, accept_any
from realtime.turns.smart_turn import EndOfTurnModel
from realtime.turns.vad import VoiceModel


@dataclass(frozen=True, slots=True)
class Services:
    """The shared parts that every session works with."""

    engine: Engine
    vocoder: Vocoder
    vad: VoiceModel
    on_reply: ReplyListener = ignore_reply
    """Told of each response that has ended, whatever its status."""
    schema_check: SchemaCheck = accept_any
    """ResponseRequest about the parameters of every function that a client brings."""
    token_counter: TokenCounter = field(default_factory=ApproximateTokenCounter)
    on_speculation: SpeculationListener = ignore_speculation
    end_of_turn: EndOfTurnModel | None = None
    """ResponseRequest whether a turn of `semantic_vad` is complete; without one, prosody tells."""
    tools: ToolSet = field(default_factory=NoTools)
    """The server's own, offered in every session."""
    tool_servers: ToolServers = field(default_factory=NoServers)
