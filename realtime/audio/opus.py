"""Opus with packet-loss concealment and in-band FEC: libopus through ctypes.

PyAV decodes Opus but has no call for a lost packet. Its wheel contains libopus (1.6 in PyAV 18), which conceals and
reads FEC, so that is called directly; a system's libopus serves where PyAV has none. The interpreter lock is released
while it works.

RTP counts Opus in samples at 48 kHz whatever its bandwidth (RFC 7587), and so do ``samples`` of a hole here.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import weakref
from collections.abc import Iterator
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_void_p
from functools import cache
from pathlib import Path

import av
import numpy as np

from realtime.audio.jitter_buffer import Frame, JitterSettings, Missing
from realtime.audio.streams import Samples
from realtime.errors import AudioFormatError, ConfigError

RTP_RATE = 48_000
FRAME_SAMPLES = 960
"""20 ms."""
MAX_PAYLOAD = 1275 * 6 + 13
"""120 ms of frames of the largest size, with their lengths."""

_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_UNIT = RTP_RATE // 400  # the library conceals whole multiples of 2.5 ms
_MAX_PACKET = 120 * RTP_RATE // 1000
_CONCEALED = 60 * RTP_RATE // 1000
"""A longer hole goes on as silence. libopus itself fades more slowly, and a vowel held so long counts as said."""

_VOIP = 2048  # the constants of opus_defines.h
_SET_BITRATE, _SET_COMPLEXITY, _SET_INBAND_FEC, _SET_PACKET_LOSS, _SET_DTX = 4002, 4010, 4012, 4014, 4016
_RESET_STATE = 4028
_SILK_MS, _HYBRID_MS, _CELT_MS = (10, 20, 40, 60), (10, 20), (2.5, 5, 10, 20)


def packet_samples(payload: bytes) -> int:
    """The duration of a packet in samples at 48 kHz, from its first bytes (RFC 6716, 3.1); 0: it is no Opus packet."""
    if not payload or len(payload) > MAX_PAYLOAD:
        return 0
    config, code = payload[0] >> 3, payload[0] & 3
    if config < 12:
        frame_ms: float = _SILK_MS[config % 4]
    elif config < 16:
        frame_ms = _HYBRID_MS[config % 2]
    else:
        frame_ms = _CELT_MS[config % 4]
    if code < 3:
        count = 1 if code == 0 else 2
    else:
        count = payload[1] & 0x3F if len(payload) > 1 else 0
    samples = int(frame_ms * RTP_RATE / 1000) * count
    return samples if samples <= _MAX_PACKET else 0


OPUS_JITTER = JitterSettings(clock_rate=RTP_RATE, frame_samples=FRAME_SAMPLES, duration=packet_samples)
"""The jitter buffer of an Opus stream."""


class OpusDecoder:
    """One stream of packets -> float32 mono at ``rate`` (8, 12, 16, 24 or 48 kHz); stereo is mixed down.

    One thread at a time. A packet that libopus refuses counts as lost.
    """

    def __init__(self, rate: int = 16_000) -> None:
        """Raises `AudioFormatError` for another rate, `ConfigError` where no libopus is found."""
        _check_rate(rate)
        self._rate = rate
        self._library = _library()
        error = c_int()
        self._state = self._library.opus_decoder_create(rate, 1, ctypes.byref(error))
        _check(error.value, "opus_decoder_create")
        weakref.finalize(self, self._library.opus_decoder_destroy, self._state)
        self._remainder = 0  # of holes, in samples at 48 kHz times the rate

    def play(self, frame: Frame) -> Samples:
        """What a frame of the jitter buffer sounds like."""
        if not isinstance(frame, Missing):
            return self.decode(frame.payload)
        if frame.silent:
            return np.zeros(self._length(frame.samples), np.float32)
        if frame.next_payload is not None:
            return self.recover(frame.next_payload, frame.samples)
        return self.conceal(frame.samples)

    def decode(self, payload: bytes) -> Samples:
        """The samples of a packet."""
        samples = packet_samples(payload)
        if not samples:
            return self.conceal(FRAME_SAMPLES)
        decoded = self._call(payload, samples, fec=False)
        return self.conceal(samples) if decoded is None else decoded

    def conceal(self, samples: int) -> Samples:
        """For a hole of so many samples at 48 kHz: the sound goes on and fades."""
        pieces, left = [], min(samples, _CONCEALED)
        while left >= _UNIT:
            piece = self._call(None, min(left - left % _UNIT, FRAME_SAMPLES), fec=False)
            if piece is None:
                break
            pieces.append(piece)
            left -= FRAME_SAMPLES
        sound = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        if samples > _CONCEALED:
            sound *= np.linspace(1, 0, len(sound), dtype=np.float32)
        hole = np.zeros(self._length(samples), np.float32)
        hole[: len(sound)] = sound[: len(hole)]
        return hole

    def recover(self, next_payload: bytes, samples: int) -> Samples:
        """As `conceal`, with the copy of the hole's end that the packet behind it may hold. Then decode that packet."""
        copied = min(packet_samples(next_payload), samples) // _UNIT * _UNIT
        copy = None
        before = self.conceal(samples - copied)
        if copied:
            copy = self._call(next_payload, copied, fec=True)
        return np.concatenate((before, self.conceal(copied) if copy is None else copy))

    def _length(self, samples: int) -> int:
        """Samples at 48 kHz -> at ``rate``; what does not divide is carried over, so that audio time stays true."""
        count, self._remainder = divmod(samples * self._rate + self._remainder, RTP_RATE)
        return count

    def _call(self, payload: bytes | None, samples: int, *, fec: bool) -> Samples | None:
        """``samples`` at 48 kHz of a packet, of the copy in it (``fec``), or of nothing; None: libopus refuses."""
        out = np.empty(samples * self._rate // RTP_RATE, np.float32)
        size = 0 if payload is None else len(payload)
        count = self._library.opus_decode_float(
            self._state, payload, size, out.ctypes.data_as(POINTER(c_float)), len(out), int(fec)
        )
        return out[:count] if count >= 0 else None


class OpusEncoder:
    """One stream of 20 ms frames, float32 mono at ``rate`` -> packets for speech, with in-band FEC.

    ``bitrate`` in bits a second. ``loss_percent``: the loss to expect; the copies that FEC adds grow with it, and at 0
    there are none. ``dtx``: of silence, only every 20th packet has more than 2 bytes. ``complexity``: 0 to 10.
    """

    def __init__(
        self,
        rate: int = 24_000,
        *,
        bitrate: int = 32_000,
        fec: bool = True,
        loss_percent: int = 10,
        dtx: bool = False,
        complexity: int = 5,
    ) -> None:
        """Raises `AudioFormatError` for another rate, `ConfigError` where no libopus is found."""
        _check_rate(rate)
        self.frame_samples = rate // 50
        self._library = _library()
        error = c_int()
        self._state = self._library.opus_encoder_create(rate, 1, _VOIP, ctypes.byref(error))
        _check(error.value, "opus_encoder_create")
        weakref.finalize(self, self._library.opus_encoder_destroy, self._state)
        self._packet = ctypes.create_string_buffer(MAX_PAYLOAD)
        self._set(_SET_BITRATE, bitrate)
        self._set(_SET_COMPLEXITY, complexity)
        self._set(_SET_INBAND_FEC, int(fec))
        self._set(_SET_PACKET_LOSS, loss_percent)
        self._set(_SET_DTX, int(dtx))

    def encode(self, samples: Samples) -> bytes:
        """``frame_samples`` samples -> a packet. Raises `AudioFormatError` for any other number of them."""
        if len(samples) != self.frame_samples:
            raise AudioFormatError(f"{len(samples)} samples for an Opus packet: give {self.frame_samples} (20 ms)")
        frame = np.ascontiguousarray(samples, np.float32)
        size = self._library.opus_encode_float(
            self._state, frame.ctypes.data_as(POINTER(c_float)), len(frame), self._packet, len(self._packet)
        )
        _check(size, "opus_encode_float")
        return self._packet.raw[:size]

    def set_loss(self, percent: int) -> None:
        """The loss that the receiver reports, 0 to 100: FEC spends bits accordingly."""
        self._set(_SET_PACKET_LOSS, percent)

    def reset(self) -> None:
        """Forget what was encoded: the next frame does not follow the last."""
        self._set(_RESET_STATE)

    def _set(self, request: int, *value: int) -> None:
        arguments = [c_int32(number) for number in value]
        _check(self._library.opus_encoder_ctl(self._state, request, *arguments), f"opus_encoder_ctl {request}")


def _check_rate(rate: int) -> None:
    if rate not in _RATES:
        raise AudioFormatError(f"Opus at {rate} Hz: the rates are {', '.join(map(str, _RATES))}")


def _check(result: int, call: str) -> None:
    if result < 0:
        raise AudioFormatError(f"{call} failed with {result} (opus_defines.h lists the errors)")


@cache
def _library() -> ctypes.CDLL:
    for path in _candidates():
        try:
            return _declared(ctypes.CDLL(path))
        except (OSError, AttributeError):  # not loadable, or without these functions
            continue
    raise ConfigError("no libopus in PyAV and none on this system: install PyAV from its wheel, or libopus0")


def _candidates() -> Iterator[str]:
    """Where PyAV's wheels for Linux and Windows (av.libs) and macOS (av/.dylibs) have it, then the system's."""
    package = Path(av.__file__).parent
    for folder in (package.parent / "av.libs", package / ".dylibs"):
        yield from map(str, sorted(folder.glob("*opus*")))
    if (system := ctypes.util.find_library("opus")) is not None:
        yield system


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    samples, error = POINTER(c_float), POINTER(c_int)
    # The last arguments of the two *_ctl are variadic: left out here, ctypes passes them as the platform wants them.
    for name, result, arguments in (
        ("opus_decoder_create", c_void_p, (c_int32, c_int, error)),
        ("opus_decode_float", c_int, (c_void_p, c_char_p, c_int32, samples, c_int, c_int)),
        ("opus_decoder_destroy", None, (c_void_p,)),
        ("opus_encoder_create", c_void_p, (c_int32, c_int, c_int, error)),
        ("opus_encode_float", c_int32, (c_void_p, samples, c_int, c_char_p, c_int32)),
        ("opus_encoder_ctl", c_int, (c_void_p, c_int)),
        ("opus_encoder_destroy", None, (c_void_p,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
