"""The seam for other shapes of the protocol, and ids."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from realtime.protocol.dialect import Connection
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import InputAudioBufferAppend, InputAudioBufferCleared, ResponseCancel
from realtime.protocol.ids import Ids
from realtime.protocol.wire import JsonObject


class Shouting:
    """A dialect in capitals that says everything twice, and nothing about one event."""

    name = "shouting"

    def translate_in(self, message: JsonObject) -> JsonObject:
        return message | {"type": str(message.get("type")).lower()}

    def translate_out(self, message: JsonObject) -> Sequence[JsonObject]:
        return [message | {"type": message["type"].upper()}] * 2


def test_ga_goes_through_unchanged_and_events_are_numbered() -> None:
    connection = Connection(Ids("t"))
    assert connection.decode('{"type":"response.cancel"}') == ResponseCancel()
    assert [json.loads(connection.encode(InputAudioBufferCleared())[0]) for _ in range(2)] == [
        {"event_id": "event_t1", "type": "input_audio_buffer.cleared"},
        {"event_id": "event_t2", "type": "input_audio_buffer.cleared"},
    ]


def test_a_dialect_translates_both_ways() -> None:
    connection = Connection(Ids("t"), Shouting())
    assert connection.decode('{"type":"RESPONSE.CANCEL"}') == ResponseCancel()
    assert connection.decode(b"\0\0") == InputAudioBufferAppend(audio=b"\0\0")
    assert [json.loads(text) for text in connection.encode(InputAudioBufferCleared())] == [
        {"event_id": "event_t1", "type": "INPUT_AUDIO_BUFFER.CLEARED"},
        {"event_id": "event_t2", "type": "INPUT_AUDIO_BUFFER.CLEARED"},
    ]


def test_a_dialect_does_not_hide_faults() -> None:
    with pytest.raises(ProtocolError) as caught:
        Connection(Ids("t"), Shouting()).decode('{"type":"NOPE","event_id":"c1"}')
    assert (caught.value.code, caught.value.event_id) == ("invalid_value", "c1")


def test_ids_are_unique_between_sessions_and_within_one() -> None:
    sessions = [Ids() for _ in range(100)]
    names = [name for ids in sessions for name in (ids.item(), ids.item(), ids.event(), ids.response(), ids.call())]
    assert len(set(names)) == len(names)


def test_ids_have_telling_prefixes_and_fit_the_contract() -> None:
    ids = Ids()
    kinds = {
        "sess_": ids.session(),
        "conv_": ids.conversation(),
        "event_": ids.event(),
        "item_": ids.item(),
        "resp_": ids.response(),
        "call_": ids.call(),
    }
    assert all(name.startswith(prefix) and name.isascii() and len(name) <= 32 for prefix, name in kinds.items())


def test_no_other_id_gives_the_sessions_away() -> None:
    ids = Ids()
    random = ids.session().removeprefix("sess_")
    assert len(random) >= 22  # of 62: 131 bits
    others = (ids.event(), ids.item(), ids.response(), ids.call(), ids.conversation())
    assert not any(random[:8] in other or other.partition("_")[2][:8] in random for other in others)
    assert ids.session() == ids.session()
