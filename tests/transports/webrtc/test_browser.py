"""A real Chromium calls the real server by plain RTCPeerConnection; what its loudspeaker plays is recognised."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("aiortc")

from tests.client.browser import browser_page, microphone_file, needs_chromium
from tests.client.real_server import serving_the_model, until_ready
from tests.transports.recognised import similar, transcript, without_gaps

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = needs_chromium

CALL = """
async (offerPath) => {
  const peer = new RTCPeerConnection();
  const microphone = await navigator.mediaDevices.getUserMedia({audio: {echoCancellation: false}});
  microphone.getTracks().forEach((track) => peer.addTrack(track, microphone));
  window.events = [];
  window.heard = [];
  window.lastLoud = 0;
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
    tap.port.onmessage = ({data}) => {
      window.heard.push(data);
      if (data.some((sample) => Math.abs(sample) > 0.02)) window.lastLoud = window.heard.length;
    };
    const input = context.createMediaStreamSource(source);
    input.connect(tap).connect(context.destination);
    window.kept = [element, context, input, tap];  // from the garbage collector
  };
  await peer.setLocalDescription(await peer.createOffer());
  const answer = await fetch(offerPath, {method: 'POST', body: peer.localDescription.sdp,
    headers: {'Content-Type': 'application/sdp'}});
  await peer.setRemoteDescription({type: 'answer', sdp: await answer.text()});
  Object.assign(window, {peer, channel});
  return [answer.status, answer.headers.get('Location')];
}
"""

RESTART = """
async (location) => {
  const {peer, channel} = window;
  window.states = [];
  window.events.length = window.heard.length = window.lastLoud = 0;
  peer.onconnectionstatechange = () => window.states.push(peer.connectionState);
  const before = peer.remoteDescription.sdp.match(/ice-ufrag:(.*)/)[1];
  peer.restartIce();
  await peer.setLocalDescription(await peer.createOffer());
  const answer = await fetch(location, {method: 'POST', body: peer.localDescription.sdp,
    headers: {'Content-Type': 'application/sdp'}});
  await peer.setRemoteDescription({type: 'answer', sdp: await answer.text()});
  const renewed = peer.remoteDescription.sdp.match(/ice-ufrag:(.*)/)[1] !== before;
  for (let wait = 0; wait < 100 && peer.iceConnectionState !== 'connected'; wait += 1)
    await new Promise((done) => setTimeout(done, 50));
  const item = {type: 'message', role: 'user', content: [{type: 'input_text', text: 'who are you'}]};
  channel.send(JSON.stringify({type: 'conversation.item.create', item}));
  channel.send(JSON.stringify({type: 'response.create'}));
  return [answer.status, renewed];
}
"""

PLAYED = "window.lastLoud > 0 && window.heard.length - window.lastLoud > 400"
"""A second of silence behind sound."""

HEARD = """
() => {
  const bytes = new Uint8Array(window.heard.length * 256);
  const pcm = new Int16Array(bytes.buffer);
  window.heard.forEach((samples, index) => samples.forEach((sample, offset) => {
    pcm[128 * index + offset] = Math.max(-1, Math.min(1, sample)) * 32767;
  }));
  let text = '';
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}
"""


async def test_chromium_talks_and_hears_by_plain_webrtc(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "what_time_is_it_slt.wav", pause_s=120)
    async with serving_the_model() as url, browser_page(microphone) as page:
        await page.route("**/plain", lambda route: route.fulfill(body="<p>A page of the user's own</p>"))
        await page.goto(url + "plain")
        await until_ready(url)
        status, location = await page.evaluate(CALL, "/v1/realtime/calls?model=nano")
        assert status == 201 and location.startswith("/v1/realtime/calls/rtc_")
        answers = [await answer_heard(page, url)]
        events = await page.evaluate("window.events")
        asked = [one["transcript"] for one in events if one["type"].endswith("input_audio_transcription.completed")]
        assert "time" in asked[0].lower()
        assert not [one for one in events if one["type"] in ("error", "response.output_audio.delta")]
        assert await page.evaluate(RESTART, location) == [200, True]
        answers.append(await answer_heard(page, url))
        assert not {"failed", "closed"} & set(await page.evaluate("window.states"))
    # A machine that is slower than speech breaks words: one of the two answers must be understood.
    assert max(similar(heard, said) for said, heard in answers) >= 0.4, answers


async def answer_heard(page: Page, url: str) -> tuple[str, str]:
    """The words of the answer under way, and those that the model hears in what the page has played of it."""
    stopped = "window.events.some((event) => event.type === 'output_audio_buffer.stopped')"
    await page.wait_for_function(stopped, timeout=120_000, polling=250)
    await page.wait_for_function(PLAYED, timeout=60_000, polling=250)  # a busy Chromium plays seconds later
    events = await page.evaluate("window.events")
    said = [one["transcript"] for one in events if one["type"] == "response.output_audio_transcript.done"][-1]
    return said, await transcript(url, without_gaps(base64.b64decode(await page.evaluate(HEARD))))
