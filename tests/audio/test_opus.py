"""Opus by libopus: round trips, concealment, in-band FEC, discontinuous transmission, hostile payloads."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.audio import opus
from realtime.audio.jitter_buffer import JitterBuffer, Missing, Packet
from realtime.audio.opus import OPUS_JITTER, OpusDecoder, OpusEncoder, packet_samples
from realtime.audio.streams import Resampler, Samples
from realtime.errors import AudioFormatError, ConfigError

SPEECH = Path(__file__).parents[2] / "realtime/commands/speech/what_is_two_plus_three.wav"


@pytest.fixture(scope="module")
def speech() -> Samples:
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    return Resampler(rate, 24_000).push(samples)


@pytest.fixture(scope="module")
def packets(speech: Samples) -> list[bytes]:
    return encode(speech, OpusEncoder(loss_percent=10))


def encode(samples: Samples, encoder: OpusEncoder) -> list[bytes]:
    size = encoder.frame_samples
    return [encoder.encode(samples[at : at + size]) for at in range(0, len(samples) - size + 1, size)]


def decode(packets: list[bytes], lose: Callable[[int], bool], fill: Callable[[OpusDecoder, bytes], Samples]) -> Samples:
    """All at 16 kHz; ``fill`` makes the 20 ms of a lost packet from the decoder and the packet behind it."""
    decoder, pieces = OpusDecoder(), []
    for number, packet in enumerate(packets[:-1]):
        pieces.append(fill(decoder, packets[number + 1]) if lose(number) else decoder.decode(packet))
    return np.concatenate(pieces)


def zeros(decoder: OpusDecoder, _: bytes) -> Samples:
    return np.zeros(320, np.float32)


def conceal(decoder: OpusDecoder, _: bytes) -> Samples:
    return decoder.conceal(960)


def recover(decoder: OpusDecoder, behind: bytes) -> Samples:
    return decoder.recover(behind, 960)


def distance_db(samples: Samples, reference: Samples) -> float:
    """Between the spectra of 32 ms windows, in 40 bands."""
    levels = []
    for signal in (samples, reference):
        windows = np.lib.stride_tricks.sliding_window_view(signal, 512)[::160] * np.hanning(512)
        power = np.square(np.abs(np.fft.rfft(windows)))[:, :240].reshape(len(windows), 40, 6).sum(axis=2)
        levels.append(10 * np.log10(power + 1e-4))
    return float(np.sqrt(np.mean(np.square(levels[0] - levels[1]))))


def test_speech_survives_a_round_trip(speech: Samples, packets: list[bytes]) -> None:
    decoder = OpusDecoder(24_000)
    heard = np.concatenate([decoder.decode(packet) for packet in packets])
    lags = np.fft.irfft(np.conj(np.fft.rfft(speech[: len(heard)], 65_536)) * np.fft.rfft(heard, 65_536))
    lag = int(lags.argmax())
    assert 0 < lag < 0.01 * 24_000
    assert lags[lag] / (np.linalg.norm(speech) * np.linalg.norm(heard)) > 0.9


def test_the_bitrate_is_kept(packets: list[bytes]) -> None:
    assert np.mean([len(packet) for packet in packets]) * 8 * 50 == pytest.approx(32_000, rel=0.1)


def test_losses_are_concealed_better_than_by_zeros(packets: list[bytes]) -> None:
    lost = {number for number in range(2, len(packets)) if random.Random(number).random() < 0.1}
    clean = decode(packets, lambda _: False, zeros)
    distances = [distance_db(decode(packets, lost.__contains__, fill), clean) for fill in (zeros, conceal, recover)]
    assert distances[1] < 0.8 * distances[0]
    assert distances[2] < 0.9 * distances[1]


def test_a_hole_is_as_long_as_it_was(packets: list[bytes]) -> None:
    decoder = OpusDecoder()
    decoder.decode(packets[20])
    assert sum(len(decoder.conceal(961)) for _ in range(300)) == 300 * 961 // 3
    assert len(decoder.recover(packets[24], 3 * 960)) == 3 * 320
    assert len(decoder.play(Missing(30 * 960, silent=True))) == 30 * 320


def test_a_long_hole_ends_in_silence(packets: list[bytes]) -> None:
    decoder = OpusDecoder()
    loudest = int(np.argmax([np.abs(decoder.decode(packet)).max() for packet in packets]))
    for packet in packets[: loudest + 1]:
        decoder.decode(packet)
    hole = decoder.conceal(10 * 960)
    assert np.abs(hole[:320]).max() > 0.1
    assert not hole[3 * 320 :].any()


def test_the_frames_of_a_jitter_buffer_are_played(packets: list[bytes]) -> None:
    buffer, decoder, heard = JitterBuffer(OPUS_JITTER), OpusDecoder(), []
    for number, packet in enumerate(packets):
        if number not in (10, 11, 30):
            buffer.push(number, number * 960, packet, number * 0.02)
        heard += [decoder.play(frame) for frame in buffer.pull(number * 0.02)]
    assert sum(map(len, heard)) == len(packets) * 320


def test_silence_is_hardly_sent_with_dtx() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-5, 24_000 * 3).astype(np.float32)
    sizes = [len(packet) for packet in encode(noise, OpusEncoder(dtx=True))]
    assert sum(size <= 2 for size in sizes) > 0.7 * len(sizes)
    assert min(len(packet) for packet in encode(noise, OpusEncoder())) > 2


def test_durations_are_those_of_libopus() -> None:
    count = opus._library().opus_packet_get_nb_samples
    count.argtypes = (ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32)
    for first in range(256):
        for second in (0, 1, 3, 0x86, 48, 63):
            packet = bytes((first, second, 0, 0))
            assert packet_samples(packet) == max(0, count(packet, len(packet), 48_000))
    assert packet_samples(b"") == 0


@given(st.binary(max_size=200), st.integers(1, 5000))
@settings(max_examples=100, deadline=None)
def test_hostile_payloads_keep_their_length(payload: bytes, samples: int) -> None:
    decoder = OpusDecoder(48_000)
    assert len(decoder.decode(payload)) == (packet_samples(payload) or 960)
    assert len(decoder.recover(payload, samples)) == samples
    assert all(np.isfinite(decoder.play(Packet(payload, 0))))


def test_wrong_lengths_and_rates_are_refused() -> None:
    with pytest.raises(AudioFormatError, match="give 480"):
        OpusEncoder().encode(np.zeros(479, np.float32))
    with pytest.raises(AudioFormatError, match="44100 Hz: the rates are 8000"):
        OpusDecoder(44_100)


def test_a_system_without_libopus_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def candidates() -> Iterator[str]:
        yield "/nonexistent/libopus.so"

    monkeypatch.setattr(opus, "_candidates", candidates)
    opus._library.cache_clear()
    with pytest.raises(ConfigError, match="install PyAV from its wheel"):
        OpusDecoder()
    opus._library.cache_clear()
