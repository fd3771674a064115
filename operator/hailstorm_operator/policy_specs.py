"""The spec of a RolloutPolicy, checked; SpecError names field and cure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from hailstorm_operator.gate_inputs import GateRules, LatencyRules
from hailstorm_operator.specs import SpecError, mapping, number, text, whole

# benchmarks/gate.py: at 0.02 a release failing 5 % is caught 2.2 s after its first
# failure, and of identical ones over 0.5 % background fewer than 0.5 % are undone.
DEFAULT_ALPHA: Final = 0.02
# Long enough that 2 % over 0.5 % is caught in nine of ten runs before the promotion.
DEFAULT_HOLD_MIN_SECONDS: Final = 30
# Below the progress deadline of charts/hailstorm, 120 s.
DEFAULT_HOLD_MAX_SECONDS: Final = 100
# 100 calls without a failure support "at most 3 %" (rule of three).
DEFAULT_MIN_CALLS: Final = 100
DEFAULT_WATCH_SECONDS: Final = 60
DEFAULT_LATENCY_RATIO: Final = 1.5
# A tenth of what people call instant (0.1 s is), half of the chart's p50 budget.
DEFAULT_LATENCY_DELTA_MS: Final = 50
DEFAULT_LATENCY_CALLS: Final = 50
# A Python pod on 0.2 of a core: import, pools, first use of every code path. A guess
# with a margin over the 8 s that a CPU-limited start was seen to take.
DEFAULT_COLD_START_SECONDS: Final = 10
# Kubernetes' own default of a Deployment.
DEFAULT_PROGRESS_SECONDS: Final = 600

HOLD_PAUSED: Final = "paused"
HOLD_MIN_READY: Final = "minReadySeconds"
# Tried both, docs/decisions/a-hold-is-min-ready-seconds.md: with paused, Helm 3's
# --wait was back after 3 s, and kubectl refused to undo.
DEFAULT_HOLD_BY: Final = HOLD_MIN_READY
SEE: Final = "See docs/reference/rolloutpolicy.md"

Then = Literal["promote", "rollback", "hold"]


@dataclass(frozen=True)
class PolicySpec:
    """What a RolloutPolicy asks for, checked."""

    target: str
    enforce: bool
    cluster: str
    hold_by: str
    hold_min_seconds: float
    hold_max_seconds: float
    min_calls: int
    alpha: float
    latency: LatencyRules | None
    then: Then
    progress_seconds: float | None
    watch_seconds: float

    def rules(self, progress_seconds: float) -> GateRules:
        """Rules for the decider; `progress_seconds` is the Deployment's own deadline."""
        return GateRules(
            alpha=self.alpha,
            hold_min_seconds=self.hold_min_seconds,
            hold_max_seconds=self.hold_max_seconds,
            min_calls=self.min_calls,
            ready_deadline_seconds=self.progress_seconds or progress_seconds,
            watch_seconds=self.watch_seconds,
            on_insufficient_evidence=self.then,
            has_traffic_source=bool(self.cluster),
            latency=self.latency,
        )


def parse_policy_spec(spec: Mapping[str, Any]) -> PolicySpec:
    """Check the spec of a RolloutPolicy. Raises SpecError for the first mistake."""
    target = mapping(spec, "spec", "targetRef", SEE)
    kind = (target.get("apiVersion", "apps/v1"), target.get("kind", "Deployment"))
    if kind != ("apps/v1", "Deployment"):
        raise SpecError(
            "spec.targetRef", f"{'/'.join(kind)} is not gated", "Name an apps/v1 Deployment"
        )
    canary = spec.get("canary") or {}
    hold = canary.get("holdSeconds") or {}
    path = "spec.canary.holdSeconds"
    low = number(hold, path, "min", 1, 600, DEFAULT_HOLD_MIN_SECONDS)
    high = number(hold, path, "max", 1, 600, max(low, DEFAULT_HOLD_MAX_SECONDS))
    if high < low:
        raise SpecError(f"{path}.max", f"{high:g} is below min {low:g}", f"Write {low:g} or more")
    edge = spec.get("edge")
    cluster = text(edge, "spec.edge", "cluster") if isinstance(edge, Mapping) else ""
    progress = spec.get("progressDeadlineSeconds")
    return PolicySpec(
        target=text(target, "spec.targetRef", "name"),
        enforce=_choice(spec, "mode", ("enforce", "observe"), "enforce") == "enforce",
        cluster=cluster,
        hold_by=_choice(
            canary, "holdBy", (HOLD_MIN_READY, HOLD_PAUSED), DEFAULT_HOLD_BY, "canary."
        ),
        hold_min_seconds=low,
        hold_max_seconds=high,
        min_calls=whole(canary, "spec.canary", "minCalls", 1, DEFAULT_MIN_CALLS),
        alpha=number(spec, "spec", "alpha", 1e-6, 0.2, DEFAULT_ALPHA),
        latency=_latency(spec.get("latency"), cluster),
        then=cast(
            Then, _choice(spec, "onInsufficientEvidence", ("promote", "rollback", "hold"), None)
        ),
        progress_seconds=(
            None if progress is None else number(spec, "spec", "progressDeadlineSeconds", 5, 3600)
        ),
        watch_seconds=number(
            spec, "spec", "postPromotionWatchSeconds", 0, 600, DEFAULT_WATCH_SECONDS
        ),
    )


def _latency(latency: object, cluster: str) -> LatencyRules | None:
    if not isinstance(latency, Mapping):
        return None
    path = "spec.latency"
    if not cluster:
        raise SpecError(
            path, "has no traffic to look at", "Name spec.edge.cluster, or leave it out"
        )
    return LatencyRules(
        max_ratio=number(latency, path, "maxRatio", 1, 100, DEFAULT_LATENCY_RATIO),
        max_delta_ms=number(latency, path, "maxDeltaMs", 0, 60_000, DEFAULT_LATENCY_DELTA_MS),
        min_calls=whole(latency, path, "minCalls", 1, DEFAULT_LATENCY_CALLS),
        cold_start_seconds=number(
            latency, path, "coldStartSeconds", 0, 300, DEFAULT_COLD_START_SECONDS
        ),
    )


def _choice(
    parent: Mapping[str, Any],
    field: str,
    known: tuple[str, ...],
    default: str | None,
    inner: str = "",
) -> str:
    value = parent.get(field, default)
    if value not in known:
        raise SpecError(f"spec.{inner}{field}", f"{value!r} is not known", f"Write {_or(known)}")
    return str(value)


def _or(words: tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + f" or {words[-1]}"
