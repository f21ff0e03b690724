"""What a reply is to be, and what it works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from realtime.audio.streams import Samples
from realtime.metrics import ReplyTrace
from realtime.protocol.responses import Response, ResponseConfig, ResponseError
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from realtime.session.context.history import History
from realtime.session.environment import Environment
from realtime.session.outbox import Outbox
from realtime.session.output.speculation import SpeculativeReply
from realtime.session.playout import PlayoutLedger
from realtime.session.timeline import Timeline
from realtime.session.tools.offer import Offer
from realtime.session.tools.session_tools import ServerCall


@dataclass(frozen=True, slots=True)
class ReplyPorts:
    """What a reply works with; the session's own."""

    env: Environment
    outbox: Outbox
    playout: PlayoutLedger
    timeline: Timeline
    on_first_audio: Callable[[], None] = lambda: None
    """Told when the first audio of a reply in the conversation was sent."""
    on_speech: Callable[[str, Samples], None] = lambda item_id, samples: None
    """Given the speech of each item of the conversation, at 24 kHz as it is to be heard, in order."""


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """What is to be answered and how.

    ``refused``: why it is not made at all. ``offer``: what it may call. ``approved``: calls of MCP servers that are
    carried out before it. ``round``: how many replies to results of tools came before it without a word of the user.
    ``request`` builds the prompt from the conversation as it is then, ``conversation`` is the engine's that it goes to.
    ``forget`` makes the context shorter, False when it cannot. ``history``: where the reply is kept, None out of band.
    ``item_id``: its message's. ``speculative``: the reply as far as it was made before it was asked for.
    """

    response: Response
    config: ResponseConfig
    conversation: EngineConversation
    request: Callable[[], GenerationRequest]
    forget: Callable[[], bool]
    item_id: str
    history: History | None
    trace: ReplyTrace
    refused: ResponseError | None = None
    speculative: SpeculativeReply | None = None
    offer: Offer = Offer()
    approved: tuple[ServerCall, ...] = ()
    round: int = 0
