"""
What the shots at terminating pods say: propagation by way, its margin, a verdict; pure.

Propagation of a way is the time from the pod's deletion to the last call that
the way still sent to it. The pod must go on serving for longer than that, which
is the chart's `lifecycle.propagationSeconds`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hailstorm_drills.checkers.base import Verdict, bound95
from hailstorm_drills.drain_test.probe import ANSWERS

# The ways whose news takes time; `direct` only shows how long the pod answered.
WAYS: Final = ("edge", "service")
# Fewer calls after the deletion than this, and a zero says nothing of that way.
MIN_CALLS: Final = 20


@dataclass(frozen=True)
class Shot:
    """One pod: when it was deleted (epoch seconds), its address, and all calls."""

    pod: str
    address: str
    deleted_at: float
    calls: Sequence[Mapping[str, Any]]
    # Whether another pod was ready, and known to every Envoy, all the while.
    had_second: bool


@dataclass(frozen=True)
class PodResult:
    """What one pod's end looked like."""

    pod: str
    had_second: bool
    # Seconds from the deletion to the last call that was sent there; None: none was.
    edge_seconds: float | None
    service_seconds: float | None
    # For how long the pod itself answered.
    served_seconds: float | None
    failed: dict[str, int] = field(default_factory=dict)
    n: dict[str, int] = field(default_factory=dict)


def result_of(shot: Shot) -> PodResult:
    """Read one pod's calls; what was sent before the deletion does not count."""
    after = [c for c in shot.calls if c["at"] >= shot.deleted_at]
    by = {way: [c for c in after if c["way"] == way] for way in (*WAYS, "direct")}
    reached = {
        "edge": [c for c in by["edge"] if c["pod"].rpartition(":")[0] == shot.address],
        # A failed one went to a pod that was no longer there: nobody else fails.
        "service": [c for c in by["service"] if c["not_serving"] or c["code"] not in ANSWERS],
        "direct": [c for c in by["direct"] if c["code"] in ANSWERS],
    }
    last = {
        way: max((c["at"] - shot.deleted_at for c in calls), default=None)
        for way, calls in reached.items()
    }
    return PodResult(
        pod=shot.pod,
        had_second=shot.had_second,
        edge_seconds=_rounded(last["edge"]),
        service_seconds=_rounded(last["service"]),
        served_seconds=_rounded(last["direct"]),
        failed={way: sum(c["code"] not in ANSWERS for c in by[way]) for way in WAYS},
        n={way: len(calls) for way, calls in by.items()},
    )


def judge(shots: Sequence[Shot], propagation_seconds: float, wanted: int) -> dict[str, Any]:
    """
    The content of the test's verdict.json.

    FAIL when a call failed on the edge's or the Service's way, or when one of them
    sent calls for longer than the chart waits. A pod without a second ready one
    decides nothing, whatever failed: where else should its calls have gone? With
    such a pod, with too few pods or calls, it is UNKNOWN at best.
    """
    results = [result_of(shot) for shot in shots]
    fit = [result for result in results if result.had_second]
    propagation = {
        "edge": max((r.edge_seconds for r in fit if r.edge_seconds is not None), default=None),
        "service": max(
            (r.service_seconds for r in fit if r.service_seconds is not None), default=None
        ),
    }
    worst = max((s for s in propagation.values() if s is not None), default=None)
    margin = None if worst is None else round(propagation_seconds - worst, 3)
    n = sum(sum(r.n[way] for way in WAYS) for r in fit)
    failed = sum(sum(r.failed.values()) for r in fit)
    told = _told(propagation, propagation_seconds, margin, failed, n, len(fit))
    faults = []
    if failed:
        pods = sum(bool(sum(r.failed.values())) for r in fit)
        faults.append(f"{failed} of {n} calls failed, at {pods} of {len(fit)} pods")
    if margin is not None and margin < 0:
        faults.append(f"the chart waits {-margin:.2f} s too short")
    doubts = []
    if len(fit) < len(results):
        doubts.append(f"{len(results) - len(fit)} pods had no second ready pod")
    if len(results) < wanted or not results:
        doubts.append(f"{len(results)} of {wanted} pods were shot at")
    thin = [r.pod for r in fit if any(r.n[way] < MIN_CALLS for way in WAYS)]
    if thin:
        doubts.append(f"fewer than {MIN_CALLS} calls after the deletion of {', '.join(thin)}")
    if fit and None in propagation.values():
        ways = [way for way, seconds in propagation.items() if seconds is None]
        doubts.append(f"no call reached a terminating pod by {' or '.join(ways)}")
    verdict = Verdict.FAIL if faults else Verdict.UNKNOWN if doubts else Verdict.PASS
    why = "; ".join([*faults, *doubts, told])
    return {
        "drill": "drain-test",
        "pods": len(results),
        "judged_pods": len(fit),
        "calls": n,
        "failed": failed,
        "failed_bound95": bound95(failed, n),
        "propagation_seconds": propagation,
        "chart_propagation_seconds": propagation_seconds,
        "margin_seconds": margin,
        "verdict": verdict,
        "why": why,
        "each": [asdict(result) for result in results],
    }


def _told(
    propagation: Mapping[str, float | None],
    chart: float,
    margin: float | None,
    failed: int,
    n: int,
    pods: int,
) -> str:
    def seconds(value: float | None) -> str:
        return "not seen" if value is None else f"{value:.2f} s"

    return (
        f"{pods} pods, {failed} of {n} calls failed; propagation at most "
        f"{seconds(propagation['edge'])} to the edge and {seconds(propagation['service'])} to the "
        f"ClusterIP; the chart waits {chart:g} s, the margin is {seconds(margin)}"
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def render(told: Mapping[str, Any]) -> str:
    """The result as a table on a terminal, the verdict last."""
    heads = ("pod", "edge s", "ClusterIP s", "served s", "failed", "calls", "second pod")
    rows: list[tuple[str, ...]] = [heads]
    rows += [
        (
            str(each["pod"]),
            *(_cell(each[name]) for name in ("edge_seconds", "service_seconds", "served_seconds")),
            str(sum(each["failed"].values())),
            str(sum(each["n"][way] for way in WAYS)),
            "yes" if each["had_second"] else "no",
        )
        for each in told["each"]
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", f"{told['verdict']}  {told['why']}"])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
