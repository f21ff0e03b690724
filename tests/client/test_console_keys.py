"""The console on a server with keys, behind the server's own HTTP layer: where the key goes, and who refuses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from realtime.transports.http.access import Access, ApiKeys
from tests.client.browser import browser_page, connection_is, needs_chromium, say
from tests.client.stub_server import FRONTEND
from tests.transports.test_server import Server, serving

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

pytestmark = needs_chromium

ANSWER = "Hello."
"""What the fake engine says."""
OFFERED = """
window.offered = [];
window.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols);
    window.offered.push(String(url), ...protocols);
  }
};
"""


def keys(*words: str) -> ApiKeys:
    return ApiKeys.read(words, "test")


@asynccontextmanager
async def console(access: Access, fragment: str = "") -> AsyncIterator[tuple[Server, Page]]:
    async with serving(frontend=FRONTEND, access=access) as server, browser_page() as page:
        await page.add_init_script(OFFERED)
        await page.goto(f"{server.http}/{fragment}")
        yield server, page


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog", name="API key")


async def enter(page: Page, key: str) -> None:
    await dialog(page).get_by_label("Key").fill(key)
    await page.keyboard.press("Enter")


async def answered(page: Page, times: int = 1) -> None:
    await page.locator(".entry.assistant", has_text=ANSWER).nth(times - 1).wait_for()


async def test_a_server_with_keys_asks_for_one() -> None:
    async with console(Access(keys("right"))) as (_, page):
        await dialog(page).get_by_text("This server requires an API key.").wait_for()
        await enter(page, "wrong")
        await dialog(page).get_by_text("does not accept this API key").wait_for()
        await enter(page, "right")
        await dialog(page).wait_for(state="hidden")
        await say(page, "hello")
        await answered(page)
        await page.reload()
        await say(page, "hello again")
        await answered(page, 2)
        assert await dialog(page).count() == 0


async def test_sessions_are_opened_with_client_secrets() -> None:
    async with console(Access(keys("right")), "#key=right") as (_, page):
        await say(page, "hello")
        await answered(page)
        url, protocol, secret = await page.evaluate("window.offered")
        assert protocol == "realtime" and secret.startswith("openai-insecure-api-key.ek_")
        assert "right" not in page.url + url + secret


async def test_a_key_that_was_removed_is_asked_for_and_the_text_sent() -> None:
    access = Access(keys("old"))
    async with console(access, "#key=old") as (server, page):
        await connection_is(page, "ready")
        access.replace_keys(keys("new"))
        await say(page, "hello")
        await dialog(page).get_by_text("does not accept this API key").wait_for()
        await enter(page, "new")
        await answered(page)
        assert await page.locator(".entry.user").count() == 1
        assert len(server.host.engine.requests) == 1


async def test_a_key_that_is_refused_at_a_reconnection_is_asked_for() -> None:
    access = Access(keys("old"))
    async with console(access, "#key=old") as (_, page):
        await say(page, "hello")
        await answered(page)
        access.replace_keys(keys("new"))
        await page.evaluate("import('./src/main.js').then(({ app }) => app.client.link.socket.close())")
        await dialog(page).get_by_text("does not accept this API key").wait_for()
        await enter(page, "new")
        await page.locator(".divider", has_text="knows the conversation").wait_for()
        await connection_is(page, "open")
