"""`@openai/agents-realtime` in a real Chromium, over its WebRTC transport: only the URL and the key are changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("aiortc")

from tests.client.browser import browser_page, microphone_file, needs_chromium
from tests.clients.conftest import HERE, Client, Servers

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

pytestmark = [pytest.mark.clients, needs_chromium]

AGENTS = Client("@openai/agents-realtime (JavaScript)", "drive_agents_realtime.mjs")
BUNDLE = HERE / "node_modules" / "@openai" / "agents-realtime" / "dist" / "bundle"

CONNECT = """
async () => {
  const {OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession} = await import('/agents/openai-realtime-agents.mjs');
  const secret = await fetch('/v1/realtime/client_secrets', {method: 'POST', body: '{}'});
  const apiKey = (await secret.json()).value;
  const seen = window.seen = {errors: [], events: [], interrupted: 0, answers: [], callId: ''};
  const audioElement = new Audio();
  audioElement.muted = true;
  const transport = new OpenAIRealtimeWebRTC({audioElement});
  const agent = new RealtimeAgent({name: 'assistant', instructions: 'Be brief.'});
  const session = window.session = new RealtimeSession(agent, {transport, model: 'gpt-realtime'});
  const told = (error) => JSON.stringify(error, Object.getOwnPropertyNames(error.error ?? error));
  session.on('error', (error) => seen.errors.push(told(error)));
  session.on('audio_interrupted', () => (seen.interrupted += 1));
  session.on('agent_end', (_context, _agent, output) => seen.answers.push(output));
  session.on('transport_event', (event) => seen.events.push(event.type));
  session.on('history_updated', (history) => {
    const spoken = history.find((item) => item.role === 'user' && item.content[0]?.type === 'input_audio');
    seen.heard = spoken?.content[0].transcript ?? seen.heard;
  });
  await session.connect({apiKey, url: location.origin + '/v1/realtime/calls'});
  seen.callId = transport.callId;
}
"""


async def serve_bundle(route: Route) -> None:
    path = BUNDLE / route.request.url.rpartition("/")[2]
    await route.fulfill(body=path.read_bytes(), content_type="text/javascript")


async def seen(page: Page, condition: str) -> None:
    """Wait until something holds of ``seen``."""
    await page.wait_for_function(f"(() => {{ const seen = window.seen; return {condition}; }})()", timeout=120_000)


async def test_an_agent_in_a_page_talks_and_is_interrupted(servers: Servers, tmp_path: Path) -> None:
    if not BUNDLE.is_dir():
        AGENTS.command()  # says why it is skipped
    server = servers.model(tls=False)
    microphone = microphone_file(tmp_path, "what_time_is_it_slt.wav", pause_s=100)
    async with browser_page(microphone) as page:
        await page.route("**/plain", lambda route: route.fulfill(body="<p>A page of the user's own</p>"))
        await page.route("**/agents/*", serve_bundle)
        await page.goto(f"{server.http}/plain")
        await page.evaluate(CONNECT)
        await seen(page, "seen.heard && seen.answers.length === 1")
        await seen(page, "seen.events.includes('output_audio_buffer.stopped')")
        assert (await page.evaluate("window.seen.callId")).startswith("rtc_")
        await page.evaluate("window.session.sendMessage('tell me a story')")
        await seen(page, "seen.events.filter((type) => type === 'output_audio_buffer.started').length === 2")
        await page.evaluate("window.session.interrupt()")
        await seen(page, "seen.events.includes('output_audio_buffer.cleared')")
        await page.evaluate("window.session.close()")
        told = await page.evaluate("window.seen")
    assert "time" in told["heard"].lower() and told["answers"][0]
    assert told["errors"] == [] and "error" not in told["events"]
    assert "response.output_audio.delta" not in told["events"]
