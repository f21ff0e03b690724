"""What the model has said of one reply so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from realtime.ports.engine import TokenUsage
from realtime.protocol.responses import Usage


@dataclass(slots=True)
class ReplyProgress:
    """What the model has said so far. ``call_ids``: how many of the last ``ids`` are the calls'."""

    ids: list[int] = field(default_factory=list)
    audio_tokens: int = 0
    sent_samples: int = 0
    has_message: bool = False
    call_ids: int = 0
    usage: TokenUsage | None = None

    def counted(self) -> Usage:
        """The engine's count, or what was seen of it when the reply was cut off."""
        usage = self.usage or TokenUsage(output_text=len(self.ids) - self.audio_tokens, output_audio=self.audio_tokens)
        return Usage.count(
            input_text=usage.input_text,
            input_audio=usage.input_audio,
            cached_text=usage.cached_text,
            cached_audio=usage.cached_audio,
            output_text=usage.output_text,
            output_audio=usage.output_audio,
        )
