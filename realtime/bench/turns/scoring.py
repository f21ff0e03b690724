"""What was observed against the truth -> figures. Pure functions.

Delays count from the last voiced sample of the turn, stop times from the first sample of what is heard over the reply.
Percentiles are nearest-rank: values that were really seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from realtime.bench.turns.caller import PATIENCE_S, PAUSED, STARTED, STOPPED, Observation
from realtime.bench.turns.corpus import Case
from realtime.bench.turns.synthetic_noise import RATE

STOP_PATIENCE_S = 1.0
"""A reply that still plays so long after the end of what was said over it was not stopped by that."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case, judged. None: the case does not ask this question, or it has no answer.

    ``delay_ms``: from the turn's end until that was told. ``cut_ins``: ends told before it. ``missed``: none was told
    in `PATIENCE_S`. ``false_turn``: a turn where nobody spoke. ``hushed_ms``: until the playback was paused or stopped;
    ``stopped_ms``: until it was stopped for good. ``missed_stop``: it should have been. ``false_stop``: the reply was
    stopped by what was not meant, echo included. ``unanswered``: there was no reply to speak over. ``pauses``: of a
    reply that was not stopped; ``exact``: of that, every sample was played once. ``late_bytes``: sent after the stop.
    ``drafts_used``: replies made ahead that answered the whole turn; the dropped ones were made in vain.
    """

    name: str
    kind: str
    delay_ms: float | None = None
    cut_ins: int | None = None
    missed: bool | None = None
    false_turn: bool | None = None
    hushed_ms: float | None = None
    stopped_ms: float | None = None
    missed_stop: bool | None = None
    false_stop: bool | None = None
    unanswered: bool | None = None
    pauses: int = 0
    exact: bool | None = None
    late_bytes: int = 0
    drafts_used: int = 0
    drafts_dropped: int = 0
    ids_made: int = 0
    ids_dropped: int = 0
    speech_made_s: float = 0.0
    speech_dropped_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TurnFigures:
    """When turns end, over many cases. Rates in 0..1; None: no case asks."""

    cases: int
    delay_p50_ms: float | None
    delay_p95_ms: float | None
    cut_in_rate: float | None
    missed_end_rate: float | None
    false_turn_rate: float | None
    drafts: int
    dropped_drafts: int
    dropped_ids_share: float | None
    dropped_speech_share: float | None


@dataclass(frozen=True, slots=True)
class FloorFigures:
    """What happens to a reply over which something is heard. ``resumed``: replies that were paused and went on;
    ``exact``: of those, the ones in which no sample was lost or doubled."""

    cases: int
    hushed_p50_ms: float | None
    hushed_p95_ms: float | None
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


def judge(case: Case, seen: Observation) -> Outcome:
    """One case."""
    answers = {**_turn_answers(case, seen), **_floor_answers(case, seen), **_work(case, seen)}
    return Outcome(case.name, case.kind, **answers)  # type: ignore[arg-type]


def turn_figures(outcomes: Sequence[Outcome]) -> TurnFigures:
    """Of the cases without anything over the reply."""
    delays = _known(outcome.delay_ms for outcome in outcomes)
    return TurnFigures(
        cases=len(outcomes),
        delay_p50_ms=percentile(delays, 50),
        delay_p95_ms=percentile(delays, 95),
        cut_in_rate=rate(None if outcome.cut_ins is None else outcome.cut_ins > 0 for outcome in outcomes),
        missed_end_rate=rate(outcome.missed for outcome in outcomes),
        false_turn_rate=rate(outcome.false_turn for outcome in outcomes),
        drafts=sum(outcome.drafts_used + outcome.drafts_dropped for outcome in outcomes),
        dropped_drafts=sum(outcome.drafts_dropped for outcome in outcomes),
        dropped_ids_share=_share(
            sum(outcome.ids_dropped for outcome in outcomes), sum(outcome.ids_made for outcome in outcomes)
        ),
        dropped_speech_share=_share(
            sum(outcome.speech_dropped_s for outcome in outcomes), sum(outcome.speech_made_s for outcome in outcomes)
        ),
    )


def floor_figures(outcomes: Sequence[Outcome]) -> FloorFigures:
    """Of the cases with something over the reply."""
    hushed = _known(outcome.hushed_ms for outcome in outcomes)
    stopped = _known(outcome.stopped_ms for outcome in outcomes)
    resumed = [outcome for outcome in outcomes if outcome.exact is not None and outcome.pauses]
    return FloorFigures(
        cases=len(outcomes),
        hushed_p50_ms=percentile(hushed, 50),
        hushed_p95_ms=percentile(hushed, 95),
        stopped_p50_ms=percentile(stopped, 50),
        stopped_p95_ms=percentile(stopped, 95),
        missed_stop_rate=rate(outcome.missed_stop for outcome in outcomes),
        false_stop_rate=rate(outcome.false_stop for outcome in outcomes if "echo" not in outcome.kind),
        self_interruption_rate=rate(outcome.false_stop for outcome in outcomes if "echo" in outcome.kind),
        unanswered=sum(bool(outcome.unanswered) for outcome in outcomes),
        resumed=len(resumed),
        exact=sum(bool(outcome.exact) for outcome in resumed),
        pauses_per_resumed=_share(sum(outcome.pauses for outcome in resumed), len(resumed)),
        late_bytes=sum(outcome.late_bytes for outcome in outcomes),
    )


def faults(outcome: Outcome) -> tuple[str, ...]:
    """What went wrong in a case, in words."""
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


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Nearest rank; None of nothing."""
    return float(np.percentile(values, percent, method="inverted_cdf")) if values else None


def rate(answers: Iterable[bool | None]) -> float | None:
    """The share of yes among those that are an answer."""
    known = [answer for answer in answers if answer is not None]
    return sum(known) / len(known) if known else None


def _turn_answers(case: Case, seen: Observation) -> dict[str, object]:
    if case.floor_is_ours:
        return {}
    end = case.turn_end_s
    if end is None:
        return {"false_turn": any(told.type == STARTED for told in seen.told)}
    stops = [told.at for told in seen.told if told.type == STOPPED]
    after = [at for at in stops if end <= at <= end + PATIENCE_S]
    return {
        "delay_ms": _ms(after[0] - end) if after else None,
        "cut_ins": sum(at < end for at in stops),
        "missed": not after,
    }


def _floor_answers(case: Case, seen: Observation) -> dict[str, object]:
    if not case.floor_is_ours:
        return {}
    if seen.playback_began is None:
        return {"unanswered": True}
    starts = [told.at for told in seen.told if told.type == STARTED and told.at > seen.playback_began]
    pauses = [told.at for told in seen.told if told.type == PAUSED and told.at > seen.playback_began]
    answers: dict[str, object] = {"unanswered": False, "late_bytes": seen.late_bytes}
    meant = case.over is not None and case.over.meant
    began = seen.over_began
    if meant and began is not None and not any(at < began for at in starts):
        answers |= _stop(case, began, starts, pauses)
    if case.echo_db is not None or not meant:
        answers["false_stop"] = any(not meant or began is None or at < began for at in starts)
    if not starts:
        answers |= {"exact": None if seen.reply is None else seen.played == seen.reply, "pauses": len(pauses)}
    return answers


def _stop(case: Case, began: float, starts: Sequence[float], pauses: Sequence[float]) -> dict[str, object]:
    assert case.over is not None
    latest = began + len(case.over.samples) / RATE + STOP_PATIENCE_S
    stops = [at for at in starts if began <= at <= latest]
    if not stops:
        return {"missed_stop": True}
    hushes = [at for at in (*pauses, *stops) if began <= at <= stops[0]]
    return {"missed_stop": False, "stopped_ms": _ms(stops[0] - began), "hushed_ms": _ms(min(hushes) - began)}


def _work(case: Case, seen: Observation) -> dict[str, object]:
    """A draft that became the answer to half a turn was made in vain as well."""
    used = [draft for draft in seen.drafts if draft.used]
    wanted = used if case.floor_is_ours else used[-1:]
    dropped = [draft for draft in seen.drafts if not any(draft is one for one in wanted)]
    return {
        "drafts_used": len(wanted),
        "drafts_dropped": len(dropped),
        "ids_made": sum(draft.ids for draft in seen.drafts),
        "ids_dropped": sum(draft.ids for draft in dropped),
        "speech_made_s": round(sum(draft.audio_s for draft in seen.drafts), 3),
        "speech_dropped_s": round(sum(draft.audio_s for draft in dropped), 3),
    }


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
