"""Messages of a call in every dialect, as the vendors document them: how it starts, a piece of audio, a mark that comes
back, a key, the end."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from realtime.audio.streams import AudioFormat
from realtime.transports.phone.dialects import MULAW_8K, PCM_8K, PCM_16K

AUDIO = bytes(range(160))
PAYLOAD = base64.b64encode(AUDIO).decode()


def text(**fields: Any) -> str:
    return json.dumps(fields)


@dataclass(frozen=True, slots=True)
class Recorded:
    """``start``: the messages until the stream begins. ``mark``: with ``{}`` for the name. Empty: the vendor has no
    such message."""

    start: list[str | bytes]
    format: AudioFormat
    media: str | bytes
    mark: str = ""
    digit: str = ""
    stop: str = ""
    call_id: str = ""


def twilio_start(**media_format: Any) -> str:
    details = {
        "accountSid": "AC1", "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": "8000", "channels": "1"} | media_format,
        "customParameters": {"voice": "other"},
    }  # fmt: skip
    return text(event="start", sequenceNumber="1", streamSid="MZ1", start=details)


def metadata(**fields: Any) -> str:
    return text(callSid="CA1", sampleRate=16_000, mixType="mono", metadata={"voice": "other"}, **fields)


RECORDED = {
    "twilio": Recorded(
        [text(event="connected", protocol="Call", version="1.0.0"), twilio_start()],
        MULAW_8K,
        text(event="media", sequenceNumber="3", streamSid="MZ1",
             media={"track": "inbound", "chunk": "1", "timestamp": "5", "payload": PAYLOAD}),
        '{"event": "mark", "sequenceNumber": "4", "streamSid": "MZ1", "mark": {"name": "NAME"}}',
        text(event="dtmf", sequenceNumber="5", streamSid="MZ1", dtmf={"track": "inbound_track", "digit": "1"}),
        text(event="stop", sequenceNumber="9", streamSid="MZ1", stop={"accountSid": "AC1", "callSid": "CA1"}),
        "CA1",
    ),
    "exotel": Recorded(
        [
            text(event="connected"),
            text(event="start", sequence_number=1, stream_sid="ST1",
                 start={"stream_sid": "ST1", "call_sid": "CA1", "custom_parameters": {"voice": "other"},
                        "media_format": {"encoding": "base64", "sample_rate": "8000", "bit_rate": "128kbps"}}),
        ],
        PCM_8K,
        text(event="media", stream_sid="ST1", media={"chunk": 1, "timestamp": "5", "payload": PAYLOAD}),
        '{"event": "mark", "stream_sid": "ST1", "mark": {"name": "NAME"}}',
        text(event="dtmf", stream_sid="ST1", dtmf={"digit": "1", "duration": "100"}),
        text(event="stop", stream_sid="ST1", stop={"reason": "callended"}),
        "CA1",
    ),
    "telnyx": Recorded(
        [
            text(event="connected", version="1.0.0"),
            text(event="start", sequence_number="1", stream_id="S1",
                 start={"user_id": "U", "call_control_id": "v3:1", "call_session_id": "C", "from": "+1", "to": "+2",
                        "custom_parameters": {"voice": "other"},
                        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}}),
        ],
        MULAW_8K,
        text(event="media", sequence_number="4", stream_id="S1",
             media={"track": "inbound", "chunk": "2", "timestamp": "5", "payload": PAYLOAD}),
        '{"event": "mark", "stream_id": "S1", "mark": {"name": "NAME"}}',
        text(event="dtmf", stream_id="S1", dtmf={"digit": "1"}),
        text(event="stop", stream_id="S1", stop={}),
        "v3:1",
    ),
    "plivo": Recorded(
        [
            text(event="start", sequenceNumber=1, extra_headers="voice=other;b=2",
                 start={"callId": "C1", "streamId": "S1", "accountId": "A", "tracks": ["inbound"],
                        "mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 16_000}}),
        ],
        PCM_16K,
        text(event="media", sequenceNumber=2, streamId="S1",
             media={"track": "inbound", "timestamp": "1", "chunk": 1, "payload": PAYLOAD}),
        '{"event": "playedStream", "streamId": "S1", "name": "NAME"}',
        text(event="dtmf", streamId="S1", dtmf={"digit": "1"}),
        text(event="stop", streamId="S1"),
        "C1",
    ),
    "vonage": Recorded(
        [text(event="websocket:connected", **{"content-type": "audio/l16;rate=16000"}, voice="other", call_id="C1")],
        PCM_16K,
        AUDIO,
        '{"event": "websocket:notify", "payload": {"mark": "NAME"}}',
        text(event="websocket:dtmf", digit="1", duration=260),
        call_id="C1",
    ),
    "asterisk": Recorded(
        [
            text(event="MEDIA_START", connection_id="K1", channel="WebSocket/1", channel_id="C1", format="slin16",
                 optimal_frame_size=640, ptime=20, channel_variables={"voice": "other"}),
        ],
        PCM_16K,
        AUDIO,
        '{"event": "MEDIA_MARK_PROCESSED", "correlation_id": "NAME"}',
        text(event="DTMF_END", digit="1", duration_ms=100),
        call_id="C1",
    ),
    "jambonz": Recorded(
        [metadata()], PCM_16K, AUDIO, '{"type": "mark", "data": {"name": "NAME", "event": "playout"}}',
        text(event="dtmf", dtmf="1", duration="1600"), text(type="disconnect"), "CA1",
    ),
    "freeswitch": Recorded([metadata()], PCM_16K, AUDIO, call_id="CA1"),
}  # fmt: skip
