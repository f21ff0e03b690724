"""The parts of one session, built and joined: input audio, conversation, tools, prompts, replies, output."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.ports.channel import Channel, plays_audio
from realtime.session.context.decoding import AudioDecoder
from realtime.session.context.history import History
from realtime.session.environment import Environment
from realtime.session.input.audio_input import AudioInput
from realtime.session.input.backchannel import BackchannelClassifier
from realtime.session.input.echo_reference import EchoReference
from realtime.session.input.end_of_turn import EndOfTurn
from realtime.session.input.transcriber import Transcriber
from realtime.session.input.user_turn import UserTurn
from realtime.session.items import ItemHandler
from realtime.session.outbox import Outbox
from realtime.session.output.plan import ReplyPorts
from realtime.session.output.prompt_builder import PromptBuilder
from realtime.session.output.responses import Replies
from realtime.session.output.speculation import Speculator
from realtime.session.playout import PlayoutLedger
from realtime.session.settings import AnySession, SessionSettings
from realtime.session.timeline import Timeline
from realtime.session.tools.session_tools import SessionTools


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that one session is made of. The rules of the conversation are in the classes that take it."""

    env: Environment
    settings: SessionSettings
    history: History
    outbox: Outbox
    playout: PlayoutLedger
    echo: EchoReference
    audio_input: AudioInput
    decoder: AudioDecoder
    tools: SessionTools
    prompts: PromptBuilder
    speculator: Speculator
    turn: UserTurn
    transcriber: Transcriber
    end_of_turn: EndOfTurn
    backchannels: BackchannelClassifier
    replies: Replies
    items: ItemHandler
    timeline: Timeline
    plays_audio: bool
    """Whether the transport owns the playback: it is told when to clear it."""


def build_parts(env: Environment, channel: Channel, first: AnySession) -> Parts:
    """The parts of a new session whose session object is ``first``."""
    config, services, log = env.config, env.services, env.log
    history = History(env.ids.conversation())
    settings = SessionSettings(first, config, history)
    outbox = Outbox(channel, config.limits, env.event_sent)
    playout = PlayoutLedger()
    echo = EchoReference(playout, env.inputs.now)
    audio_input = AudioInput(
        services.vad.open(),
        settings.input_format,
        keep_s=config.limits.turn_s,
        echo_reference=echo.during,
    )
    settings.apply(audio_input)
    decoder = AudioDecoder(env.id, audio_input)
    tools = SessionTools(env, history, outbox)
    prompts = PromptBuilder(history, config, services.token_counter, tools, log)
    timeline = Timeline(settings, env.inputs, outbox, lambda: audio_input.received)
    speculator = Speculator(env, timeline)
    turn = UserTurn(env, audio_input, history, prompts, speculator)
    transcriber = Transcriber(env, outbox, history)
    ports = ReplyPorts(env, outbox, playout, timeline, on_first_audio=transcriber.wake, on_speech=echo.add)
    replies = Replies(ports, prompts, tools, history, speculator)
    items = ItemHandler(env.ids, history, outbox, playout, decoder)
    items.promised = lambda item_id: item_id == turn.item_id or replies.promises(item_id)
    return Parts(
        env=env,
        settings=settings,
        history=history,
        outbox=outbox,
        playout=playout,
        echo=echo,
        audio_input=audio_input,
        decoder=decoder,
        tools=tools,
        prompts=prompts,
        speculator=speculator,
        turn=turn,
        transcriber=transcriber,
        end_of_turn=EndOfTurn(services.end_of_turn, audio_input, env.work, log),
        backchannels=BackchannelClassifier(env, audio_input),
        replies=replies,
        items=items,
        timeline=timeline,
        plays_audio=plays_audio(channel),
    )
