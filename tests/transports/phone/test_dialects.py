"""Every dialect reads its vendor's messages and writes what the vendor takes; wrong ones are told."""

from __future__ import annotations

import base64
import json
import random
import re
from typing import Any

import pytest

from realtime.audio.streams import AudioFormat
from realtime.errors import PeerError
from realtime.transports.phone.dialects import DIALECTS, MULAW_8K, PCM_16K, Dialect
from realtime.transports.phone.messages import (
    Clear,
    Command,
    Digit,
    HangUp,
    Mark,
    Marked,
    Media,
    Message,
    Play,
    Started,
    Stopped,
)
from tests.transports.phone.recorded import AUDIO, PAYLOAD, RECORDED, text, twilio_start

ALL = pytest.mark.parametrize("name", DIALECTS)


def read(name: str, message: str | bytes, default: AudioFormat | None = None) -> tuple[Message, ...]:
    return DIALECTS[name].read(message, default or DIALECTS[name].format)


def started(name: str) -> Started:
    (start,) = [said for message in RECORDED[name].start for said in read(name, message)]
    assert isinstance(start, Started)
    return start


def written(name: str, command: Command, start: Started | None = None) -> list[Any]:
    messages = DIALECTS[name].write(command, start or started(name))
    return [json.loads(message) if isinstance(message, str) else message for message in messages]


@ALL
def test_the_start_tells_format_call_and_parameters(name: str) -> None:
    start, recorded = started(name), RECORDED[name]
    assert (start.format, start.call_id) == (recorded.format, recorded.call_id)
    assert start.parameters["voice"] == "other"


@ALL
def test_audio_marks_keys_and_ends_are_read(name: str) -> None:
    recorded = RECORDED[name]
    (media,) = read(name, recorded.media)
    assert isinstance(media, Media) and media.audio == AUDIO
    for message, said in (
        (recorded.mark.replace("NAME", "3-1400"), Marked("3-1400")),
        (recorded.digit, Digit("1")),
    ):
        assert not message or read(name, message) == (said,)
    if recorded.stop:
        assert isinstance(read(name, recorded.stop)[0], Stopped)


@ALL
def test_unknown_events_and_fields_are_ignored(name: str) -> None:
    unknown = [text(event="news", x=[1]), text(event={"no": "text"}, type="news")]
    for message in unknown if name not in ("jambonz", "freeswitch") else []:
        assert read(name, message) == ()
    if isinstance(RECORDED[name].media, str):
        more = json.loads(RECORDED[name].media) | {"news": {"a": None}}
        assert isinstance(read(name, json.dumps(more))[0], Media)


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "freeswitch"])
@pytest.mark.parametrize("message", ["", "[1]", "nonsense{", '{"a":', "[" * 100_000, "3", '"text"', "{" + "1" * 9000])
def test_what_is_no_message_is_refused_or_ignored(name: str, message: str) -> None:
    try:
        assert read(name, message) == () and name == "asterisk"
    except PeerError as error:
        assert error.code == "invalid_message"


@pytest.mark.parametrize(
    "media", [{}, {"payload": None}, {"payload": 5}, {"payload": "not base64!"}, {"payload": "YQ"}, {"payload": "é"}]
)
@pytest.mark.parametrize("name", ["twilio", "exotel", "telnyx", "plivo"])
def test_media_without_audio_is_refused(name: str, media: dict[str, Any]) -> None:
    with pytest.raises(PeerError, match="payload"):
        read(name, text(event="media", media=media))


@pytest.mark.parametrize("rate", [8000, "8000", "8000.0", None, 8000.0])
def test_numbers_may_be_strings_or_missing(rate: Any) -> None:
    (start,) = read("twilio", twilio_start(sampleRate=rate))
    assert isinstance(start, Started) and start.format == MULAW_8K


@pytest.mark.parametrize("format", [{"encoding": "opus"}, {"sampleRate": 44_100}, {"sampleRate": 16_000}])
def test_formats_that_nobody_reads_are_refused(format: dict[str, Any]) -> None:
    with pytest.raises(PeerError, match="not supported"):
        read("twilio", twilio_start(**format))


def test_a_start_needs_the_streams_name() -> None:
    with pytest.raises(PeerError, match="streamSid"):
        read("twilio", text(event="start", start={"callSid": "CA1"}))
    assert isinstance(read("twilio", text(event="start", streamSid="MZ1"))[0], Started)


def test_our_own_track_is_not_heard() -> None:
    assert read("twilio", text(event="media", media={"track": "outbound", "payload": PAYLOAD})) == ()


def test_text_dialects_refuse_binary_messages() -> None:
    with pytest.raises(PeerError, match="binary"):
        read("twilio", AUDIO)


def test_keys_that_no_telephone_has_are_ignored() -> None:
    assert read("twilio", text(event="dtmf", dtmf={"digit": "10"})) == ()
    assert read("twilio", text(event="dtmf", dtmf={"digit": "d"})) == (Digit("D"),)


def test_telnyx_numbers_its_pieces() -> None:
    assert read("telnyx", RECORDED["telnyx"].media) == (Media(AUDIO, 2),)


def test_marks_that_jambonz_cleared_count_for_nothing() -> None:
    assert read("jambonz", text(type="mark", data={"name": "1-20", "event": "cleared"})) == ()


def test_asterisk_speaks_plain_text_too() -> None:
    line = "MEDIA_START connection_id:K1 channel:WebSocket/1 channel_id:C1 format:ulaw optimal_frame_size:160"
    (start,) = read("asterisk", line)
    assert start == Started(MULAW_8K, "", "C1", {}, plain=True)
    assert read("asterisk", "MEDIA_MARK_PROCESSED correlation_id:1-20") == (Marked("1-20"),)
    assert read("asterisk", "MEDIA_MARK_PROCESSED 1-20") == (Marked("1-20"),)
    assert read("asterisk", "DTMF_END digit:#") == (Digit("#"),)
    assert read("asterisk", "MEDIA_XOFF") == read("asterisk", "QUEUE_DRAINED") == ()
    plain = [DIALECTS["asterisk"].write(command, start) for command in (Mark("1-20"), Clear(), HangUp())]
    assert plain == [("MARK_MEDIA 1-20",), ("FLUSH_MEDIA",), ("HANGUP",)]


def test_asterisk_gets_no_message_that_ends_its_call() -> None:
    messages = written("asterisk", Play(bytes(640 * 200)))
    assert b"".join(messages) == bytes(640 * 200)
    assert all(len(message) <= 65_500 and len(message) % 640 == 0 for message in messages)


def test_vonage_gets_single_frames() -> None:
    assert written("vonage", Play(bytes(640 * 3))) == [bytes(640)] * 3


def test_freeswitch_may_begin_with_anything() -> None:
    assert read("freeswitch", "hello there") == (Started(DIALECTS["freeswitch"].format),)
    assert read("freeswitch", '{"a": 1}', PCM_16K) == (Started(PCM_16K, parameters={"a": "1"}),)


def sent(audio: str = PAYLOAD) -> dict[str, Any]:
    return {"payload": audio}


@pytest.mark.parametrize(
    ("name", "play", "mark", "clear"),
    [
        (
            "twilio",
            {"event": "media", "streamSid": "MZ1", "media": sent()},
            {"event": "mark", "streamSid": "MZ1", "mark": {"name": "N"}},
            {"event": "clear", "streamSid": "MZ1"},
        ),
        (
            "exotel",
            {"event": "media", "stream_sid": "ST1", "media": sent()},
            {"event": "mark", "stream_sid": "ST1", "mark": {"name": "N"}},
            {"event": "clear", "stream_sid": "ST1"},
        ),
        ("telnyx", {"event": "media", "media": sent()}, {"event": "mark", "mark": {"name": "N"}}, {"event": "clear"}),
        (
            "plivo",
            {
                "event": "playAudio",
                "streamId": "S1",
                "media": {"contentType": "audio/x-l16", "sampleRate": 16_000, **sent()},
            },
            {"event": "checkpoint", "streamId": "S1", "name": "N"},
            {"event": "clearAudio", "streamId": "S1"},
        ),
        ("vonage", AUDIO, {"action": "notify", "payload": {"mark": "N"}}, {"action": "clear"}),
        ("asterisk", AUDIO, {"command": "MARK_MEDIA", "correlation_id": "N"}, {"command": "FLUSH_MEDIA"}),
        ("jambonz", AUDIO, {"type": "mark", "data": {"name": "N"}}, {"type": "killAudio"}),
        (
            "freeswitch",
            {
                "type": "streamAudio",
                "data": {"audioDataType": "raw", "sampleRate": 16_000, "audioData": base64.b64encode(AUDIO).decode()},
            },
            None,
            {"type": "killAudio"},
        ),
    ],
)
def test_commands_are_what_the_vendor_takes(name: str, play: Any, mark: Any, clear: Any) -> None:
    assert written(name, Play(AUDIO)) == [play]
    assert written(name, Mark("N")) == ([] if mark is None else [mark])
    assert written(name, Clear()) == [clear]


def test_hanging_up_has_a_message_where_there_is_one() -> None:
    assert written("jambonz", HangUp()) == [{"type": "disconnect"}]
    assert written("twilio", HangUp()) == []


@ALL
def test_a_dialect_without_marks_is_told_little(name: str) -> None:
    dialect: Dialect = DIALECTS[name]
    assert dialect.marks == bool(dialect.write(Mark("N"), started(name)))
    assert dialect.lead_s <= (1.0 if dialect.marks else 0.2)


@ALL
def test_mutilated_messages_raise_nothing_else(name: str) -> None:
    chance = random.Random(name)
    recorded = RECORDED[name]
    known = [*recorded.start, recorded.media, recorded.mark, recorded.digit, recorded.stop]
    odd = ["null", "[]", "{}", '"x"', "-1", "1e999", "true", '"\\ud800"', "[[]]", "99999999999999999999"]
    for _ in range(2000):
        message = chance.choice(known)
        if isinstance(message, str):
            message = re.sub(r'(?<=: )("[^"]*"|\d+)', lambda old: chance.choice([old[0]] * 5 + odd), message)
            at = chance.randrange(len(message) + 1)
            message = message[:at] + message[at + chance.randrange(3) * chance.randrange(2) :]
        try:
            said = read(name, message)
        except PeerError:
            continue
        for start in said:
            if isinstance(start, Started):
                written(name, Play(AUDIO), start)
