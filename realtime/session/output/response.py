"""One reply: what the model generates -> transcript deltas and speech -> the wire, until it ends or is cancelled.

Token deltas arrive as inputs of the session: text goes out as it comes, speech tokens go to the vocoder. Audio chunks
arrive likewise: speech goes out in pieces of at most 200 ms, no faster than the peer reads and not more than the
allowed lead ahead of playout. Tool calls come after the speech, together with `response.done`: clients answer a call as
soon as they see it.

`cancel` is immediate: it stops the generation and closes the vocoder stream, takes back the audio that waits,
sends the closing events, and from then on nothing of this reply is sent, whatever still arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

from realtime.errors import EngineError
from realtime.metrics import ReplyTrace
from realtime.ports.engine import Generation, GenerationDone, TokenDelta
from realtime.ports.tool_calls import parse_tool_calls
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE, AudioChunk, VocoderStream
from realtime.protocol.events import ServerEvent
from realtime.protocol.response_stream import (
    MAX_AUDIO_DELTA_MS,
    ResponseStream,
    State,
    opening_message,
)
from realtime.protocol.responses import (
    FinalStatus,
    Response,
    ResponseError,
    StatusReason,
    rate_limited,
)
from realtime.session.context.history import reply_message, set_heard
from realtime.session.outbox import Outbox
from realtime.session.output.deadline import Deadline
from realtime.session.output.plan import ReplyPlan, ReplyPorts
from realtime.session.output.progress import ReplyProgress
from realtime.session.output.speculation import SpeculativeReply
from realtime.session.output.speech import ReplySpeech
from realtime.session.tools.reply_calls import ReplyToolCalls
from realtime.session.work import Work

CancelReason = Literal["turn_detected", "client_cancelled"]

_PIECE_SAMPLES = OUTPUT_SAMPLE_RATE * MAX_AUDIO_DELTA_MS // 1000


class Reply:
    """One response from `response.created` to `response.done`. `start` it once; `cancel` at any time."""

    def __init__(self, plan: ReplyPlan, ports: ReplyPorts, on_end: Callable[[Reply], None]) -> None:
        """``on_end``: told when it has come to its end, unless it was cancelled."""
        self._plan = plan
        self._ports = ports
        self._on_end = on_end
        history = plan.history
        if history is None:
            self._stream = ResponseStream(plan.response)
        else:
            self._stream = ResponseStream(plan.response, history.predecessor, history.__contains__)
        self._speculative = plan.speculative
        self._generation: Generation | SpeculativeReply | None = self._speculative
        self._voice: VocoderStream | None = None if self._speculative is None else self._speculative.voice
        self._works: list[Work] = []
        self._voice_work: Work | None = None
        self._speech = ReplySpeech(plan.config)
        self._speech_sent = not plan.config.speech
        self._done: GenerationDone | None = None
        self._waits = False  # for room or for playout
        self._stopped = False
        self._progress = ReplyProgress()
        self._calling = ReplyToolCalls(
            plan.offer, self._stream, ports.env.ids, plan.history, partial(_put_all, ports.outbox), ports.env.work
        )
        self._held_samples = 0  # made, but still inside the resampler
        self._given_at: float | None = None  # when the transport got the last audio
        self._deadline = Deadline(ports.env, self._guarded(self._time_out))

    @property
    def response(self) -> Response:
        """As last announced."""
        return self._stream.response

    @property
    def id(self) -> str:
        return self._plan.response.id

    @property
    def item_id(self) -> str:
        """Of its message, which may not be there yet."""
        return self._plan.item_id

    @property
    def trace(self) -> ReplyTrace:
        """Its latencies, as far as they are known."""
        return self._plan.trace

    @property
    def out_of_band(self) -> bool:
        return self._plan.config.out_of_band

    @property
    def audible(self) -> bool:
        """Whether audio of it was sent."""
        return self._progress.sent_samples > 0

    @property
    def error_code(self) -> str | None:
        """Why it failed; None where it did not."""
        details = self.response.status_details
        return None if details is None or details.error is None else details.error.code

    @property
    def plan(self) -> ReplyPlan:
        return self._plan

    @property
    def calling(self) -> ReplyToolCalls:
        """Its calls, as far as they were made."""
        return self._calling

    @property
    def ended(self) -> bool:
        """Whether `response.done` was queued."""
        return self._stream.state is State.DONE

    def start(self) -> None:
        """Send `response.created` and begin. A fault of the model side becomes a failed response, not an exception."""
        self._send(self._stream.create())
        self._ports.env.inputs.defer(self._guarded(self._begin))

    def cancel(self, reason: CancelReason) -> None:
        """End now. Returns when the closing events are queued; does nothing after the end."""
        if not self.ended:
            self.stop_work()
            if not self.out_of_band:
                self._ports.outbox.retract_audio()
                self._ports.playout.retracted(self._plan.item_id)
            self._finish("cancelled", reason=reason)

    def _guarded(self, step: Callable[..., None]) -> Callable[..., None]:
        """The reply's border: what fails in ``step`` fails the response, and the session lives on."""

        def guarded(*arguments: Any) -> None:
            if self._stopped:
                return
            try:
                step(*arguments)
            except Exception:
                self._ports.env.log.exception("response %s failed", self.id)
                self._fail("internal_error", "The server failed to make this response. Ask again.")

        return guarded

    # Generation

    def _begin(self) -> None:
        if self._plan.refused is not None:
            self._end("failed", error=self._plan.refused)
            return
        self._calling.run_approved(self._plan.approved, self._guarded(self._speak))

    def _speak(self) -> None:
        if self._plan.config.speech:
            voice = self._voice = self._voice or self._new_voice()
            self._voice_work = self._ports.env.work.start(
                voice,
                self._guarded(self._take_chunk),
                self._guarded(self._voice_ended),
                f"{self.id} speech",
                paced=True,
            )
            self._works.append(self._voice_work)
        self._generate()

    def _new_voice(self) -> VocoderStream:
        env = self._ports.env
        return env.services.vocoder.open(self._plan.config.voice, aside=self.out_of_band, payer=env.payer)

    def _generate(self) -> None:
        self._deadline.start()
        take = self._guarded(self._take)
        speculative, self._speculative = self._speculative, None
        if speculative is not None:
            speculative.attach(take, self._guarded(partial(self._generation_ended, speculative)))
            return
        generation = self._generation = self._plan.conversation.generate(self._plan.request())
        ended = self._guarded(partial(self._generation_ended, generation))
        self._works.append(self._ports.env.work.start(generation, take, ended, f"{self.id} generation"))

    def _time_out(self) -> None:
        """Engine or vocoder have given nothing for too long."""
        if self._waits:  # for the caller, not for them
            self._deadline.start()
            return
        missing = "model" if self._done is None else "vocoder"
        self._ports.env.log.error("response %s: nothing came of the %s any more", self.id, missing)
        self._plan.conversation.start_anew()
        self._fail("engine_timeout", f"The {missing} made nothing for too long. Ask again.")

    def _take(self, event: TokenDelta | GenerationDone) -> None:
        self._deadline.progress()
        if isinstance(event, TokenDelta):
            self._take_delta(event)
        elif event.reason == "context_full" and self._plan.forget():
            self._generate()
        else:
            self._done = event
            if self._voice is not None:
                self._voice.finish()
            self._conclude_if_complete()

    def _generation_ended(self, generation: Generation | SpeculativeReply, fault: str | None) -> None:
        if generation is self._generation and self._done is None:
            raise EngineError(f"the generation ended without its GenerationDone: {fault}")

    def _take_delta(self, delta: TokenDelta) -> None:
        self._progress.ids += delta.ids
        self._progress.audio_tokens += len(delta.audio_tokens)
        if delta.thought:
            self._open_message()
            self._send(self._stream.think(delta.thought))
        if delta.text:
            self._open_message()
            self._send(self._stream.text(delta.text))
        if delta.audio_tokens:
            self._send(self._stream.end_thought())
            if self._voice is not None and not self._is_speculative:  # else the vocoder has its tokens already
                self._voice.push(delta.audio_tokens)

    @property
    def _is_speculative(self) -> bool:
        return self._generation is self._plan.speculative

    # Speech

    def _take_chunk(self, chunk: AudioChunk) -> None:
        self._deadline.progress()
        self.trace.chunk_made(chunk.compute_seconds, len(chunk.samples) / OUTPUT_SAMPLE_RATE, chunk.faults)
        self._ports.timeline.mark("audio_made", response_id=self.id, made_s=self.trace.audio_s)
        self._speech.add(chunk.samples)
        self._send_speech()

    def _voice_ended(self, fault: str | None) -> None:
        if fault is not None:
            self._ports.env.log.error("response %s: no more speech: %s", self.id, fault)
            self._fail("engine_error", "The vocoder failed to speak this response. Ask again.")
            return
        self._speech.ended = True
        self._send_speech()

    def _send_speech(self) -> None:
        """Send what may go out now; the rest when the peer has read enough and the caller has heard enough."""
        while not self._waits and (piece := self._speech.next()) is not None:
            if not self._ports.outbox.has_room:
                self._ports.outbox.on_room(self._guarded(self._go_on))
            elif (excess := self._excess_lead()) > 0:
                self._ports.env.timers.after(excess, self._guarded(self._go_on))
            else:
                if not self.out_of_band:
                    self._ports.on_speech(self._plan.item_id, piece)
                self._send_audio(self._speech.encode(piece), len(piece))
                continue
            self._waits = True
            self._speech.undo(piece)
        if self._waits or self._speech_sent:
            return
        if self._speech.ended:
            self._speech_sent = True
            self._send_audio(self._speech.rest(), 0)
            self._conclude_if_complete()
        elif self._voice_work is not None:
            self._voice_work.more()

    def _go_on(self) -> None:
        self._waits = False
        self._deadline.progress()
        self._send_speech()

    def _excess_lead(self) -> float:
        """Seconds of speech with the peer beyond what may be ahead of playback."""
        if self.out_of_band:
            return 0.0
        return self._ports.playout.remaining(self._ports.env.inputs.now()) - self._ports.env.config.limits.lead_s

    def _send_audio(self, data: bytes, samples: int) -> None:
        """``data`` is what the format makes of ``samples`` at 24 kHz, give or take what resampling holds back."""
        self._held_samples += samples
        if not data:
            return
        self._open_message()
        events = self._stream.audio(data)
        for event in events[:-1]:
            self._put_audio(event, 0)
        self._put_audio(events[-1], self._held_samples)
        self._held_samples = 0

    def _put_audio(self, event: ServerEvent, samples: int) -> None:
        if not self.out_of_band:
            self._ports.playout.queued(self._plan.item_id, samples)
        self._ports.outbox.put_audio(
            event,
            samples,
            retractable=not self.out_of_band,
            given=self._audio_given,
            sent=lambda: self._audio_sent(samples),
        )

    def _audio_given(self) -> None:
        self._given_at = self._ports.env.inputs.now()

    def _audio_sent(self, samples: int) -> None:
        """The transport took ``samples`` over. May come after the end: the last audio waits in the outbox."""
        now = self._ports.env.inputs.now()
        first = not self.audible
        self._progress.sent_samples += samples
        self.trace.chunk_sent(now, samples / OUTPUT_SAMPLE_RATE)
        if self._plan.history is None:
            return
        if first and self.audible:
            self._ports.on_first_audio()
        self._ports.playout.sent(self._plan.item_id, samples, now, self._given_at)
        entry = self._plan.history.get(self._plan.item_id)
        if entry is not None and not entry.truncated:
            entry.audio_ms = self._progress.sent_samples * 1000 // OUTPUT_SAMPLE_RATE

    # The end

    def _conclude_if_complete(self) -> None:
        if self._done is not None and self._speech_sent:
            self._deadline.stop()  # calls have limits of their own
            self._conclude(self._done)

    def _conclude(self, done: GenerationDone) -> None:
        self._progress.usage = done.usage
        timings = done.timings
        self.trace.engine_report(timings.queued, timings.encoded, timings.first_token, timings.decode_seconds)
        if done.reason in ("looped", "silent"):
            self._ports.env.log.warning(
                "response %s said nothing new any more (%s) and was ended", self.id, done.reason
            )
            del self._progress.ids[len(self._progress.ids) - done.surplus :]
        match done.reason:
            case "stop" | "silent":
                self._call_functions(done, lambda: self._end("completed"))
            case "length" | "looped":
                self._call_functions(done, lambda: self._end("incomplete", reason="max_output_tokens"))
            case "context_full":
                self._fail("context_full", "The conversation does not fit the model's context. Delete items of it.")
            case "over_budget":
                message = f"The prompts of this session or key have cost too much lately. {done.error}"
                self._end("failed", error=rate_limited(message))
            case _:
                self._ports.env.log.error("response %s: the engine ended it (%s)", self.id, done.reason)
                self._fail("engine_error", "The model failed to make this response. Ask again.")

    def _call_functions(self, done: GenerationDone, then: Callable[[], None]) -> None:
        """Make the calls that stand behind the reply's words; ``then`` goes on when their results are there."""
        reply = parse_tool_calls(done.rest, {callee.name for callee in self._plan.offer.callees})
        if not reply.calls:
            self._leave_out_calls(done)
            if (done.rest.strip() or done.malformed) and not self._progress.has_message and not self._plan.approved:
                self._fail("invalid_tool_call", "The model wrote a tool call that cannot be made. Ask again.")
            else:
                then()
            return
        if reply.content.strip() and not self._plan.config.speech:
            self._open_message()
            self._send(self._stream.text(reply.content))
        self._progress.call_ids = done.rest_count
        self._calling.make(reply.calls, self._guarded(then))

    def _leave_out_calls(self, done: GenerationDone) -> None:
        """Calls that cannot be read are not remembered: the model would repeat them."""
        if not done.rest.strip():
            return
        if not parse_tool_calls(done.rest).calls:
            del self._progress.ids[len(self._progress.ids) - done.rest_count :]
        self._ports.env.log.warning("response %s holds no valid call", self.id)

    def _fail(self, code: str, message: str) -> None:
        if not self.ended:
            self._end("failed", error=ResponseError(code=code, message=message))

    def _end(self, status: FinalStatus, reason: StatusReason | None = None, error: ResponseError | None = None) -> None:
        self.stop_work()
        self._finish(status, reason, error)
        self._on_end(self)

    def _finish(
        self, status: FinalStatus, reason: StatusReason | None = None, error: ResponseError | None = None
    ) -> None:
        events = self._stream.finish(status, reason=reason, error=error, usage=self._progress.counted())
        self._keep(whole=status in ("completed", "incomplete"))
        self._send(events)

    def _keep(self, *, whole: bool) -> None:
        """Write the reply into the history. Unless it is ``whole``, the caller heard at most what was sent."""
        kept = self._plan.history
        if kept is None:
            return
        for item in self._stream.finished_items:
            kept.update(item)
        words, calls = self._words_and_calls()
        if self._calling.items and (call := kept.get(self._calling.items[0])) is not None:
            call.payload = reply_message(calls)
        entry = kept.get(self._plan.item_id)
        if entry is None:
            return
        spoken = self._plan.config.speech
        heard = self._progress.sent_samples if spoken and not whole else None
        entry.payload = reply_message(words, heard, closed=not calls, speed=self._plan.config.speed)
        if entry.truncated:
            set_heard(entry, entry.audio_ms * OUTPUT_SAMPLE_RATE // 1000)

    def _words_and_calls(self) -> tuple[list[int], list[int]]:
        """The model's ids as the items hold them. Without a message, the calls hold what opened the reply as well."""
        ids, progress = self._progress.ids, self._progress
        words = len(ids) - progress.call_ids if progress.has_message else 0
        return (ids[:words], ids[words:]) if self._calling.items else (ids, [])

    def stop_work(self) -> None:
        """Stop what generates and vocodes for this reply. May be called at any time, more than once."""
        self._stopped = True
        self._deadline.stop()
        if self._generation is not None:
            self._generation.cancel()
        if self._voice is not None:
            self._voice.close()
        self._calling.stop()
        for work in self._works:
            self._ports.env.work.cancel(work)
        self._works.clear()
        self._voice_work = None
        if self._plan.speculative is not None:
            self._plan.speculative.detach()

    def _open_message(self) -> None:
        if self._stream.item_id is None:
            if self._plan.history is not None:
                self._plan.history.make_room()
                self._plan.history.add(opening_message(self._plan.item_id), None)
            self._progress.has_message = True
            self._send(self._stream.start_message(self._plan.item_id))

    def _send(self, events: Iterable[ServerEvent]) -> None:
        _put_all(self._ports.outbox, events)


def _put_all(outbox: Outbox, events: Iterable[ServerEvent]) -> None:
    for event in events:
        outbox.put(event)
