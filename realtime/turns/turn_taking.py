"""Who has the floor: the user, the agent, both, or nobody. ``state, effects = step(state, event)``: no clock, no I/O.

Time is in samples at 16 kHz received since the session began. The session feeds the events, carries out the effects in
their order, and keeps one timer: `SetTimer` sets it, the latest setting counts, and `TimerFired` is its event.

The rules, each in one or more rows of `TRANSITIONS`:

1. Speech detected by the VAD opens a turn: the peer is told first.
2. With ``interrupt_response``, speech stops a response that is running or audible: the response is cancelled
   (`turn_detected`) and the history keeps the part that was played. Otherwise both continue (the floor is shared).
   Where ``interruption`` is not "immediate", overlapping speech is classified first: the peer is not told, and playback
   pauses ("pause") or continues ("play_on"). After a false interruption playback resumes at the same sample; a barge-in
   opens a turn by rules 1 and 2.
3. The end of speech is told, the turn's audio is committed up to its last short silence, and with ``create_response`` a
   response starts. While another response runs, it is pending and starts when that one is done.
4. A turn that reaches ``max_turn`` samples ends as if the user had stopped.
5. A commit by the client ends the turn without `speech_stopped` and starts no response; a clear drops the turn.
6. One response at a time: a second `response.create` is refused, and so is a cancel without a response.
7. A response that is done, or cancelled by the client, is audible until `PlaybackEnded`.
8. After ``idle_timeout`` samples without speech or playback, the silence is committed and answered.
9. When turn detection is switched off while the user speaks, the end of speech is told and the audio is not committed:
   from then on the client commits.

Exactly one `AnnounceSpeechStopped` follows each `AnnounceSpeechStarted`, unless the client commits or clears first.
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

# --- guards and actions of the table ---

Guard = Callable[[TurnState, Event], bool]
Action = Callable[[TurnState, Event], tuple[TurnState, tuple[Effect, ...]]]


def always(state: TurnState, event: Event) -> bool:
    return True


def interrupts(state: TurnState, event: Event) -> bool:
    return state.config.interrupt_response


def awaits_classification(state: TurnState, event: Event) -> bool:
    return state.config.interrupt_response and state.config.interruption != "immediate"


def responds(state: TurnState, event: Event) -> bool:
    """The end of a turn starts a response."""
    return state.config.create_response or state.response_pending


def response_pending(state: TurnState, event: Event) -> bool:
    return state.response_pending


def detection_is_on(state: TurnState, event: Event) -> bool:
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
    return replace(state, response_pending=False), (StartResponse(),)


def start_requested(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return replace(state, response_pending=False), (StartResponse(asked=True),)


def defer(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return replace(state, response_pending=True), ()


def interrupt(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return replace(state, paused=False), (CancelResponse("turn_detected"), CutPlayback())


def cancel(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (CancelResponse("client_cancelled"),)


def cut_playback(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return replace(state, paused=False), (CutPlayback(),)


def await_playback(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (AwaitPlayback(),)


def start_timeout(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    if state.config.idle_timeout is None:
        return state, ()
    return replace(state, quiet_since=event.at), (SetTimer(event.at + state.config.idle_timeout),)


def stop_timer(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    return state, (SetTimer(None),)


def announce_timeout(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
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
    """On ``floor``, ``event`` (when ``guard`` holds) runs ``actions`` in order; the floor after is ``to``."""

    floor: Floor
    event: type
    guard: Guard
    actions: tuple[Action, ...]
    to: Floor


_N, _U, _R, _A = Floor.NOBODY, Floor.USER, Floor.REPLYING, Floor.AUDIBLE
_SR, _SA = Floor.SHARED_REPLYING, Floor.SHARED_AUDIBLE
_OR, _OA = Floor.OVERLAP_REPLYING, Floor.OVERLAP_AUDIBLE

TRANSITIONS: tuple[Transition, ...] = tuple(
    Transition(*row)
    for row in (
        # The user begins to speak.
        (_N, SpeechStarted, always, (note_start, open_turn), _U),
        (_R, SpeechStarted, awaits_classification, (note_start, begin_overlap), _OR),
        (_R, SpeechStarted, interrupts, (note_start, open_turn, interrupt), _U),
        (_R, SpeechStarted, always, (note_start, open_turn), _SR),
        (_A, SpeechStarted, awaits_classification, (note_start, begin_overlap), _OA),
        (_A, SpeechStarted, interrupts, (note_start, open_turn, cut_playback), _U),
        (_A, SpeechStarted, always, (note_start, open_turn), _SA),
        # Overlapping speech is classified.
        (_OR, BargeInConfirmed, always, (open_turn, interrupt), _U),
        (_OR, FalseInterruption, always, (resume, forget_speech), _R),
        (_OA, BargeInConfirmed, always, (open_turn, cut_playback), _U),
        (_OA, FalseInterruption, always, (resume, forget_speech), _A),
        # The user has finished.
        (_U, SpeechStopped, responds, (close_turn, commit, start), _R),
        (_U, SpeechStopped, always, (close_turn, commit), _N),
        (_SR, SpeechStopped, responds, (close_turn, commit, defer), _R),
        (_SR, SpeechStopped, always, (close_turn, commit), _R),
        (_SA, SpeechStopped, responds, (close_turn, commit, start), _R),
        (_SA, SpeechStopped, always, (close_turn, commit), _A),
        # The turn has reached its limit, or the idle timeout is over.
        (_U, TimerFired, responds, (forget_speech, close_turn, commit, start), _R),
        (_U, TimerFired, always, (forget_speech, close_turn, commit), _N),
        (_SR, TimerFired, responds, (forget_speech, close_turn, commit, defer), _R),
        (_SR, TimerFired, always, (forget_speech, close_turn, commit), _R),
        (_SA, TimerFired, responds, (forget_speech, close_turn, commit, start), _R),
        (_SA, TimerFired, always, (forget_speech, close_turn, commit), _A),
        (_N, TimerFired, always, (announce_timeout, commit, start), _R),
        # The client commits or clears.
        (_N, ManualCommit, always, (commit,), _N),
        (_R, ManualCommit, always, (commit,), _R),
        (_A, ManualCommit, always, (commit,), _A),
        (_U, ManualCommit, always, (forget_speech, commit), _N),
        (_SR, ManualCommit, always, (forget_speech, commit), _R),
        (_SA, ManualCommit, always, (forget_speech, commit), _A),
        (_OR, ManualCommit, always, (resume, forget_speech, commit), _R),
        (_OA, ManualCommit, always, (resume, forget_speech, commit), _A),
        (_N, ManualClear, always, (drop,), _N),
        (_R, ManualClear, always, (drop,), _R),
        (_A, ManualClear, always, (drop,), _A),
        (_U, ManualClear, always, (forget_speech, drop), _N),
        (_SR, ManualClear, always, (forget_speech, drop), _R),
        (_SA, ManualClear, always, (forget_speech, drop), _A),
        (_OR, ManualClear, always, (resume, forget_speech, drop), _R),
        (_OA, ManualClear, always, (resume, forget_speech, drop), _A),
        # The client creates or cancels a response.
        (_N, ResponseCreate, always, (stop_timer, start_requested), _R),
        (_A, ResponseCreate, always, (start_requested,), _R),
        (_U, ResponseCreate, always, (start_requested,), _SR),
        (_SA, ResponseCreate, always, (start_requested,), _SR),
        (_R, ResponseCreate, always, (refuse_second,), _R),
        (_SR, ResponseCreate, always, (refuse_second,), _SR),
        (_OA, ResponseCreate, always, (start_requested,), _OR),
        (_OR, ResponseCreate, always, (refuse_second,), _OR),
        (_R, ResponseCancel, response_pending, (cancel, start), _R),
        (_R, ResponseCancel, always, (cancel, await_playback), _A),
        (_SR, ResponseCancel, always, (cancel, await_playback), _SA),
        (_OR, ResponseCancel, response_pending, (cancel, start), _OR),
        (_OR, ResponseCancel, always, (cancel, await_playback), _OA),
        (_N, ResponseCancel, always, (refuse_cancel,), _N),
        (_U, ResponseCancel, always, (refuse_cancel,), _U),
        (_A, ResponseCancel, always, (refuse_cancel,), _A),
        (_SA, ResponseCancel, always, (refuse_cancel,), _SA),
        (_OA, ResponseCancel, always, (refuse_cancel,), _OA),
        # The response ends, then its playback.
        (_R, ResponseDone, response_pending, (start,), _R),
        (_R, ResponseDone, always, (await_playback,), _A),
        (_SR, ResponseDone, always, (await_playback,), _SA),
        (_OR, ResponseDone, response_pending, (start,), _OR),
        (_OR, ResponseDone, always, (await_playback,), _OA),
        (_A, PlaybackEnded, always, (start_timeout,), _N),
        (_SA, PlaybackEnded, always, (), _U),
        (_OA, PlaybackEnded, always, (stop_classifying, resume, open_turn), _U),
        # Turn detection is changed.
        (_N, Configured, always, (configure, stop_timer), _N),
        (_R, Configured, always, (configure,), _R),
        (_A, Configured, always, (configure,), _A),
        (_U, Configured, detection_is_on, (configure,), _U),
        (_SR, Configured, detection_is_on, (configure,), _SR),
        (_SA, Configured, detection_is_on, (configure,), _SA),
        (_OR, Configured, detection_is_on, (configure,), _OR),
        (_OA, Configured, detection_is_on, (configure,), _OA),
        (_U, Configured, always, (forget_speech, close_turn, configure), _N),
        (_SR, Configured, always, (forget_speech, close_turn, configure), _R),
        (_SA, Configured, always, (forget_speech, close_turn, configure), _A),
        (_OR, Configured, always, (resume, forget_speech, configure), _R),
        (_OA, Configured, always, (resume, forget_speech, configure), _A),
    )
)

_ROWS: dict[tuple[Floor, type], tuple[Transition, ...]] = {
    (floor, event): rows
    for floor in Floor
    for event in {row.event for row in TRANSITIONS}
    if (rows := tuple(row for row in TRANSITIONS if (row.floor, row.event) == (floor, event)))
}


def step(state: TurnState, event: Event) -> tuple[TurnState, tuple[Effect, ...]]:
    """The next state, and the effects to carry out. Raises `IllegalTransition` for an event that has no row."""
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
    lines = ["| floor | event | guard | actions | floor after |", "|---|---|---|---|---|"]
    for row in TRANSITIONS:
        actions = ", ".join(action.__name__ for action in row.actions) or "none"
        cells = (row.floor.value, row.event.__name__, row.guard.__name__, actions, row.to.value)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
