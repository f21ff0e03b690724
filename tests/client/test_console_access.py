"""The console for everybody: small pages, the keyboard, screen readers, two tabs, other browsers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.client.browser import browser_page, in_phase, needs_chromium, say
from tests.client.stub_server import StubServer, running

pytestmark = needs_chromium

AXE = Path(os.environ.get("AXE") or Path(__file__).parents[1] / "clients" / "node_modules" / "axe-core" / "axe.min.js")
SIZES = [(390, 844), (1024, 768), (1440, 900)]
SMALL = """() => [...document.querySelectorAll('button, select, input:not(.visually-hidden), textarea')]
  .filter((e) => e.checkVisibility({visibilityProperty: true}))
  .map((e) => [e.id || e.textContent.trim() || e.ariaLabel, e.getBoundingClientRect()])
  .filter(([, box]) => box.width < 44 || box.height < 44).map(([name, box]) => `${name} ${box.width}×${box.height}`)"""
EDGED = (
    "input:not([type=range], [type=checkbox], [type=file]), select, textarea,"
    "button.quiet:enabled:not(.timeline-tools *), .talk"
)
CONTRAST = """(selector) => {
  const of = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number)
    .map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (text) => { const [r, g, b] = of(text); return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05; };
  return [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility()).map((e) => {
    const style = getComputedStyle(e);
    const [a, b] = [light(style.borderTopColor), light(style.backgroundColor)];
    return [e.id || e.textContent.trim(), Math.max(a, b) / Math.min(a, b)];
  }).filter(([, ratio]) => ratio < 3);
}"""


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_everything_to_press_is_44_pixels(size: tuple[int, int]) -> None:
    async with running(StubServer()) as server, browser_page(size=size) as page:
        await page.goto(server.page)
        await say(page, "hello")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        for sheet, tabs in (("Session", ("Session", "Tools", "Audio")), ("Inspector", ("Turns", "Events"))):
            if size[0] < 1100:
                await page.get_by_role("button", name=sheet, exact=True).click()
            for tab in tabs:
                await page.get_by_role("tab", name=tab).click()
                assert await page.evaluate(SMALL) == []
            if size[0] < 1100:
                await page.keyboard.press("Escape")


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_nothing_is_wider_than_the_page(size: tuple[int, int]) -> None:
    async with running(StubServer(text="word " * 60 + "x" * 200)) as server, browser_page(size=size) as page:
        await page.goto(server.page)
        await say(page, "y" * 300)
        await page.locator(".entry.assistant", has_text="xxx").wait_for()
        assert await page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert await page.evaluate("document.querySelector('#conversation').scrollWidth") <= size[0]
        text = await page.get_by_label("Message").bounding_box()
        assert text and text["width"] > 200 and text["height"] >= 44


async def test_one_left_edge() -> None:
    async with running(StubServer()) as server, browser_page(size=(1024, 768)) as page:
        await page.goto(server.page)
        edges = (
            "['#microphone', '.mark', '.welcome'].map((s) => document.querySelector(s).getBoundingClientRect().left)"
        )
        assert await page.evaluate(edges) == [16, 16, 16]
        await say(page, "hello")
        await page.locator(".entry.assistant .bubble").wait_for()
        assert await page.evaluate("document.querySelector('.bubble').getBoundingClientRect().left") == 16


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_edges_of_controls_are_seen(theme: str) -> None:
    async with running(StubServer()) as server, browser_page(size=(1440, 900)) as page:
        await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        await page.goto(server.page)
        await page.locator("#field-voice").wait_for()
        assert await page.evaluate("document.documentElement.dataset.theme") == theme
        assert await page.evaluate(CONTRAST, EDGED) == []


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed (make test-clients)")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [SIZES[0], SIZES[2]], ids=str)
async def test_axe_finds_nothing_serious(size: tuple[int, int], theme: str) -> None:
    found: list[Any] = []
    source = await asyncio.to_thread(AXE.read_text)
    async with running(StubServer(call="get_weather")) as server, browser_page(size=size) as page:
        await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        await page.goto(server.page)
        await page.add_script_tag(content=source)

        async def check() -> None:
            await page.wait_for_timeout(250)  # a sheet slides in: colours between two states are no fault
            result = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            for fault in result["violations"]:
                if fault["impact"] in ("serious", "critical"):
                    found.append((fault["id"], [node["html"][:160] for node in fault["nodes"]]))

        await check()
        for sheet, tabs in (("Session", ("Session", "Tools", "Audio")), ("Inspector", ("Turns", "Events"))):
            if size[0] < 1100:
                await page.get_by_role("button", name=sheet, exact=True).click()
            for tab in tabs:
                await page.get_by_role("tab", name=tab).click()
                if tab == "Tools":
                    await page.get_by_role("button", name="Function").click()
                await check()
            if size[0] < 1100:
                await page.keyboard.press("Escape")
        await say(page, "how is the weather")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await check()
    assert found == []


async def test_a_conversation_by_keyboard_only() -> None:
    async with running(StubServer(chunks=60)) as server, browser_page() as page:
        await page.goto(server.page)
        await page.locator("#microphone:enabled").wait_for()

        async def tab_to(what: str) -> None:
            for _ in range(80):
                await page.keyboard.press("Tab")
                if await page.evaluate(f"document.activeElement.matches({what!r})"):
                    return
            raise AssertionError(f"{what} is not reached by the Tab key")

        await tab_to("#microphone")
        await page.keyboard.press("Enter")
        await in_phase(page, "listening")
        await page.keyboard.press("Space")
        await in_phase(page, "off")
        await tab_to("#text")
        await page.keyboard.type("hello")
        await page.keyboard.press("Enter")
        await in_phase(page, "speaking")
        await page.keyboard.press("Escape")
        await page.locator(".entry.assistant", has_text="cut off").wait_for()
        await tab_to("[role=tab][aria-selected=true]#inspector-tab-turns")
        await page.keyboard.press("ArrowRight")
        await tab_to("#event-list")
        await page.keyboard.press("End")
        await page.get_by_role("region", name="Chosen event").filter(has_text="type").wait_for()


async def test_a_sheet_takes_the_focus_and_gives_it_back() -> None:
    async with running(StubServer()) as server, browser_page(size=SIZES[0]) as page:
        await page.goto(server.page)
        opener = page.get_by_role("button", name="Session", exact=True)
        await opener.click()
        await page.wait_for_function("document.activeElement.ariaLabel === 'Close'")
        await page.keyboard.press("Escape")
        await page.wait_for_function("document.activeElement.ariaLabel === 'Session'")
        await page.wait_for_function("getComputedStyle(document.querySelector('#session')).visibility === 'hidden'")


async def test_two_tabs_hold_two_conversations() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        other = await page.context.new_page()
        for number, tab in enumerate((page, other)):
            await tab.goto(server.page)
            await say(tab, f"hello {number}")
            await tab.locator(".entry.assistant", has_text=server.text).wait_for()
        assert await page.locator(".entry.user").count() == await other.locator(".entry.user").count() == 1


THOUSAND_TURNS = """async (from) => {
  const { app } = await import('./src/main.js');
  for (let n = from; n < from + 1000; n += 1) {
    const message = {type: 'message', status: 'completed', content: [{text: `words of turn ${n}`}]};
    const reply = {response_id: `r${n}`, item_id: `a${n}`, content_index: 0};
    app.turns.sent('text', performance.now(), performance.now());
    app.receive({type: 'conversation.item.added', item: {...message, id: `u${n}`, role: 'user'}});
    app.receive({type: 'response.created', response: {id: `r${n}`}});
    app.receive({type: 'conversation.item.added', item: {...message, id: `a${n}`, role: 'assistant'}});
    app.receive({type: 'response.output_text.delta', ...reply, delta: ' and more'});
    app.receive({type: 'conversation.item.done', item: {...message, id: `a${n}`, role: 'assistant'}});
    app.receive({type: 'response.done', response: {id: `r${n}`, status: 'completed', output: [message]}});
    if (n % 100 === 0) await new Promise(requestAnimationFrame);
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
}"""
HEAP_BYTES_PER_TURN = 2_500
"""Words and times of a turn are kept, its events are not: these alone are twice that."""


async def test_a_thousand_turns_do_not_grow_the_page() -> None:
    async with running(StubServer(chunks=1)) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "hello")
        await page.locator(".entry.assistant").wait_for()
        inspector = await page.context.new_cdp_session(page)
        used = []
        for start in (0, 1000):  # the log of events is full after the first thousand
            await page.evaluate(THOUSAND_TURNS, start)
            await inspector.send("HeapProfiler.collectGarbage")
            used.append((await inspector.send("Runtime.getHeapUsage"))["usedSize"])
        await page.get_by_role("button", name="earlier entries").wait_for()
        assert await page.locator(".entry").count() <= 150
        assert await page.evaluate("document.querySelectorAll('*').length") < 2_500
    assert (used[1] - used[0]) / 1000 < HEAP_BYTES_PER_TURN, used
