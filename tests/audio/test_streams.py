"""Sample formats, rates and frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.audio import g711 as audio_g711
from realtime.audio.streams import (
    AudioFormat,
    AudioReader,
    AudioWriter,
    Encoding,
    Framer,
    Resampler,
    float_to_pcm16,
    pcm16_to_float,
)
from realtime.errors import AudioFormatError


def sine(rate: int, hz: float = 440.0, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def pieces(data: np.ndarray, size: int) -> list[np.ndarray]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.lists(st.integers(-32768, 32767)))
def test_pcm16_survives_the_way_through_float(values: list[int]) -> None:
    data = np.array(values, "<i2").tobytes()
    assert float_to_pcm16(pcm16_to_float(data)) == data


def test_samples_beyond_full_scale_are_clipped_not_wrapped() -> None:
    loud = np.array([1.5, -1.5, 1.0], np.float32)
    assert np.frombuffer(float_to_pcm16(loud), "<i2").tolist() == [32767, -32768, 32767]


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(AudioFormatError, match="3 bytes"):
        pcm16_to_float(b"abc")


@given(st.binary(min_size=0, max_size=60), st.integers(1, 7))
def test_a_split_sample_is_joined(data: bytes, size: int) -> None:
    reader = AudioReader(AudioFormat("pcm16", 16_000), 16_000)
    parts = [reader.push(data[start : start + size]) for start in range(0, len(data), size)]
    whole = pcm16_to_float(data[: len(data) // 2 * 2])
    assert np.array_equal(np.concatenate([*parts, np.zeros(0, np.float32)]), whole)


@pytest.mark.parametrize(("source", "target"), [(24_000, 16_000), (8_000, 16_000), (24_000, 8_000), (24_000, 16_000)])
@pytest.mark.parametrize("size", [1, 160, 479, 24_000])
def test_resampling_in_pieces_equals_resampling_the_whole(source: int, target: int, size: int) -> None:
    samples = sine(source, seconds=0.25)
    stream, once = Resampler(source, target), Resampler(source, target)
    in_pieces = np.concatenate([*map(stream.push, pieces(samples, size)), stream.flush()])
    whole = np.concatenate([once.push(samples), once.flush()])
    assert np.array_equal(in_pieces, whole)
    assert len(whole) == len(samples) * target // source


@pytest.mark.parametrize(("source", "target"), [(24_000, 16_000), (8_000, 16_000), (24_000, 8_000)])
def test_resampling_keeps_a_tone_in_place(source: int, target: int) -> None:
    resampler = Resampler(source, target)
    out = np.concatenate([resampler.push(sine(source)), resampler.flush()])
    middle = slice(target // 10, -target // 10)
    assert np.abs(out - sine(target))[middle].max() < 0.01


def test_resampling_holds_back_two_milliseconds_at_most() -> None:
    resampler = Resampler(24_000, 16_000)
    assert len(resampler.push(sine(24_000, seconds=0.02))) >= 320 - 32


def test_a_flushed_resampler_begins_a_new_stream() -> None:
    resampler, fresh = Resampler(24_000, 16_000), Resampler(24_000, 16_000)
    resampler.push(sine(24_000))
    resampler.flush()
    assert np.array_equal(resampler.push(sine(24_000)), fresh.push(sine(24_000)))


def test_resamplers_start_no_threads() -> None:
    def thread_count() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    before = thread_count()
    resamplers = [Resampler(24_000, 16_000) for _ in range(8)]
    for resampler in resamplers:
        resampler.push(sine(24_000, seconds=0.1))
    assert thread_count() == before


def test_rates_must_be_positive() -> None:
    with pytest.raises(AudioFormatError, match="0 Hz"):
        Resampler(0, 16_000)


@pytest.mark.parametrize("encoding", ["pcm16", "mulaw", "alaw"])
def test_writer_and_reader_are_inverse_up_to_quantization(encoding: Encoding) -> None:
    format = AudioFormat(encoding, 8_000)
    writer, reader = AudioWriter(format, 8_000), AudioReader(format, 8_000)
    assert np.abs(reader.push(writer.push(sine(8_000))) - sine(8_000)).max() < 0.02


def test_an_8_khz_writer_gives_a_third() -> None:
    writer = AudioWriter(AudioFormat("mulaw", 8_000), 24_000)
    assert len(writer.push(sine(24_000)) + writer.flush()) == 8_000


def test_g711_decodes_the_values_of_the_standard() -> None:
    # ITU-T G.711: the ends of both scales and their smallest steps, in 16 bits.
    assert audio_g711.mulaw_to_pcm16(bytes([0x00, 0x80, 0xFF, 0x7F, 0xFE])).tolist() == [
        -32124,
        32124,
        0,
        0,
        8,
    ]
    assert audio_g711.alaw_to_pcm16(bytes([0x2A, 0xAA, 0xD5, 0x55])).tolist() == [-32256, 32256, 8, -8]


def test_g711_codes_survive_decoding_and_encoding() -> None:
    codes = bytes(range(256))
    assert audio_g711.pcm16_to_alaw(audio_g711.alaw_to_pcm16(codes)) == codes
    negative_zero = codes.index(0x7F)
    again = audio_g711.pcm16_to_mulaw(audio_g711.mulaw_to_pcm16(codes))
    assert [i for i in range(256) if again[i] != codes[i]] == [negative_zero]


@given(st.integers(-32768, 32767))
def test_g711_takes_the_nearest_value(value: int) -> None:
    sample = np.array([value], np.int16)
    decoded = audio_g711.mulaw_to_pcm16(bytes(range(256))).astype(int)
    error = abs(int(audio_g711.mulaw_to_pcm16(audio_g711.pcm16_to_mulaw(sample))[0]) - value)
    assert error == np.abs(decoded - value).min()


@given(st.lists(st.integers(0, 1500), max_size=8))
def test_frames_hold_every_sample_once_in_order(sizes: list[int]) -> None:
    framer, total = Framer(512), sum(sizes)
    samples = np.arange(total, dtype=np.float32)
    cuts = np.cumsum([0, *sizes])
    frames = [framer.push(samples[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
    out = np.concatenate([*frames, np.zeros((0, 512), np.float32)]).ravel()
    assert np.array_equal(out, samples[: total // 512 * 512])
    assert framer.pending == total % 512


def test_durations_count_samples_of_the_format() -> None:
    assert AudioFormat("pcm16", 24_000).duration_ms(48_000) == 1_000
    assert AudioFormat("mulaw", 8_000).duration_ms(800) == 100
