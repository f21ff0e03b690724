"""Who has the floor: every rule of the table, and random conversations that must stay legal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from realtime.turns.floor import OVERLAPPING, Floor, TurnConfig, TurnState
from realtime.turns.turn_taking import TRANSITIONS, describe, step

STARTED = SpeechStarted(at=1_000, start=500)
STOPPED = SpeechStopped(at=20_000, voiced_until=12_000, end=15_072)
CREATE, CANCEL, DONE, ENDED = ResponseCreate(1), ResponseCancel(2), ResponseDone(3), PlaybackEnded(4)
TOLD = (AnnounceSpeechStarted(500), SetTimer(500 + 120 * 16_000))
CLOSED = (AnnounceSpeechStopped(20_000), SetTimer(None), CommitTurn(15_072))
CUT_SHORT = (ForgetSpeech(), SetTimer(None), AnnounceSpeechStopped(20_000), SetTimer(None), CommitTurn(20_000))


def play(events: Sequence[Event], **config: Any) -> tuple[TurnState, list[Effect]]:
    state = TurnState(TurnConfig(**config))
    effects: list[Effect] = []
    for event in events:
        state, more = step(state, event)
        effects += more
    return state, effects


def last(events: Sequence[Event], **config: Any) -> tuple[Floor, tuple[Effect, ...]]:
    state, _ = play(events[:-1], **config)
    state, effects = step(state, events[-1])
    return state.floor, effects


def test_speech_is_told_at_once() -> None:
    assert last([STARTED]) == (Floor.USER, TOLD)


def test_the_end_of_speech_commits_before_the_answer() -> None:
    assert last([STARTED, STOPPED]) == (Floor.REPLYING, (*CLOSED, StartResponse()))


def test_without_create_response_the_turn_is_only_committed() -> None:
    assert last([STARTED, STOPPED], create_response=False) == (Floor.NOBODY, CLOSED)


def test_barge_in_tells_the_peer_before_it_cancels() -> None:
    floor, effects = last([CREATE, STARTED])
    assert floor is Floor.USER
    assert effects == (*TOLD, CancelResponse("turn_detected"), CutPlayback())


def test_speech_over_a_finished_responses_audio_cuts_playback() -> None:
    assert last([CREATE, DONE, STARTED]) == (Floor.USER, (*TOLD, CutPlayback()))


def test_speech_after_the_audio_was_heard_cuts_nothing() -> None:
    assert last([CREATE, DONE, ENDED, STARTED]) == (Floor.USER, TOLD)


def test_without_interrupt_response_both_go_on() -> None:
    assert last([CREATE, STARTED], interrupt_response=False) == (Floor.SHARED_REPLYING, TOLD)
    assert last([CREATE, DONE, STARTED], interrupt_response=False) == (Floor.SHARED_AUDIBLE, TOLD)


def test_turns_beside_a_response_are_answered_after_it() -> None:
    events: list[Event] = [CREATE, STARTED, STOPPED]
    assert last(events, interrupt_response=False) == (Floor.REPLYING, CLOSED)
    assert last([*events, DONE], interrupt_response=False) == (Floor.REPLYING, (StartResponse(),))
    assert last([*events, DONE, DONE], interrupt_response=False) == (Floor.AUDIBLE, (AwaitPlayback(),))


def test_turns_beside_a_cancelled_response_are_answered_directly() -> None:
    floor, effects = last([CREATE, STARTED, STOPPED, CANCEL], interrupt_response=False)
    assert (floor, effects) == (Floor.REPLYING, (CancelResponse("client_cancelled"), StartResponse()))


def test_two_turns_beside_a_response_are_answered_once() -> None:
    events: list[Event] = [CREATE, STARTED, STOPPED, STARTED, DONE, STOPPED, DONE]
    _, effects = play(events, interrupt_response=False)
    assert effects.count(StartResponse()) == 1


def test_too_long_turns_end_as_if_speech_stopped() -> None:
    floor, effects = last([STARTED, TimerFired(at=20_000)])
    assert (floor, effects) == (Floor.REPLYING, (*CUT_SHORT, StartResponse()))


def test_client_commits_end_the_turn_without_an_answer() -> None:
    floor, effects = last([STARTED, ManualCommit(9)])
    assert (floor, effects) == (Floor.NOBODY, (ForgetSpeech(), SetTimer(None), CommitTurn(9)))


def test_manual_turns_are_a_commit_and_a_response() -> None:
    assert play([ManualCommit(9), CREATE])[1] == [CommitTurn(9), SetTimer(None), StartResponse(asked=True)]


def test_a_clear_drops_the_turn() -> None:
    assert last([STARTED, ManualClear(9)]) == (Floor.NOBODY, (ForgetSpeech(), SetTimer(None), DropTurn()))
    assert last([ManualClear(9)]) == (Floor.NOBODY, (DropTurn(),))


@pytest.mark.parametrize("before", [[CREATE], [CREATE, STARTED]])
def test_a_second_response_is_refused(before: list[Event]) -> None:
    _, effects = last([*before, CREATE], interrupt_response=False)
    assert effects == (Refuse("conversation_already_has_active_response"),)


@pytest.mark.parametrize("before", [[], [STARTED], [CREATE, DONE], [CREATE, CANCEL]])
def test_a_cancel_of_nothing_is_refused(before: list[Event]) -> None:
    _, effects = last([*before, CANCEL])
    assert effects == (Refuse("response_cancel_not_active"),)


def test_cancelled_responses_are_audible_until_their_audio_ends() -> None:
    assert last([CREATE, CANCEL]) == (Floor.AUDIBLE, (CancelResponse("client_cancelled"), AwaitPlayback()))
    assert last([CREATE, CANCEL, STARTED]) == (Floor.USER, (*TOLD, CutPlayback()))


def test_responses_may_be_requested_while_the_user_speaks() -> None:
    assert last([STARTED, CREATE]) == (Floor.SHARED_REPLYING, (StartResponse(asked=True),))


def test_new_responses_may_follow_one_still_audible() -> None:
    assert last([CREATE, DONE, CREATE]) == (Floor.REPLYING, (StartResponse(asked=True),))


def test_silence_after_a_reply_is_committed_and_answered() -> None:
    events: list[Event] = [CREATE, DONE, PlaybackEnded(50_000)]
    assert last(events, idle_timeout=16_000) == (Floor.NOBODY, (SetTimer(66_000),))
    floor, effects = last([*events, TimerFired(66_100)], idle_timeout=16_000)
    assert floor is Floor.REPLYING
    assert effects == (AnnounceTimeout(50_000, 66_100), CommitTurn(66_100), StartResponse())


def test_without_an_idle_timeout_no_alarm_is_set() -> None:
    assert last([CREATE, DONE, ENDED]) == (Floor.NOBODY, ())


def test_speech_and_responses_replace_the_idle_alarm() -> None:
    quiet: list[Event] = [CREATE, DONE, PlaybackEnded(50_000)]
    assert last([*quiet, STARTED], idle_timeout=16_000)[1] == TOLD
    assert SetTimer(None) in last([*quiet, CREATE], idle_timeout=16_000)[1]


def test_switching_turn_detection_off_ends_speech_without_commit() -> None:
    floor, effects = last([STARTED, Configured(9, TurnConfig(), detecting=False)])
    assert (floor, effects) == (
        Floor.NOBODY,
        (ForgetSpeech(), SetTimer(None), AnnounceSpeechStopped(9), SetTimer(None)),
    )


def test_new_configurations_hold_from_the_next_event() -> None:
    quiet = TurnConfig(create_response=False)
    assert last([STARTED, Configured(9, quiet, detecting=True), STOPPED]) == (Floor.NOBODY, CLOSED)


@pytest.mark.parametrize("event", [STOPPED, DONE, ENDED])
def test_an_illegal_event_is_one_clear_error(event: Event) -> None:
    with pytest.raises(IllegalTransition, match=rf"{type(event).__name__} has no transition .*'nobody'"):
        step(TurnState(), event)


@pytest.mark.parametrize("floor", list(Floor))
@pytest.mark.parametrize("event", [ManualCommit, ManualClear, ResponseCreate, ResponseCancel, Configured])
def test_client_actions_are_answered_on_every_floor(floor: Floor, event: type) -> None:
    assert any(row.floor is floor and row.event is event for row in TRANSITIONS)


def test_the_last_transition_of_every_pair_is_unconditional() -> None:
    rows = {(row.floor, row.event): row for row in TRANSITIONS}
    assert {row.guard.__name__ for row in rows.values()} == {"always"}


def test_the_documentation_shows_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "turn-taking.md").read_text()
    assert describe() in text, "the table in docs/turn-taking.md is not the code's: put describe() there"


def test_the_table_is_printed_row_by_row() -> None:
    assert len(describe().splitlines()) == len(TRANSITIONS) + 2
    assert "| replying | SpeechStarted | interrupts | note_start, open_turn, interrupt | user |" in describe()


# A voice over ours, judged before it takes the floor

CONFIRMED, DISMISSED = BargeInConfirmed(9_000), FalseInterruption(9_000)
RESUMED = (ResumePlayback(), ForgetSpeech(), SetTimer(None))


@pytest.mark.parametrize("before", [[CREATE], [CREATE, DONE]])
def test_a_voice_over_ours_pauses_and_tells_nothing(before: list[Event]) -> None:
    _, effects = last([*before, STARTED], interruption="pause")
    assert effects == (PausePlayback(), ClassifyOverlap())
    _, effects = last([*before, STARTED], interruption="play_on")
    assert effects == (ClassifyOverlap(),)


def test_false_interruptions_leave_everything_as_it_was() -> None:
    assert last([CREATE, STARTED, DISMISSED], interruption="pause") == (Floor.REPLYING, RESUMED)
    assert last([CREATE, DONE, STARTED, DISMISSED], interruption="pause") == (Floor.AUDIBLE, RESUMED)
    assert last([CREATE, STARTED, DISMISSED], interruption="play_on") == (Floor.REPLYING, RESUMED[1:])


def test_confirmed_interruptions_have_their_true_start_and_cancel() -> None:
    floor, effects = last([CREATE, STARTED, CONFIRMED], interruption="pause")
    assert (floor, effects) == (Floor.USER, (*TOLD, CancelResponse("turn_detected"), CutPlayback()))
    assert last([CREATE, DONE, STARTED, CONFIRMED], interruption="pause") == (Floor.USER, (*TOLD, CutPlayback()))


def test_overlap_is_classified_only_where_interruption_is_possible() -> None:
    assert last([CREATE, STARTED], interruption="pause", interrupt_response=False) == (Floor.SHARED_REPLYING, TOLD)
    assert last([STARTED], interruption="pause") == (Floor.USER, TOLD)


def test_the_end_of_the_reply_leaves_classification_running() -> None:
    floor, effects = last([CREATE, STARTED, DONE], interruption="pause")
    assert (floor, effects) == (Floor.OVERLAP_AUDIBLE, (AwaitPlayback(),))
    assert last([CREATE, STARTED, DONE, DISMISSED], interruption="pause") == (Floor.AUDIBLE, RESUMED)


def test_a_voice_that_outlasts_ours_has_the_floor() -> None:
    floor, effects = last([CREATE, DONE, STARTED, ENDED], interruption="play_on")
    assert (floor, effects) == (Floor.USER, (StopClassifying(), *TOLD))


@pytest.mark.parametrize("word", [ManualCommit(9), ManualClear(9), Configured(9, TurnConfig(), detecting=False)])
def test_manual_client_actions_end_the_pause(word: Event) -> None:
    floor, effects = last([CREATE, STARTED, word], interruption="pause")
    assert floor is Floor.REPLYING
    assert effects[:3] == RESUMED


class World:
    """What a session knows, so that only events that can happen do."""

    def __init__(self, config: TurnConfig) -> None:
        self.state = TurnState(config)
        self.at = 0
        self.speaking = self.replying = self.audible = self.paused = self.overlapping = False
        self.alarm: int | None = None
        self.told: list[str] = []

    def possible(self) -> list[str]:
        happens = ["create", "cancel", "commit", "clear", "configure_on", "configure_off"]
        if self.overlapping:
            happens += ["confirm", "dismiss"]
        else:
            happens.append("stop" if self.speaking else "start")
        if self.replying:
            happens.append("done")
        if self.audible and not self.paused:
            happens.append("ended")
        if self.alarm is not None:
            happens.append("wake")
        return happens

    def event(self, name: str) -> Event:
        self.at += 1_600
        match name:
            case "create":
                return ResponseCreate(self.at)
            case "cancel":
                return ResponseCancel(self.at)
            case "commit":
                return ManualCommit(self.at)
            case "clear":
                return ManualClear(self.at)
            case "start":
                self.speaking = True
                return SpeechStarted(self.at, self.at - 800)
            case "stop":
                self.speaking = False
                return SpeechStopped(self.at, self.at - 800, self.at - 400)
            case "confirm":
                self.overlapping = False
                return BargeInConfirmed(self.at)
            case "dismiss":
                self.overlapping = False
                self.speaking = False
                return FalseInterruption(self.at)
            case "done":
                self.replying = False
                return ResponseDone(self.at)
            case "ended":
                self.audible = False
                return PlaybackEnded(self.at)
            case "wake":
                self.alarm = None
                return TimerFired(self.at)
            case _:
                return Configured(self.at, self.state.config, detecting=name == "configure_on")

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case AnnounceSpeechStarted():
                self.told.append("started")
            case AnnounceSpeechStopped():
                self.told.append("stopped")
            case ForgetSpeech():
                if self.speaking and not self.overlapping:
                    self.told.append("forgotten")
                self.speaking = self.overlapping = False
            case ClassifyOverlap():
                assert not self.overlapping, "classified twice"
                self.overlapping = True
            case StopClassifying():
                self.overlapping = False
            case PausePlayback():
                assert not self.paused, "paused twice"
                assert self.replying or self.audible, "paused nothing"
                self.paused = True
            case ResumePlayback():
                assert self.paused, "resumed nothing"
                self.paused = False
            case StartResponse():
                assert not self.replying, "two responses at once"
                self.replying, self.audible = True, False
            case CancelResponse():
                assert self.replying, "cancelled nothing"
                self.replying = False
            case AwaitPlayback():
                self.audible = True
            case CutPlayback():
                self.audible = self.paused = False
            case SetTimer(sample=sample):
                self.alarm = sample
            case _:
                pass


@settings(max_examples=200, deadline=None)
@given(
    st.data(),
    st.builds(
        TurnConfig,
        create_response=st.booleans(),
        interrupt_response=st.booleans(),
        interruption=st.sampled_from(["immediate", "pause", "play_on"]),
        idle_timeout=st.sampled_from([None, 16_000]),
    ),
)
def test_random_conversations_stay_legal(data: st.DataObject, config: TurnConfig) -> None:
    world = World(config)
    for _ in range(data.draw(st.integers(0, 40))):
        event = world.event(data.draw(st.sampled_from(world.possible())))
        world.state, effects = step(world.state, event)
        for effect in effects:
            world.carry_out(effect)
        users = (Floor.USER, Floor.SHARED_REPLYING, Floor.SHARED_AUDIBLE, *OVERLAPPING)
        replies = (Floor.REPLYING, Floor.SHARED_REPLYING, Floor.OVERLAP_REPLYING)
        assert (world.state.floor in users) == world.speaking
        assert (world.state.floor in replies) == world.replying
        assert (world.state.floor in OVERLAPPING) == world.overlapping
        assert world.paused == world.state.paused
        assert world.overlapping or not world.paused
    assert_told_in_pairs(world.told)


def assert_told_in_pairs(told: list[str]) -> None:
    """One stop for each start, unless the client ended the turn by hand (``forgotten``)."""
    open_turn = False
    for word, following in zip(told, [*told[1:], ""], strict=False):
        assert open_turn == (word != "started"), f"{word} while the turn is {'open' if open_turn else 'closed'}"
        open_turn = word == "started" or (word == "forgotten" and following == "stopped")
