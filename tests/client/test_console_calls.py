"""The console's sessions over WebRTC: a real Chromium against the real transport, with a scripted model behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.client.browser import browser_page, connection_is, in_phase, microphone_file, needs_chromium, say
from tests.client.stub_server import FRONTEND
from tests.fakes import reply
from tests.transports.test_server import Server, serving

if TYPE_CHECKING:
    from playwright.async_api import Page

pytest.importorskip("aiortc", reason="aiortc is not installed (make test installs it)")
from tests.transports.webrtc.calls import answering

pytestmark = needs_chromium


async def choose(page: Page, transport: str) -> None:
    await page.get_by_role("tab", name="Audio").click()
    await page.get_by_label("Transport").select_option(transport)


async def first_audio(page: Page) -> None:
    await page.locator(".entry.assistant", has_text="after Send").last.wait_for()


async def test_a_call_is_answered_and_its_network_measured() -> None:
    async with answering(reply("Good", " morning.", tokens=40), frontend=FRONTEND) as server, browser_page() as page:
        await page.goto(server.http)
        await choose(page, "webrtc")
        await say(page, "hello")
        await first_audio(page)
        await in_phase(page, "off")
        await page.wait_for_function("/\\d ms/.test(document.querySelector('#network').textContent)")
        figures = await page.locator("#network").text_content()
        assert figures is not None
        for name in ("Round trip", "Jitter", "Lost on the way here", "Concealed"):
            assert name in figures
        types = await page.evaluate(TYPES)
        assert "response.output_audio.delta" not in types and "input_audio_buffer.append" not in types
        assert "output_audio_buffer.stopped" in types
        heard, marked = await page.evaluate(HEARD)
        assert heard > 500 and not marked


async def test_the_microphone_of_a_call_is_its_track(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "what_time_is_it_slt.wav", pause_s=20)
    async with answering(frontend=FRONTEND) as server, browser_page(microphone) as page:
        await page.goto(server.http)
        await choose(page, "webrtc")
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await page.locator(".entry.user", has_text="spoken").wait_for()
        await page.locator(".entry.assistant", has_text="ms after your last word").wait_for()
        assert "input_audio_buffer.append" not in await page.evaluate(TYPES)
        assert await page.evaluate(f"{LINK}.then((link) => link.sender.track.readyState)") == "live"
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await in_phase(page, "off")
        assert await page.evaluate(f"{LINK}.then((link) => link.sender.track)") is None


async def test_stop_clears_the_playback_of_a_call() -> None:
    async with answering(reply("One", " two", tokens=200), frontend=FRONTEND) as server, browser_page() as page:
        await page.goto(server.http)
        await choose(page, "webrtc")
        await say(page, "count")
        await first_audio(page)
        await page.keyboard.press("Escape")
        await page.locator(".entry.assistant", has_text="cut off after").wait_for()
        await page.wait_for_function(f"({TYPES})().then((types) => types.includes('output_audio_buffer.cleared'))")
        assert "conversation.item.truncate" not in await page.evaluate(TYPES)


async def test_a_switch_of_the_transport_keeps_the_conversation() -> None:
    async with answering(frontend=FRONTEND) as server, browser_page() as page:
        await page.goto(server.http)
        await say(page, "hello")
        await first_audio(page)
        await choose(page, "webrtc")
        await (
            page.locator(".divider", has_text="Changed to WebRTC").filter(has_text="knows the conversation").wait_for()
        )
        await connection_is(page, "open")
        await say(page, "again")
        await page.locator(".entry.assistant").nth(1).wait_for()
        assert len(server.host.engine.requests[-1].messages) > len(server.host.engine.requests[0].messages) + 1
        await only_one_session(server)


async def only_one_session(server: Server) -> None:
    """Raises `TimeoutError` when the former session goes on."""
    async with asyncio.timeout(30):
        while len(server.host.sessions.sessions) != 1:
            await asyncio.sleep(0.05)


async def test_a_server_without_webrtc_is_told_in_words() -> None:
    async with serving(frontend=FRONTEND) as server, browser_page() as page:
        await page.goto(server.http)
        await choose(page, "webrtc")
        await say(page, "hello")
        alert = page.get_by_role("alert").filter(has_text="This server answers no WebRTC offers")
        await alert.filter(has_text="under Audio, Connection").wait_for()
        assert await page.get_by_label("Message").input_value() == "hello"
        await page.get_by_label("Transport").select_option("websocket")
        await page.get_by_label("Message").press("Enter")
        await first_audio(page)


LINK = "import('./src/main.js').then(({ app }) => app.client.link)"
TYPES = "() => import('./src/main.js').then(({ app }) => app.log.rows.map(({ type }) => type))"
HEARD = """async () => {
  const { app } = await import('./src/main.js');
  const entry = app.conversation.entries.findLast(({ role }) => role === 'assistant');
  return [entry.heardMs, entry.cut || entry.lost || !entry.whole];
}"""
