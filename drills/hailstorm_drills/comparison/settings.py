"""
The numbers of a comparison: one target, one load, the same for every arm.

What a pod carries follows from its CPU limit and from what a call costs; both
HPAs and ours plan for the same load a pod, so that no arm wins by planning more
generously.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

CPU_HPA: Final = "cpu-hpa"
IN_FLIGHT_HPA: Final = "in-flight-hpa"
OURS: Final = "ours"
ARMS: Final = (CPU_HPA, IN_FLIGHT_HPA, OURS)
ARM_TITLES: Final = {
    CPU_HPA: "HPA on CPU 60 %",
    IN_FLIGHT_HPA: "HPA on the edge's in-flight",
    OURS: "ServiceScaler",
}

# Seconds of load before the demand changes, and how long a changed demand is held:
# the HPA on CPU needed 96 s for its last pod when it was measured (DESIGN 10).
BEFORE_SECONDS: Final = 30
HOLD_SECONDS: Final = 120
# The step of issue 6: 60 calls/s to five times as many.
BASE_RATE: Final = 60.0
FACTOR: Final = 5.0
SPIKE_SECONDS: Final = 10
SHAPES: Final = ("step", "spike", "ramp", "sawtooth", "day")


@dataclass(frozen=True)
class Settings:
    """
    One comparison. Times in seconds unless named otherwise.

    A pod may use 200m of CPU, and a call costs `cpu_ms_per_call`: the handler burns
    `burn_ms` of its thread's CPU time, the rest is gRPC and the interpreter (a guess
    from 0.2 ms an empty call, DESIGN 10). It then waits `wait_ms`, as for a store.
    """

    shape: str = "step"
    seed: int = 1
    hold_seconds: int = HOLD_SECONDS
    base_rate: float = BASE_RATE
    factor: float = FACTOR
    slo_ms: float = 200.0
    deadline_seconds: float = 5.0
    cpu_limit_millicores: int = 200
    burn_ms: float = 2.2
    cpu_ms_per_call: float = 2.6
    wait_ms: float = 50.0
    # Of a pod's limit, and so of what it can carry: the HPA on CPU 60 %.
    planned_share: float = 0.6
    # Above it the quota stops a pod for most of a period, and p99 leaves the SLO.
    carried_share: float = 0.8
    min_replicas: int = 2
    max_replicas: int = 8
    spares: int = 4
    max_generator_lag_ms: float = 50.0

    @property
    def full_rate(self) -> float:
        """Calls a second at which one pod has used up its limit."""
        return self.cpu_limit_millicores / self.cpu_ms_per_call

    @property
    def carried_rate(self) -> float:
        """Calls a second that one pod carries within the SLO; below it is under-provisioned."""
        return self.full_rate * self.carried_share

    @property
    def planned_in_flight(self) -> float:
        """Calls in flight at one pod at the planned share: Little's law, no queue."""
        seconds = (self.wait_ms + self.cpu_ms_per_call) / 1000
        return round(self.full_rate * self.planned_share * seconds, 2)

    @property
    def change_at(self) -> int | None:
        """When the demand jumps, seconds after the load's start; None for gradual shapes."""
        return BEFORE_SECONDS if self.shape in ("step", "spike") else None

    @property
    def seconds(self) -> int:
        """How long the load of an arm lasts."""
        return BEFORE_SECONDS + self.hold_seconds

    @property
    def pace(self) -> str:
        """The shape in the load's own words."""
        low, high, hold = 1.0, self.factor, self.hold_seconds
        words = {
            "step": f"step:{BEFORE_SECONDS}:{high:g}",
            "spike": f"spike:{BEFORE_SECONDS}:{high:g}:{SPIKE_SECONDS}",
            "ramp": f"ramp:{self.seconds}:{low:g}:{high:g}",
            "sawtooth": f"sawtooth:{self.seconds / 3:g}:{low:g}:{high:g}:3",
            "day": f"day:{self.seconds}:{high:g}",
        }
        if self.shape not in words or hold <= 0:
            raise ValueError(f"shape {self.shape!r} is none of {', '.join(SHAPES)}")
        return words[self.shape]

    def pods_needed(self, rate: float) -> int:
        """Serving pods that hold the SLO at `rate` calls a second, within the bounds."""
        needed = -(-rate // self.carried_rate)
        return int(min(max(needed, self.min_replicas), self.max_replicas))

    def as_json(self) -> dict[str, Any]:
        """Plain values; two arms with other ones cannot be compared."""
        return {**asdict(self), "planned_in_flight": self.planned_in_flight, "pace": self.pace}
