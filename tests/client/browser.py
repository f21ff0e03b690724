"""A real Chromium whose microphone is a file, for the tests of the console."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from realtime.audio.streams import Resampler
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
needs_chromium = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

# Taps what the page sends to its loudspeaker (the loudest sample, its orders) and every track of a microphone.
LISTEN = """
window.loudest = 0;
window.told = [];
window.tracks = [];
const post = MessagePort.prototype.postMessage;
MessagePort.prototype.postMessage = function (message, ...rest) {
  if (['hold', 'release', 'stop'].includes(message?.kind)) window.told.push(message.kind);
  if (message?.kind === 'push') for (const sample of message.samples) window.loudest = Math.max(window.loudest, sample);
  return post.call(this, message, ...rest);
};
const devices = navigator.mediaDevices;
const open = devices?.getUserMedia.bind(devices);
if (devices) devices.getUserMedia = async (wanted) => {
  const stream = await open(wanted);
  window.tracks.push(...stream.getTracks());
  return stream;
};
"""


def microphone_file(folder: Path, *questions: str | Path, pause_s: float) -> Path:
    """Recordings one after the other and pauses, as the fake microphone wants them: PCM16 at 48 kHz. ``questions``:
    names in tests/data/speech, or paths."""
    parts = [np.zeros(24_000, np.float32)]
    for question in questions:
        samples, rate = soundfile.read(SPEECH / question, dtype="float32")
        resampler = Resampler(rate, 48_000)
        parts += [resampler.push(samples), resampler.flush(), np.zeros(int(48_000 * pause_s), np.float32)]
    path = folder / "microphone.wav"
    soundfile.write(path, np.concatenate(parts), 48_000, subtype="PCM_16")
    return path


@asynccontextmanager
async def browser_page(
    microphone: Path | None = None, *, allowed: bool = True, size: tuple[int, int] = (1280, 800)
) -> AsyncIterator[Page]:
    """A page with a fake microphone; None: it hears silence. ``allowed`` False: the person refuses it. No script error
    may pass."""
    from playwright.async_api import async_playwright

    args = ["--autoplay-policy=no-user-gesture-required", "--no-sandbox", "--disable-dev-shm-usage"]
    args.append("--allow-loopback-in-peer-connection")  # a machine may have no other network
    args.append("--use-fake-device-for-media-stream")
    args.append("--use-fake-ui-for-media-stream" if allowed else "--deny-permission-prompts")
    faults: list[str] = []
    async with async_playwright() as playwright:
        with tempfile.TemporaryDirectory() as folder:
            sound = microphone or microphone_file(Path(folder), pause_s=0)
            args.append(f"--use-file-for-fake-audio-capture={sound}%noloop")
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=args)
            context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, accept_downloads=True)
            page = await context.new_page()
            page.set_default_timeout(60_000)  # a limit, reached only by what never happens: test machines are busy
            page.on("pageerror", lambda error: faults.append(str(error)))
            await page.add_init_script(LISTEN)
            try:
                yield page
            finally:
                await browser.close()
    assert not faults


async def say(page: Page, text: str) -> None:
    """Type a message and send it with Enter."""
    await page.get_by_label("Message").fill(text)
    await page.keyboard.press("Enter")


async def in_phase(page: Page, phase: str) -> None:
    """Wait for the state at the microphone."""
    await page.locator(f"#dock .phase[data-phase={phase}]").wait_for()


async def connection_is(page: Page, state: str, timeout_ms: int = 60_000) -> None:
    await page.locator(f"#status[data-connection={state}]").wait_for(timeout=timeout_ms)
