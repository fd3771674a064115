"""
The policies: each looks at what it can see in a cluster and says how many pods.

The HPA is written from replica_calculator.go and its defaults, the KPA from
Knative's autoscaler.go: docs/reference/simulate.md has the figures. Each keeps to
its own beat; a metric is as old as its way to the policy makes it.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from hailstorm_operator.api import FIELD_MANAGER
from hailstorm_operator.scaling import decide_scale
from hailstorm_operator.scaling_inputs import Capacity, Demand, Inputs, Rules, first_memory
from hailstorm_operator.windows import SignalWindows

# kube-controller-manager's and metrics-server's defaults.
HPA_SYNC_SECONDS: Final = 15.0
METRICS_SECONDS: Final = 15.0
HPA_TOLERANCE: Final = 0.1
HPA_DOWN_WINDOW_SECONDS: Final = 300.0
HPA_UP_PODS: Final = 4
HPA_UP_SECONDS: Final = 15.0
# Knative's defaults.
KPA_TICK_SECONDS: Final = 2.0
KPA_STABLE_SECONDS: Final = 60.0
KPA_PANIC_SECONDS: Final = 6.0
KPA_PANIC_THRESHOLD: Final = 2.0
KPA_MAX_UP_RATE: Final = 1000.0
KPA_MAX_DOWN_RATE: Final = 2.0


@dataclass(frozen=True)
class Seen:
    """
    What can be measured at a moment.

    `use` is each serving pod's share of its CPU limit, `lent` counts spares that serve.
    """

    now: float
    in_flight: float
    use: float
    replicas: int
    ready: int
    lent: int = 0


@dataclass(frozen=True)
class Bounds:
    """Between which counts, and for how many seconds an HPA looks back before it shrinks."""

    min_replicas: int
    max_replicas: int
    down_window_seconds: float = HPA_DOWN_WINDOW_SECONDS

    def clip(self, pods: int) -> int:
        """The nearest count within."""
        return max(self.min_replicas, min(self.max_replicas, pods))


class Policy(Protocol):
    """Called each step; returns the replicas there should be."""

    name: str
    spares: int
    # Pods that the load asks for, whatever may be started of them: those spares stand in for.
    wanted: int

    def decide(self, seen: Seen) -> int:
        """Replicas from now on."""


class Hpa:
    """What both HPAs do with a recommendation: limits, window, bounds."""

    spares = 0
    wanted = 0

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._next = HPA_SYNC_SECONDS
        self._recommended: deque[tuple[float, int]] = deque()
        # Replicas at the start of each period of the scale-up policy.
        self._history: deque[tuple[float, int]] = deque()

    def _settle(self, seen: Seen, desired: int) -> int:
        """Down to the highest recommendation of the window, up by no more than the policies."""
        self._recommended.append((seen.now, desired))
        while self._recommended[0][0] <= seen.now - self._bounds.down_window_seconds:
            self._recommended.popleft()
        self._history.append((seen.now, seen.replicas))
        while self._history[0][0] <= seen.now - HPA_UP_SECONDS:
            self._history.popleft()
        if desired < seen.replicas:
            desired = min(seen.replicas, max(one for _, one in self._recommended))
        before = self._history[0][1]
        limit = max(2 * before, before + HPA_UP_PODS)
        return self._bounds.clip(min(desired, max(limit, seen.replicas)))

    def _is_due(self, now: float) -> bool:
        if now < self._next:
            return False
        self._next += HPA_SYNC_SECONDS
        return True


class CpuHpa(Hpa):
    """HPA on CPU: metrics-server's average of the ready pods, a share of the request."""

    name = "HPA on CPU"

    def __init__(self, bounds: Bounds, target_use: float) -> None:
        super().__init__(bounds)
        self._target = target_use
        self._samples: list[float] = []
        # Half a beat behind the sync: on average a metric is that old.
        self._scrape_at = METRICS_SECONDS / 2
        self._metric: float | None = None

    def decide(self, seen: Seen) -> int:
        self._samples.append(seen.use)
        if seen.now >= self._scrape_at:
            self._metric = sum(self._samples) / len(self._samples)
            self._samples.clear()
            self._scrape_at += METRICS_SECONDS
        if not self._is_due(seen.now) or self._metric is None:
            return seen.replicas
        ratio = self._metric / self._target
        desired = seen.replicas
        if abs(1 - ratio) > HPA_TOLERANCE:
            if ratio > 1 and seen.ready < seen.replicas:
                # Pods that are not ready count as idle when there should be more.
                ratio *= seen.ready / seen.replicas
                if ratio > 1 + HPA_TOLERANCE:
                    desired = math.ceil(ratio * seen.replicas - 1e-9)
            else:
                desired = math.ceil(ratio * seen.ready - 1e-9)
        return self._settle(seen, desired)


class InFlightHpa(Hpa):
    """HPA on an external metric, the edge's calls in flight: the strongest rival."""

    name = "HPA on in-flight"

    def __init__(self, bounds: Bounds, in_flight_per_pod: float) -> None:
        super().__init__(bounds)
        self._target = in_flight_per_pod

    def decide(self, seen: Seen) -> int:
        if not self._is_due(seen.now):
            return seen.replicas
        ratio = seen.in_flight / (self._target * max(1, seen.replicas))
        desired = seen.replicas
        if abs(1 - ratio) > HPA_TOLERANCE:
            desired = math.ceil(seen.in_flight / self._target - 1e-9)
        return self._settle(seen, desired)


class Kpa:
    """Knative's KPA on concurrency: a stable and a panic window, and no shrinking in panic."""

    name = "Knative KPA"
    spares = 0
    wanted = 0

    def __init__(self, bounds: Bounds, in_flight_per_pod: float) -> None:
        self._bounds = bounds
        self._target = in_flight_per_pod
        self._samples: deque[tuple[float, float]] = deque()
        self._next = KPA_TICK_SECONDS
        # It starts in panic, so that a restart cannot shrink anything.
        self._panic_since: float | None = 0.0
        self._panic_pods = bounds.min_replicas

    def decide(self, seen: Seen) -> int:
        self._samples.append((seen.now, seen.in_flight))
        while self._samples[0][0] <= seen.now - KPA_STABLE_SECONDS:
            self._samples.popleft()
        if seen.now < self._next:
            return seen.replicas
        self._next += KPA_TICK_SECONDS
        ready = max(1, seen.ready)
        stable = self._limited(self._average(seen.now, KPA_STABLE_SECONDS), ready)
        urgent = self._limited(self._average(seen.now, KPA_PANIC_SECONDS), ready)
        if urgent / ready >= KPA_PANIC_THRESHOLD:
            self._panic_pods = max(self._panic_pods if self._panic_since is not None else 0, urgent)
            self._panic_since = seen.now
        elif self._panic_since is not None and seen.now - self._panic_since >= KPA_STABLE_SECONDS:
            self._panic_since = None
        if self._panic_since is not None:
            self._panic_pods = max(self._panic_pods, stable, urgent)
            return self._bounds.clip(max(self._panic_pods, seen.replicas))
        return self._bounds.clip(stable)

    def _average(self, now: float, span: float) -> float:
        inside = [value for at, value in self._samples if at > now - span]
        return sum(inside) / len(inside)

    def _limited(self, load: float, ready: int) -> int:
        pods = math.ceil(load / self._target)
        return int(min(max(pods, math.floor(ready / KPA_MAX_DOWN_RATE)), ready * KPA_MAX_UP_RATE))


class Ours:
    """ServiceScaler: the very decider and windows that run in the cluster."""

    def __init__(
        self, rules: Rules, fast_window_seconds: float, spares: int = 0, name: str = "ServiceScaler"
    ) -> None:
        self.name = name
        self.spares = spares
        self.wanted = 0
        self._rules = rules
        self._windows = SignalWindows(
            fast_window_seconds, rules.stable_window_seconds, rules.scale_down_window_seconds
        )
        self._memory = first_memory(0.0)
        self.clamps: dict[str, int] = {}

    def decide(self, seen: Seen) -> int:
        windows, now = self._windows, seen.now
        windows.add(now, seen.in_flight)
        demand = Demand(
            fast=windows.fast(now),
            stable=windows.stable(now),
            peak=windows.peak(now),
            state="fresh",
            scatter=windows.scatter(now),
            slope=windows.slope(now),
            is_rising=windows.is_rising(now),
            looks=windows.looks(now),
        )
        capacity = Capacity(
            seen.replicas,
            seen.ready,
            rollout_in_progress=False,
            set_by=FIELD_MANAGER,
            spares_serving=seen.lent,
            spares_ready=self.spares,
        )
        decision = decide_scale(Inputs(now, self._rules, demand, capacity, self._memory))
        self._memory = decision.memory
        self.wanted = decision.wanted or 0
        if decision.planned is not None:
            windows.plan(now, decision.planned)
        self.clamps[decision.clamp] = self.clamps.get(decision.clamp, 0) + 1
        return decision.desired
