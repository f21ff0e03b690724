"""`audio_search`: find a clip of speech by its text, and speak the answer in its voice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from realtime.ports.tools import ServerTool, ToolResult
from realtime.tools.clip_index import Clip, ClipIndex, Hit
from realtime.tools.registry import BuiltinTool, ToolError, bounded, schema

VoiceOf = Callable[[Clip], str | None]
"""The vocoder's name of this clip's voice, which is enrolled first if necessary; None: that is not possible.
May take seconds, so it runs in a thread.
"""


def audio_search(index: ClipIndex, voice_of: VoiceOf) -> BuiltinTool:
    declaration = ServerTool(
        "audio_search",
        "Search recorded speech by what is said in it or who speaks. The answer can be spoken in the voice found.",
        schema(
            ["query"],
            query={"type": "string", "description": "Words that are said in the recording, or the speaker's name."},
            use_voice={"type": "boolean", "description": "Answer in the voice of the recording. Left out: yes."},
        ),
        read_only=True,
    )

    async def run(arguments: Mapping[str, Any]) -> ToolResult:
        query = str(arguments.get("query", "")).strip()
        if not query:
            raise ToolError("The argument query is empty.")
        hits = index.search(query)
        if not hits:
            return ToolResult(f"No recording was found for {query[:80]!r}.")
        voice = None
        if arguments.get("use_voice", True):
            voice = await asyncio.to_thread(voice_of, hits[0].clip)
        return ToolResult(bounded(_shown(hits, voice)), voice=voice)

    return BuiltinTool(declaration, run)


def _shown(hits: list[Hit], voice: str | None) -> str:
    found = [{"clip": hit.clip.name, "text": hit.clip.text, "score": round(hit.score, 2)} for hit in hits]
    said = "the answer is spoken in the voice of the first clip" if voice else "the voice stays as it is"
    return f"{json.dumps(found, ensure_ascii=False)} ({said})"
