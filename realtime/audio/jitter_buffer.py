"""Jitter buffer for RTP audio that a model listens to. It does no I/O and reads no clock: packets and times come in.

A loudspeaker needs a frame every 20 ms, so a jitter buffer for it delays all audio by the jitter. A model needs every
frame once, in order and soon; it may come unevenly. So:

1. Packets in order are released at once. Jitter costs nothing, and there is no delay that could grow or need to drain.
2. Packets behind a hole wait for the missing one: 20 ms at first, then as long as reordered packets have lately been
   late, at most ``max_wait_s``. Then the hole is given out as `Missing`, and all that waited is released.
3. Audio time goes on where no packets come. After a packet that announces a pause (discontinuous transmission, a
   telephone event) silence is given out in real time, trailing by the jitter seen lately. Without an announcement it
   may be a network that stalls: silence begins after ``stall_s``. Packets that come after it are still released.
4. A timestamp that jumps between consecutive packets is a pause: the rest of it is given out as silence.
5. Whatever a peer sends, at most ``capacity`` packets are kept, and not more audio is made up than time has passed.

Packets are released on arrival, so the two clocks cannot drift apart in here. Silence is timed by the earliest arrivals
(`_Transit`), which follows a drift of up to 500 ppm.

Positions count samples of the RTP clock without wrap; indices count packets without wrap.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_MAX_FORWARD, _MAX_BACKWARD = 3000, 100
"""Jumps of the sequence number beyond these begin another stream (RFC 3550, A.1: MAX_DROPOUT and MAX_MISORDER)."""
_FIRST_WAIT_S = 0.02
"""One packet: a packet that changed places with its successor comes well within it."""
_WAIT_HALF_LIFE_S = 20.0
_WAIT_FACTOR, _WAIT_EXTRA_S = 1.25, 0.005
_JITTER_HALF_LIFE_S = 30.0
_MIN_MARGIN_S, _MAX_MARGIN_S = 0.02, 0.2
_CLOCK_LEAK = 5e-4
"""Seconds a second: how fast the earliest arrival is forgotten. Crystals differ by 50 ppm, bad ones by 200."""
_MAX_TRANSIT_S = 1.0
"""A delay over the earliest by more than this is the new earliest: the route or the timestamps have changed."""
_SLACK_S = 1.0
"""A pause may be so much longer in timestamps than in arrivals: the packets on both its sides were queued together."""
_MAX_BUDGET_S = 10.0
_LATE_CALL_S, _GRACE_S = 0.05, 0.02
"""A call so late means that this process stood still. Packets may wait in the socket, so there is a second chance."""
_REMEMBERED_LOSSES = 128


@dataclass(frozen=True, slots=True)
class Packet:
    """A payload to decode. ``timestamp``: RTP, 32 bits."""

    payload: bytes
    timestamp: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Audio that did not come: ``samples`` of the RTP clock, any number from 1 on. ``next_payload``: the packet that
    follows directly, which may hold a copy of the end of the hole (in-band FEC). ``silent``: nothing was lost, the peer
    sent nothing."""

    samples: int
    next_payload: bytes | None = None
    silent: bool = False


Frame = Packet | Missing


def is_opus_pause(payload: bytes) -> bool:
    """Opus announces discontinuous transmission by a packet of the header alone; browsers send the first of them."""
    return len(payload) <= 2


@dataclass(frozen=True, slots=True)
class JitterSettings:
    """The defaults are for Opus. ``clock_rate``: of RTP timestamps, in Hz (8000 for G.711 and also for G.722).

    ``duration``: samples of the RTP clock in a payload, 0 for one that is invalid; ``frame_samples`` each without it.
    ``announces_pause``: whether a payload says that the peer stops sending; asked for an empty one too.
    """

    clock_rate: int = 48_000
    frame_samples: int = 960
    duration: Callable[[bytes], int] | None = None
    announces_pause: Callable[[bytes], bool] = is_opus_pause
    min_wait_s: float = 0.01
    max_wait_s: float = 0.1
    stall_s: float = 0.25
    capacity: int = 128


@dataclass(slots=True)
class JitterCounters:
    """``received``: packets in all. ``lost``: packets that did not come in time, ``late`` those of them that came after
    all. ``discarded``: invalid ones, single ones far out of sequence, and those that no one pulled. ``concealed`` and
    ``silence``: samples of the RTP clock. ``delay_s``: how long the last packet waited here; ``total_delay_s``: all."""

    received: int = 0
    released: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    discarded: int = 0
    restarts: int = 0
    concealed: int = 0
    silence: int = 0
    delay_s: float = 0.0
    total_delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Held:
    payload: bytes
    timestamp: int
    duration: int
    arrival: float
    restart: bool


class JitterBuffer:
    """One stream. After each `push`, and at `next_due`, call `pull`."""

    def __init__(self, settings: JitterSettings | None = None) -> None:
        self.counters = JitterCounters()
        self._settings = settings or JitterSettings()
        self._held: dict[int, _Held] = {}
        self._next = 0  # index of the packet to release next
        self._newest: tuple[int, int] | None = None  # index and sequence number
        self._stream_start = 0
        self._outlier: tuple[int, int, bytes, float] | None = None
        self._lost: OrderedDict[int, float] = OrderedDict()  # index: when its successor came
        self._wait = _Peak(_WAIT_HALF_LIFE_S, _FIRST_WAIT_S, self._settings.min_wait_s, self._settings.max_wait_s)
        self._clock = _Transit()
        self._end: tuple[int, int] | None = None  # of what was released: position and timestamp
        self._frame = self._settings.frame_samples
        self._anchors = False  # the next audio packet is the first of a stream
        self._paused = False
        self._silence = 0  # samples given out behind the end
        self._skipped = 0  # packets given up since the last that held audio
        self._last_arrival = 0.0
        self._budget = _Budget(self._settings.clock_rate)
        self._due: float | None = None
        self._grace_until = float("-inf")

    def push(self, sequence: int, timestamp: int, payload: bytes, now: float) -> None:
        """A packet has arrived. An empty payload holds its place in the sequence and no audio: a telephone event, or
        comfort noise that is not decoded. ``now``: seconds, monotonic."""
        self._note_late_call(now)
        self.counters.received += 1
        sequence &= 0xFFFF
        duration = self._duration(payload)
        if payload and duration <= 0:
            self.counters.discarded += 1
            payload = b""  # it is not lost, so nothing is waited for
        if self._newest is None:
            self._begin(sequence, timestamp, payload, now)
            return
        index, newest = self._newest
        step = _signed(sequence - newest, 16)
        if not -_MAX_BACKWARD <= step <= _MAX_FORWARD:
            self._push_outlier(sequence, timestamp, payload, now)
            return
        self._outlier = None
        index += step
        if index < self._next or index in self._held:
            self._count_useless(index, now)
            return
        if step < 0:
            self._note_lateness(now - min(held.arrival for key, held in self._held.items() if key > index), now)
        else:
            self._newest = index, sequence
        self._hold(index, _Held(payload, timestamp, duration, now, False))

    def pull(self, now: float) -> list[Frame]:
        """What is due, in order. Give it to the decoder at once."""
        self._note_late_call(now)
        self._budget.grow(now)
        frames: list[Frame] = []
        while self._held:
            if self._next not in self._held:
                if now < self._hole_due(now) and len(self._held) <= self._settings.capacity // 2:
                    break
                self._give_up_hole()
            self._release(self._held.pop(self._next), frames, now)
        if not self._held:
            self._tell_silence(frames, now)
        self._due = self._find_due(now)
        return frames

    def next_due(self) -> float | None:
        """When to call `pull` if no packet comes before; None: not before the next packet."""
        return self._due

    def restart(self) -> None:
        """The next packet belongs to another stream (a new SSRC). What waits is still given out."""
        self._newest = None

    def _duration(self, payload: bytes) -> int:
        if not payload or self._settings.duration is None:
            return self._settings.frame_samples if payload else 0
        return self._settings.duration(payload)

    def _begin(self, sequence: int, timestamp: int, payload: bytes, now: float) -> None:
        """The first packet of a stream: it follows the last of the stream before without a hole."""
        index = max(self._held, default=self._next - 1) + 1
        self._stream_start, self._newest, self._outlier = index, (index, sequence), None
        self._hold(index, _Held(payload, timestamp, self._duration(payload), now, True))

    def _push_outlier(self, sequence: int, timestamp: int, payload: bytes, now: float) -> None:
        """Two consecutive packets far from the others are another stream, one is a stray (RFC 3550, A.1)."""
        before, self._outlier = self._outlier, (sequence, timestamp, payload, now)
        if before is None or before[0] != (sequence - 1) & 0xFFFF:
            self.counters.discarded += 1
            return
        self.counters.discarded -= 1
        self.counters.restarts += 1
        self._begin(*before)
        index = self._stream_start + 1
        self._newest = index, sequence
        self._hold(index, _Held(payload, timestamp, self._duration(payload), now, False))

    def _hold(self, index: int, packet: _Held) -> None:
        self._held[index] = packet
        if len(self._held) > self._settings.capacity:  # nobody pulls
            oldest = min(self._held)
            del self._held[oldest]
            self._next = oldest + 1
            self.counters.discarded += 1

    def _count_useless(self, index: int, now: float) -> None:
        noticed = self._lost.pop(index, None)
        if noticed is None and index >= self._stream_start:
            self.counters.duplicate += 1
            return
        self.counters.late += 1
        if noticed is not None:
            self._note_lateness(now - noticed, now)

    def _note_lateness(self, late_s: float, now: float) -> None:
        if late_s <= self._settings.max_wait_s:  # longer is not waited
            self._wait.raise_to(late_s * _WAIT_FACTOR + _WAIT_EXTRA_S, now)

    def _note_late_call(self, now: float) -> None:
        if self._due is not None and now > self._due + _LATE_CALL_S:
            self._grace_until = now + _GRACE_S
            self._due = self._grace_until

    def _hole_due(self, now: float) -> float:
        noticed = min(held.arrival for held in self._held.values())
        return max(noticed + self._wait.at(now), self._grace_until)

    def _give_up_hole(self) -> None:
        noticed, following = min(held.arrival for held in self._held.values()), min(self._held)
        count = following - self._next
        for index in range(max(self._next, following - _REMEMBERED_LOSSES), following):
            self._lost[index] = noticed
        while len(self._lost) > _REMEMBERED_LOSSES:
            self._lost.popitem(last=False)
        self.counters.lost += count
        self._skipped += count
        self._next = following

    def _release(self, packet: _Held, frames: list[Frame], now: float) -> None:
        self._next += 1
        self._paused = self._settings.announces_pause(packet.payload)
        self._anchors |= packet.restart
        if not packet.payload:
            return
        self._fill(packet, frames)
        self._anchors = False
        self._clock.observe(packet.arrival, self._end[0] / self._settings.clock_rate if self._end else 0.0)
        frames.append(Packet(packet.payload, packet.timestamp))
        position = self._end[0] if self._end else 0
        self._end = position + packet.duration, (packet.timestamp + packet.duration) & 0xFFFFFFFF
        self._frame, self._silence, self._skipped = packet.duration, 0, 0
        self._last_arrival = packet.arrival
        self.counters.released += 1
        self.counters.delay_s = max(0.0, now - packet.arrival)
        self.counters.total_delay_s += self.counters.delay_s

    def _fill(self, packet: _Held, frames: list[Frame]) -> None:
        """What is missing between the last packet and this one; moves the end to where this one begins."""
        if self._end is None:
            return
        position, timestamp = self._end
        gap = _signed(packet.timestamp - timestamp, 32)
        elapsed = max(0.0, packet.arrival - self._last_arrival) + _SLACK_S
        if self._anchors or not 0 <= gap <= max(elapsed * self._settings.clock_rate, self._skipped * self._frame):
            if not self._anchors:
                self.counters.restarts += 1
            gap = self._skipped * self._frame
            self._clock.restart()
        wanted = self._budget.spend(gap - self._silence)
        lost = min(wanted, self._skipped * self._frame)
        silent = wanted - lost
        if lost:
            frames.append(Missing(lost, None if silent else packet.payload))
        if silent:
            frames.append(Missing(silent, silent=True))
        self.counters.concealed += lost
        self.counters.silence += silent
        self._end = position + gap, packet.timestamp

    def _tell_silence(self, frames: list[Frame], now: float) -> None:
        due = self._silence_due(now)
        if due is None or now < due:
            return
        late_by = now - self._clock.earliest(self._silence_from()) - self._margin(now)
        count = int(late_by * self._settings.clock_rate) // self._frame + 1
        samples = self._budget.spend(count * self._frame) // self._frame * self._frame
        if samples:
            frames.append(Missing(samples, silent=True))
            self._silence += samples
            self.counters.silence += samples

    def _silence_from(self) -> float:
        """Seconds of the stream at which the next frame of silence begins."""
        assert self._end is not None
        return (self._end[0] + self._silence) / self._settings.clock_rate

    def _silence_due(self, now: float) -> float | None:
        if self._end is None or not self._clock.known:
            return None
        wait = self._margin(now) if self._paused or self._silence else self._settings.stall_s
        # Behind a packet that is late itself, others that are late may follow.
        since = max(self._clock.earliest(self._silence_from()), float("-inf") if self._silence else self._last_arrival)
        return max(since + wait, self._grace_until, self._budget.ready_at(self._frame))

    def _margin(self, now: float) -> float:
        return self._clock.jitter.at(now)

    def _find_due(self, now: float) -> float | None:
        return self._hole_due(now) if self._held else self._silence_due(now)


class _Peak:
    """The largest value seen lately, in seconds: it halves every ``half_life_s``. Between ``least`` and ``most``."""

    def __init__(self, half_life_s: float, first: float, least: float, most: float) -> None:
        self._half_life_s, self._least, self._most = half_life_s, least, most
        self._value: float = first
        self._at: float | None = None

    def at(self, now: float) -> float:
        if self._at is None:
            self._at = now
        decay: float = 0.5 ** (max(0.0, now - self._at) / self._half_life_s)
        return min(self._most, max(self._least, self._value * decay))

    def raise_to(self, value: float, now: float) -> None:
        self._value, self._at = max(value, self.at(now)), now


class _Transit:
    """When would a position of the stream arrive at the earliest? From the least delayed packets so far."""

    def __init__(self) -> None:
        self.jitter = _Peak(_JITTER_HALF_LIFE_S, _MIN_MARGIN_S, _MIN_MARGIN_S, _MAX_MARGIN_S)
        self._least: float | None = None
        self._seen_at = 0.0

    @property
    def known(self) -> bool:
        return self._least is not None

    def earliest(self, position_s: float) -> float:
        assert self._least is not None
        return self._least + position_s

    def observe(self, arrival: float, position_s: float) -> None:
        transit = arrival - position_s
        if self._least is None:
            self._least = transit
        leaked = self._least + _CLOCK_LEAK * max(0.0, arrival - self._seen_at)
        self._least = max(min(leaked, transit), transit - _MAX_TRANSIT_S)
        self.jitter.raise_to(transit - self._least + _WAIT_EXTRA_S, arrival)
        self._seen_at = arrival

    def restart(self) -> None:
        self._least = None


class _Budget:
    """How much audio may be made up: as much as time has passed, and a second."""

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._samples = _SLACK_S * clock_rate
        self._at: float | None = None

    def grow(self, now: float) -> None:
        if self._at is not None:
            self._samples += max(0.0, now - self._at) * self._clock_rate
        self._samples = min(self._samples, _MAX_BUDGET_S * self._clock_rate)
        self._at = now

    def ready_at(self, samples: int) -> float:
        """When so many may be made up, if nothing else is."""
        assert self._at is not None
        return self._at + max(0.0, samples + 1 - self._samples) / self._clock_rate

    def spend(self, samples: int) -> int:
        granted = max(0, min(samples, int(self._samples)))
        self._samples -= granted
        return granted


def _signed(value: int, bits: int) -> int:
    """The difference of two counters of so many bits, as the shorter way round."""
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half
