"""The operators' page in a real browser, over the real routes with the model side faked."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from realtime.app import find_frontend
from realtime.protocol.ids import shown_session_id
from realtime.transports.http.access import Access, ApiKeys
from realtime.transports.http.admin_access import AdminAccess
from realtime.transports.http.host import Health
from tests.client.browser import browser_page, needs_chromium
from tests.client.test_console_access import AXE, CONTRAST, SIZES, SMALL
from tests.fakes import reply
from tests.transports.test_server import Server, ask, expect, serving

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = needs_chromium

ADMIN_KEY = "adm-77aa"
QUESTION, ANSWER = "Where is the velvet?", "In the drawer."


@asynccontextmanager
async def operated(
    *scripts: Any, size: tuple[int, int] = (1440, 900), key: str | None = None, **options: Any
) -> AsyncIterator[tuple[Server, Page]]:
    """A server and its operators' page. ``key``: the server has this admin key; None: it is open to this machine."""
    admin = AdminAccess(ApiKeys.read([key or ""], "test"), open_on_loopback=key is None)
    async with serving(*scripts, frontend=find_frontend(), admin=admin, **options) as server:
        ok = {"state": "ok", "seconds": 0.0, "restarts": 0}
        server.host.health = Health("ready", "serving", {"engine": ok, "vocoder": ok | {"restarts": 2}})
        async with browser_page(size=size) as page:
            await page.goto(server.http + "/admin")
            yield server, page


async def begun(server: Server) -> tuple[ClientConnection, str]:
    """A session and its id as it is shown."""
    ws = await connect(server.url)
    return ws, shown_session_id((await expect(ws, "session.created"))["session"]["id"])


async def answered(ws: ClientConnection) -> None:
    await ask(ws, QUESTION)
    await expect(ws, "response.done")


async def test_a_session_appears_and_leaves() -> None:
    async with operated(reply(ANSWER)) as (server, page):
        await page.get_by_text("Nobody is connected").wait_for()
        ws, shown = await begun(server)
        row = page.locator("tr", has_text=shown)
        await row.get_by_text("Quiet").wait_for()
        await answered(ws)
        await row.get_by_text("1 reply").wait_for()
        await page.locator(".tile", has_text="Replies in an hour").get_by_text("1", exact=True).wait_for()
        assert "velvet" not in await page.content() and "drawer" not in await page.content()
        await ws.close()
        await row.wait_for(state="detached")


async def test_a_session_is_ended_after_a_question() -> None:
    async with operated() as (server, page):
        ws, shown = await begun(server)
        await page.get_by_role("button", name=f"End {shown}").click()
        await page.get_by_role("button", name="Keep it").click()
        assert server.host.sessions.running == 1
        await page.get_by_role("button", name=f"End {shown}").click()
        await page.get_by_role("button", name="End session").click()
        assert (await expect(ws, "error"))["error"]["code"] == "ended_by_operator"
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        await page.get_by_text(f"Session {shown} was ended.").wait_for()
        await page.get_by_text("Nobody is connected").wait_for()


async def test_events_are_read_only_when_opened() -> None:
    async with operated(reply(ANSWER), reply(ANSWER)) as (server, page):
        ws, shown = await begun(server)
        await answered(ws)
        await page.locator("tr", has_text=shown).get_by_text("1 reply").wait_for()
        assert server.host.sessions.sessions[0].status.side_connections == 0
        await page.get_by_role("button", name=f"Events of {shown}").click()
        await page.locator(".event", has_text="session.created").wait_for()
        assert server.host.sessions.sessions[0].status.side_connections == 1
        await answered(ws)
        await page.locator(".event", has_text="response.output_audio_transcript.done").click()
        await page.get_by_role("region", name="Chosen event").get_by_text(ANSWER).wait_for()
        await page.keyboard.press("Escape")
        await page.locator("#events").wait_for(state="hidden")
        assert "drawer" not in await page.content()
        async with asyncio.timeout(10):
            while server.host.sessions.sessions[0].status.side_connections:
                await asyncio.sleep(0.02)
        await ws.close()


async def test_the_end_of_a_watched_session_is_told() -> None:
    async with operated() as (server, page):
        ws, shown = await begun(server)
        await page.get_by_role("button", name=f"Events of {shown}").click()
        await page.locator(".event", has_text="session.created").wait_for()
        await ws.close()
        await page.locator("#events").get_by_text("The session has ended").wait_for()
        await page.get_by_role("button", name="Close events").click()
        await page.locator("#events").wait_for(state="hidden")


async def test_the_page_asks_for_the_admin_key() -> None:
    async with operated(key=ADMIN_KEY, access=Access(ApiKeys.read(["rt-1"], "test"))) as (server, page):
        field = page.get_by_label("Key", exact=True)
        await field.fill("rt-1")
        await field.press("Enter")
        await page.get_by_text("Incorrect admin key").wait_for()
        await field.fill(ADMIN_KEY)
        await field.press("Enter")
        await page.get_by_text("Nobody is connected").wait_for()
        await page.get_by_label("Since the start").wait_for()  # the admin key opens /metrics, too
        await page.goto(server.http + "/admin#key=wrong")
        await page.reload()
        await page.get_by_text("Incorrect admin key").wait_for()
        assert "wrong" not in page.url


async def test_a_key_in_the_link_opens_page_and_events() -> None:
    async with operated(key=ADMIN_KEY) as (server, page):
        await page.goto("about:blank")
        await page.goto(f"{server.http}/admin#key={ADMIN_KEY}")
        ws, shown = await begun(server)
        await page.get_by_role("button", name=f"Events of {shown}").click()
        await page.locator(".event", has_text="session.created").wait_for()
        assert ADMIN_KEY not in page.url
        await ws.close()


async def test_a_server_that_is_gone_is_told_and_found_again() -> None:
    async with operated() as (server, page):
        await page.get_by_text("Nobody is connected").wait_for()
        await page.route("**/admin/state", lambda route: route.abort())
        await page.locator(".notice-text", has_text="does not answer").wait_for()
        await page.get_by_text("Nobody is connected").wait_for()  # the last figures stay
        await page.unroute("**/admin/state")
        await page.locator("#status[data-status=ready]").wait_for()
        server.host.health = Health(
            "unwell", "the engine is stuck (17 s)", {"engine": {"state": "stuck", "seconds": 17}}
        )
        await page.locator(".notice-text", has_text="the engine is stuck").wait_for()
        await page.get_by_text("stuck for 17 s").wait_for()


async def test_many_sessions_are_listed_in_part_and_found() -> None:
    async with operated() as (server, page):
        ws, _ = await begun(server)
        state = (await server.get("/admin/state"))[1]
        (one,) = state["sessions"]["list"]
        copies = [one | {"id": f"sess_{number:08}", "errors": number % 7} for number in range(500)]
        state["sessions"] = {"running": 900, "limit": 4096, "list": copies}
        await page.route("**/admin/state", lambda route: route.fulfill(json=state))
        await page.get_by_text("The 500 oldest are listed.").wait_for()
        assert await page.locator("tbody tr").count() == 200
        await page.get_by_label("Find a session or caller").fill("00000499")
        await page.locator("tbody tr", has_text="sess_00000499").wait_for()
        assert await page.locator("tbody tr").count() == 1
        await ws.close()


async def test_admin_with_a_slash_leads_to_the_page() -> None:
    async with operated() as (server, page):
        await page.goto(server.http + "/admin/")
        await page.get_by_text("Nobody is connected").wait_for()
        assert page.url == server.http + "/admin"
        status, headers = await asyncio.to_thread(_head_of, server.http + "/admin")
        assert status == 200 and "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def _head_of(url: str) -> tuple[int, Any]:
    with urllib.request.urlopen(url) as answer:
        return answer.status, answer.headers


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_page_fits_is_pressable_and_readable(size: tuple[int, int], theme: str) -> None:
    async with operated(reply(ANSWER), size=size) as (server, page):
        await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        await page.reload()
        ws, shown = await begun(server)
        await answered(ws)
        await page.locator("tr", has_text=shown).get_by_text("1 reply").wait_for()
        assert await page.evaluate("document.documentElement.dataset.theme") == theme
        await _check_looks(page, size)
        await page.get_by_role("button", name=f"Events of {shown}").click()
        await page.locator(".event", has_text="session.created").wait_for()
        await _check_looks(page, size)
        await ws.close()


async def _check_looks(page: Page, size: tuple[int, int]) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert await page.evaluate(SMALL) == []
    assert await page.evaluate(CONTRAST, "input, select, main button.quiet:enabled, a.button") == []
    if AXE.is_file():
        await page.evaluate(await asyncio.to_thread(AXE.read_text))  # no script tag: the policy forbids inline scripts
        result = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [one["id"] for one in result["violations"] if one["impact"] in ("serious", "critical")]
        assert serious == []


async def test_a_session_is_ended_by_keyboard_only() -> None:
    async with operated() as (server, page):
        ws, shown = await begun(server)
        await page.get_by_role("button", name=f"End {shown}").wait_for()
        for _ in range(30):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.ariaLabel") == f"End {shown}":
                break
        await page.keyboard.press("Enter")
        await page.locator("#confirm[open]").wait_for()
        for _ in range(10):
            if await page.evaluate("document.activeElement.textContent") == "End session":
                break
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert (await expect(ws, "error"))["error"]["code"] == "ended_by_operator"
