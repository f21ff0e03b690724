"""The floor of one session: events go through the transition table of `realtime.turns`, its effects are carried out.

The table decides who may speak; here a turn is committed, a reply started, cancelled, paused or cut, and the client
told. The end of playback and the verdict on overlapping speech come back as timers.
"""

from __future__ import annotations

from realtime.audio.streams import ms_of_samples
from realtime.errors import QuotaSpent
from realtime.ports.messages import MODEL_SAMPLE_RATE, Message
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE
from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError
from realtime.protocol.items import InputAudio, UserMessage
from realtime.protocol.responses import configure_response
from realtime.protocol.session_config import LOGPROBS
from realtime.session.context.history import bound_audio, set_heard
from realtime.session.input.backchannel import ANSWER_S
from realtime.session.inputs import Ending
from realtime.session.output.response import Reply
from realtime.session.output.responses import ReplyEvents, ResponseRequest
from realtime.session.parts import Parts
from realtime.session.work import Timer
from realtime.turns import effects
from realtime.turns.events import Event, PlaybackEnded, ResponseCancel, ResponseCreate, ResponseDone
from realtime.turns.floor import OVERLAPPING, Floor, TurnState
from realtime.turns.turn_taking import step


class FloorControl:
    """Who has the floor, and what follows from it. ``timer_at``: the sample at which the table wants to be asked again;
    ``speech_end``: when the user was last voiced and when the end of the turn was decided, in seconds."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._env = parts.env
        self.turns = TurnState(parts.settings.turns)
        self.timer_at: int | None = None
        self.speech_end: tuple[float, float] | None = None
        self._playback: Timer | None = None
        self._awaits_playback = False
        self._overlaps = 0
        parts.transcriber.free = lambda: parts.replies.silent
        parts.replies.events = ReplyEvents(
            self._reply_done, self.answer_results, parts.transcriber.wake, self.spend_audio
        )

    def stop(self) -> None:
        """The session has ended: the parts do not hold the floor any more, nor it them."""
        self._parts.transcriber.free = lambda: True
        self._parts.replies.events = ReplyEvents()

    @property
    def floor(self) -> Floor:
        """Who has the floor now."""
        return self.turns.floor

    @property
    def overlap(self) -> int:
        """The number of the overlapping speech whose meaning is not known yet; 0: there is none."""
        return self._overlaps if self.floor in OVERLAPPING else 0

    @property
    def answers_turn(self) -> bool:
        """Whether the user has the floor, and an answer will follow."""
        return self.floor is Floor.USER and self.turns.config.create_response

    @property
    def may_speculate(self) -> bool:
        """Whether a reply to the user's turn would start at once."""
        free = self.floor in (Floor.USER, Floor.SHARED_AUDIBLE) and self._env.quota.response_is_free
        return free and self._env.config.speculate and self.turns.config.create_response

    @property
    def waits_for_audio(self) -> bool:
        """Whether something is decided by audio that has still to come."""
        return self.timer_at is not None or self.floor not in (Floor.NOBODY, Floor.REPLYING, Floor.AUDIBLE)

    def step(self, event: Event, request: ResponseRequest | None = None) -> None:
        """One event through the table. ``request``: the response that the client asks for with it. Raises
        `ProtocolError` where the table refuses it."""
        before = self.floor
        self.turns, todo = step(self.turns, event)
        self._env.log.debug("%s: floor %s -> %s", type(event).__name__, before.value, self.floor.value)
        if self.floor not in OVERLAPPING:
            self._parts.backchannels.drop()
        for effect in todo:
            self._carry_out(effect, request)
        self.answer_results()

    def answer_results(self) -> None:
        """Answer the results of tools, as soon as nobody speaks."""
        replies = self._parts.replies
        free = self.floor in (Floor.NOBODY, Floor.AUDIBLE) and replies.active is None
        if free and (request := replies.take_unanswered()) is not None:
            self.step(ResponseCreate(self._parts.audio_input.received), request)

    def start_reply(self, request: ResponseRequest) -> None:
        """The turn that is answered is the one whose end was just decided, if there is one."""
        speech_end, self.speech_end = self.speech_end, None
        if not request.config.out_of_band:
            self._stop_awaiting_playback()
        self._parts.replies.start(request, self._parts.settings.answering().truncation, speech_end)

    def clear_playback(self) -> None:
        """The client wants the playback to stop, where the transport owns it; a response that runs is cancelled."""
        if self._parts.replies.active is not None:
            self.step(ResponseCancel(self._parts.audio_input.received))
        self._cut_playback()
        if self.floor in (Floor.AUDIBLE, Floor.SHARED_AUDIBLE, Floor.OVERLAP_AUDIBLE):
            self._await_playback()

    def await_playback_anew(self) -> None:
        """The client says that it plays less than was sent."""
        if self._awaits_playback:
            self._await_playback()

    def spend_audio(self, seconds: float) -> None:
        """Count audio, heard or spoken, against the quota of the caller's key."""
        quota = self._env.quota
        quota.spend_audio(seconds)
        if wait := quota.audio_wait:
            message = f"This key has used all its audio of this hour. Some is free again in {wait:.0f} s."
            self._env.inputs.put(Ending(QuotaSpent(message)))

    # Effects

    def _carry_out(self, effect: effects.Effect, request: ResponseRequest | None) -> None:
        parts = self._parts
        match effect:
            case effects.AnnounceSpeechStarted() | effects.AnnounceSpeechStopped() | effects.AnnounceTimeout():
                self._announce(effect)
            case effects.CommitTurn(end):
                self._commit_turn(end)
            case effects.DropTurn():
                parts.turn.drop()
            case effects.ForgetSpeech():
                parts.audio_input.forget_speech()
                parts.speculator.drop()
            case effects.StartResponse():
                self.start_reply(request or ResponseRequest(configure_response(parts.settings.answering())))
            case effects.CancelResponse(reason):
                parts.replies.cancel_active(reason)
            case effects.CutPlayback():
                self._cut_playback()
            case effects.PausePlayback() | effects.ResumePlayback():
                self._hold_playback(isinstance(effect, effects.PausePlayback))
            case effects.ClassifyOverlap():
                self._overlaps += 1
                parts.audio_input.begin_overlap(words=self._asks_for_words)
            case effects.StopClassifying():
                parts.audio_input.end_overlap()
            case effects.AwaitPlayback():
                self._await_playback()
            case effects.Refuse(code):
                raise self._refusal(code)
            case effects.SetTimer(sample):
                self.timer_at = sample

    def _announce(
        self, effect: effects.AnnounceSpeechStarted | effects.AnnounceSpeechStopped | effects.AnnounceTimeout
    ) -> None:
        turn, outbox = self._parts.turn, self._parts.outbox
        match effect:
            case effects.AnnounceSpeechStarted(start):
                outbox.put(wire.InputAudioBufferSpeechStarted(audio_start_ms=_ms(start), item_id=turn.announce()))
            case effects.AnnounceSpeechStopped(end):
                assert turn.item_id is not None
                outbox.put(wire.InputAudioBufferSpeechStopped(audio_end_ms=_ms(end), item_id=turn.item_id))
            case effects.AnnounceTimeout(start, end):
                self._parts.prompts.begin_turn()
                item_id = turn.announce()
                outbox.put(
                    wire.InputAudioBufferTimeoutTriggered(
                        audio_start_ms=_ms(start), audio_end_ms=_ms(end), item_id=item_id
                    )
                )

    def _commit_turn(self, end: int) -> None:
        parts, settings = self._parts, self._parts.settings.current
        item_id, audio = parts.turn.take(end)
        previous = parts.history.last_item_id
        parts.history.make_room()
        parts.history.add(UserMessage(id=item_id, content=(InputAudio(),)), Message("human", (audio,)))
        parts.outbox.put(wire.InputAudioBufferCommitted(previous_item_id=previous, item_id=item_id))
        parts.items.announce(item_id)
        if (transcription := settings.audio.input.transcription) is not None:
            logprobs = LOGPROBS in (settings.include or ())
            parts.transcriber.add(item_id, audio, transcription, logprobs=logprobs)
        bound_audio(parts.history, self._env.config.limits.history_audio_s)

    def _refusal(self, code: str) -> ProtocolError:
        if code == "response_cancel_not_active":
            return nothing_to_cancel()
        active = self._parts.replies.active
        return ProtocolError(
            code,
            f"Conversation already has an active response in progress: {active.id if active else 'unknown'}. Wait "
            "until the response is finished before creating a new one.",
        )

    def _reply_done(self, reply: Reply) -> None:
        self.step(ResponseDone(self._parts.audio_input.received))
        if not self._parts.replies.any:
            self._parts.turn.make_room(self._parts.settings.answering())

    # Playback

    def _cut_playback(self) -> None:
        parts = self._parts
        self._stop_awaiting_playback()
        parts.outbox.retract_audio()
        if parts.plays_audio:  # other clients own their playback and stop it by themselves
            parts.outbox.put(wire.OutputAudioBufferCleared(response_id=parts.replies.spoken_id))
        for item_id, heard in parts.playout.cut(self._env.inputs.now()).items():
            entry = parts.history.get(item_id)
            if entry is None or entry.truncated:
                continue
            if parts.plays_audio and entry.audio_ms:  # the transport knows what was heard: the item is cut for good
                end_ms = min(heard * 1000 // OUTPUT_SAMPLE_RATE, entry.audio_ms)
                parts.items.truncate(
                    wire.ConversationItemTruncate(item_id=item_id, content_index=0, audio_end_ms=end_ms)
                )
            else:
                set_heard(entry, heard)

    def _hold_playback(self, paused: bool) -> None:
        parts, now = self._parts, self._env.inputs.now()
        if paused:
            parts.playout.pause(now)
            parts.outbox.put_before_audio(wire.OutputAudioBufferPaused(response_id=parts.replies.spoken_id))
        else:
            parts.playout.resume(now)
            parts.outbox.put_before_audio(wire.OutputAudioBufferResumed(response_id=parts.replies.spoken_id))

    def _await_playback(self) -> None:
        self._stop_awaiting_playback()
        self._awaits_playback = True
        self._parts.outbox.on_audio_taken(lambda: self._env.inputs.defer(self._look_at_playback))

    def _look_at_playback(self) -> None:
        """Whether the caller has heard all that was sent; if not, when to look again."""
        if not self._awaits_playback or self._playback is not None:
            return
        wait = self._parts.playout.ends_in(self._env.inputs.now())
        if wait > 0:
            self._playback = self._env.timers.after(wait, self._playback_timer)
            return
        self._awaits_playback = False
        self._parts.playout.finish(self._env.inputs.now())
        self.step(PlaybackEnded(self._parts.audio_input.received))

    def _playback_timer(self) -> None:
        self._playback = None
        self._look_at_playback()

    def _stop_awaiting_playback(self) -> None:
        self._awaits_playback = False
        if self._playback is not None:
            self._playback.cancel()
            self._playback = None

    # Overlapping speech

    @property
    def _asks_for_words(self) -> bool:
        """Whether to transcribe short overlapping speech: only while playback is paused, and not in the reply's last
        second."""
        ending = self.floor is Floor.OVERLAP_AUDIBLE
        near = ending and self._parts.playout.remaining(self._env.inputs.now()) < ANSWER_S
        return self.turns.paused and bool(self._parts.backchannels) and not near


def nothing_to_cancel() -> ProtocolError:
    """The error for a cancel of a response that does not run."""
    return ProtocolError("response_cancel_not_active", "Cancellation failed: no active response found.")


def _ms(samples: int) -> int:
    return ms_of_samples(samples, MODEL_SAMPLE_RATE)
