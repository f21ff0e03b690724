"""What to enter at each vendor so that it opens a media stream to this server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from xml.sax.saxutils import escape

_ATTRIBUTE = {'"': "&quot;"}


def _twilio(url: str) -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Response>
  <Connect>
    <Stream url="{escape(url, _ATTRIBUTE)}"/>
  </Connect>
</Response>"""


def _exotel(url: str) -> str:
    return f"Voicebot applet, URL: {url}"


def _telnyx(url: str) -> str:
    command = {
        "stream_url": url,
        "stream_track": "inbound_track",
        "stream_bidirectional_mode": "rtp",
        "stream_bidirectional_codec": "PCMU",
    }
    return json.dumps(command, indent=2)


def _plivo(url: str) -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Response>
  <Stream bidirectional="true" keepCallAlive="true" contentType="audio/x-l16;rate=16000">{escape(url)}</Stream>
</Response>"""


def _vonage(url: str) -> str:
    endpoint = {"type": "websocket", "uri": url, "content-type": "audio/l16;rate=16000", "headers": {}}
    return json.dumps([{"action": "connect", "endpoint": [endpoint]}], indent=2)


def _asterisk(url: str) -> str:
    return f"""; websocket_client.conf
[realtime]
type = websocket_client
uri = {url}
protocols = media

; extensions.conf
exten => _X.,1,Answer()
 same => n,Dial(WebSocket/realtime/c(slin16)f(json))"""


def _jambonz(url: str) -> str:
    audio = {"enabled": True, "streaming": True, "sampleRate": 16_000}
    listen = {
        "verb": "listen",
        "url": url,
        "mixType": "mono",
        "sampleRate": 16_000,
        "passDtmf": True,
        "bidirectionalAudio": audio,
    }
    return json.dumps([{"verb": "answer"}, listen], indent=2)


def _freeswitch(url: str) -> str:
    return f"uuid_audio_stream ${{uuid}} start {url}?rate=16000 mono 16k"


SNIPPETS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "twilio": ("TwiML: a TwiML Bin, or the answer of the number's webhook", _twilio),
    "exotel": ("the applet of the call flow", _exotel),
    "telnyx": ("the body of the Call Control command answer, or of streaming_start", _telnyx),
    "plivo": ("the XML answer of the application", _plivo),
    "vonage": ("the NCCO answer of the application", _vonage),
    "asterisk": ("two configuration files; Asterisk 20.18, 22.8 or 23.2 and newer", _asterisk),
    "jambonz": ("the verbs of the application", _jambonz),
    "freeswitch": ("a command on the console or over the event socket", _freeswitch),
}
"""By dialect: where it goes, and the text for a URL."""
