"""Scores observations against what is true of their cases. Pure functions.

Delays are measured from the last voiced sample of the turn, stop times from the first sample of the overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realtime.bench.stats import percentile, rate, share, to_ms
from realtime.bench.turns.caller import MISSED_END_S, PAUSED, STARTED, STOPPED, Observation
from realtime.bench.turns.corpus import Case
from realtime.bench.turns.synthetic_noise import RATE

MISSED_STOP_S = 1.0
"""A reply that still plays this long after the end of a barge-in was not stopped by it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The score of one case. None: the case does not test this, or it has no answer.

    ``delay_ms``: from the turn's end to `speech_stopped`. ``cut_ins``: `speech_stopped` events before the turn's end.
    ``missed``: none within `MISSED_END_S` after it. ``false_turn``: a turn where nobody spoke. ``silenced_ms``: from
    the start of a barge-in until playback was paused or stopped; ``stopped_ms``: until it was stopped. ``missed_stop``:
    it was not stopped. ``false_stop``: the reply was stopped by something other than the barge-in, echo included.
    ``unanswered``: there was no reply. ``pauses``: of a reply that was not stopped; ``exact``: each of its samples was
    played once. ``late_bytes``: audio sent after the stop. ``speculative_used``: speculative replies that answered the
    whole turn; the others were discarded, after ``tokens_discarded`` tokens and ``speech_discarded_s`` seconds of
    speech.
    """

    name: str
    kind: str
    delay_ms: float | None = None
    cut_ins: int | None = None
    missed: bool | None = None
    false_turn: bool | None = None
    silenced_ms: float | None = None
    stopped_ms: float | None = None
    missed_stop: bool | None = None
    false_stop: bool | None = None
    unanswered: bool | None = None
    pauses: int = 0
    exact: bool | None = None
    late_bytes: int = 0
    speculative_used: int = 0
    speculative_discarded: int = 0
    tokens_made: int = 0
    tokens_discarded: int = 0
    speech_made_s: float = 0.0
    speech_discarded_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EndpointingFigures:
    """The ends of turns over many cases. Rates in 0..1; None: no case tests this."""

    cases: int
    delay_p50_ms: float | None
    delay_p95_ms: float | None
    cut_in_rate: float | None
    missed_end_rate: float | None
    false_turn_rate: float | None
    speculations: int
    discarded_replies: int
    discarded_tokens_share: float | None
    discarded_speech_share: float | None


@dataclass(frozen=True, slots=True)
class InterruptionFigures:
    """The effect of sounds during a reply, over many cases. ``resumed``: replies that were paused and continued;
    ``exact``: those of them in which no sample was lost or repeated."""

    cases: int
    silenced_p50_ms: float | None
    silenced_p95_ms: float | None
    stopped_p50_ms: float | None
    stopped_p95_ms: float | None
    missed_stop_rate: float | None
    false_stop_rate: float | None
    self_interruption_rate: float | None
    unanswered: int
    resumed: int
    exact: int
    pauses_per_resumed: float | None
    late_bytes: int


def score(case: Case, seen: Observation) -> Outcome:
    """Score one case."""
    answers = {**_endpointing(case, seen), **_interruption(case, seen), **_speculation(case, seen)}
    return Outcome(case.name, case.kind, **answers)  # type: ignore[arg-type]


def endpointing_figures(outcomes: Sequence[Outcome]) -> EndpointingFigures:
    """Figures of the cases about the end of a turn."""
    delays = [outcome.delay_ms for outcome in outcomes]
    return EndpointingFigures(
        cases=len(outcomes),
        delay_p50_ms=percentile(delays, 50),
        delay_p95_ms=percentile(delays, 95),
        cut_in_rate=rate(None if outcome.cut_ins is None else outcome.cut_ins > 0 for outcome in outcomes),
        missed_end_rate=rate(outcome.missed for outcome in outcomes),
        false_turn_rate=rate(outcome.false_turn for outcome in outcomes),
        speculations=sum(outcome.speculative_used + outcome.speculative_discarded for outcome in outcomes),
        discarded_replies=sum(outcome.speculative_discarded for outcome in outcomes),
        discarded_tokens_share=share(
            sum(outcome.tokens_discarded for outcome in outcomes), sum(outcome.tokens_made for outcome in outcomes)
        ),
        discarded_speech_share=share(
            sum(outcome.speech_discarded_s for outcome in outcomes), sum(outcome.speech_made_s for outcome in outcomes)
        ),
    )


def interruption_figures(outcomes: Sequence[Outcome]) -> InterruptionFigures:
    """Figures of the cases about what happens during the reply."""
    silenced = [outcome.silenced_ms for outcome in outcomes]
    stopped = [outcome.stopped_ms for outcome in outcomes]
    resumed = [outcome for outcome in outcomes if outcome.exact is not None and outcome.pauses]
    return InterruptionFigures(
        cases=len(outcomes),
        silenced_p50_ms=percentile(silenced, 50),
        silenced_p95_ms=percentile(silenced, 95),
        stopped_p50_ms=percentile(stopped, 50),
        stopped_p95_ms=percentile(stopped, 95),
        missed_stop_rate=rate(outcome.missed_stop for outcome in outcomes),
        false_stop_rate=rate(outcome.false_stop for outcome in outcomes if "echo" not in outcome.kind),
        self_interruption_rate=rate(outcome.false_stop for outcome in outcomes if "echo" in outcome.kind),
        unanswered=sum(bool(outcome.unanswered) for outcome in outcomes),
        resumed=len(resumed),
        exact=sum(bool(outcome.exact) for outcome in resumed),
        pauses_per_resumed=share(sum(outcome.pauses for outcome in resumed), len(resumed)),
        late_bytes=sum(outcome.late_bytes for outcome in outcomes),
    )


def faults(outcome: Outcome) -> tuple[str, ...]:
    """The names of what went wrong in a case."""
    found = {
        "cut in": bool(outcome.cut_ins),
        "missed end": outcome.missed,
        "false turn": outcome.false_turn,
        "missed stop": outcome.missed_stop,
        "false stop": outcome.false_stop,
        "unanswered": outcome.unanswered,
        "inexact": outcome.exact is False,
        "late audio": outcome.late_bytes > 0,
    }
    return tuple(name for name, happened in found.items() if happened)


def _endpointing(case: Case, seen: Observation) -> dict[str, object]:
    if case.during_reply:
        return {}
    end = case.turn_end_s
    if end is None:
        return {"false_turn": any(event.type == STARTED for event in seen.events)}
    stops = [event.at for event in seen.events if event.type == STOPPED]
    after = [at for at in stops if end <= at <= end + MISSED_END_S]
    return {
        "delay_ms": to_ms(after[0] - end) if after else None,
        "cut_ins": sum(at < end for at in stops),
        "missed": not after,
    }


def _interruption(case: Case, seen: Observation) -> dict[str, object]:
    if not case.during_reply:
        return {}
    if seen.playback_began is None:
        return {"unanswered": True}
    during = [event for event in seen.events if event.at > seen.playback_began]
    starts = [event.at for event in during if event.type == STARTED]
    pauses = [event.at for event in during if event.type == PAUSED]
    answers: dict[str, object] = {"unanswered": False, "late_bytes": seen.late_bytes}
    barge_in = case.overlap is not None and case.overlap.is_barge_in
    began = seen.overlap_began
    if barge_in and began is not None and not any(at < began for at in starts):
        answers |= _stop(case, began, starts, pauses)
    if case.echo_db is not None or not barge_in:
        answers["false_stop"] = any(not barge_in or began is None or at < began for at in starts)
    if not starts:
        answers |= {"exact": None if seen.reply is None else seen.played == seen.reply, "pauses": len(pauses)}
    return answers


def _stop(case: Case, began: float, starts: Sequence[float], pauses: Sequence[float]) -> dict[str, object]:
    assert case.overlap is not None
    latest = began + len(case.overlap.samples) / RATE + MISSED_STOP_S
    stops = [at for at in starts if began <= at <= latest]
    if not stops:
        return {"missed_stop": True}
    silent = min(at for at in (*pauses, *stops) if began <= at <= stops[0])
    return {"missed_stop": False, "stopped_ms": to_ms(stops[0] - began), "silenced_ms": to_ms(silent - began)}


def _speculation(case: Case, seen: Observation) -> dict[str, object]:
    """A speculative reply that was used after a cut-in answered half a turn: it counts as discarded."""
    used = [reply for reply in seen.speculations if reply.used]
    useful = used if case.during_reply else used[-1:]
    discarded = [reply for reply in seen.speculations if not any(reply is one for one in useful)]
    return {
        "speculative_used": len(useful),
        "speculative_discarded": len(discarded),
        "tokens_made": sum(reply.ids for reply in seen.speculations),
        "tokens_discarded": sum(reply.ids for reply in discarded),
        "speech_made_s": round(sum(reply.audio_s for reply in seen.speculations), 3),
        "speech_discarded_s": round(sum(reply.audio_s for reply in discarded), 3),
    }
