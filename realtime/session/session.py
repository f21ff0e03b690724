"""One caller: what client and microphone say goes through the turn-taking table, its effects are carried out here.

The decisions are elsewhere: `turns` (who has the floor), `protocol` (what is legal on the wire), `open_turn` (the
user's turn and the work ahead of its end), `replies` and `response` (what is answered), `prompting` and `history`
(what the model is told). Here is the asyncio around them.

Tasks, all in one group that ends with the session: the receiver, the sender (`Outbox.run`), the transcriber
(`Transcriber.run`), a watch over the end, one for each reply, one that waits for the end of playback and one for the
verdict on a voice over ours. What lies between two awaits is atomic.

A session that only transcribes (`TranscriptionSession`) is the same with turns that are never answered.

A peer's fault becomes an `error` event and the session lives; ours closes it, logged with its traceback.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from typing import Any

import numpy as np

from realtime.audio.streams import AudioReader, Samples, ms_of_samples
from realtime.errors import ChannelClosed, QuotaSpent, SessionEnd, SessionExpired, SessionFault
from realtime.ports.channel import AudioPlayed, Channel
from realtime.ports.messages import MODEL_SAMPLE_RATE, Message
from realtime.protocol import events as wire
from realtime.protocol.codec import error_event
from realtime.protocol.conversation import Conversation
from realtime.protocol.errors import ProtocolError
from realtime.protocol.ids import Ids
from realtime.protocol.items import InputAudio, McpApprovalResponse, UserMessage
from realtime.protocol.responses import configure_response
from realtime.protocol.session_config import (
    LOGPROBS,
    TranscriptionSession,
    merge,
    merge_transcription,
)
from realtime.protocol.session_config import Session as WireSession
from realtime.session.config import SessionConfig
from realtime.session.context.engine_conversation import EngineConversation
from realtime.session.context.history import (
    History,
    bound_audio,
    input_messages,
    recordings,
    set_heard,
)
from realtime.session.formats import audio_format
from realtime.session.input.audio_input import AudioInput
from realtime.session.input.backchannel import ANSWER_S, BackchannelClassifier
from realtime.session.input.echo_reference import EchoReference
from realtime.session.input.end_of_turn import EndOfTurn
from realtime.session.input.settings import endpointing, gates_echo, noise_reduction_db, turn_config
from realtime.session.input.transcriber import Transcriber
from realtime.session.input.user_turn import UserTurn
from realtime.session.items import ItemHandler
from realtime.session.log import SessionLogger
from realtime.session.outbox import Outbox
from realtime.session.output.prompt_builder import PromptBuilder
from realtime.session.output.response import Reply, ReplyPorts
from realtime.session.output.responses import Replies, ReplyEvents, ResponseRequest
from realtime.session.output.speculation import Speculator
from realtime.session.playout import PlayoutLedger
from realtime.session.quota import Quota
from realtime.session.services import Services
from realtime.session.sideband import SharedChannel, Sideband
from realtime.session.tools.session_tools import SessionTools
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
    PauseContinued,
    PauseStarted,
    PlaybackEnded,
    ResponseCancel,
    ResponseCreate,
    ResponseDone,
    ShortSilenceStarted,
    SpeechEvent,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TimerFired,
    TranscriptRequested,
)
from realtime.turns.floor import OVERLAPPING, Floor, TurnState
from realtime.turns.turn_taking import step

MIN_COMMIT_MS = 100
"""The least audio that can be committed by hand (the API's limit)."""

_LONG_RECORDING_BYTES = 480_000
"""10 s at 24 kHz: 6 ms to read."""

logger = logging.getLogger(__name__)


class Session:
    """One caller. `run` it to its end; `end` makes that come."""

    def __init__(
        self,
        channel: Channel,
        services: Services,
        config: SessionConfig,
        settings: WireSession | TranscriptionSession,
        ids: Ids,
        clock: Callable[[], float] = time.monotonic,
        quota: Quota | None = None,
    ) -> None:
        """``settings``: the session object to begin with; its id is the session's name everywhere. ``quota``: what the
        caller may use; None: as much as it likes."""
        self.id = settings.id
        self._channel = SharedChannel(channel)
        self._quota = quota or Quota()
        self._services = services
        self._config = config
        self._settings = settings
        self._ids = ids
        self._clock = clock
        self._log = SessionLogger(logger, settings.id)
        self._history: History = Conversation(ids.conversation())
        self._outbox = Outbox(self._channel, config.limits, clock)
        self._playout = PlayoutLedger()
        self._audio_ids = count(1)
        self._decoded: dict[int, Samples] = {}
        self._items = ItemHandler(
            self._history, self._outbox, self._playout, ids, self._decode_audio, self._next_audio_id, self._is_promised
        )
        self._conversation = EngineConversation(services.engine, self.id)
        self._transcriber = Transcriber(
            self.id, self._conversation, self._outbox, self._history, config, self._log, self._nobody_waits
        )
        echo_reference = EchoReference(self._playout, clock)
        ports = ReplyPorts(
            self._conversation,
            services.vocoder,
            self._outbox,
            self._playout,
            ids,
            config.limits,
            self._log,
            clock,
            on_first_audio=self._transcriber.wake,
            on_speech=echo_reference.add,
        )
        self._audio_input = AudioInput(
            services.vad.open(),
            audio_format(settings.audio.input.format),
            keep_s=config.limits.turn_s,
            echo_reference=echo_reference.during,
        )
        self._audio_input.detect(endpointing(settings.turn_detection))
        self._audio_input.gate_echo(gates_echo(settings.turn_detection, config))
        self._audio_input.reduce_noise(noise_reduction_db(settings.audio.input.noise_reduction))
        self._end_of_turn = EndOfTurn(services.end_of_turn, self._audio_input, self._log)
        self._backchannels = BackchannelClassifier(self.id, self._conversation, self._audio_input, config, self._log)
        self._turns = TurnState(turn_config(self._settings, self._config))
        self._alarm: int | None = None
        self._speech_end: tuple[float, float] | None = None
        self._tools = SessionTools(
            services.tools,
            services.tool_servers,
            services.schema_check,
            self._history,
            self._outbox,
            ids,
            self._log,
            self._start_task,
        )
        self._prompts = PromptBuilder(self._history, config, services.token_counter, self._tools, self._log)
        self._speculator = Speculator(self._conversation, services.vocoder, clock, self._log, services.on_speculation)
        self._turn = UserTurn(
            self.id, self._audio_input, ids, self._history, self._prompts, self._conversation, self._speculator
        )
        self._replies = Replies(
            self.id,
            ports,
            self._prompts,
            self._tools,
            self._history,
            self._speculator,
            config,
            self._quota,
            services.on_reply,
            self._start_task,
            ReplyEvents(self._reply_done, self._answer_results, self._transcriber.wake, self._spend_audio),
        )
        self._playback: asyncio.Task[None] | None = None
        self._overlap: asyncio.Task[None] | None = None
        self._ending: asyncio.Future[SessionEnd] = asyncio.get_running_loop().create_future()
        self._group = asyncio.TaskGroup()
        self._handlers: dict[type, Callable[[Any], None]] = {
            wire.SessionUpdate: self._update,
            wire.InputAudioBufferCommit: self._commit,
            wire.InputAudioBufferClear: self._clear,
            wire.OutputAudioBufferClear: self._clear_output,
            wire.ConversationItemCreate: self._create_item,
            wire.ConversationItemRetrieve: lambda event: self._items.retrieve(event, self._audio_input.format),
            wire.ConversationItemDelete: self._items.delete,
            wire.ConversationItemTruncate: self._truncate,
            wire.ResponseCreate: self._create_response,
            wire.ResponseCancel: self._cancel_response,
        }

    @property
    def settings(self) -> WireSession | TranscriptionSession:
        """The session object in force."""
        return self._settings

    @property
    def microphone(self) -> AudioInput:
        """What was heard of the caller."""
        return self._audio_input

    @property
    def outbox(self) -> Outbox:
        """What waits for the caller."""
        return self._outbox

    @property
    def floor(self) -> Floor:
        """Who has the floor now."""
        return self._turns.floor

    def end(self, reason: SessionEnd) -> None:
        """Let the session end soon, told to the peer."""
        if not self._ending.done():
            self._ending.set_result(reason)

    async def attach(self, channel: Channel, *, audio: bool = False) -> None:
        """Serve a second connection to this session to its end; ``audio``: the replies' speech goes there, too.

        Raises `CapacityError` when it has enough of them.
        """
        sideband = Sideband(channel, self._config.limits, self._handle_other, audio=audio)
        sideband.tell(wire.SessionCreated(session=self._settings))
        self._log.info("a side connection was attached")
        await self._channel.attach(sideband)

    async def run(self) -> None:
        """From `session.created` until the channel closes. Leaves no task, no engine slot and no stream behind."""
        began = self._clock()
        self._log.info("opened")
        self._outbox.put(wire.SessionCreated(session=self._settings))
        ending: SessionEnd = ChannelClosed("the session was cancelled")
        try:
            async with self._group as group:
                group.create_task(self._outbox.run(), name=f"{self.id} sender")
                group.create_task(self._transcriber.run(), name=f"{self.id} transcriber")
                group.create_task(self._watch_end(), name=f"{self.id} watch")
                group.create_task(self._receive(), name=f"{self.id} receiver")
                if isinstance(self._settings, WireSession):
                    self._tools.configure(self._settings)
        except* SessionEnd as ends:
            ending = next(_leaves(ends))
        except* Exception as faults:  # the session's border: others must not suffer from what fails here
            self._log.error("failed", exc_info=faults)
            ending = SessionFault("The server failed. Connect again.")
        finally:
            self._speculator.drop()
            self._replies.stop()
            self._conversation.close()
            await self._say_farewell(ending)
            self._log.info("closed after %.1f s: %s", self._clock() - began, ending)

    # Tasks

    async def _receive(self) -> None:
        while True:
            try:
                event = await self._channel.receive()
            except ProtocolError as error:
                self._outbox.put(error_event(error))
                continue
            if isinstance(event, AudioPlayed):
                self._playout.played(event.item_id, event.samples)
            else:
                await self._handle(event)

    async def _watch_end(self) -> None:
        limit = self._config.limits.session_s
        try:
            async with asyncio.timeout(limit):
                reason = await self._ending
        except TimeoutError:
            raise SessionExpired(f"The session has lasted {limit:g} s, the longest allowed. Open another.") from None
        raise reason

    async def _await_playback(self) -> None:
        await self._outbox.audio_taken()
        while (remaining := self._playout.remaining(self._clock())) > 0:  # noqa: ASYNC110 — the clock is the event
            await asyncio.sleep(remaining)
        self._playback = None
        self._step(PlaybackEnded(self._audio_input.received))

    async def _await_overlap_verdict(self) -> None:
        """A caller whose microphone falls silent in mid-word must not leave the reply hanging."""
        await asyncio.sleep(self._config.limits.overlap_s)
        self._overlap = None
        for event in self._audio_input.decide():
            self._heard(event)

    async def _say_farewell(self, ending: SessionEnd) -> None:
        try:
            async with asyncio.timeout(self._config.limits.farewell_s):
                if not ending.silent:
                    details = wire.ErrorDetails(type=ending.type, code=ending.code, message=str(ending))
                    await self._channel.send(wire.Error(error=details))
        except (TimeoutError, ChannelClosed):
            self._log.debug("the peer did not take the last event")
        await self._channel.close(ending.close_code, ending.code)

    # What the client says

    async def _handle_other(self, event: wire.ClientEvent, errors: Outbox) -> None:
        """What a side connection says: it is told of its errors, everyone of what comes of it."""
        try:
            await self._handle(event, errors)
        except Exception:  # the border of the other connection's task: ours must end the session all the same
            self._log.exception("failed")
            self.end(SessionFault("The server failed. Connect again."))

    async def _handle(self, event: wire.ClientEvent, errors: Outbox | None = None) -> None:
        try:
            if isinstance(event, wire.InputAudioBufferAppend):
                await self._hear(event.audio)
            else:
                await self._decode_long(event)
                self._handlers[type(event)](event)
        except ProtocolError as error:
            (errors or self._outbox).put(error_event(error, event.event_id))

    def _update(self, event: wire.SessionUpdate) -> None:
        before = self._settings
        merged = self._merged(event)
        if isinstance(merged, WireSession):
            self._tools.check(merged)
        self._settings = merged
        self._audio_input.format = audio_format(self._settings.audio.input.format)
        if self._settings.audio.input.noise_reduction != before.audio.input.noise_reduction:
            self._audio_input.reduce_noise(noise_reduction_db(self._settings.audio.input.noise_reduction))
        if self._settings.turn_detection != before.turn_detection:
            self._audio_input.detect(endpointing(self._settings.turn_detection))
            self._audio_input.gate_echo(gates_echo(self._settings.turn_detection, self._config))
            detecting = self._settings.turn_detection is not None
            self._step(Configured(self._audio_input.received, turn_config(self._settings, self._config), detecting))
        self._outbox.put(wire.SessionUpdated(session=self._settings))
        if isinstance(merged, WireSession):
            self._tools.configure(merged)

    def _merged(self, event: wire.SessionUpdate) -> WireSession | TranscriptionSession:
        if isinstance(self._settings, TranscriptionSession):
            return merge_transcription(self._settings, event.session, event_id=event.event_id)
        return merge(
            self._settings,
            event.session,
            audio_produced=any(entry.audio_ms for entry in self._history),
            response_active=self._replies.active is not None,
            event_id=event.event_id,
        )

    def _answering(self) -> WireSession:
        """The settings of a session that answers. Raises `ProtocolError` where this one only transcribes."""
        if isinstance(self._settings, TranscriptionSession):
            raise ProtocolError(
                "invalid_value",
                "A transcription session makes no responses. Open a session of type 'realtime' for that.",
                param="type",
            )
        return self._settings

    def _commit(self, event: wire.InputAudioBufferCommit) -> None:
        self._audio_input.settle()
        length = self._audio_input.uncommitted_ms
        if length < MIN_COMMIT_MS:
            raise ProtocolError(
                "input_audio_buffer_commit_empty",
                f"Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS}ms of "
                f"audio, but buffer only has {length}ms of audio.",
            )
        self._step(ManualCommit(self._audio_input.received))

    def _clear(self, event: wire.InputAudioBufferClear) -> None:
        self._step(ManualClear(self._audio_input.received))
        self._outbox.put(wire.InputAudioBufferCleared())

    def _clear_output(self, event: wire.OutputAudioBufferClear) -> None:
        raise ProtocolError(
            "invalid_value",
            "output_audio_buffer.clear is for WebRTC and SIP: over a WebSocket the client owns the playback. "
            "Send response.cancel and conversation.item.truncate instead.",
            param="type",
        )

    def _create_item(self, event: wire.ConversationItemCreate) -> None:
        if not isinstance(event.item, McpApprovalResponse):
            self._items.create(event)
            return
        request_id = event.item.approval_request_id
        self._tools.check_question(request_id)
        self._items.create(event)
        self._tools.decide(request_id, event.item.approve)
        self._replies.answer_later(ResponseRequest(configure_response(self._answering())))

    def _truncate(self, event: wire.ConversationItemTruncate) -> None:
        self._items.truncate(event)
        if self._playback is not None:  # the client plays less than was sent: wait anew
            self._stop_awaiting_playback()
            self._start_awaiting_playback()

    def _create_response(self, event: wire.ResponseCreate) -> None:
        config = configure_response(
            self._answering(),
            event.response,
            audio_produced=any(entry.audio_ms for entry in self._history),
            conversation_id=self._history.id,
            event_id=event.event_id,
        )
        self._tools.check_response(config)
        context = None
        if config.input is not None:
            context = input_messages(config.input, self._history, self._decode_audio, self._next_audio_id)
        asked = ResponseRequest(config, context)
        self._prompts.begin_turn()
        if config.out_of_band:
            self._replies.check_room_beside()
            self._start_reply(asked)
        else:
            self._step(ResponseCreate(self._audio_input.received), asked)

    def _cancel_response(self, event: wire.ResponseCancel) -> None:
        active = self._replies.active
        if event.response_id is None or (active is not None and event.response_id == active.id):
            self._replies.forget_results()
            self._step(ResponseCancel(self._audio_input.received))
        elif not self._replies.cancel_beside(event.response_id):
            raise _nothing_to_cancel()

    # What the microphone says

    async def _hear(self, data: bytes) -> None:
        self._spend_audio(self._audio_input.format.duration_ms(len(data)) / 1000)
        for piece in self._audio_input.slices(data):
            for event in self._audio_input.push(piece):
                self._heard(event)
            if self._alarm is not None and self._audio_input.received >= self._alarm:
                self._alarm = None
                self._step(TimerFired(self._audio_input.received))
            if self._answers_turn:
                self._turn.prepare_segments(self._answering(), self._turns.turn_start)
            await asyncio.sleep(0)  # other callers' audio waits as well

    def _spend_audio(self, seconds: float) -> None:
        self._quota.spend_audio(seconds)
        if wait := self._quota.audio_wait:
            self.end(QuotaSpent(f"This key has used all its audio of this hour. Some is free again in {wait:.0f} s."))

    def _heard(self, event: SpeechEvent) -> None:
        match event:
            case SpeechStarted():
                start = self._audio_input.begin_turn(event.start)
                self._prompts.begin_turn()
                self._step(SpeechStarted(event.at, start))
                self._turn.begin()
                self._prepare_turn()
            case ShortSilenceStarted():
                self._turn.silence_started(event.at)
                if self._config.speculate and self._answers_turn:
                    self._turn.prepare_at_silence(self._answering())
            case PauseStarted():
                self._end_of_turn.ask(event, self._group)
                self._speculate()
            case PauseContinued():
                self._end_of_turn.ask(event, self._group)
            case SpeechResumed():
                self._speculator.drop()
            case SpeechStopped():
                now = self._clock()
                late = (self._audio_input.received - event.voiced_until) / MODEL_SAMPLE_RATE
                self._speech_end = (now - late, now)
                self._step(event)
            case TranscriptRequested():
                self._backchannels.ask(event, self._group, self._apply_word_verdict)
            case BargeInConfirmed():
                self._step(event)
                self._prepare_turn()
            case FalseInterruption():
                self._step(event)

    def _apply_word_verdict(self, voiced_until: int, wants_floor: bool) -> None:
        for event in self._audio_input.apply_word_verdict(voiced_until, wants_floor=wants_floor):
            self._heard(event)

    @property
    def _words_count(self) -> bool:
        """Whether what a voice over the reply says is found out: while that is paused, and not near its end."""
        ending = self._turns.floor is Floor.OVERLAP_AUDIBLE
        near = ending and self._playout.remaining(self._clock()) < ANSWER_S
        return self._turns.paused and bool(self._backchannels) and not near

    @property
    def _answers_turn(self) -> bool:
        """Whether the user has the floor, and an answer will follow."""
        return self._turns.floor is Floor.USER and self._turns.config.create_response

    def _prepare_turn(self) -> None:
        if self._answers_turn:
            self._turn.prepare(self._answering())

    def _speculate(self) -> None:
        free = self._turns.floor in (Floor.USER, Floor.SHARED_AUDIBLE) and self._quota.response_is_free
        if free and self._config.speculate and self._turns.config.create_response:
            self._turn.speculate(self._answering(), self._group)

    # Turn-taking

    def _step(self, event: Event, asked: ResponseRequest | None = None) -> None:
        """One event through the table. ``asked``: the response that the client asks for with it."""
        before = self._turns.floor
        self._turns, effects = step(self._turns, event)
        self._log.debug("%s: floor %s -> %s", type(event).__name__, before.value, self._turns.floor.value)
        if self._turns.floor not in OVERLAPPING:
            self._stop_classifying()
        for effect in effects:
            self._carry_out(effect, asked)
        self._answer_results()

    def _stop_classifying(self) -> None:
        self._backchannels.drop()
        if self._overlap is not None:
            self._overlap.cancel()
            self._overlap = None

    def _carry_out(self, effect: Effect, asked: ResponseRequest | None) -> None:
        match effect:
            case AnnounceSpeechStarted(start):
                item_id = self._turn.announce()
                self._outbox.put(wire.InputAudioBufferSpeechStarted(audio_start_ms=_ms(start), item_id=item_id))
            case AnnounceSpeechStopped(end):
                assert self._turn.item_id is not None
                self._outbox.put(wire.InputAudioBufferSpeechStopped(audio_end_ms=_ms(end), item_id=self._turn.item_id))
            case AnnounceTimeout(start, end):
                self._prompts.begin_turn()
                self._outbox.put(
                    wire.InputAudioBufferTimeoutTriggered(
                        audio_start_ms=_ms(start), audio_end_ms=_ms(end), item_id=self._turn.announce()
                    )
                )
            case CommitTurn(end):
                self._commit_turn(end)
            case DropTurn():
                self._turn.drop()
            case ForgetSpeech():
                self._audio_input.forget_speech()
                self._speculator.drop()
            case StartResponse():
                self._start_reply(asked or ResponseRequest(configure_response(self._answering())))
            case CancelResponse(reason):
                self._replies.cancel_active(reason)
            case CutPlayback():
                self._cut_playback()
            case PausePlayback():
                self._playout.pause(self._clock())
                self._outbox.put_before_audio(wire.OutputAudioBufferPaused(response_id=self._replies.spoken_id))
            case ResumePlayback():
                self._playout.resume(self._clock())
                self._outbox.put_before_audio(wire.OutputAudioBufferResumed(response_id=self._replies.spoken_id))
            case ClassifyOverlap():
                self._audio_input.begin_overlap(words=self._words_count)
                self._overlap = self._group.create_task(self._await_overlap_verdict(), name=f"{self.id} voice")
            case StopClassifying():
                self._audio_input.end_overlap()
            case AwaitPlayback():
                self._start_awaiting_playback()
            case Refuse(code):
                raise self._refusal(code)
            case SetTimer(sample):
                self._alarm = sample

    def _commit_turn(self, end: int) -> None:
        item_id, audio = self._turn.take(end)
        previous = self._history.last_item_id
        item = UserMessage(id=item_id, content=(InputAudio(),))
        self._history.make_room()
        self._history.add(item, Message("human", (audio,)))
        self._outbox.put(wire.InputAudioBufferCommitted(previous_item_id=previous, item_id=item_id))
        self._items.announce(item_id)
        if (transcription := self._settings.audio.input.transcription) is not None:
            logprobs = LOGPROBS in (self._settings.include or ())
            self._transcriber.add(item_id, audio, transcription, logprobs=logprobs)
        bound_audio(self._history, self._config.limits.history_audio_s)

    def _nobody_waits(self) -> bool:
        return self._replies.silent

    def _cut_playback(self) -> None:
        self._stop_awaiting_playback()
        self._outbox.retract_audio()
        for item_id, heard in self._playout.cut(self._clock()).items():
            entry = self._history.get(item_id)
            if entry is not None and not entry.truncated:
                set_heard(entry, heard)

    def _start_awaiting_playback(self) -> None:
        self._playback = self._group.create_task(self._await_playback(), name=f"{self.id} playback")

    def _stop_awaiting_playback(self) -> None:
        if self._playback is not None:
            self._playback.cancel()
            self._playback = None

    def _refusal(self, code: str) -> ProtocolError:
        if code == "response_cancel_not_active":
            return _nothing_to_cancel()
        active = self._replies.active.id if self._replies.active is not None else "unknown"
        return ProtocolError(
            code,
            f"Conversation already has an active response in progress: {active}. Wait until the response is "
            "finished before creating a new one.",
        )

    # Replies

    def _start_reply(self, asked: ResponseRequest) -> None:
        """The turn that is answered is the one whose end was just decided, if there is one."""
        speech_end, self._speech_end = self._speech_end, None
        if not asked.config.out_of_band:
            self._stop_awaiting_playback()
        self._replies.start(asked, self._answering().truncation, speech_end)

    def _reply_done(self, reply: Reply) -> None:
        self._step(ResponseDone(self._audio_input.received))
        if not self._replies.any:
            self._turn.make_room(self._answering())

    def _answer_results(self) -> None:
        """Tell the results of tools, as soon as nobody speaks."""
        free = self._turns.floor in (Floor.NOBODY, Floor.AUDIBLE)
        if free and self._replies.active is None and (asked := self._replies.take_unanswered()) is not None:
            self._step(ResponseCreate(self._audio_input.received), asked)

    # Small parts

    async def _decode_long(self, event: wire.ClientEvent) -> None:
        """The recordings that come with an event, piece by piece: minutes of them cost others their time."""
        self._decoded.clear()
        for data in recordings(event):
            if len(data) > _LONG_RECORDING_BYTES:
                self._decoded[id(data)] = await self._decode_slowly(data)

    async def _decode_slowly(self, data: bytes) -> Samples:
        reader = AudioReader(self._audio_input.format, MODEL_SAMPLE_RATE)
        pieces = []
        for piece in self._audio_input.slices(data):
            pieces.append(reader.push(piece))
            await asyncio.sleep(0)
        return np.concatenate((*pieces, reader.flush()))

    def _decode_audio(self, data: bytes) -> Samples:
        if (decoded := self._decoded.pop(id(data), None)) is not None:
            return decoded
        reader = AudioReader(self._audio_input.format, MODEL_SAMPLE_RATE)
        return np.concatenate((reader.push(data), reader.flush()))

    def _is_promised(self, item_id: str) -> bool:
        """Whether a turn or a reply is to become the item of this id."""
        return item_id == self._turn.item_id or self._replies.promises(item_id)

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._group.create_task(work, name=f"{self.id} {name}")

    def _next_audio_id(self) -> str:
        """Never the same twice, also when a client deletes an item and uses its id again."""
        return f"{self.id}/audio{next(self._audio_ids)}"


def _nothing_to_cancel() -> ProtocolError:
    return ProtocolError("response_cancel_not_active", "Cancellation failed: no active response found.")


def _ms(samples: int) -> int:
    return ms_of_samples(samples, MODEL_SAMPLE_RATE)


def _leaves(group: BaseExceptionGroup[SessionEnd]) -> Iterator[SessionEnd]:
    for exception in group.exceptions:
        if isinstance(exception, BaseExceptionGroup):
            yield from _leaves(exception)
        else:
            yield exception
