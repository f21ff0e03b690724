"""The page in a real Chromium whose microphone is a file: someone asks, sees both sides, and hears an answer."""

from __future__ import annotations

import base64
from pathlib import Path

from realtime import commands
from tests.client.browser import browser_page, connection_is, in_phase, microphone_file, needs_chromium, say
from tests.client.real_server import serving_the_model
from tests.client.recognition import Recogniser
from tests.client.stub_server import RATE, StubServer, running

pytestmark = needs_chromium

SAMPLES = Path(commands.__file__).parent / "speech"

# Collects what goes to the loudspeaker, PCM16 at 24 kHz.
RECORD = """async () => {
  const { app } = await import('./src/main.js');
  const { context, gain } = app.player;
  await context.audioWorklet.addModule('./src/worklets/capture.js');
  const options = { targetRate: 24000, frameSamples: 480 };
  const capture = new AudioWorkletNode(context, 'capture', { numberOfOutputs: 0, processorOptions: options });
  window.recorded = [];
  capture.port.onmessage = ({ data }) => window.recorded.push(...data);
  gain.connect(capture);
}"""
RECORDED = """async () => {
  const { base64FromPcm } = await import('./src/codec.js');
  return base64FromPcm(Int16Array.from(window.recorded));
}"""


async def test_a_spoken_question_is_answered_aloud(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "what_time_is_it_slt.wav", pause_s=8)
    async with running(StubServer()) as server, browser_page(microphone) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await page.locator(".entry.user", has_text="What time is it?").wait_for()
        await page.locator(".entry.assistant", has_text="ms after your last word").wait_for()
        await in_phase(page, "listening")
        assert await page.evaluate("window.loudest") > 0.05
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await page.locator("#microphone[aria-pressed=false]").wait_for()
    assert server.types()[:2] == ["session.update", "input_audio_buffer.append"]
    assert "conversation.item.truncate" not in server.types()


async def test_a_spoken_sum_is_answered_and_understood(tmp_path: Path) -> None:
    """By the embedded model. What the page plays is recorded behind the playback worklet and recognised."""
    recogniser = Recogniser()
    microphone = microphone_file(tmp_path, SAMPLES / "what_is_two_plus_three.wav", pause_s=30)
    async with serving_the_model() as page_url, browser_page(microphone) as page:
        await page.goto(page_url)
        await connection_is(page, "ready", timeout_ms=120_000)
        await say(page, "what is twelve minus five")
        await page.locator(".entry.assistant", has_text="seven").wait_for()
        await in_phase(page, "off")
        await page.evaluate(RECORD)
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await page.locator(".entry.assistant", has_text="ms after your last word").wait_for()
        await in_phase(page, "listening")
        answer = await page.locator(".entry.assistant p").nth(1).text_content()
        played = base64.b64decode(await page.evaluate(RECORDED))
        assert await page.locator(".entry .card", has_text="on the server").count() == 2
    heard = recogniser.hear(played, RATE)
    assert answer is not None and "five" in answer and "five" in heard, (answer, heard)
    assert recogniser.errors(answer, heard) <= 0.34, (answer, heard)  # one word of three


async def test_a_barge_in_truncates_at_the_played_position(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "hello_slt.wav", "what_time_is_it_slt.wav", pause_s=1.5)
    answer = StubServer(text="One two three four five six seven eight nine ten eleven twelve", chunks=300)
    async with running(answer) as server, browser_page(microphone) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await page.locator(".entry.assistant", has_text="cut off").wait_for()
    (truncate, *_) = (event for event in server.received if event["type"] == "conversation.item.truncate")
    assert 100 < truncate["audio_end_ms"] < answer.chunks * answer.chunk_ms


async def test_a_false_interruption_only_pauses_the_answer(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "hello_slt.wav", "what_time_is_it_slt.wav", pause_s=1.5)
    async with running(StubServer(chunks=40, doubts=True)) as server, browser_page(microphone) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await in_phase(page, "held")
        await page.wait_for_function("window.told.includes('release')")
        await in_phase(page, "listening")
        told = await page.evaluate("window.told")
        assert told == ["hold", "release"] * (len(told) // 2)
        assert await page.locator(".entry.assistant", has_text="cut off").count() == 0
    assert "conversation.item.truncate" not in server.types()
    assert server.received[0]["session"]["audio"]["input"]["turn_detection"] == {"interruption": "pause"}


async def test_a_typed_question_needs_no_microphone() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "what time is it")
        await page.locator(".entry.user", has_text="what time is it").wait_for()
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
    assert "input_audio_buffer.append" not in server.types()


async def test_escape_stops_an_answer() -> None:
    async with running(StubServer(chunks=100)) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "count")
        await in_phase(page, "speaking")
        await page.keyboard.press("Escape")
        await page.locator(".entry.assistant", has_text="cut off").wait_for()
        await in_phase(page, "off")
    assert "response.cancel" in server.types()


async def test_a_refused_microphone_is_explained() -> None:
    async with running(StubServer()) as server, browser_page(allowed=False) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await page.get_by_role("alert").filter(has_text="The microphone is blocked").wait_for()
        assert await page.get_by_label("Message").is_enabled()


async def test_a_loading_server_shows_its_reason() -> None:
    async with running(StubServer(not_ready="loading the weights")) as server, browser_page() as page:
        await page.goto(server.page)
        await page.get_by_role("status").filter(has_text="loading the weights").wait_for()
        assert await page.get_by_role("button", name="Microphone", exact=True).is_disabled()
        server.not_ready = None
        await connection_is(page, "ready")
