"""
What a scaling decision rests on, as plain values that go to JSON and back.

Whatever the decider looks at is in here, and so in every kept decision: what is
left out could not be replayed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

SignalState = Literal["fresh", "partial", "stale"]

# Written into each kept decision. Raised when the same inputs may give another
# decision, so that a replay knows which ones are not its own.
DECIDER_VERSION: Final = 7


@dataclass(frozen=True)
class Rules:
    """
    What the ServiceScaler asks for, as far as the number of pods depends on it.

    Attributes:
        in_flight_per_pod: calls in flight that a pod is planned to hold.
        knee_per_pod: calls in flight that it can hold; 0 stands for the planned ones.
        stable_window_seconds: how long a demand must be calm to end a panic.
        scale_down_window_seconds: shrinking satisfies the highest plan of that long.
        step_seconds: from a change to a step down, at least; 0 stands for the stable window.
        startup_seconds: how far ahead a steady slope is planned for; 0 plans for now.
        connections_per_pod: connections to the database that a pod holds; 0 has no budget.
        connections: how many of them the replicas may hold together.
    """

    min_replicas: int
    max_replicas: int
    in_flight_per_pod: float
    tolerance: float
    max_pods_in_creation: int
    stable_window_seconds: float
    scale_down_window_seconds: float
    knee_per_pod: float = 0.0
    startup_seconds: float = 0.0
    connections_per_pod: int = 0
    connections: int = 0
    step_seconds: float = 0.0

    @property
    def step(self) -> float:
        """Seconds from a change of the replicas to a step down."""
        return self.step_seconds or self.stable_window_seconds

    @property
    def knee(self) -> float:
        """Calls in flight that a pod can hold."""
        return self.knee_per_pod or self.in_flight_per_pod


@dataclass(frozen=True)
class Demand:
    """
    Calls in flight and what was refused, over the windows.

    Attributes:
        fast: average over the fast window, None without a sample in it.
        stable: average over the stable window, None without a sample in it.
        peak: the highest plan of the scale-down window, None without one.
        scatter: how much the samples scatter, as a standard deviation, steps left out;
            0 when not known.
        slope: steady growth, in calls in flight a second; 0 when it falls or is not steady.
        shed: how much of `fast` are refused calls: shed/s times service time.
        is_rising: whether the newest sample says that there will be more.
        looks: of how many samples `fast` is the average; 0 when not known.
    """

    fast: float | None
    stable: float | None
    peak: float | None
    state: SignalState
    scatter: float = 0.0
    slope: float = 0.0
    shed: float = 0.0
    is_rising: bool = False
    looks: int = 0


@dataclass(frozen=True)
class Capacity:
    """
    The target as the cluster has it.

    Attributes:
        replicas: what is asked for.
        ready: what serves.
        conflict: reason why the replicas belong to somebody else or may do so, or "".
        set_by: who wrote `replicas` last, by the API's field managers; "" when not known.
        spares: pods of the same kind beside the replicas: they hold connections, too.
        spares_serving: how many of those serve now; they are capacity, but no replicas.
        spares_ready: how many of them serve or could at once.
        overdue: pods of the target that have not been ready for longer than a start takes.
        stuck: those of them that have not been for so long that they never may (`patience`).
    """

    replicas: int
    ready: int
    rollout_in_progress: bool
    conflict: str = ""
    set_by: str = ""
    spares: int = 0
    spares_serving: int = 0
    spares_ready: int = 0
    overdue: int = 0
    stuck: int = 0


@dataclass(frozen=True)
class Memory:
    """
    What one decision hands to the next. Times are epoch seconds.

    Attributes:
        last_crossing: when the demand last asked for twice what was ready.
        last_change: when the replicas last changed, by whomever.
        seen_since: since when the demand has been seen without a hole.
        replicas: what was decided last, None before the first decision.
        overruled: how often in a row somebody else set the replicas.
        overruled_at: when last.
        leaning_since: since when spares have to carry what the replicas cannot, or when
            they last ceased to; 0 when they have not to.
        carried_since: since when they do; 0 while they do not.
        lacking_since: since when they have to and do not; 0 otherwise.
        is_starting: whether the panic is that of a start, and not of a demand.
    """

    panicking: bool
    last_crossing: float
    last_change: float
    replicas: int | None = None
    seen_since: float = 0.0
    overruled: int = 0
    overruled_at: float = 0.0
    leaning_since: float = 0.0
    carried_since: float = 0.0
    is_starting: bool = False
    lacking_since: float = 0.0


@dataclass(frozen=True)
class Inputs:
    """Everything a decision depends on."""

    now: float
    rules: Rules
    demand: Demand
    capacity: Capacity
    memory: Memory


def first_memory(now: float) -> Memory:
    """What a scaler knows when it starts: nothing, so it may not shrink for a while."""
    return Memory(
        panicking=True, last_crossing=now, last_change=now, seen_since=now, is_starting=True
    )


def read_inputs(recorded: Mapping[str, Any]) -> Inputs:
    """
    Inputs from the JSON of a kept decision. Raises KeyError or TypeError for another form.

    A merge patch leaves out what is null, so what is absent was null.
    """
    return Inputs(
        now=recorded["now"],
        rules=Rules(**recorded["rules"]),
        demand=Demand(**{"fast": None, "stable": None, "peak": None, **recorded["demand"]}),
        capacity=Capacity(**recorded["capacity"]),
        memory=Memory(**recorded["memory"]),
    )
