"""
Verdicts, and how they merge: FAIL over UNKNOWN over PASS.

A checker is a pure function from evidence to a finding. One that crashes has
found nothing out, which is UNKNOWN, and so is one without data; a drill that
no checker judged has not passed.
"""

import enum
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hailstorm_drills.evidence import Evidence


class Verdict(enum.StrEnum):
    """What came out; the order of the lattice is that of `merge`."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Finding:
    """What one checker found, in a sentence and in figures."""

    checker: str
    verdict: Verdict
    why: str
    # How many things were looked at; a zero means nothing without it.
    n: int = 0
    figures: dict[str, Any] = field(default_factory=dict)
    # A finding that is only told decides nothing: a control arm's, for instance.
    is_judged: bool = True


Checker = Callable[[Evidence], Finding]


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them; UNKNOWN when there is none."""
    found = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.UNKNOWN):
        if verdict in found:
            return verdict
    return Verdict.PASS if found else Verdict.UNKNOWN


def run_checkers(checkers: Sequence[tuple[str, Checker]], evidence: Evidence) -> list[Finding]:
    """Every checker's finding, in order; a crash is a finding as well."""
    findings = []
    for name, checker in checkers:
        try:
            findings.append(checker(evidence))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            findings.append(
                Finding(
                    name,
                    Verdict.UNKNOWN,
                    f"the checker crashed in {where.name}: {type(error).__name__}: {error}",
                )
            )
    return findings


def bound95(failed: int, n: int) -> float | None:
    """
    The 95 % upper bound of the failure share; None of nothing.

    Rule of three for zero failures; otherwise Wilson's upper limit, one-sided,
    which needs no tables of its own.
    """
    if n <= 0:
        return None
    if failed == 0:
        return min(1.0, 3 / n)
    z = 1.6449
    share = failed / n
    centre = share + z * z / (2 * n)
    spread = z * ((share * (1 - share) + z * z / (4 * n)) / n) ** 0.5
    return float(min(1.0, (centre + spread) / (1 + z * z / n)))
