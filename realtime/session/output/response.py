"""One reply: what the model generates -> transcript deltas and speech -> the wire, until it ends or is cancelled.

Two loops run beside each other. One reads the generation: text goes out as it comes, speech tokens go to the
vocoder. The other reads the vocoder: speech goes out in pieces of at most 200 ms, no faster than the peer
reads and not more than the allowed lead ahead of the caller's ear. Tool calls come behind the speech, with
`response.done` in one go: clients answer a call as soon as they see it.

`cancel` is immediate: it stops the generation and closes the vocoder stream, takes back the audio that waits,
sends the closing events, and from then on nothing of this reply is sent, whatever still arrives.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from realtime.audio.streams import AudioWriter, Samples
from realtime.audio.time_scale import TimeScaler
from realtime.errors import EngineError
from realtime.metrics import ReplyTrace
from realtime.ports.engine import Generation, GenerationDone, TokenDelta, TokenUsage
from realtime.ports.tool_calls import parse_tool_calls
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE, Vocoder, VocoderStream
from realtime.protocol.events import ServerEvent
from realtime.protocol.ids import Ids
from realtime.protocol.response_stream import (
    MAX_AUDIO_DELTA_MS,
    ResponseStream,
    State,
    opening_message,
)
from realtime.protocol.responses import (
    FinalStatus,
    Response,
    ResponseConfig,
    ResponseError,
    StatusReason,
    Usage,
)
from realtime.session.config import SessionLimits
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from realtime.session.context.history import History, reply_message, set_heard
from realtime.session.formats import audio_format
from realtime.session.log import SessionLogger
from realtime.session.outbox import Outbox
from realtime.session.output.speculation import SpeculativeReply
from realtime.session.playout import PlayoutLedger
from realtime.session.tools.offer import Offer
from realtime.session.tools.reply_calls import ReplyToolCalls
from realtime.session.tools.session_tools import ServerCall

CancelReason = Literal["turn_detected", "client_cancelled"]

_PIECE_SAMPLES = OUTPUT_SAMPLE_RATE * MAX_AUDIO_DELTA_MS // 1000


@dataclass(frozen=True, slots=True)
class ReplyPorts:
    """What a reply works with; the session's own."""

    conversation: EngineConversation
    vocoder: Vocoder
    outbox: Outbox
    playout: PlayoutLedger
    ids: Ids
    limits: SessionLimits
    log: SessionLogger
    clock: Callable[[], float] = time.monotonic
    on_first_audio: Callable[[], None] = lambda: None
    """Called when the first audio of a reply in the conversation was sent."""
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


@dataclass(slots=True)
class _Progress:
    """What the model has said so far."""

    ids: list[int] = field(default_factory=list)
    audio_tokens: int = 0
    sent_samples: int = 0
    has_message: bool = False
    call_ids: int = 0
    """How many of the last ``ids`` are the calls'."""
    usage: TokenUsage | None = None


class Reply:
    """One response from `response.created` to `response.done`. `run` it once in a task; `cancel` at any time."""

    def __init__(self, plan: ReplyPlan, ports: ReplyPorts) -> None:
        self._plan = plan
        self._ports = ports
        predecessor = plan.history.predecessor if plan.history is not None else None
        self._stream = ResponseStream(plan.response, predecessor)
        self._speculative = plan.speculative
        self._generation: Generation | SpeculativeReply | None = self._speculative
        self._voice: VocoderStream | None = None if self._speculative is None else self._speculative.voice
        self._progress = _Progress()
        self._calling = ReplyToolCalls(plan.offer, self._stream, ports.ids, plan.history, self._send)
        self._held_samples = 0  # made, but still inside the resampler

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

    def announce(self) -> None:
        """Send `response.created`; before `run`, so that nothing can come in between."""
        self._send(self._stream.create())

    async def run(self) -> None:
        """Generate and speak to the end. A fault of the model side becomes a failed response, not an exception."""
        if self._plan.refused is not None:
            self.stop_work()
            self._finish("failed", error=self._plan.refused)
            return
        try:
            await self._calling.run_approved(self._plan.approved)
            await self._conclude(await self._speak())
        except* Exception as faults:  # the reply's border: the caller is told and the session lives on
            self._ports.log.error("response %s failed", self.id, exc_info=faults)
            self._fail("internal_error", "The server failed to make this response. Ask again.")
        finally:
            self.stop_work()

    def cancel(self, reason: CancelReason) -> None:
        """End now. Returns when the closing events are queued; does nothing after the end."""
        if not self.ended:
            self.stop_work()
            if not self.out_of_band:
                self._ports.outbox.retract_audio()
                self._ports.playout.retracted(self._plan.item_id)
            self._finish("cancelled", reason=reason)

    # Generation

    async def _speak(self) -> GenerationDone:
        if not self._plan.config.speech:
            return await self._generate(None)
        voice = self._voice = self._voice or self._ports.vocoder.open(self._plan.config.voice)
        async with asyncio.TaskGroup() as group:
            generating = group.create_task(self._generate(voice), name=f"{self.id} generation")
            group.create_task(self._play(voice), name=f"{self.id} speech")
        return generating.result()

    async def _generate(self, voice: VocoderStream | None) -> GenerationDone:
        while True:
            done = await self._generate_once(voice)
            if done.reason != "context_full" or not self._plan.forget():
                break
        if voice is not None:
            voice.finish()
        return done

    async def _generate_once(self, voice: VocoderStream | None) -> GenerationDone:
        speculative, self._speculative = self._speculative, None
        self._generation = speculative or self._plan.conversation.generate(self._plan.request())
        async for event in self._generation:
            if isinstance(event, GenerationDone):
                return event
            self._take(event, voice if speculative is None else None)  # else the vocoder has its tokens already
        raise EngineError("a generation ended without its GenerationDone")

    def _take(self, delta: TokenDelta, voice: VocoderStream | None) -> None:
        if self.ended:
            return
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
            if voice is not None:
                voice.push(delta.audio_tokens)

    # Speech

    async def _play(self, voice: VocoderStream) -> None:
        """From here on all samples count as the caller hears them: at the speed of the response."""
        writer = AudioWriter(audio_format(self._plan.config.output_format), OUTPUT_SAMPLE_RATE)
        scaler = TimeScaler(self._plan.config.speed, OUTPUT_SAMPLE_RATE)
        async for chunk in voice:
            self.trace.chunk_made(chunk.compute_seconds, len(chunk.samples) / OUTPUT_SAMPLE_RATE, chunk.faults)
            for start in range(0, len(chunk.samples), _PIECE_SAMPLES):  # scaling takes time, and others wait
                await self._play_samples(scaler.push(chunk.samples[start : start + _PIECE_SAMPLES]), writer)
                await asyncio.sleep(0)
        await self._play_samples(scaler.flush(), writer)
        self._send_audio(writer.flush(), 0)

    async def _play_samples(self, samples: Samples, writer: AudioWriter) -> None:
        for start in range(0, len(samples), _PIECE_SAMPLES):
            piece = samples[start : start + _PIECE_SAMPLES]
            await self._wait_for_room()
            if not self.out_of_band:
                self._ports.on_speech(self._plan.item_id, piece)
            self._send_audio(writer.push(piece), len(piece))

    async def _wait_for_room(self) -> None:
        """Until the peer has read enough and the caller has heard enough of what went before."""
        await self._ports.outbox.room()
        if (excess := self._excess_lead()) > 0:
            await asyncio.sleep(excess)

    def _excess_lead(self) -> float:
        """Seconds of speech with the peer beyond what may be ahead of playback."""
        if self.out_of_band:
            return 0.0
        return self._ports.playout.remaining(self._ports.clock()) - self._ports.limits.lead_s

    def _send_audio(self, data: bytes, samples: int) -> None:
        """``data`` is what the format makes of ``samples`` at 24 kHz, give or take what resampling holds back."""
        if self.ended:
            return
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
            sent=lambda now: self._audio_sent(samples, now),
        )

    def _audio_sent(self, samples: int, now: float) -> None:
        """The transport took ``samples`` over. May come after the end: the last audio waits in the outbox."""
        first = not self.audible
        self._progress.sent_samples += samples
        self.trace.chunk_sent(now, samples / OUTPUT_SAMPLE_RATE)
        if self._plan.history is None:
            return
        if first and self.audible:
            self._ports.on_first_audio()
        self._ports.playout.sent(self._plan.item_id, samples, now)
        entry = self._plan.history.get(self._plan.item_id)
        if entry is not None and not entry.truncated:
            entry.audio_ms = self._progress.sent_samples * 1000 // OUTPUT_SAMPLE_RATE

    # The end

    async def _conclude(self, done: GenerationDone) -> None:
        if self.ended:
            return
        self._progress.usage = done.usage
        timings = done.timings
        self.trace.engine_report(timings.queued, timings.encoded, timings.first_token, timings.decode_seconds)
        if done.reason in ("looped", "silent"):
            self._ports.log.warning("response %s said nothing new any more (%s) and was ended", self.id, done.reason)
            del self._progress.ids[len(self._progress.ids) - done.surplus :]
        match done.reason:
            case "stop" | "silent":
                await self._call_functions(done)
                self._finish("completed")
            case "length" | "looped":
                await self._call_functions(done)
                self._finish("incomplete", reason="max_output_tokens")
            case "context_full":
                self._fail("context_full", "The conversation does not fit the model's context. Delete items of it.")
            case _:
                self._ports.log.error("response %s: the engine ended it (%s): %s", self.id, done.reason, done.error)
                self._fail("engine_error", "The model failed to make this response. Ask again.")

    async def _call_functions(self, done: GenerationDone) -> None:
        """Make the calls that stand behind the reply's words."""
        reply = parse_tool_calls(done.rest, {callee.name for callee in self._plan.offer.callees})
        if not reply.calls:
            if done.rest.strip():
                self._ports.log.warning("response %s holds no valid call: %r", self.id, done.rest[:200])
            return
        if reply.content.strip() and not self._plan.config.speech:
            self._open_message()
            self._send(self._stream.text(reply.content))
        self._progress.call_ids = done.rest_count
        await self._calling.make(reply.calls)

    def _fail(self, code: str, message: str) -> None:
        if not self.ended:
            self._finish("failed", error=ResponseError(code=code, message=message))

    def _finish(
        self, status: FinalStatus, reason: StatusReason | None = None, error: ResponseError | None = None
    ) -> None:
        events = self._stream.finish(status, reason=reason, error=error, usage=self._usage())
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

    def _usage(self) -> Usage:
        """The engine's count, or what was seen of it when the reply was cut off."""
        progress = self._progress
        usage = progress.usage or TokenUsage(
            output_text=len(progress.ids) - progress.audio_tokens, output_audio=progress.audio_tokens
        )
        return Usage.count(
            input_text=usage.input_text,
            input_audio=usage.input_audio,
            cached_text=usage.cached_text,
            cached_audio=usage.cached_audio,
            output_text=usage.output_text,
            output_audio=usage.output_audio,
        )

    def stop_work(self) -> None:
        """Stop what generates and vocodes for this reply. May be called at any time, more than once."""
        if self._generation is not None:
            self._generation.cancel()
        if self._voice is not None:
            self._voice.close()

    def _open_message(self) -> None:
        if self._stream.item_id is None:
            if self._plan.history is not None:
                self._plan.history.make_room()
                self._plan.history.add(opening_message(self._plan.item_id), None)
            self._progress.has_message = True
            self._send(self._stream.start_message(self._plan.item_id))

    def _send(self, events: Iterable[ServerEvent]) -> None:
        for event in events:
            self._ports.outbox.put(event)
