"""The console and a server process that is killed in the middle of a reply."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.client.browser import browser_page, connection_is, in_phase, needs_chromium, say
from tests.serving import free_port, serving

pytestmark = needs_chromium


async def test_a_server_killed_in_mid_reply_is_found_again(tmp_path: Path) -> None:
    flags = ("serve", "--port", "{port}", "--max-sessions", "2")
    server = partial(serving, "realtime.cli", tmp_path / "log", flags, port=free_port())
    async with browser_page() as page:
        with server() as first:
            await page.goto(first.http)
            await say(page, "tell me a story")
            await in_phase(page, "speaking")
            first.process.kill()
        await connection_is(page, "reconnecting")
        await page.locator(".entry.assistant", has_text="incomplete: connection lost").wait_for()
        with server():
            await connection_is(page, "open")
            await page.locator(".divider", has_text="The new session knows the conversation above").wait_for()
            await say(page, "what is two plus three")
            await page.locator(".entry.assistant", has_text="five").wait_for()
            assert await page.locator(".entry.user").count() == 2
