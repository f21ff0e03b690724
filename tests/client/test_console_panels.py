"""The console's panels: the live session, turns, events, audio, files."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import TYPE_CHECKING

from tests.client.browser import browser_page, in_phase, microphone_file, needs_chromium, say
from tests.client.stub_server import StubServer, running

if TYPE_CHECKING:
    from playwright.async_api import Download, Page

pytestmark = needs_chromium


async def answered(page: Page, server: StubServer, text: str = "hello") -> None:
    await page.goto(server.page)
    await say(page, text)
    await page.locator(".entry.assistant", has_text=server.text).wait_for()
    await in_phase(page, "off")


async def downloaded(page: Page, button: str) -> Path:
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name=button, exact=True).click()
    download: Download = await waiting.value
    return Path(await download.path())


async def test_a_setting_is_sent_alone_and_shown_as_accepted() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await answered(page, server)
        server.received.clear()
        await page.get_by_label("Noise reduction").select_option("far_field")
        await page.get_by_label("Silence").fill("300")
        await page.get_by_label("Silence").press("Tab")
        await page.get_by_role("tab", name="Events").click()
        await page.locator(".event", has_text="session.updated").nth(2).wait_for()
        sent = [event["session"]["audio"]["input"] for event in server.received]
        assert sent == [
            {"noise_reduction": {"type": "far_field"}},
            {"turn_detection": {"silence_duration_ms": 300}},
        ]
        assert await page.get_by_label("Silence").input_value() == "300"


async def test_a_refused_setting_is_told_at_its_field() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await answered(page, server)
        await page.get_by_label("Speed").fill("1.5")
        await page.locator(".field", has=page.get_by_label("Speed")).get_by_text("Too fast for the stub.").wait_for()
        assert await page.get_by_label("Speed").input_value() == "1"
        assert await page.locator(".notice-text").count() == 0


async def test_a_setting_that_is_refused_at_the_start_leaves_the_others() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await page.get_by_label("Noise reduction").select_option("near_field")
        await page.get_by_label("Speed").fill("1.5")
        await say(page, "hello")
        await page.get_by_text("Too fast for the stub.").wait_for()
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        updates = [event["session"]["audio"] for event in server.received if event["type"] == "session.update"]
        assert [update.get("output") for update in updates] == [{"speed": 1.5}, None]
        assert updates[1]["input"]["noise_reduction"] == {"type": "near_field"}


async def test_a_schema_with_a_fault_is_told_and_not_sent() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await page.get_by_role("tab", name="Tools").click()
        await page.get_by_role("button", name="Function").click()
        schema = page.get_by_label("Parameters (JSON schema)")
        await schema.fill('{"type": "object", "required": ["city"]}')
        await schema.press("Tab")
        await page.get_by_text('"required" names city').wait_for()
        await say(page, "hello")
        await page.locator(".entry.assistant").wait_for()
        assert server.received[0]["session"]["tools"] == []


async def test_the_calculator_adds_to_the_operators_tools() -> None:
    tools = {"get_time": True, "web_search": False, "calculate": False}
    async with running(StubServer(tools=tools)) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "hello")
        await page.locator(".entry.assistant").wait_for()
        await page.get_by_role("tab", name="Tools").click()
        await page.get_by_label("calculate").uncheck()
        await page.get_by_label("web_search").check()
        named = [event["session"]["server_tools"] for event in server.received if event["type"] == "session.update"]
        assert named == [["get_time", "calculate"], ["get_time"], ["get_time", "web_search"]]
        server.tools = {"web_search": False, "calculate": False}
        server.received.clear()
        await page.reload()
        await say(page, "hello again")
        await page.locator(".entry.assistant").nth(1).wait_for()
        assert server.received[0]["session"]["server_tools"] == ["web_search"]


async def test_refused_tools_leave_the_other_settings() -> None:
    async with running(StubServer(tools={"calculate": False})) as server, browser_page() as page:
        await page.goto(server.page)
        await page.get_by_label("Noise reduction").select_option("near_field")
        server.refused = "session.server_tools"
        await say(page, "hello")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await page.get_by_role("tab", name="Tools").click()
        await page.get_by_text("The stub refuses session.server_tools.").wait_for()
        updates = [event["session"] for event in server.received if event["type"] == "session.update"]
        assert ["server_tools" in update for update in updates] == [True, False]
        assert updates[1]["audio"]["input"]["noise_reduction"] == {"type": "near_field"}


async def test_the_session_is_copied_as_code() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.goto(server.page)
        for language, sign in (
            ("Python", "AsyncOpenAI"),
            ("JavaScript", "new WebSocket"),
            ("JSON", '"session.update"'),
        ):
            await page.get_by_role("button", name=f"Copy as {language}").click()
            await page.get_by_text(f"{language} copied.").wait_for()
            assert sign in await page.evaluate("navigator.clipboard.readText()")


async def test_events_are_filtered_and_paused() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await answered(page, server)
        await page.get_by_role("tab", name="Events").click()
        await page.get_by_label("Filter by type or text").fill("response.done")
        await page.locator(".count", has_text="1 of").wait_for()
        await page.get_by_label("Filter by type or text").fill("")
        await page.get_by_label("Direction").select_option("out")
        await page.locator(".event", has_text="response.create").wait_for()
        assert await page.locator(".event", has_text="←").count() == 0
        await page.get_by_role("button", name="Pause").click()
        before = await page.locator(".count").text_content()
        await say(page, "again")
        await page.locator(".entry.assistant").nth(1).wait_for()
        assert (await page.locator(".count").text_content() or "").split()[0] == (before or "").split()[0]


async def test_a_raw_event_can_be_sent() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await answered(page, server)
        await page.get_by_role("tab", name="Events").click()
        await page.get_by_label("Event to send, as JSON").fill('{"type": "nonsense"}')
        await page.get_by_role("button", name="Send event").click()
        await page.get_by_role("alert").filter(has_text="unknown nonsense").wait_for()


async def test_a_thousand_events_are_few_elements() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await answered(page, server)
        await page.get_by_role("tab", name="Events").click()
        await page.get_by_label("Event to send, as JSON").fill('{"type": "nonsense"}')
        await page.evaluate("for (let n = 0; n < 500; n += 1) document.querySelector('.sender').requestSubmit()")
        await page.wait_for_function("Number(document.querySelector('.count').textContent.split(' ')[0]) > 1000")
        assert await page.locator(".event").count() < 60


async def test_a_session_is_downloaded_and_opened_again(tmp_path: Path) -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await answered(page, server)
        words = await page.locator(".bubble").all_text_contents()
        notes = await page.locator(".entry .meta").all_text_contents()
        lines = (await downloaded(page, "Events")).read_text()
        markdown = (await downloaded(page, "Text")).read_text()
        with wave.open(str(await downloaded(page, "Sound"))) as sound:
            assert (sound.getnchannels(), sound.getframerate()) == (2, 24_000)
            assert abs(sound.getnframes() - 12_000) < 100
        assert "**Assistant:** It is twelve o'clock. *(" in markdown
        types = [json.loads(line)["type"] for line in lines.splitlines()[1:]]
        assert types[0] == "session.created" and types[-1] == "response.done"
        saved = tmp_path / "session.jsonl"
        saved.write_text(lines)
        await page.get_by_role("button", name="New conversation").click()
        await page.locator(".entry").first.wait_for(state="detached")
        await page.locator("#import").set_input_files(saved)
        await page.get_by_text("This is a saved session.").wait_for()
        assert await page.locator(".bubble").all_text_contents() == words
        assert await page.locator(".entry .meta").all_text_contents() == notes
        await page.locator("#import").set_input_files({"name": "x", "mimeType": "text/plain", "buffer": b"hello"})
        await page.get_by_role("button", name="New conversation").click()
        await page.get_by_role("heading", name="Talk to").wait_for()


async def test_a_turn_is_heard_again_word_by_word() -> None:
    async with running(StubServer(chunks=15)) as server, browser_page() as page:
        await answered(page, server)
        await page.get_by_role("button", name="Hear again").click()
        await page.wait_for_function("document.querySelector('.assistant mark')?.textContent.includes('twelve')")
        await page.get_by_role("button", name="Hear again").wait_for()
        assert await page.locator("mark").count() == 0


async def test_held_space_talks_and_released_space_sends(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "what_time_is_it_slt.wav", pause_s=8)
    async with running(StubServer()) as server, browser_page(microphone) as page:
        await page.goto(server.page)
        await page.get_by_role("tab", name="Audio").click()
        await page.get_by_label("Hold to talk (space bar)").check()
        await page.locator("h1").click()
        await page.keyboard.down(" ")
        await in_phase(page, "hearing")
        await page.wait_for_function("document.querySelector('#meter-in').value > 0.3")
        await page.keyboard.up(" ")
        await page.locator(".entry.assistant", has_text=server.text).wait_for()
        await in_phase(page, "ready")
    assert server.received[0]["session"]["audio"]["input"]["turn_detection"] is None
    kinds = [kind for kind in server.types() if kind.startswith(("input", "response"))]
    assert kinds[-3:] == ["input_audio_buffer.append", "input_audio_buffer.commit", "response.create"]


async def test_volume_and_devices_are_kept() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await page.get_by_role("tab", name="Audio").click()
        await page.get_by_label("Volume").fill("0.4")
        await page.get_by_label("Echo cancellation").uncheck()
        await page.reload()
        await page.get_by_role("tab", name="Audio").click()
        assert await page.get_by_label("Volume").input_value() == "0.4"
        assert not await page.get_by_label("Echo cancellation").is_checked()


async def test_the_microphone_is_checked_before_talking(tmp_path: Path) -> None:
    microphone = microphone_file(tmp_path, "what_time_is_it_slt.wav", pause_s=0)
    for sound, words in ((microphone, "The microphone works"), (None, "The microphone delivers silence")):
        async with running(StubServer()) as server, browser_page(sound) as page:
            await page.goto(server.page)
            await page.get_by_role("button", name="Check the microphone").click()
            await page.get_by_role("alert").filter(has_text=words).wait_for()
            await in_phase(page, "off")
            assert await page.evaluate("window.tracks.every((track) => track.readyState === 'ended')")
        assert server.received == []
