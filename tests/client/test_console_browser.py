"""The page in a real Chromium whose microphone is a file: someone asks, sees both sides, and hears an answer."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from realtime.audio.streams import Resampler
from tests.client.real_server import serving_the_model
from tests.client.stub_server import StubServer, running
from tests.client.test_speech_turn import SPEECH

if TYPE_CHECKING:
    from playwright.async_api import Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
MISSING = [
    how
    for missing, how in (
        (CHROMIUM is None, "chromium (Debian: apt install chromium)"),
        (importlib.util.find_spec("playwright") is None, "playwright (pip install playwright)"),
    )
    if missing
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

# Taps what the page sends to its loudspeaker: the loudest sample that the playback worklet was given, and its orders.
LISTEN = """
window.loudest = 0;
window.told = [];
const post = MessagePort.prototype.postMessage;
MessagePort.prototype.postMessage = function (message, ...rest) {
  if (['hold', 'release', 'stop'].includes(message?.kind)) window.told.push(message.kind);
  if (message?.kind === 'push') for (const sample of message.samples) window.loudest = Math.max(window.loudest, sample);
  return post.call(this, message, ...rest);
};
"""


def microphone_file(folder: Path, *questions: str, pause_s: float) -> Path:
    """Recordings one after the other and pauses, as the fake microphone wants them: PCM16 at 48 kHz."""
    parts = [np.zeros(24_000, np.float32)]
    for question in questions:
        samples, rate = soundfile.read(SPEECH / question, dtype="float32")
        resampler = Resampler(rate, 48_000)
        parts += [resampler.push(samples), resampler.flush(), np.zeros(int(48_000 * pause_s), np.float32)]
    path = folder / "microphone.wav"
    soundfile.write(path, np.concatenate(parts), 48_000, subtype="PCM_16")
    return path


@asynccontextmanager
async def browser_page(microphone: Path | None, *, allowed: bool = True) -> AsyncIterator[Page]:
    """A page with a fake microphone; ``allowed`` False: the person refuses it. No script error may pass."""
    from playwright.async_api import async_playwright

    args = ["--autoplay-policy=no-user-gesture-required", "--no-sandbox", "--disable-dev-shm-usage"]
    args.append("--use-fake-device-for-media-stream")
    args.append("--use-fake-ui-for-media-stream" if allowed else "--deny-permission-prompts")
    if microphone is not None:
        args.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    faults: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=args)
        page = await browser.new_page(viewport={"width": 900, "height": 760})
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.add_init_script(LISTEN)
        try:
            yield page
        finally:
            await browser.close()
    assert not faults


async def _text(page: Page, selector: str) -> str:
    return (await page.locator(selector).text_content()) or ""


async def test_a_spoken_question_is_answered_aloud(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "what_time_is_it_slt.wav", pause_s=8)
    async with running(StubServer()) as server, browser_page(microphone) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="AudioInput").click()
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await page.locator(".entry.user", has_text="What time is it?").wait_for()
        await page.locator("#latency").wait_for()
        await page.locator("#status[data-state=listening]").wait_for()
        assert await page.evaluate("window.loudest") > 0.05
        assert await _text(page, "#latency-value")
        await page.get_by_role("button", name="AudioInput").click()
        await page.locator("#microphone[aria-pressed=false]").wait_for()
    assert server.types()[:2] == ["session.update", "input_audio_buffer.append"]
    assert "conversation.item.truncate" not in server.types()


async def test_the_real_server_answers_a_spoken_question_aloud(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "what_time_is_it_slt.wav", pause_s=20)
    async with serving_the_model() as page_url, browser_page(microphone) as page:
        await page.goto(page_url)
        await page.locator("#status[data-state=ready]").wait_for(timeout=120_000)
        await page.get_by_role("button", name="AudioInput").click()
        await page.locator(".entry.user").wait_for()
        await page.locator("#latency").wait_for()
        await page.locator("#status[data-state=listening]").wait_for()
        assert await _text(page, ".entry.assistant p")
        assert await page.evaluate("window.loudest") > 0.01


async def test_a_barge_in_truncates_at_the_played_position(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "hello_slt.wav", "what_time_is_it_slt.wav", pause_s=1.5)
    answer = StubServer(chunks=300)
    async with running(answer) as server, browser_page(microphone) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="AudioInput").click()
        await page.locator(".entry.assistant", has_text="cut off").wait_for()
    (truncate, *_) = (event for event in server.received if event["type"] == "conversation.item.truncate")
    assert 100 < truncate["audio_end_ms"] < answer.chunks * answer.chunk_ms


async def test_a_false_interruption_only_pauses_the_answer(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "hello_slt.wav", "what_time_is_it_slt.wav", pause_s=1.5)
    async with running(StubServer(chunks=40, doubts=True)) as server, browser_page(microphone) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="AudioInput").click()
        await page.wait_for_function("window.told.includes('release')")
        await page.locator("#status[data-state=listening]").wait_for()
        told = await page.evaluate("window.told")
        assert told == ["hold", "release"] * (len(told) // 2)
        assert await page.locator(".entry.assistant", has_text="cut off").count() == 0
    assert "conversation.item.truncate" not in server.types()
    assert server.received[0]["session"]["audio"]["input"]["turn_detection"] == {"interruption": "pause"}


async def test_a_typed_question_needs_no_microphone() -> None:
    async with running(StubServer()) as server, browser_page(None) as page:
        await page.goto(server.page)
        await page.get_by_label("Message").fill("what time is it")
        await page.keyboard.press("Enter")
        await page.locator(".entry.user", has_text="what time is it").wait_for()
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
    assert "input_audio_buffer.append" not in server.types()


async def test_escape_stops_an_answer() -> None:
    async with running(StubServer(chunks=100)) as server, browser_page(None) as page:
        await page.goto(server.page)
        await page.get_by_label("Message").fill("count")
        await page.keyboard.press("Enter")
        await page.locator("#status[data-state=speaking]").wait_for()
        await page.keyboard.press("Escape")
        await page.locator(".entry.assistant", has_text="cut off").wait_for()
        await page.locator("#status[data-state=listening]").wait_for()
    assert "response.cancel" in server.types()


async def test_a_refused_microphone_is_explained() -> None:
    async with running(StubServer()) as server, browser_page(None, allowed=False) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="AudioInput").click()
        await page.get_by_role("alert").filter(has_text="The microphone is blocked").wait_for()
        assert await page.get_by_label("Message").is_enabled()


async def test_a_loading_server_shows_its_reason() -> None:
    async with running(StubServer(not_ready="loading the weights")) as server, browser_page(None) as page:
        await page.goto(server.page)
        await page.get_by_role("status").filter(has_text="loading the weights").wait_for()
        assert await page.get_by_role("button", name="AudioInput").is_disabled()
        server.not_ready = None
        await page.get_by_role("status").filter(has_text="Ready").wait_for()


async def test_a_lost_connection_can_be_made_again() -> None:
    async with running(StubServer()) as server, browser_page(None) as page:
        await page.goto(server.page)
        await page.get_by_label("Message").fill("what time is it")
        await page.keyboard.press("Enter")
        await page.locator(".entry.assistant").wait_for()
        await server.drop_all()
        await page.get_by_role("alert").filter(has_text="The connection was lost: the engine failed").wait_for()
        await page.get_by_role("button", name="Reconnect").click()
        await page.locator("#status[data-state=listening]").wait_for()
