"""Faults that the console had once: each test failed before its repair."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.client.browser import browser_page, connection_is, in_phase, microphone_file, needs_chromium, say
from tests.client.stub_server import StubServer, running

pytestmark = needs_chromium

LONG = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen"
LIVE = "window.tracks.filter((track) => track.readyState === 'live').length"


def created(server: StubServer, role: str) -> list[str]:
    """Texts of the items that the page gave to the server."""
    items = [event["item"] for event in server.received if event["type"] == "conversation.item.create"]
    return [item["content"][0]["text"] for item in items if item.get("role") == role]


async def test_two_quick_clicks_leave_no_live_track() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await connection_is(page, "ready")
        await page.evaluate("for (let n = 0; n < 2; n += 1) document.querySelector('#microphone').click()")
        await in_phase(page, "off")
        await page.wait_for_function(f"{LIVE} === 0")
        await page.evaluate("for (let n = 0; n < 3; n += 1) document.querySelector('#microphone').click()")
        await in_phase(page, "listening")
        assert await page.evaluate(LIVE) == 1
        await page.evaluate("document.querySelector('#microphone').click()")
        await in_phase(page, "off")
        assert await page.evaluate(LIVE) == 0
        appended = len(server.received)
        await asyncio.sleep(0.3)
        assert len(server.received) == appended


async def test_a_full_server_is_told_as_full_and_the_text_is_kept() -> None:
    async with running(StubServer(full=True)) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "hello")
        await page.get_by_role("alert").filter(has_text="all sessions are taken").wait_for()
        assert await page.get_by_label("Message").input_value() == "hello"
        server.full = False
        await page.get_by_label("Message").press("Enter")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        assert await page.get_by_label("Message").input_value() == ""


async def test_a_microphone_switched_off_while_a_reply_is_held_is_not_hearing(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "hello_slt.wav", "what_time_is_it_slt.wav", pause_s=1.5)
    async with running(StubServer(chunks=60, doubts=True)) as server, browser_page(microphone) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await in_phase(page, "held")
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await in_phase(page, "speaking")
        await in_phase(page, "off")


async def test_a_microphone_that_is_off_is_grey_and_says_so() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "hello")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await in_phase(page, "off")
        assert await page.locator(".phase strong").text_content() == "Microphone off"
        red, green, blue = await page.evaluate(
            "getComputedStyle(document.querySelector('#microphone')).color.match(/\\d+/g).slice(0, 3).map(Number)"
        )
        assert max(red, green, blue) - min(red, green, blue) < 40


async def test_stop_and_send_have_places_of_their_own_and_keep_them() -> None:
    async with running(StubServer(chunks=80)) as server, browser_page() as page:
        await page.goto(server.page)
        await connection_is(page, "ready")
        places = """['stop', 'send', 'microphone', 'text'].map(
          (id) => JSON.stringify(document.getElementById(id).getBoundingClientRect()))"""
        before: list[Any] = await page.evaluate(places)
        await say(page, "count")
        await in_phase(page, "speaking")
        assert await page.evaluate(places) == before
        await page.get_by_role("button", name="Stop").click()
        await in_phase(page, "off")
        assert await page.evaluate(places) == before


async def test_the_focus_stays_in_the_field_after_a_message() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        for text in ("hello", "again"):
            await say(page, text)
            await page.locator(".entry.user", has_text=text).wait_for()
            assert await page.evaluate("document.activeElement.id") == "text"


async def test_a_lost_connection_is_made_again_with_the_conversation() -> None:
    async with running(StubServer(chunks=4)) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "what time is it")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await in_phase(page, "off")
        server.chunks, server.text = 200, LONG
        await say(page, "count")
        await in_phase(page, "speaking")
        server.received.clear()
        await server.drop_all()
        await page.locator(".divider", has_text="The new session knows the conversation above").wait_for()
        await page.locator(".entry.assistant", has_text="incomplete: connection lost").wait_for()
        await connection_is(page, "open")
        assert created(server, "user") == ["what time is it", "count"]
        assert created(server, "assistant")[0] == "It is twelve o'clock."
        assert await page.locator(".entry.user").count() == 2
        server.chunks, server.text = 2, "Still here."
        await say(page, "are you there")
        await page.locator(".entry.assistant", has_text="Still here.").wait_for()


async def test_a_server_that_was_restarted_is_found_again() -> None:
    stub = StubServer()
    async with browser_page() as page:
        async with running(stub):
            await page.goto(stub.page)
            await say(page, "what time is it")
            await page.locator(".entry.assistant", has_text=stub.text).wait_for()
        await connection_is(page, "reconnecting")
        async with running(stub):
            await connection_is(page, "open")
            await page.locator(".divider", has_text="knows the conversation").wait_for()


async def test_a_session_the_operator_ended_stays_ended() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "what time is it")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await server.end_all("ended_by_operator")
        await connection_is(page, "closed")
        await asyncio.sleep(1.0)  # the first attempts to reconnect would come within this
        assert not server.sockets


async def test_a_reload_keeps_the_conversation() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "what time is it")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await in_phase(page, "off")
        server.received.clear()
        await page.reload()
        await page.locator(".entry.user", has_text="what time is it").wait_for()
        await page.locator(".divider", has_text="Page loaded again").wait_for()
        await say(page, "and now")
        await page.locator(".entry.assistant").nth(1).wait_for()
        assert created(server, "user") == ["what time is it", "and now"]


async def test_latency_counts_from_the_last_voiced_sample(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "what_time_is_it_slt.wav", pause_s=8)
    async with running(StubServer()) as server, browser_page(microphone) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await page.locator(".entry.assistant", has_text="ms after your last word").wait_for()
        await in_phase(page, "listening")
        note = await page.locator(".entry.assistant .meta").text_content() or ""
        # The stub waits for 300 ms of silence before it ends the turn.
        assert int(note.split(" ms")[0]) > 300
        await page.locator(".waterfall", has_text="End of turn decided").wait_for()


async def test_words_that_nobody_heard_are_struck() -> None:
    async with running(StubServer(text=LONG, chunks=100)) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "count")
        await in_phase(page, "speaking")
        await asyncio.sleep(0.6)
        await page.keyboard.press("Escape")
        struck = page.locator(".entry.assistant s")
        await struck.wait_for()
        heard = await page.locator(".entry.assistant p").evaluate(
            "(p) => p.firstChild.nextSibling.textContent || p.textContent"
        )
        assert (await struck.text_content() or "").strip() not in heard


async def test_a_tool_call_is_a_card_that_is_answered_by_hand() -> None:
    async with running(StubServer(call="get_weather")) as server, browser_page() as page:
        await page.goto(server.page)
        await page.get_by_role("tab", name="Tools").click()
        await page.get_by_role("button", name="Function").click()
        await page.get_by_label("Saved answer").fill("")
        await page.get_by_label("Saved answer").press("Tab")
        await say(page, "how is the weather in paris")
        card = page.locator(".card", has_text="get_weather")
        await card.get_by_text("Paris").wait_for()
        await card.get_by_label("Result of get_weather").fill("21 degrees")
        await page.keyboard.press("Enter")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await card.get_by_text("21 degrees").wait_for()
    (output,) = (e["item"] for e in server.received if e.get("item", {}).get("type") == "function_call_output")
    assert (output["call_id"], output["output"]) == ("call_1", "21 degrees")


async def test_a_saved_answer_is_given_at_once() -> None:
    async with running(StubServer(call="get_weather")) as server, browser_page() as page:
        await page.goto(server.page)
        await page.get_by_role("tab", name="Tools").click()
        await page.get_by_role("button", name="Function").click()
        await say(page, "how is the weather in paris")
        await page.locator(".card", has_text="21 degrees and sunny").wait_for()
        await page.locator(".entry.assistant", has_text=server.text).wait_for()


async def test_a_new_conversation_is_a_new_session() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "hello")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await page.get_by_role("button", name="New conversation").click()
        await page.get_by_role("heading", name="Talk to").wait_for()
        assert await page.locator(".entry").count() == 0
        server.received.clear()
        await say(page, "hello again")
        await page.locator(".entry.assistant").wait_for()
        assert created(server, "user") == ["hello again"]


async def test_an_item_can_be_deleted() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "hello")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await page.locator(".entry.user .meta").click()
        await page.get_by_role("button", name="Delete item").click()
        await page.locator(".entry.user").wait_for(state="detached")
    assert "conversation.item.delete" in server.types()


async def test_events_are_beside_the_conversation_in_order_of_time() -> None:
    async with running(StubServer()) as server, browser_page(size=(1440, 900)) as page:
        await page.goto(server.page)
        await say(page, "hello")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await in_phase(page, "off")
        await page.get_by_role("tab", name="Events").click()
        rows = page.locator(".event")
        await rows.filter(has_text="session.created").wait_for()
        times = [float(text) for text in await page.locator(".event time").all_text_contents()]
        assert times == sorted(times)
        assert await page.locator(".entry.assistant").is_visible()
        await rows.filter(has_text="response.done").click()
        await page.get_by_role("region", name="Chosen event").filter(has_text='"status": "completed"').wait_for()


async def test_an_alert_is_beside_what_it_is_about() -> None:
    async with running(StubServer()) as server, browser_page(allowed=False) as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await page.locator(".notice-text").wait_for()
        notice = await page.locator("#notice").bounding_box()
        dock = await page.locator("#dock").bounding_box()
        assert notice and dock and abs(notice["y"] + notice["height"] - dock["y"]) < 2
        await page.get_by_role("button", name="Dismiss").click()
        await page.locator(".notice-text").wait_for(state="detached")


async def test_only_finished_sentences_are_announced() -> None:
    async with running(StubServer(chunks=20)) as server, browser_page() as page:
        await page.goto(server.page)
        await page.evaluate("""() => {
          window.announced = [];
          const region = document.getElementById('announcer');
          const told = () => window.announced.push([region.textContent, document.documentElement.dataset.phase]);
          new MutationObserver(told).observe(region, {childList: true, characterData: true, subtree: true});
        }""")
        await say(page, "hello")
        await page.wait_for_function("window.announced.length > 0")
        assert await page.evaluate("window.announced") == [[server.text, "off"]]
        assert await page.locator("[aria-live]").count() == 1


async def test_every_bubble_names_its_speaker() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "hello")
        await page.get_by_role("listitem").filter(has_text="You said:").wait_for()
        await page.get_by_role("listitem").filter(has_text="The assistant said:").wait_for()


async def test_a_microphone_that_delivers_nothing_is_told(tmp_path: Path) -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await page.get_by_role("button", name="Microphone", exact=True).click()
        await in_phase(page, "listening")
        await page.evaluate("for (const track of window.tracks) track.dispatchEvent(new Event('mute'))")
        await page.get_by_role("alert").filter(has_text="Nothing arrives from the microphone").wait_for()
