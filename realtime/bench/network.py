"""Speech over a bad network: Opus encoder -> seeded trace of packets -> jitter buffer -> decoder, in virtual time.

Two receivers get the same packets: the server's (`realtime.audio.jitter_buffer`, with concealment and FEC), and the one
in aiortc, simulated with its own jitter buffer where aiortc is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realtime.audio.jitter_buffer import JitterBuffer, Missing, Packet
from realtime.audio.opus import FRAME_SAMPLES, OPUS_JITTER, RTP_RATE, OpusDecoder, OpusEncoder
from realtime.audio.streams import Resampler, Samples
from realtime.bench.stats import percentile, share, to_ms

FRAME_S = FRAME_SAMPLES / RTP_RATE
LOOKAHEAD_S = 0.0065
"""The encoder's, in libopus' mode for speech (OPUS_GET_LOOKAHEAD)."""

_RATE = 16_000
_FRAME = _RATE // 50
_AIORTC_CAPACITY, _AIORTC_PREFETCH = 16, 4  # RTCRtpReceiver of aiortc 1.16, for audio


@dataclass(frozen=True, slots=True)
class Network:
    """``loss``: share of packets, in bursts of ``burst`` packets on average. ``jitter_s``: the largest extra delay,
    uniformly distributed; packets overtake one another with ``reorders``. ``ppm``: how much faster the sender's clock
    is."""

    name: str
    loss: float = 0.0
    burst: float = 1.0
    jitter_s: float = 0.0
    reorders: bool = False
    ppm: float = 0.0


NETWORKS = (
    Network("calm"),
    Network("loss 1 %", 0.01),
    Network("loss 5 %", 0.05),
    Network("loss 10 %", 0.10),
    Network("loss 5 %, bursts of 3", 0.05, 3.0),
    Network("jitter 30 ms", jitter_s=0.03),
    Network("jitter 100 ms", jitter_s=0.1),
    Network("jitter 30 ms, reordering", jitter_s=0.03, reorders=True),
    Network("jitter 100 ms, reordering", jitter_s=0.1, reorders=True),
    Network("loss 5 %, jitter 60 ms, 50 ppm", 0.05, jitter_s=0.06, ppm=50.0),
)


@dataclass(slots=True)
class Received:
    """What a model got. ``delays_s``: of each packet that was decoded, from its first sample at the mouth. ``frames``:
    packets sent. ``made_up``: frames that were concealed, recovered by FEC or left silent. ``samples``: float32 at 16
    kHz."""

    frames: int = 0
    made_up: float = 0.0
    delays_s: list[float] = field(default_factory=list)
    samples: Samples = field(default_factory=lambda: np.zeros(0, np.float32))


Receiver = Callable[[Sequence[bytes], Sequence[float | None]], Received]
Fill = Callable[[OpusDecoder, Missing], Samples]


def arrivals(network: Network, count: int, rng: np.random.Generator) -> list[float | None]:
    """When each of ``count`` packets arrives, in seconds after the first sample of the first one; None: it is lost."""
    times: list[float | None] = []
    latest, lost = 0.0, False
    enter = network.loss / network.burst / (1 - network.loss) if network.loss else 0.0
    for number in range(count):
        lost = rng.random() < (1 - 1 / network.burst if lost and network.burst > 1 else enter)
        at = (number + 1) * FRAME_S * (1 - network.ppm * 1e-6) + rng.uniform(0, network.jitter_s)
        if not network.reorders:
            at = latest = max(at, latest)
        times.append(None if lost else at)
    return times


def encode(samples: Samples) -> list[bytes]:
    """Float32 at 16 kHz -> the packets that a browser would send: 24 kHz, 32 kbit/s, FEC."""
    encoder = OpusEncoder()
    speech = Resampler(_RATE, 24_000).push(np.pad(samples, (0, _RATE // 10)))
    size = encoder.frame_samples
    return [encoder.encode(speech[at : at + size]) for at in range(0, len(speech) - size + 1, size)]


def play(decoder: OpusDecoder, hole: Missing) -> Samples:
    """As the server does it."""
    return decoder.play(hole)


def conceal(decoder: OpusDecoder, hole: Missing) -> Samples:
    """Without FEC."""
    return decoder.conceal(hole.samples)


def zeros(decoder: OpusDecoder, hole: Missing) -> Samples:
    """Without concealment."""
    return np.zeros(hole.samples * _RATE // RTP_RATE, np.float32)


def receive(packets: Sequence[bytes], times: Sequence[float | None], fill: Fill = play) -> Received:
    """The server's path. ``fill`` makes what is missing."""
    buffer, decoder, received = JitterBuffer(OPUS_JITTER), OpusDecoder(), Received(len(packets))
    pieces: list[Samples] = []

    def pull(now: float) -> None:
        for frame in buffer.pull(now):
            if isinstance(frame, Packet):
                pieces.append(decoder.decode(frame.payload))
                received.delays_s.append(now - frame.timestamp / RTP_RATE + LOOKAHEAD_S)
            else:
                pieces.append(fill(decoder, frame))
                received.made_up += frame.samples / FRAME_SAMPLES

    for at, number in sorted((at, number) for number, at in enumerate(times) if at is not None):
        while (due := buffer.next_due()) is not None and due < at:
            pull(due)
        buffer.push(number, number * FRAME_SAMPLES, packets[number], at)
        pull(at)
    received.samples = np.concatenate(pieces) if pieces else received.samples
    return received


def receive_like_aiortc(packets: Sequence[bytes], times: Sequence[float | None]) -> Received:
    """Through aiortc's jitter buffer; what is missing is silence, as its timestamps have it. Raises `ImportError`."""
    from aiortc.jitterbuffer import JitterBuffer as AiortcBuffer
    from aiortc.rtp import RtpPacket

    buffer, decoder = AiortcBuffer(_AIORTC_CAPACITY, _AIORTC_PREFETCH), OpusDecoder()
    received, end = Received(len(packets)), 0
    pieces: list[Samples] = []
    for at, number in sorted((at, number) for number, at in enumerate(times) if at is not None):
        packet = RtpPacket(sequence_number=number, timestamp=number * FRAME_SAMPLES, payload=packets[number])
        packet._data = packets[number]  # type: ignore[attr-defined]
        _, frame = buffer.add(packet)
        if frame is not None:
            first = frame.timestamp // FRAME_SAMPLES
            pieces += [np.zeros((first - end) * _FRAME, np.float32), decoder.decode(frame.data)]
            received.delays_s.append(at - first * FRAME_S + LOOKAHEAD_S)
            received.made_up += first - end
            end = first + 1
    received.frames = end  # the rest waits for more packets
    received.samples = np.concatenate(pieces) if pieces else received.samples
    return received


@dataclass(frozen=True, slots=True)
class NetworkFigures:
    """Over all runs of one network and receiver: delay from mouth to model, share of the audio that was made up."""

    delay_p50_ms: float | None
    delay_p95_ms: float | None
    made_up: float | None


def figures(runs: Sequence[Received]) -> NetworkFigures:
    """See `NetworkFigures`."""
    delays = [delay for run in runs for delay in run.delays_s]
    return NetworkFigures(
        to_ms(percentile(delays, 50)),
        to_ms(percentile(delays, 95)),
        share(sum(run.made_up for run in runs), sum(run.frames for run in runs)),
    )


@dataclass(frozen=True, slots=True)
class Recovery:
    """After a single loss: for how long nothing came, and by how much the delay is longer ten seconds later."""

    silent_ms: float
    lasting_ms: float


def recovery(receiver: Receiver, packets: Sequence[bytes]) -> Recovery:
    """``packets``: ten seconds or more; one in the middle is lost."""
    times: list[float | None] = [(number + 1) * FRAME_S for number in range(len(packets))]
    before = receiver(packets, times).delays_s
    times[len(times) // 3] = None
    after = receiver(packets, times).delays_s
    return Recovery(1000 * (max(after) - before[-1]), 1000 * (after[-1] - before[-1]))


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """Words that were changed, left out or added, and the number of words said."""
    wanted, got = said.lower().split(), _plain(heard).split()
    row: NDArray[np.int_] = np.arange(len(got) + 1)
    for word in wanted:
        before, row = row, row + 1
        for index, other in enumerate(got):
            row[index + 1] = min(before[index + 1] + 1, row[index] + 1, before[index] + (word != other))
    return int(row[-1]), len(wanted)


def _plain(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha() or letter in " '")
