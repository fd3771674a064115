"""
Whether bad releases were caught: how soon, at whose cost, and what runs now.

A release that nobody took back is a FAIL, whatever else is known of it. One that
was taken back without a record that says so is UNKNOWN: a gate has to be
believed by its own word and not by luck.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Final

from hailstorm_drills.checkers.availability import check_availability
from hailstorm_drills.checkers.base import Checker, Finding, Verdict
from hailstorm_drills.evidence import Evidence
from hailstorm_drills.gate_runs import BAD, IDENTICAL, Run, read_runs, spread
from hailstorm_drills.phases import BASELINE
from hailstorm_operator import api

DETECTED: Final = "detected"
LATE: Final = "late-failures"
RESTORED: Final = "restored"
CALM: Final = "calm"
TOOK_HOLD: Final = "took-hold"
AVAILABILITY: Final = "availability"
# Four times the background that `aa` itself makes; a guess at where noise ends.
MOST_BAD_BEFORE: Final = 0.02

# Until when a run took, from what; None when either is not known.
Measure = Callable[[Run], float | None]


def from_first_failure(run: Run) -> float | None:
    """From the first call that a client saw fail to the verdict."""
    if run.decided_at is None or run.first_failure is None:
        return None
    return run.decided_at - run.first_failure


def from_ready(run: Run) -> float | None:
    """From the first moment that the release could hurt anybody to the verdict."""
    if run.decided_at is None or run.ready_at is None:
        return None
    return run.decided_at - run.ready_at


def out_after_deadline(deadline_seconds: float) -> Measure:
    """From the policy's deadline for the first pod to the moment the last one was told to go."""

    def measure(run: Run) -> float | None:
        started = run.started_at if run.started_at is not None else run.seen_at
        if started is None or run.out_at is None:
            return None
        return run.out_at - (started + deadline_seconds)

    return measure


def bound_of(seconds: float, evidence: Evidence) -> float:
    """
    What `seconds` of the whole load come to with the share that this machine carried.

    A gate decides by calls: the failures that must have been seen take as many times
    longer to come as there are fewer of them.
    """
    return seconds / evidence.machine.get("load_scale", 1.0)


def check_detected(
    measure: Measure,
    what: str,
    rules: Sequence[str],
    median_seconds: float,
    *,
    may_miss: bool = False,
    by_calls: bool = True,
) -> Checker:
    """
    FAIL when a bad release was not taken back, or by none of these rules, or the median
    of `measure` is above the bound; UNKNOWN when there is nothing to measure.

    The bound is for the whole load where it is `by_calls` that the gate decides.

    With `may_miss` one that was not taken back counts as taking for ever, and the
    median decides: of releases that are hardly worse some are let through.
    """

    def check(evidence: Evidence) -> Finding:
        runs = [run for run in read_runs(evidence) if run.kind == BAD]
        n = len(runs)
        bound = bound_of(median_seconds, evidence) if by_calls else median_seconds
        figures: dict[str, Any] = {
            "runs": [run.figures() for run in runs],
            "bound_seconds": round(bound, 3),
        }
        if not runs:
            return Finding(DETECTED, Verdict.UNKNOWN, "no bad release was tried", n, figures)
        missed = [run for run in runs if not _is_caught(run)]
        caught = [run for run in runs if run not in missed]
        values = [value for run in caught if (value := measure(run)) is not None]
        figures.update(spread(values), missed=len(missed))
        told = ", ".join(f"{run.name} (verdict {run.verdict or 'none'})" for run in missed)
        if missed and not may_miss:
            return Finding(DETECTED, Verdict.FAIL, f"not taken back: {told}", n, figures)
        wrong = [f"{run.name} by {run.rule}" for run in caught if run.rule not in ("", *rules)]
        if wrong:
            told = f"not by {' or '.join(rules)}: {', '.join(wrong)}"
            return Finding(DETECTED, Verdict.FAIL, told, n, figures)
        if len(values) < len(caught):
            told = f"{what} is known of {len(values)} of {len(caught)} releases"
            return Finding(DETECTED, Verdict.UNKNOWN, told, n, figures)
        median = statistics.median([*values, *(math.inf for _ in missed)])
        figures["median"] = round(median, 3) if math.isfinite(median) else None
        if not math.isfinite(median):
            return Finding(DETECTED, Verdict.FAIL, f"not taken back: {told}", n, figures)
        told = (
            f"{len(caught)} of {n} taken back; {what}: median {median:.1f} s "
            f"({figures['least']:.1f} to {figures['most']:.1f}), at most {bound:.1f} asked"
        )
        if bound != median_seconds:
            told += f": {median_seconds:g} of the whole load"
        verdict = Verdict.PASS if median <= bound else Verdict.FAIL
        return Finding(DETECTED, verdict, told, n, figures)

    return on_sound_ground(DETECTED, check)


def _is_caught(run: Run) -> bool:
    """Whether the policy took it back, as far as is known: the rest says the record."""
    return run.is_taken_back and run.verdict in ("", api.VERDICT_ABORTED)


def check_late_failures(most_seconds: float) -> Checker:
    """
    FAIL when a user's call failed later than this after the release's first failure;
    the bound is for the whole load.
    """

    def check(evidence: Evidence) -> Finding:
        runs = [run for run in read_runs(evidence) if run.kind == BAD]
        hurt = [
            (run, run.last_failure - run.first_failure)
            for run in runs
            if run.first_failure is not None and run.last_failure is not None
        ]
        bound = bound_of(most_seconds, evidence)
        figures = {**spread([seconds for _, seconds in hurt]), "bound_seconds": round(bound, 3)}
        if not hurt:
            return Finding(LATE, Verdict.UNKNOWN, "no call failed: nothing to stop", len(runs))
        late = [f"{run.name}: {seconds:.1f} s" for run, seconds in hurt if seconds > bound]
        told = (
            f"the last failure came at most {figures['most']:.1f} s after the first "
            f"({bound:.1f} allowed)"
        )
        if late:
            return Finding(LATE, Verdict.FAIL, f"{told} ({', '.join(late)})", len(hurt), figures)
        return Finding(LATE, Verdict.PASS, told, len(hurt), figures)

    return on_sound_ground(LATE, check)


def check_restored(evidence: Evidence) -> Finding:
    """FAIL when, at the end of a bad release, anything but the template before serves."""
    runs = [run for run in read_runs(evidence) if run.kind == BAD]
    if not runs:
        return Finding(RESTORED, Verdict.UNKNOWN, "no bad release was tried")
    left = [run.name for run in runs if not run.is_restored or not run.is_taken_back]
    if left:
        told = f"the template before was not put back by the policy after {', '.join(left)}"
        return Finding(RESTORED, Verdict.FAIL, told, len(runs))
    return Finding(RESTORED, Verdict.PASS, "the template before runs again", len(runs))


def check_paid(most_share: float) -> Checker:
    """
    In the place of availability: FAIL from this share of failed calls of all on;
    UNKNOWN where those whose end nobody knows would make it one.
    """

    def check(evidence: Evidence) -> Finding:
        found = check_availability(evidence)
        n, failed = found.n, found.figures.get("failed", 0)
        unknown = found.figures.get("unknown", 0)
        if found.verdict is Verdict.UNKNOWN or not n:
            return found
        figures = {**found.figures, "failed_share": failed / n, "most_share": most_share}
        told = f"{failed} of {n} calls failed, {failed / n:.3%} (below {most_share:.1%} asked)"
        verdict = Verdict.FAIL if failed / n >= most_share else Verdict.PASS
        if verdict is Verdict.PASS and (failed + unknown) / n >= most_share:
            told, verdict = f"{told}; {unknown} more may have failed", Verdict.UNKNOWN
        return Finding(AVAILABILITY, verdict, told, n, figures)

    return check


def on_sound_ground(name: str, checker: Checker) -> Checker:
    """
    The checker where calls went well before the first release; else UNKNOWN.

    A gate compares: on a machine that fails calls by itself (seen: two cores that were
    asked for twenty times as much), what it misses says nothing about it.
    """

    def check(evidence: Evidence) -> Finding:
        before = evidence.intervals.get(BASELINE)
        calls = evidence.history.calls if evidence.history else ()
        inside = [call for call in calls if before and before.holds(call.intended)]
        bad = sum(call.outcome != "ok" for call in inside)
        if inside and bad > MOST_BAD_BEFORE * len(inside):
            told = f"{bad} of {len(inside)} calls did not go well before the first release"
            return Finding(name, Verdict.UNKNOWN, told, len(inside))
        return checker(evidence)

    return check


def told_only(checker: Checker) -> Checker:
    """A common checker whose finding is told and decides nothing in this drill."""

    def check(evidence: Evidence) -> Finding:
        return dataclasses.replace(checker(evidence), is_judged=False)

    return check


def check_releases_came(*, must_serve: bool) -> Checker:
    """
    In the place of took-hold: PASS when every release brought a pod of its own, which
    served where it must, under enough calls; else UNKNOWN, because nothing was tried.
    """

    def check(evidence: Evidence) -> Finding:
        runs = read_runs(evidence)
        calls = len(evidence.history.calls) if evidence.history else 0
        doubts = [f"{run.name} brought no pod" for run in runs if run.seen_at is None]
        if must_serve:
            doubts += [f"{run.name} never served" for run in runs if run.ready_at is None]
        else:
            doubts += [f"{run.name} became ready" for run in runs if run.ready_at is not None]
        if len(runs) < evidence.parameters.times:
            doubts.append(f"{len(runs)} releases came, {evidence.parameters.times} were planned")
        if calls < evidence.parameters.min_user_calls:
            doubts.append(f"{calls} user calls, {evidence.parameters.min_user_calls} are needed")
        figures = {"releases": len(runs), "user_calls": calls}
        if doubts:
            return Finding(TOOK_HOLD, Verdict.UNKNOWN, "; ".join(doubts), calls, figures)
        told = f"{len(runs)} releases brought a pod each under {calls} calls"
        return Finding(TOOK_HOLD, Verdict.PASS, told, calls, figures)

    return check


def check_calm(most_false: int) -> Checker:
    """
    FAIL when more identical releases than this were taken back; UNKNOWN when one of
    them was not judged by its traffic.
    """

    def check(evidence: Evidence) -> Finding:
        runs = [run for run in read_runs(evidence) if run.kind == IDENTICAL]
        aborted = [run for run in runs if run.verdict == api.VERDICT_ABORTED]
        promoted = [run for run in runs if run.verdict == api.VERDICT_PROMOTED]
        figures = {
            "identical": len(runs),
            "promoted": len(promoted),
            "aborted": len(aborted),
            "most_false": most_false,
            "runs": [run.figures() for run in runs],
        }
        n = len(runs)
        told = f"{len(aborted)} of {n} identical releases were taken back ({most_false} allowed)"
        if len(aborted) > most_false:
            return Finding(CALM, Verdict.FAIL, told, n, figures)
        if not runs or len(aborted) + len(promoted) < n:
            rest = [
                f"{run.name}: {run.verdict or 'no verdict'}"
                for run in runs
                if run not in aborted and run not in promoted
            ]
            told = f"{told}; not judged: {', '.join(rest) or 'none was tried'}"
            return Finding(CALM, Verdict.UNKNOWN, told, n, figures)
        return Finding(CALM, Verdict.PASS, told, n, figures)

    return on_sound_ground(CALM, check)
