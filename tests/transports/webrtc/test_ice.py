"""Which addresses are proven, followed and given up, without sockets and without a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

pytest.importorskip("aiortc")

from aioice import stun

from realtime.transports.webrtc.ice import (
    CONSENT_S,
    GONE_S,
    MAX_CHECKS,
    MAX_PATHS,
    Address,
    IceAgent,
    Path,
    new_credentials,
    parse,
)

HOME, ELSEWHERE = ("203.0.113.9", 4000), ("198.51.100.3", 5000)


@dataclass
class Network:
    """Keeps what the agent sends; `realtime.transports.webrtc.ice.Socket` and `.Wire`."""

    sent: list[tuple[stun.Message, Address]] = field(default_factory=list)
    expected: set[bytes] = field(default_factory=set)
    routes: list[Path] = field(default_factory=list)

    def send(self, data: bytes, address: Address) -> None:
        message = parse(data)
        assert message is not None
        self.sent.append((message, address))

    def expect(self, transaction: bytes, agent: IceAgent) -> None:
        self.expected.add(transaction)

    def forget(self, transaction: bytes) -> None:
        self.expected.discard(transaction)

    def proven(self, path: Path, agent: IceAgent) -> None:
        self.routes.append(path)

    def __hash__(self) -> int:
        return id(self)


class Client:
    """The client's side of the checks."""

    def __init__(self) -> None:
        self.credentials = new_credentials()
        self.network = Network()
        self.selected: list[Path | None] = []
        self.now = 100.0
        self.agent = IceAgent(self.credentials, self.network, self.now, self._selected)

    def _selected(self) -> None:
        self.selected.append(self.agent.selected)

    def check(
        self,
        address: Address = HOME,
        *,
        nominate: bool = True,
        password: str | None = None,
        change: Callable[[stun.Message], None] | None = None,
    ) -> None:
        """Send a check from an address."""
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{self.agent.local.ufrag}:{self.credentials.ufrag}"
        request.attributes["PRIORITY"] = 1
        request.attributes["ICE-CONTROLLING"] = 5
        if nominate:
            request.attributes["USE-CANDIDATE"] = None
        if change is not None:
            change(request)
        request.add_message_integrity((password or self.agent.local.password).encode())
        message = parse(bytes(request))
        assert message is not None
        self.agent.request(message, (self.network, address), self.now)

    def checks(self) -> list[tuple[stun.Message, Address]]:
        """What the agent asked, taken."""
        asked = [one for one in self.network.sent if one[0].message_class is stun.Class.REQUEST]
        self.network.sent.clear()
        return asked

    def answer(self, asked: stun.Message, address: Address = HOME, password: str | None = None) -> None:
        response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, asked.transaction_id)
        response.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.1", 1)
        response.add_message_integrity((password or self.credentials.password).encode())
        message = parse(bytes(response))
        assert message is not None
        self.agent.response(message, (self.network, address), self.now)

    def prove(self, address: Address = HOME) -> None:
        self.check(address)
        for asked, asked_at in self.checks():
            self.answer(asked, asked_at)

    @property
    def address(self) -> Address | None:
        return self.agent.selected[1] if self.agent.selected is not None else None


def test_an_address_that_answers_is_used() -> None:
    client = Client()
    client.check()
    kinds = [message.message_class for message, address in client.network.sent if address == HOME]
    assert kinds == [stun.Class.RESPONSE, stun.Class.REQUEST]
    assert client.address is None
    client.answer(client.checks()[0][0])
    assert client.address == HOME and client.network.routes == [(client.network, HOME)]
    assert not client.network.expected


def other_user(request: stun.Message) -> None:
    request.attributes["USERNAME"] = "nobody:" + request.attributes["USERNAME"].partition(":")[2]


@pytest.mark.parametrize("wrong", ["password", "user", "unsigned"])
def test_strangers_get_no_packet_at_all(wrong: str) -> None:
    client = Client()
    match wrong:
        case "password":
            client.check(password="x" * 24)
        case "user":
            client.check(change=other_user)
        case "unsigned":
            request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
            request.attributes["USERNAME"] = f"{client.agent.local.ufrag}:{client.credentials.ufrag}"
            client.agent.request(request, (client.network, HOME), client.now)
    assert not client.network.sent and not client.agent.paths


def test_forged_senders_get_few_checks_and_never_media() -> None:
    client = Client()
    client.prove()
    for _ in range(100):
        client.now += 1
        client.check(ELSEWHERE)
    checks = [address for _, address in client.checks()]
    assert len(checks) == MAX_CHECKS and client.address == HOME


@pytest.mark.parametrize("wrong", ["address", "password", "transaction"])
def test_wrong_answers_prove_nothing(wrong: str) -> None:
    client = Client()
    client.check()
    asked = client.checks()[0][0]
    match wrong:
        case "address":
            client.answer(asked, ELSEWHERE)
        case "password":
            client.answer(asked, password="x" * 24)
        case "transaction":
            client.answer(stun.Message(stun.Method.BINDING, stun.Class.REQUEST))
    assert client.address is None and not client.network.routes


def test_an_address_is_used_when_nominated() -> None:
    client = Client()
    client.check(nominate=False)
    client.answer(client.checks()[0][0])
    assert client.address is None
    client.check(nominate=True)
    assert client.address == HOME


def test_a_new_address_is_followed_once_proven() -> None:
    client = Client()
    client.prove()
    client.check(ELSEWHERE)
    assert client.address == HOME
    client.answer(client.checks()[0][0], ELSEWHERE)
    assert client.address == ELSEWHERE
    client.now += CONSENT_S
    client.agent.tick(client.now)
    assert [address for _, address in client.checks()] == [ELSEWHERE]


def test_late_consent_of_the_old_address_changes_nothing() -> None:
    client = Client()
    client.prove()
    client.now += CONSENT_S
    client.agent.tick(client.now)
    (late, _), *_ = client.checks()
    client.prove(ELSEWHERE)
    client.answer(late)
    assert client.address == ELSEWHERE


def test_a_client_that_answers_is_never_gone() -> None:
    client = Client()
    client.prove()
    for _ in range(60):
        client.now += 1.0
        client.agent.tick(client.now)
        for asked, _ in client.checks():
            client.answer(asked)
        assert not client.agent.is_gone(client.now)


def test_a_silent_client_is_gone_after_eight_seconds() -> None:
    client = Client()
    client.prove()
    began = client.now
    while not client.agent.is_gone(client.now):
        client.agent.tick(client.now)
        client.now += 0.5
    assert client.now - began == GONE_S
    assert len(client.checks()) == GONE_S / CONSENT_S - 1


def test_a_stalled_server_does_not_blame_the_client() -> None:
    client = Client()
    client.prove()
    client.agent.tick(client.now)
    client.now += 30.0  # the machine was asleep; what the client sent meanwhile is still to be read
    client.agent.tick(client.now)
    assert not client.agent.is_gone(client.now)
    for _ in range(round(GONE_S)):
        client.now += 1.0
        client.agent.tick(client.now)
    assert client.agent.is_gone(client.now)


def test_a_client_that_does_not_control_is_told_to() -> None:
    client = Client()

    def controlled(request: stun.Message) -> None:
        request.attributes["ICE-CONTROLLED"] = request.attributes.pop("ICE-CONTROLLING")

    client.check(change=controlled)
    ((answer, _),) = client.network.sent
    assert answer.error_code == 487 and answer.check_message_integrity(client.agent.local.password.encode())


def test_addresses_and_checks_are_bounded() -> None:
    client = Client()
    client.prove()
    for port in range(1000, 1100):
        client.check(("203.0.113.9", port))
    assert len(client.agent.paths) == MAX_PATHS and client.address == HOME
    assert len(client.network.expected) <= 16
    client.agent.close()
    assert not client.network.expected


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1\0\0", b"\0\1\0\10!\x12\xa4B" + b"\0" * 12 + b"\0\x24\0\3abc\0"])
def test_broken_messages_are_no_messages(data: bytes) -> None:
    assert parse(data) is None
