"""What a client says of the speech to be written down, as words of the prompt.

Step-Audio 2 has one prompt for transcripts and no form for hints; it follows instructions, so they stand behind it. A
model that was trained on that one prompt alone is not told of them (`SessionConfig.transcription_hints`).
"""

from __future__ import annotations

from realtime.protocol.session_config import Transcription


def with_hints(prompt: str, asked: Transcription) -> str:
    """The prompt for one turn's transcript."""
    languages = asked.languages or ((asked.language,) if asked.language else ())
    lines = [prompt]
    if languages:
        lines.append(f"Language of the speech: {', '.join(languages)}.")
    if asked.keywords:
        lines.append(f"Words that may occur: {', '.join(asked.keywords)}.")
    if asked.prompt:
        lines.append(asked.prompt)
    return "\n".join(lines)
