"""A line's audio: numbered pieces in order, ours in whole frames."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.audio.streams import AudioFormat, AudioReader
from realtime.transports.phone.dialects import MULAW_8K, PCM_16K
from realtime.transports.phone.line_audio import MAX_EARLY, ChunkOrder, LineWriter, silence
from realtime.transports.phone.messages import Media


def ordered(*numbers: int | None) -> list[bytes]:
    order = ChunkOrder(MULAW_8K)
    return [audio for number in numbers for audio in order.push(Media(bytes([number or 0]) * 160, number))]


def pieces(*numbers: int) -> list[bytes]:
    return [bytes([number]) * 160 for number in numbers]


def test_pieces_are_put_in_order() -> None:
    assert ordered(5, 7, 6, 8, 10, 9) == pieces(5, 6, 7, 8, 9, 10)


def test_a_lost_piece_becomes_silence() -> None:
    numbers = (1, *range(3, 4 + MAX_EARLY))
    assert ordered(*numbers) == [*pieces(1), silence(MULAW_8K, 160), *pieces(*numbers[1:])]


def test_late_and_repeated_pieces_are_dropped() -> None:
    assert ordered(1, 2, 2, 1, 3) == pieces(1, 2, 3)


def test_a_new_numbering_begins_anew() -> None:
    assert ordered(1, 2, 200, 201) == pieces(1, 2, 200, 201)


def test_unnumbered_pieces_pass() -> None:
    assert ordered(None, None) == pieces(0, 0)


@pytest.mark.parametrize("format", [MULAW_8K, AudioFormat("alaw", 8000), PCM_16K, AudioFormat("pcm16", 24_000)])
def test_speech_leaves_in_whole_frames(format: AudioFormat) -> None:
    frame = format.rate // 50 * format.sample_bytes
    samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000, dtype=np.float32) / 24_000, dtype=np.float32)
    writer = LineWriter(format, frame)
    parts = [writer.push(samples[at : at + 700], ends=False) for at in range(0, 24_000, 700)]
    parts.append(writer.push(samples[:0], ends=True))
    assert all(len(part) % frame == 0 for part in parts)
    heard = AudioReader(format, 24_000).push(b"".join(parts))
    length = 24_000 - 100
    assert np.corrcoef(heard[:length], samples[:length])[0, 1] > 0.99


def test_silence_decodes_to_zeros() -> None:
    for format in (MULAW_8K, PCM_16K):
        assert not AudioReader(format, format.rate).push(silence(format, 320)).any()
    assert np.abs(AudioReader(AudioFormat("alaw", 8000), 8000).push(silence(AudioFormat("alaw"), 320))).max() < 1e-3
