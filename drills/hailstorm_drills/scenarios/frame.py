"""
The frame that every drill's plan stands in: the same beginning, the same end.

A scenario says what its fault does; installing, watching, settling and judging
are no drill's own, so that two drills never differ by what nobody looked at.
"""

from collections.abc import Sequence

from hailstorm_drills.phases import BASELINE, JUDGE, RECOVER, SETTLE
from hailstorm_drills.plan import Parameters, Plan, Step

COMMON_CHECKS = ("availability", "latency", "recovery", "invariants", "generator", "fault")


def frame(
    p: Parameters,
    steps: Sequence[Step],
    settings: Sequence[str] = (),
    checks: Sequence[str] = (),
    twin_settings: Sequence[str] = (),
    control: str = "",
) -> Plan:
    """
    The whole plan around the fault's own steps.

    `settings` hold for the drill and its twin, `twin_settings` are what breaks
    the twin; `checks` are the drill's own, besides the common ones; `control`
    says what runs beside it, empty for nothing.
    """
    ours = f" with {', '.join(settings)}" if settings else ""
    broken = f" with {', '.join((*settings, *twin_settings))}" if p.is_twin else ours
    judged = ", ".join((*COMMON_CHECKS, *checks))
    begin = [
        Step(BASELINE, f"install release {p.release} from {', '.join(p.values)}{broken}"),
        Step(BASELINE, "assert health: all rolled, no pod terminating, the edge answers"),
        Step(BASELINE, f"start 1 master and {p.workers} workers in {p.load_namespace}"),
        Step(
            BASELINE,
            f"take the first of {', '.join(f'{scale:g}' for scale in p.load_scales)} of the load "
            f"with p99 <= {p.max_baseline_p99_ms:g} ms, {_ok_share(p)} OK and at most "
            f"{p.max_baseline_busy_share:.0%} of the machine at work",
        ),
        Step(BASELINE, f"watch {p.baseline_seconds:g} s of it without a fault"),
    ]
    if control:
        begin.insert(3, Step(BASELINE, f"start the control: {control}"))
    end = [
        Step(RECOVER, f"watch {p.recover_seconds:g} s more"),
        Step(SETTLE, "end the load, take its history, assert health again"),
    ]
    if p.is_twin:
        end.append(Step(SETTLE, "heal the twin: upgrade again without what broke it"))
    elif settings:
        end.append(Step(SETTLE, f"upgrade again without {', '.join(settings)}"))
    end.append(Step(JUDGE, f"check {judged}"))
    return Plan(p, (*begin, *steps, *end))


def _ok_share(p: Parameters) -> str:
    share = 1 - p.max_baseline_failed_share
    return "every call" if share == 1 else f"{share:.1%} of calls"


def broken(p: Parameters, twin_settings: Sequence[str]) -> str:
    """What a step of the twin adds to its text."""
    return f" with {', '.join(twin_settings)}" if p.is_twin else ""
