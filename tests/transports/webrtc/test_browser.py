"""A real Chromium calls the real server by plain RTCPeerConnection; what its loudspeaker plays is recognised."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aiortc")

from realtime.audio.streams import AudioFormat, AudioReader, float_to_pcm16
from realtime.client.connection import open_session
from tests.client.browser import browser_page, microphone_file, needs_chromium
from tests.client.real_server import serving_the_model

pytestmark = needs_chromium

CALL = """
async (offerPath) => {
  const peer = new RTCPeerConnection();
  const microphone = await navigator.mediaDevices.getUserMedia({audio: {echoCancellation: false}});
  microphone.getTracks().forEach((track) => peer.addTrack(track, microphone));
  window.events = [];
  window.heard = [];
  const channel = peer.createDataChannel('oai-events');
  channel.onmessage = (message) => window.events.push(JSON.parse(message.data));
  channel.onopen = () => channel.send(JSON.stringify({type: 'session.update', session: {type: 'realtime',
    audio: {input: {transcription: {model: 'nano'}}}}}));
  peer.ontrack = async ({streams: [stream], track}) => {
    const source = stream ?? new MediaStream([track]);
    const element = new Audio();  // without an element Chromium decodes nothing
    element.muted = true;
    element.srcObject = source;
    element.play();
    const context = new AudioContext({sampleRate: 48000});
    const code = `registerProcessor('tap', class extends AudioWorkletProcessor {
      process([[samples]]) { if (samples) this.port.postMessage(samples.slice()); return true; } });`;
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], {type: 'text/javascript'})));
    const tap = new AudioWorkletNode(context, 'tap');
    tap.port.onmessage = ({data}) => window.heard.push(...data);
    context.createMediaStreamSource(source).connect(tap).connect(context.destination);
  };
  await peer.setLocalDescription(await peer.createOffer());
  const answer = await fetch(offerPath, {method: 'POST', body: peer.localDescription.sdp,
    headers: {'Content-Type': 'application/sdp'}});
  await peer.setRemoteDescription({type: 'answer', sdp: await answer.text()});
  window.peer = peer;
  return [answer.status, answer.headers.get('Location')];
}
"""

HEARD = """
() => {
  const pcm = Int16Array.from(window.heard, (sample) => Math.max(-1, Math.min(1, sample)) * 32767);
  let text = '';
  const bytes = new Uint8Array(pcm.buffer);
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}
"""


async def transcript(url: str, pcm: bytes) -> str:
    """What the model hears in PCM16 at 48 kHz."""
    reader = AudioReader(AudioFormat("pcm16", 48_000), 24_000)
    audio = float_to_pcm16(reader.push(pcm)) + bytes(24_000)
    async with open_session(url.replace("http", "ws") + "v1/realtime?intent=transcription") as session:
        detection: dict[str, Any] = {"turn_detection": None, "transcription": {"model": "nano"}}
        await session.send("session.update", session={"type": "transcription", "audio": {"input": detection}})
        await session.append(audio)
        await session.send("input_audio_buffer.commit")
        while True:
            event = await session.receive()
            if event.type == "conversation.item.input_audio_transcription.completed":
                return str(event["transcript"])


async def test_chromium_talks_and_hears_by_plain_webrtc(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "what_time_is_it_slt.wav", pause_s=30)
    async with serving_the_model() as url, browser_page(microphone) as page:
        await page.route("**/plain", lambda route: route.fulfill(body="<p>A page of the user's own</p>"))
        await page.goto(url + "plain")
        await page.wait_for_function("fetch('/readyz').then((answer) => answer.ok)", timeout=180_000, polling=500)
        status, location = await page.evaluate(CALL, "/v1/realtime/calls?model=nano")
        assert status == 201 and location.startswith("/v1/realtime/calls/rtc_")
        stopped = "window.events.some((event) => event.type === 'output_audio_buffer.stopped')"
        await page.wait_for_function(stopped, timeout=120_000)
        events = await page.evaluate("window.events")
        said = [one["transcript"] for one in events if one["type"] == "response.output_audio_transcript.done"][-1]
        asked = [one["transcript"] for one in events if one["type"].endswith("input_audio_transcription.completed")]
        assert "time" in asked[0].lower()
        assert not [one for one in events if one["type"] in ("error", "response.output_audio.delta")]
        pcm = base64.b64decode(await page.evaluate(HEARD))
        heard = await transcript(url, spoken(pcm))
    assert similar(heard, said) > 0.5, (heard, said)


def spoken(pcm: bytes) -> bytes:
    """The part with speech in it, and half a second around."""
    samples = np.frombuffer(pcm, "<i2")
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 500)
    assert len(loud) > 24_000, "the track was silent"
    return samples[max(0, loud[0] - 24_000) : loud[-1] + 24_000].tobytes()


def similar(one: str, other: str) -> float:
    """The share of common words."""
    first, second = (set(text.lower().replace(".", "").split()) for text in (one, other))
    return len(first & second) / max(1, len(second))
