"""What the console costs and how quickly it reacts; approvals; Firefox."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.client.browser import browser_page, in_phase, needs_chromium, say
from tests.client.stub_server import StubServer, running

FIREFOX = shutil.which("firefox-esr")

# Milliseconds from the arrival of the event until the last loud sample left the page.
BARGE_IN = """async () => {
  const { app } = await import('./src/main.js');
  const analyser = new AnalyserNode(app.player.context, { fftSize: 4096 });
  app.player.gain.connect(analyser);
  await new Promise((resolve) => setTimeout(resolve, 400));
  const samples = new Float32Array(4096);
  analyser.getFloatTimeDomainData(samples);
  const before = Math.max(...samples);
  app.state.microphone = 'on';
  const began = performance.now();
  app.receive({type: 'input_audio_buffer.speech_started', item_id: 'u9', audio_start_ms: 0});
  await new Promise((resolve) => setTimeout(resolve, 140));
  const waited = performance.now() - began;
  analyser.getFloatTimeDomainData(samples);
  return [before, waited - (samples.length - 1 - samples.findLastIndex((value) => Math.abs(value) > 0.005)) / 24];
}"""

# Milliseconds for a frame of the timeline with an hour behind it, and without.
HOUR = """async () => {
  const { app, page } = await import('./src/main.js');
  const cost = () => {
    const began = performance.now();
    for (let n = 0; n < 50; n += 1) page.timeline.draw();
    return (performance.now() - began) / 50;
  };
  const draw = cost();
  app.track.origin -= 3_600_000;
  for (let at = app.track.origin; at < performance.now(); at += 20) app.track.put('user', at, Math.random());
  for (let n = 0; n < 4_000; n += 1) app.track.mark('decided', app.track.origin + 900 * n, 'end of turn');
  return [draw, cost()];
}"""


@needs_chromium
async def test_barge_in_silences_the_page_within_40_ms() -> None:
    async with running(StubServer(chunks=200)) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "count")
        await in_phase(page, "speaking")
        before, after_ms = await page.evaluate(BARGE_IN)
    assert before > 0.05
    assert after_ms < 40


@needs_chromium
async def test_a_frame_of_the_timeline_costs_the_same_after_an_hour() -> None:
    async with running(StubServer()) as server, browser_page(size=(1440, 900)) as page:
        await page.goto(server.page)
        await page.locator("#timeline-canvas").wait_for()
        _fresh_ms, hour_ms = await page.evaluate(HOUR)
    assert hour_ms < 8  # half of a frame at 60 a second


@needs_chromium
async def test_a_call_of_an_mcp_server_is_approved_by_a_button() -> None:
    async with running(StubServer()) as server, browser_page() as page:
        await page.goto(server.page)
        await say(page, "hello")
        await page.locator(".entry.assistant").wait_for()
        await page.evaluate("""async () => {
          const { app } = await import('./src/main.js');
          const request = {type: 'mcp_approval_request', server_label: 'docs', name: 'search', arguments: '{"q": "x"}'};
          for (const id of ['m1', 'm2']) app.receive({type: 'conversation.item.added', item: {id, ...request}});
        }""")
        await page.get_by_role("button", name="Approve").first.click()
        await page.get_by_role("button", name="Refuse").click()
        await page.locator(".card", has_text="docs: search").filter(has_text="refused").wait_for()
    items = [event["item"] for event in server.received if event["type"] == "conversation.item.create"][1:]
    assert [(item["approval_request_id"], item["approve"]) for item in items] == [("m1", True), ("m2", False)]


@pytest.mark.skipif(FIREFOX is None, reason="firefox-esr is not installed (Debian)")
async def test_firefox_loads_connects_and_types(tmp_path: Path) -> None:
    async with running(StubServer()) as server, firefox(tmp_path) as evaluate:
        await evaluate(f"location.href = {server.page!r}; 0")
        await until(evaluate, "document.querySelector('#status')?.dataset.connection === 'ready'")
        await evaluate("document.querySelector('#text').value = 'what time is it'; 0")
        await evaluate("document.querySelector('#composer').requestSubmit(); 0")
        await until(evaluate, f"document.querySelector('.entry.assistant')?.textContent.includes({server.text!r})")


async def until(evaluate: Any, condition: str) -> None:
    async with asyncio.timeout(60):
        while not await evaluate(f"Boolean({condition})"):
            await asyncio.sleep(0.2)


@asynccontextmanager
async def firefox(profile: Path) -> AsyncIterator[Any]:
    """Gives a function that evaluates a script in Firefox's page, over WebDriver BiDi."""
    assert FIREFOX is not None
    arguments = ["--headless", "--profile", str(profile), "--remote-debugging-port", "0"]
    process = await asyncio.create_subprocess_exec(
        FIREFOX, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while not (found := re.search(rb"BiDi listening on (\S+)", await process.stderr.readline())):
                pass
        numbers = itertools.count(1)
        async with connect(f"{found[1].decode()}/session", max_size=None) as socket:

            async def command(method: str, **params: Any) -> Any:
                number = next(numbers)
                await socket.send(json.dumps({"id": number, "method": method, "params": params}))
                while (answer := json.loads(await socket.recv())).get("id") != number:
                    pass
                return answer["result"]

            await command("session.new", capabilities={})
            context = (await command("browsingContext.getTree"))["contexts"][0]["context"]

            async def evaluate(script: str) -> Any:
                target = {"context": context}
                answer = await command("script.evaluate", expression=script, target=target, awaitPromise=False)
                return answer.get("result", {}).get("value")

            yield evaluate
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
