"""
Ours against its rivals, by the limits of issue 6: a pure function of the figures.

A ratio needs both sides: a rival that was not measured, or one that has nothing
over the SLO, leaves its line UNKNOWN, and so does a load generator that lagged.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hailstorm_drills.checkers.base import Verdict, bound95, merge
from hailstorm_drills.comparison.figures import Figures
from hailstorm_drills.comparison.settings import (
    ARM_TITLES,
    CPU_HPA,
    IN_FLIGHT_HPA,
    OURS,
    Settings,
)

# Issue 6, "Figures to reach".
OVER_SLO_RATIOS: Final = {CPU_HPA: 1 / 30, IN_FLIGHT_HPA: 1 / 10}
FIRST_CAPACITY_SECONDS: Final = 1.0
P99_BACK_SECONDS: Final = 3.0
POD_SECONDS_RATIO: Final = 1.15
# Who leaves more calls over the SLO than this has not held it, and its pod-seconds are
# no price of holding it. p99 is the SLO's percentile.
HELD_SHARE: Final = 0.01


@dataclass(frozen=True)
class Line:
    """One thing that was asked for, what was measured, and whether that will do."""

    name: str
    asked: str
    measured: str
    verdict: Verdict
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def judge(figures: Mapping[str, Figures], settings: Settings) -> tuple[list[Line], Verdict]:
    """Every line, and the worst of them."""
    lines = [_no_failures(figures)]
    if not settings.asks_for_pod_seconds:
        lines += [_over_slo(figures, rival, most) for rival, most in OVER_SLO_RATIOS.items()]
        lines += [
            _seconds(
                figures,
                "first new capacity in the EndpointSlice",
                "first_capacity_seconds",
                FIRST_CAPACITY_SECONDS,
            ),
            _seconds(figures, "p99 back under the SLO", "p99_back_seconds", P99_BACK_SECONDS),
        ]
    else:
        lines.append(_held(figures))
        lines += [_pod_seconds(figures, rival, settings) for rival in (CPU_HPA, IN_FLIGHT_HPA)]
        lines += [_flaps(figures, rival) for rival in (CPU_HPA, IN_FLIGHT_HPA)]
    # Figures of a load that did not come as planned say nothing about a scaler, and what
    # has more pods before the change than the others has its answer before the question.
    checks = {"the load lagged": _generator(figures, settings)}
    if settings.change_at is not None:
        checks["not all began alike"] = _began_alike(figures, settings)
    for why, check in checks.items():
        if check.verdict != Verdict.PASS:
            lines = [_doubted(line, why) for line in lines]
    lines += checks.values()
    return lines, merge(line.verdict for line in lines)


def ratios(figures: Mapping[str, Figures]) -> dict[str, dict[str, float | None]]:
    """Ours divided by each rival's, for what has a size; None where that cannot be said."""
    found: dict[str, dict[str, float | None]] = {}
    for rival in (CPU_HPA, IN_FLIGHT_HPA):
        if OURS not in figures or rival not in figures:
            continue
        ours, other = figures[OURS], figures[rival]
        found[rival] = {
            name: _ratio(getattr(ours, name), getattr(other, name))
            for name in (
                "over_slo",
                "under_provisioned_seconds",
                "pod_seconds",
                "first_capacity_seconds",
                "p99_back_seconds",
            )
        }
    return found


def _ratio(ours: float | None, other: float | None) -> float | None:
    return None if ours is None or not other else round(ours / other, 4)


def _doubted(line: Line, why: str) -> Line:
    return Line(line.name, line.asked, line.measured, Verdict.UNKNOWN, why)


def _unmeasured(name: str, asked: str, *arms: str) -> Line:
    told = " and ".join(ARM_TITLES[arm] for arm in arms)
    return Line(name, asked, "-", Verdict.UNKNOWN, f"{told} was not measured")


def _verdict(good: bool) -> Verdict:
    return Verdict.PASS if good else Verdict.FAIL


def _no_failures(figures: Mapping[str, Figures]) -> Line:
    name, asked = "failed calls", "0"
    ours = figures.get(OURS)
    if ours is None or not ours.offered:
        return _unmeasured(name, asked, OURS)
    bound = bound95(ours.failed, ours.offered)
    told = f"{ours.failed} of {ours.offered}"
    if ours.unknown:
        told += f", {ours.unknown} passed their deadline"
    why = f"at most {bound:.3%} with 95 %" if bound is not None else ""
    return Line(name, asked, told, _verdict(ours.failed + ours.unknown == 0), why)


def _held(figures: Mapping[str, Figures]) -> Line:
    """Few pods are no merit where the SLO was not held."""
    name, asked = "ours held the SLO", f"≤ {HELD_SHARE:.0%} of calls over it"
    ours = figures.get(OURS)
    if ours is None or not ours.offered:
        return _unmeasured(name, asked, OURS)
    rivals = ", ".join(
        f"{ARM_TITLES[arm]} {figures[arm].over_slo_share:.2%}"
        for arm in (CPU_HPA, IN_FLIGHT_HPA)
        if arm in figures
    )
    told = f"{ours.over_slo_share:.2%}"
    return Line(name, asked, told, _verdict(ours.over_slo_share <= HELD_SHARE), rivals)


def _over_slo(figures: Mapping[str, Figures], rival: str, most: float) -> Line:
    name = f"calls over the SLO, against {ARM_TITLES[rival]}"
    asked = f"≤ 1/{1 / most:.0f}"
    if OURS not in figures or rival not in figures:
        return _unmeasured(name, asked, *(a for a in (OURS, rival) if a not in figures))
    ours, other = figures[OURS], figures[rival]
    told = f"{ours.over_slo} : {other.over_slo}"
    if other.over_slo == 0:
        return Line(name, asked, told, Verdict.UNKNOWN, "the rival had none either")
    ratio = ours.over_slo / other.over_slo
    share = f"1/{1 / ratio:.0f}" if ratio else "none of ours"
    return Line(name, asked, told, _verdict(ratio <= most), share)


def _seconds(figures: Mapping[str, Figures], name: str, field: str, most: float) -> Line:
    asked = f"≤ {most:g} s"
    if OURS not in figures:
        return _unmeasured(name, asked, OURS)
    value = getattr(figures[OURS], field)
    rivals = ", ".join(
        f"{ARM_TITLES[arm]} {_told(getattr(figures[arm], field))}"
        for arm in (CPU_HPA, IN_FLIGHT_HPA)
        if arm in figures
    )
    if value is None:
        return Line(name, asked, "never", Verdict.FAIL, rivals)
    return Line(name, asked, f"{value:.2f} s", _verdict(value <= most), rivals)


def _told(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def _pod_seconds(figures: Mapping[str, Figures], rival: str, settings: Settings) -> Line:
    name = f"pod-seconds, against {ARM_TITLES[rival]}"
    least = settings.least_of(rival)
    asked = f"≤ {POD_SECONDS_RATIO:g} of a rival that held the SLO"
    if OURS not in figures or rival not in figures:
        return _unmeasured(name, asked, *(a for a in (OURS, rival) if a not in figures))
    ours, other = figures[OURS], figures[rival]
    told = f"{ours.pod_seconds:.0f} : {other.pod_seconds:.0f}"
    if other.over_slo_share > HELD_SHARE:
        why = f"from {least} pods on it left {other.over_slo_share:.2%} of calls over the SLO; "
        why += "what it needs to hold it, --find-rivals finds"
        return Line(name, asked, told, Verdict.UNKNOWN, why)
    ratio = _ratio(ours.pod_seconds, other.pod_seconds)
    if ratio is None:
        return Line(name, asked, told, Verdict.UNKNOWN, "the rival had no pods")
    why = f"{ratio:.2f}; the rival from {least} pods on"
    return Line(name, asked, told, _verdict(ratio <= POD_SECONDS_RATIO), why)


def _flaps(figures: Mapping[str, Figures], rival: str) -> Line:
    name, asked = f"flaps, against {ARM_TITLES[rival]}", "≤ the rival's"
    if OURS not in figures or rival not in figures:
        return _unmeasured(name, asked, *(a for a in (OURS, rival) if a not in figures))
    ours, other = figures[OURS].flaps, figures[rival].flaps
    return Line(name, asked, f"{ours} : {other}", _verdict(ours <= other))


def _generator(figures: Mapping[str, Figures], settings: Settings) -> Line:
    name, asked = "generator lag p99", f"≤ {settings.max_generator_lag_ms:g} ms"
    lags = {arm: one.generator_lag_p99_ms for arm, one in figures.items()}
    known = [lag for lag in lags.values() if lag is not None]
    if not known or len(known) < len(lags):
        return Line(name, asked, "-", Verdict.UNKNOWN, "an arm has no calls")
    good = max(known) <= settings.max_generator_lag_ms
    told = ", ".join(f"{ARM_TITLES[arm]} {lag:.0f} ms" for arm, lag in lags.items())
    verdict = Verdict.PASS if good else Verdict.UNKNOWN
    return Line(name, asked, f"{max(known):.0f} ms", verdict, told)


def _began_alike(figures: Mapping[str, Figures], settings: Settings) -> Line:
    name, asked = "pods serving before the change", "as many as each was given"
    began = {arm: one.serving_before for arm, one in figures.items()}
    told = ", ".join(f"{ARM_TITLES[arm]} {count}" for arm, count in began.items())
    good = all(count == settings.least_of(arm) for arm, count in began.items())
    return Line(name, asked, told or "-", Verdict.PASS if good else Verdict.UNKNOWN)
