"""Who has the floor: the user, the agent, nobody, or both. ``state, effects = step(state, event)``: no clock, no I/O.

Time is in samples at 16 kHz received since the session began. The session feeds the events, carries the effects out in
their order, and keeps one alarm: `SetTimer` sets it, the latest counts, and `TimerFired` is the event that it brings.

The rules, each a row or more of `TRANSITIONS`:

1. Speech detected by the VAD opens a turn: the peer is told at once, before anything else happens.
2. If the agent is replying or still audible then, and ``interrupt_response`` is on, it stops: the response is cancelled
   (`turn_detected`) and the history keeps what was heard. Otherwise both go on (the floor is shared).
   Where ``interruption`` is not "immediate", the floor is contested first: nothing is told, the playback pauses
   ("pause") or not ("play_on"), and the voice is judged. If it was nothing, all goes on from the same sample; else it
   opens a turn as in 1 and 2.
3. The end of speech is told, the turn's audio is committed up to where its last pause was found, and with
   ``create_response`` a response starts. If one runs still, the new one is owed and starts when that one is done.
4. A turn that reaches ``max_turn`` samples ends as if the user had stopped.
5. A commit by the client ends the turn without `speech_stopped` and starts no response; a clear drops the turn.
6. One response at a time: a second `response.create` is refused, so is a cancel of nothing.
7. A response that is done or cancelled by the client is still audible until `PlaybackEnded`.
8. After ``idle_timeout`` samples in which nobody said anything, the silence is committed and answered.
9. Turn detection that is switched off while the user speaks ends the speech, told but not committed: from now on the
   client commits.

Exactly one `AnnounceSpeechStopped` follows each `AnnounceSpeechStarted`, unless the client commits or clears by hand
before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from realtime.errors import IllegalTransition
from realtime.turns.effects import (
    AnnounceSpeechStarted,
    AnnounceSpeechStopped,
    AnnounceTimeout,
    AwaitPlayback,
    CancelResponse,
    ClassifyOverlap,
    CommitTurn,
    CutPlayback,
    DropTurn,
    Effect,
    ForgetSpeech,
    PausePlayback,
    Refuse,
    ResumePlayback,
    SetTimer,
    StartResponse,
    StopClassifying,
)
from realtime.turns.events import (
    BargeInConfirmed,
    Configured,
    Event,
    FalseInterruption,
    ManualClear,
    ManualCommit,
    PlaybackEnded,
    ResponseCancel,
    ResponseCreate,
    ResponseDone,
    SpeechStarted,
    SpeechStopped,
    TimerFired,
)
from realtime.turns.floor import Floor, TurnState

# --- events: what happened; speech itself is in realtime.turns.events ---


# --- effects: what the session does about it, in this order ---


# --- actions and guards: the words of the table ---

Guard = Callable[[TurnState, Event], bool]
Action = Callable[[TurnState, Event], tuple[TurnState, tuple[Effect, ...]]]


def always(state: TurnState, event: Event) -> bool:
    return True


def interrupts(state: TurnState, event: Event) -> bool:
    return state.config.interrupt_response


def awaits_classification(state: TurnState, event: Event) -> bool:
    return state.config.interrupt_response and state.config.interruption != "immediate"


def answers(state: TurnState, event: Event) -> bool:
    """The end of a turn brings a response."""
    return state.config.create_response or state.owed


def owes(state: TurnState, event: Event) -> bool:
    return state.owed


def detects(state: TurnState, event: Event) -> bool:
    return isinstance(event, Configured) and event.detecting


def note_start(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    assert isinstance(event, SpeechStarted)
    return replace(state, turn_start=event.start), ()


def open_turn(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (AnnounceSpeechStarted(state.turn_start), SetTimer(state.turn_start + state.config.max_turn))


def begin_overlap(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    pauses = state.config.interruption == "pause"
    return replace(state, paused=pauses), (PausePlayback(), ClassifyOverlap()) if pauses else (ClassifyOverlap(),)


def resume(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return replace(state, paused=False), (ResumePlayback(),) if state.paused else ()


def stop_classifying(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (StopClassifying(),)


def close_turn(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (AnnounceSpeechStopped(event.at), SetTimer(None))


def forget_speech(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (ForgetSpeech(), SetTimer(None))


def commit(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (CommitTurn(event.end if isinstance(event, SpeechStopped) else event.at),)


def drop(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (DropTurn(),)


def start(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return replace(state, owed=False), (StartResponse(),)


def start_asked(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return replace(state, owed=False), (StartResponse(asked=True),)


def owe(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return replace(state, owed=True), ()


def interrupt(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return replace(state, paused=False), (CancelResponse("turn_detected"), CutPlayback())


def cancel(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (CancelResponse("client_cancelled"),)


def cut_playback(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return replace(state, paused=False), (CutPlayback(),)


def await_playback(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (AwaitPlayback(),)


def arm_timeout(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    if state.config.idle_timeout is None:
        return state, ()
    return replace(state, quiet_since=event.at), (SetTimer(event.at + state.config.idle_timeout),)


def disarm(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (SetTimer(None),)


def tell_timeout(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (AnnounceTimeout(state.quiet_since, event.at),)


def configure(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    assert isinstance(event, Configured)
    return replace(state, config=event.config), ()


def refuse_second(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (Refuse("conversation_already_has_active_response"),)


def refuse_cancel(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (Refuse("response_cancel_not_active"),)


# --- the table ---


@dataclass(frozen=True, slots=True)
class Transition:
    """On ``floor``, ``event`` (when ``guard`` holds) does ``actions`` in order and gives the floor to ``to``."""

    floor: Floor
    event: type
    guard: Guard
    actions: tuple[Action, ...]
    to: Floor


_N, _U, _R, _A = Floor.NOBODY, Floor.USER, Floor.REPLYING, Floor.AUDIBLE
_UR, _UA = Floor.SHARED_REPLYING, Floor.SHARED_AUDIBLE
_CR, _CA = Floor.OVERLAP_REPLYING, Floor.OVERLAP_AUDIBLE

TRANSITIONS: tuple[Transition, ...] = tuple(
    Transition(*row)
    for row in (
        # The user begins to speak.
        (_N, SpeechStarted, always, (note_start, open_turn), _U),
        (_R, SpeechStarted, awaits_classification, (note_start, begin_overlap), _CR),
        (_R, SpeechStarted, interrupts, (note_start, open_turn, interrupt), _U),
        (_R, SpeechStarted, always, (note_start, open_turn), _UR),
        (_A, SpeechStarted, awaits_classification, (note_start, begin_overlap), _CA),
        (_A, SpeechStarted, interrupts, (note_start, open_turn, cut_playback), _U),
        (_A, SpeechStarted, always, (note_start, open_turn), _UA),
        # It is known whether the voice over ours was meant.
        (_CR, BargeInConfirmed, always, (open_turn, interrupt), _U),
        (_CR, FalseInterruption, always, (resume, forget_speech), _R),
        (_CA, BargeInConfirmed, always, (open_turn, cut_playback), _U),
        (_CA, FalseInterruption, always, (resume, forget_speech), _A),
        # The user has finished.
        (_U, SpeechStopped, answers, (close_turn, commit, start), _R),
        (_U, SpeechStopped, always, (close_turn, commit), _N),
        (_UR, SpeechStopped, answers, (close_turn, commit, owe), _R),
        (_UR, SpeechStopped, always, (close_turn, commit), _R),
        (_UA, SpeechStopped, answers, (close_turn, commit, start), _R),
        (_UA, SpeechStopped, always, (close_turn, commit), _A),
        # The turn has grown too long, or nobody has spoken for too long.
        (_U, TimerFired, answers, (forget_speech, close_turn, commit, start), _R),
        (_U, TimerFired, always, (forget_speech, close_turn, commit), _N),
        (_UR, TimerFired, answers, (forget_speech, close_turn, commit, owe), _R),
        (_UR, TimerFired, always, (forget_speech, close_turn, commit), _R),
        (_UA, TimerFired, answers, (forget_speech, close_turn, commit, start), _R),
        (_UA, TimerFired, always, (forget_speech, close_turn, commit), _A),
        (_N, TimerFired, always, (tell_timeout, commit, start), _R),
        # The client commits or clears by hand.
        (_N, ManualCommit, always, (commit,), _N),
        (_R, ManualCommit, always, (commit,), _R),
        (_A, ManualCommit, always, (commit,), _A),
        (_U, ManualCommit, always, (forget_speech, commit), _N),
        (_UR, ManualCommit, always, (forget_speech, commit), _R),
        (_UA, ManualCommit, always, (forget_speech, commit), _A),
        (_CR, ManualCommit, always, (resume, forget_speech, commit), _R),
        (_CA, ManualCommit, always, (resume, forget_speech, commit), _A),
        (_N, ManualClear, always, (drop,), _N),
        (_R, ManualClear, always, (drop,), _R),
        (_A, ManualClear, always, (drop,), _A),
        (_U, ManualClear, always, (forget_speech, drop), _N),
        (_UR, ManualClear, always, (forget_speech, drop), _R),
        (_UA, ManualClear, always, (forget_speech, drop), _A),
        (_CR, ManualClear, always, (resume, forget_speech, drop), _R),
        (_CA, ManualClear, always, (resume, forget_speech, drop), _A),
        # The client asks for a response, or to end it.
        (_N, ResponseCreate, always, (disarm, start_asked), _R),
        (_A, ResponseCreate, always, (start_asked,), _R),
        (_U, ResponseCreate, always, (start_asked,), _UR),
        (_UA, ResponseCreate, always, (start_asked,), _UR),
        (_R, ResponseCreate, always, (refuse_second,), _R),
        (_UR, ResponseCreate, always, (refuse_second,), _UR),
        (_CA, ResponseCreate, always, (start_asked,), _CR),
        (_CR, ResponseCreate, always, (refuse_second,), _CR),
        (_R, ResponseCancel, owes, (cancel, start), _R),
        (_R, ResponseCancel, always, (cancel, await_playback), _A),
        (_UR, ResponseCancel, always, (cancel, await_playback), _UA),
        (_CR, ResponseCancel, owes, (cancel, start), _CR),
        (_CR, ResponseCancel, always, (cancel, await_playback), _CA),
        (_N, ResponseCancel, always, (refuse_cancel,), _N),
        (_U, ResponseCancel, always, (refuse_cancel,), _U),
        (_A, ResponseCancel, always, (refuse_cancel,), _A),
        (_UA, ResponseCancel, always, (refuse_cancel,), _UA),
        (_CA, ResponseCancel, always, (refuse_cancel,), _CA),
        # The response ends, then its audio.
        (_R, ResponseDone, owes, (start,), _R),
        (_R, ResponseDone, always, (await_playback,), _A),
        (_UR, ResponseDone, always, (await_playback,), _UA),
        (_CR, ResponseDone, owes, (start,), _CR),
        (_CR, ResponseDone, always, (await_playback,), _CA),
        (_A, PlaybackEnded, always, (arm_timeout,), _N),
        (_UA, PlaybackEnded, always, (), _U),
        (_CA, PlaybackEnded, always, (stop_classifying, resume, open_turn), _U),
        # Turn detection is changed.
        (_N, Configured, always, (configure, disarm), _N),
        (_R, Configured, always, (configure,), _R),
        (_A, Configured, always, (configure,), _A),
        (_U, Configured, detects, (configure,), _U),
        (_UR, Configured, detects, (configure,), _UR),
        (_UA, Configured, detects, (configure,), _UA),
        (_CR, Configured, detects, (configure,), _CR),
        (_CA, Configured, detects, (configure,), _CA),
        (_U, Configured, always, (forget_speech, close_turn, configure), _N),
        (_UR, Configured, always, (forget_speech, close_turn, configure), _R),
        (_UA, Configured, always, (forget_speech, close_turn, configure), _A),
        (_CR, Configured, always, (resume, forget_speech, configure), _R),
        (_CA, Configured, always, (resume, forget_speech, configure), _A),
    )
)

_ROWS: dict[tuple[Floor, type], tuple[Transition, ...]] = {
    (floor, event): rows
    for floor in Floor
    for event in {row.event for row in TRANSITIONS}
    if (rows := tuple(row for row in TRANSITIONS if (row.floor, row.event) == (floor, event)))
}


def step(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    """The next state and what is to be done. Raises `IllegalTransition` for an event that has no row."""
    for row in _ROWS.get((state.floor, type(event)), ()):
        if row.guard(state, event):
            return _apply(row, state, event)
    name = type(event).__name__
    raise IllegalTransition(f"{name} has no transition while the floor is with {state.floor.value!r}")


def _apply(row: Transition, state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    effects: tuple[Effect, ...] = ()
    for action in row.actions:
        state, more = action(state, event)
        effects += more
    return replace(state, floor=row.to), effects


def describe() -> str:
    """The table as Markdown, for the documentation."""
    lines = ["| floor | event | if | does | floor after |", "|---|---|---|---|---|"]
    for row in TRANSITIONS:
        does = ", ".join(action.__name__ for action in row.actions) or "nothing"
        cells = (row.floor.value, row.event.__name__, row.guard.__name__, does, row.to.value)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
