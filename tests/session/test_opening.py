"""A conversation that the assistant opens: what the model reads in place of the user's first turn."""

from __future__ import annotations

from realtime.ports.messages import Message, Tokens
from realtime.protocol import events as wire
from realtime.session.config import SessionConfig
from tests.fakes import Caller, call, reply

OPENING = SessionConfig(instructions="Be kind.", opening="hello")
HELLO = Message("human", "hello")


def roles(caller: Caller, request: int = -1) -> list[str]:
    return [message.role for message in caller.engine.requests[request].messages]


async def respond(caller: Caller, **response: object) -> None:
    caller.send("response.create", response=response)
    await caller.expect(wire.ResponseDone)


async def test_a_response_without_a_turn_answers_the_opening() -> None:
    async with call(config=OPENING) as caller:
        await respond(caller)
        await respond(caller, conversation="none", input=[], instructions="Greet the user.")
        assert caller.engine.requests[0].messages == (Message("system", "Be kind."), HELLO)
        assert caller.engine.requests[1].messages == (Message("system", "Greet the user."), HELLO)


async def test_the_opening_stays_where_it_was() -> None:
    async with call(reply("Hi.", tokens=1), config=OPENING) as caller:
        await respond(caller)
        caller.clock.now += 60
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        first, second = (request.messages for request in caller.engine.requests[:2])
        assert second[: len(first)] == first
        assert roles(caller) == ["system", "human", "assistant", "human"]


async def test_the_user_s_first_turn_needs_no_opening() -> None:
    async with call(config=OPENING) as caller:
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        assert all(HELLO not in request.messages for request in (*caller.engine.prefetched, *caller.engine.requests))


async def test_the_opening_comes_behind_functions_and_system_items() -> None:
    async with call(config=OPENING) as caller:
        content = [{"type": "input_text", "text": "The shop closes at six."}]
        caller.send("conversation.item.create", item={"type": "message", "role": "system", "content": content})
        await respond(caller, tools=[{"type": "function", "name": "f"}])
        assert roles(caller) == ["system", "tool_json_schemas", "system", "human"]


async def test_no_item_shows_the_opening() -> None:
    async with call(config=OPENING) as caller:
        await respond(caller)
        assert len(caller.of(wire.ConversationItemAdded)) == 1


async def test_without_an_opening_nothing_is_added() -> None:
    async with call() as caller:
        await respond(caller)
        assert caller.engine.requests[0].messages == ()


def test_client_greetings_are_answered_after_the_opening() -> None:
    said = Message("assistant", (Tokens((1,)),))
    assert OPENING.with_opening((said, Message("human", "x"))) == (HELLO, said, Message("human", "x"))
