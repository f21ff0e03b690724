"""The far-end signal of the echo gate."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.session.input.echo_reference import EchoReference
from realtime.session.playout import PlayoutLedger


def test_adding_speech_has_constant_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It copied the whole reply for each delta: 2.6 s of the event loop in a reply of 130 s."""
    copied = 0
    concatenate = np.concatenate

    def counting(arrays, *rest, **options):  # type: ignore[no-untyped-def]
        nonlocal copied
        result = concatenate(arrays, *rest, **options)
        copied += len(result)
        return result

    monkeypatch.setattr(np, "concatenate", counting)
    reference = EchoReference(PlayoutLedger(), lambda: 0.0)
    for _ in range(130 * 5):
        reference.add("item", np.zeros(4800, np.float32))
    assert copied < 2 * 130 * 24_000


def test_small_and_large_reads_give_the_same_reference() -> None:
    speech = np.sin(np.arange(48_000) * 0.05).astype(np.float32)

    def heard(step: int) -> np.ndarray:
        ledger, now = PlayoutLedger(), 100.0
        reference = EchoReference(ledger, lambda: now)
        for start in range(0, len(speech), 4800):
            reference.add("item", speech[start : start + 4800])
            ledger.queued("item", 4800)
            ledger.sent("item", 4800, 100.0)
        pieces, position = [], 0
        while position < 16_000:
            position += step
            now = 100.0 + position / 16_000
            pieces.append(reference.during(position, step))
        return np.concatenate(pieces)[:16_000]

    small, large = heard(320), heard(1600)
    assert np.abs(small).max() > 0.5
    np.testing.assert_allclose(small[1600:], large[1600:], atol=1e-5)


def test_a_stall_while_sending_moves_no_reference() -> None:
    """The process stood still between handing speech to the transport and noticing it: the caller hears it already."""
    tone = np.sin(np.arange(24_000) * 0.2).astype(np.float32)

    def heard(noticed: float, given: float | None) -> np.ndarray:
        ledger = PlayoutLedger()
        reference = EchoReference(ledger, lambda: 100.5)
        reference.add("item", tone)
        ledger.queued("item", 24_000)
        ledger.sent("item", 24_000, noticed, given)
        return reference.during(8_000, 8_000)

    np.testing.assert_allclose(heard(100.2, 100.0), heard(100.0, None), atol=1e-6)
    assert not heard(100.6, None).any()
