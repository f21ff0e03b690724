"""Thoughts are sent only to clients that ask for them, and are not part of the conversation."""

from __future__ import annotations

import json

from realtime.ports.engine import TokenDelta
from realtime.protocol import events as wire
from realtime.protocol.beta import Beta, StepFun
from realtime.protocol.dialect import GA, Connection, Dialect
from realtime.protocol.ids import Ids
from realtime.protocol.items import AssistantMessage, OutputAudio
from realtime.protocol.session_config import Session
from realtime.session.config import SessionConfig
from tests.fakes import Gate, call, delta, done

THINKS = SessionConfig(thinking_tokens=2048)


def thought(text: str) -> TokenDelta:
    return TokenDelta("", (), (), thought=text)


async def test_thoughts_come_before_words_and_outside_items() -> None:
    async with call([thought("Hm, "), thought("noon."), delta("It is noon.", 5), done()], config=THINKS) as caller:
        caller.send("response.create")
        response = (await caller.expect(wire.ResponseDone)).response
        (ended,) = caller.of(wire.ResponseThinkingDone)
        assert ended.thinking == "Hm, noon." == "".join(part.delta for part in caller.of(wire.ResponseThinkingDelta))
        order = caller.types()
        first = order.index("response.thinking.delta")
        assert order.index("conversation.item.added") < first < order.index("response.thinking.done")
        assert order.index("response.thinking.done") < order.index("response.output_audio_transcript.delta")
        (item,) = response.output
        assert isinstance(item, AssistantMessage)
        assert item.content == (OutputAudio(transcript="It is noon."),)


async def test_the_next_prompt_has_answers_without_thoughts() -> None:
    async with call([thought("Hm."), delta("Noon.", 5), done()], config=THINKS) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        (said,) = caller.engine.requests[1].messages
        assert isinstance(said.content, tuple)
        assert said.content[0].ids == (1, 2, 2, 2, 2, 2)  # type: ignore[union-attr]


async def test_thoughts_that_are_cut_off_are_ended() -> None:
    gate = Gate()
    async with call([thought("Hm"), gate, done()], config=THINKS) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseThinkingDelta)
        await gate.reached.wait()
        caller.send("response.cancel")
        response = (await caller.expect(wire.ResponseDone)).response
        assert [event.thinking for event in caller.of(wire.ResponseThinkingDone)] == ["Hm"]
        assert response.status == "cancelled"
        gate.open()


async def test_response_effort_takes_precedence_over_session_effort() -> None:
    async with call(config=THINKS) as caller:
        caller.update(reasoning={"effort": "low"})
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        caller.send("response.create", response={"reasoning": {"effort": "none"}})
        await caller.expect(wire.ResponseDone)
        assert [request.thinking for request in caller.engine.requests] == [512, 0]


async def test_models_that_do_not_think_are_never_asked() -> None:
    async with call() as caller:
        caller.send("response.create", response={"reasoning": {"effort": "high"}})
        await caller.expect(wire.ResponseDone)
        assert caller.engine.requests[0].thinking == 0


def told(dialect: Dialect, *, include: tuple[str, ...] | None = None) -> list[str]:
    connection = Connection(Ids("t"), dialect)
    session = Session(id="sess_1", model="m", expires_at=1).model_copy(update={"include": include})
    connection.encode(wire.SessionCreated(session=session))
    ids = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
    events = [wire.ResponseThinkingDelta(**ids, delta="Hm."), wire.ResponseThinkingDone(**ids, thinking="Hm.")]
    return [json.loads(message)["type"] for event in events for message in connection.encode(event)]


def test_only_clients_that_know_thoughts_get_them() -> None:
    both = ["response.thinking.delta", "response.thinking.done"]
    assert told(GA) == told(Beta("conv_1")) == []
    assert told(StepFun("conv_1")) == both
    assert told(GA, include=("response.thinking",)) == both
