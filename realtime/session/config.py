"""Configuration of a session: the model's name, defaults, and limits that protect other sessions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from realtime.ports.engine import SamplingParams
from realtime.ports.messages import Message
from realtime.turns.backchannels import DEFAULT_BACKCHANNELS
from realtime.turns.floor import Interruption


def as_written(instructions: str) -> str:
    """Instructions without placeholders."""
    return instructions


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Seconds, milliseconds and bytes that one session may use. Every queue and buffer is bounded by one of them."""

    session_s: float = 3600.0
    """Age at which the session ends with `session_expired`."""
    turn_s: float = 120.0
    """A user turn is committed at this length; also the most that is kept of audio that nobody committed."""
    history_audio_s: float = 900.0
    """User audio kept for the model, oldest forgotten first: more than its context holds, 58 MB at most."""
    overlap_s: float = 1.5
    """A voice over ours is judged by its samples within a second; this long when none of them come any more."""
    audio_gap_s: float = 1.0
    """When audio stops coming for so long while a turn is open or a timeout runs, silence is assumed: a caller has
    muted, a file has ended, the network is gone. 0: never."""
    lead_s: float = 30.0
    """How far audio may be sent ahead of the caller's playback."""
    outbox_audio_ms: int = 2_000
    """Audio waiting for the transport; the reply waits while there is more."""
    outbox_bytes: int = 8 * 1024 * 1024
    """All that waits for the transport; a peer that lets more pile up is a slow reader."""
    send_timeout_s: float = 20.0
    """How long the peer may leave one event unread. Clients drop a silent server after 20 s, so do we."""
    farewell_s: float = 2.0
    """How long the last event of a session may take to be sent."""
    progress_s: float = 60.0
    """A response or a transcript for which engine and vocoder make nothing for so long fails with `engine_timeout`.
    The engine reports every 5 s that it works, also on a long prompt. 0: never."""
    tool_rounds: int = 8
    """Replies in a row that may call tools which the server runs, before one must answer without."""
    out_of_band: int = 4
    """Responses outside the conversation at a time."""
    transcript_grace_s: float = 0.2
    """How long a transcript waits for the `response.create` that a client sends right behind its commit."""
    context_cut: float = 0.5
    """Share of its room that a full conversation gives up. Much at once, because every cut costs a prefill of all that
    remains (`realtime.session.context.truncation`)."""


_EFFORT = {"none": 0.0, "minimal": 1 / 16, "low": 1 / 4, "medium": 1.0, "high": 2.0, "xhigh": 4.0}
"""Of the checkpoint's own number of ids, which is enough for its examples."""


_TURNS = ("human", "assistant", "input", "function_output")
"""The roles of turns; the others are declarations."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Defaults of a new session. ``render`` fills the placeholders of ``instructions``, and of no others
    (`rendered`).

    ``transcription_prompt``: the system prompt with which the model writes down what it hears; the default is that of
    Step-Audio 2. ``interruption``, ``echo_gate``: of turn detection that names none. ``backchannels``: short words that
    do not take the floor while the assistant talks, where that is paused to judge them; empty: there are none.
    """

    model: str = "step-audio-2-mini"
    voice: str = "default"
    instructions: str = ""
    render: Callable[[str], str] = as_written
    transcription_prompt: str = "请记录下你所听到的语音内容。"
    transcription_hints: bool = True
    """Whether the model understands words behind that prompt: the language, names that may occur."""
    interruption: Interruption = "immediate"
    echo_gate: bool = False
    backchannels: tuple[str, ...] = DEFAULT_BACKCHANNELS
    opening: str = ""
    """What stands in for the user's first turn where there is none (`with_opening`)."""
    wall_clock: Callable[[], float] = time.time
    """Seconds since 1970, for `expires_at`: the only wall clock that a session reads itself."""
    sampling: SamplingParams = field(default_factory=SamplingParams)
    thinking_tokens: int = 0
    """The most ids of a thought before an answer; 0: the model does not think."""
    limits: SessionLimits = field(default_factory=SessionLimits)
    speculate: bool = True
    """Make the reply at every pause that may be the end of the turn, and hold it back until that is sure."""

    def rendered(self, instructions: str) -> str:
        """Instructions as the model reads them. Only the server's own are a template, also where a client sends them
        back as they were shown: a client's may hold braces that mean something else."""
        return self.render(instructions) if instructions == self.instructions else instructions

    def with_opening(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The conversation as the model reads it: an assistant that speaks first answers the ``opening``.

        It stands before the assistant's first turn, now and in every later prompt, so that what the model knows of the
        conversation does not change under it.
        """
        first = next((index for index, one in enumerate(messages) if one.role in _TURNS), len(messages))
        if not self.opening or (first < len(messages) and messages[first].role == "human"):
            return messages
        return (*messages[:first], Message("human", self.opening), *messages[first:])

    def thinking_budget(self, effort: str | None) -> int:
        """Ids of a thought for a ``reasoning.effort`` of the wire; None is the model's own measure."""
        return int(self.thinking_tokens * _EFFORT.get(effort or "medium", 1.0))
