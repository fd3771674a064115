"""
The numbers of a comparison: one target, one load, the same for every arm.

What a pod carries follows from its CPU limit and from what a call costs; both
HPAs and ours plan for the same load a pod, so that no arm wins by planning more
generously.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
# Of a pod's CPU time, gRPC and the interpreter included: `target` sees to it.
CPU_MS_PER_CALL: Final = 2.6
# Two hops through Envoy, and the quota: 40 to 48 calls/s a pod, the planned share, took 57.7 ms
# on average (cpu-hpa in docs/evidence/calls-take.json), 5 more than their CPU time and their wait.
# Without it who plans by calls in flight plans for 55 % of a pod's limit and not for 60.
BESIDE_MS: Final = 5.0
# Of every arm, unless a comparison is asked for another: what a Deployment of two zones has.
MIN_REPLICAS: Final = 2
# With less a call alone takes half of what a pod may use in a period (20 of 100 ms), and
# where it falls is felt more than how many there are.
LEAST_LOAD_SCALE: Final = 0.25
# The jump from 2 pods: with four more, 300 calls/s are 65 % of their limits,
# about what is planned for.
STEP_SPARES: Final = 4
# A demand that rises takes longer than a pod's start to outgrow the share that is kept
# free (20 % of two pods' limits are 30 calls/s; the steepest of these shapes, the day,
# grows by 3.8 a second, and when it does there are five pods). So no spare is needed.
RISING_SPARES: Final = 0
# HPAs and ServiceScaler look back 300 s before they shrink, so in a shape of a few minutes
# nobody would ever shrink. Where the way down is to be seen, every arm looks back a fifth
# of that: the demand's time is compressed, and so is theirs. Ours then gives up a pod each 30 s,
# a tenth of the 300; left as it is, a pace that is a matter of minutes in a day would take half
# of a day in ten minutes.
STABILISATION_SECONDS: Final = 60
STEPS_IN_WINDOW: Final = 10


@dataclass(frozen=True)
class Profile:
    """
    What belongs to a shape: seconds of load after the first 30, and warm spares.

    `stabilisation_seconds` is for how long each arm looks back before it shrinks; None
    leaves it to the defaults, 300 s of both.
    """

    hold_seconds: int
    spares: int
    stabilisation_seconds: int | None = STABILISATION_SECONDS


# Long enough for the way down: the look-back, and after it the ServiceScaler takes one
# pod each 6 s, from 7 to 2 within half a minute. Three arms of the longest take half an hour.
PROFILES: Final[Mapping[str, Profile]] = {
    "step": Profile(HOLD_SECONDS, STEP_SPARES, None),
    "spike": Profile(SPIKE_SECONDS + 260, STEP_SPARES),
    "ramp": Profile(450, RISING_SPARES),
    "sawtooth": Profile(390, RISING_SPARES),
    "day": Profile(570, RISING_SPARES),
}
SHAPES: Final = tuple(PROFILES)
# Of the ramp's time after the calm: up, at the top and down; the rest is calm again.
RAMP_UP, RAMP_TOP = 4 / 15, 2 / 15
# Three teeth of three fourteenths each (90 s of 420), then calm.
TEETH: Final = 3
TOOTH: Final = 3 / 14


@dataclass(frozen=True)
class Settings:
    """
    One comparison. Times in seconds unless named otherwise.

    `rivals_from` gives rivals, by arm, another `minReplicas` than ours: what an HPA needs
    to hold the SLO is the least with which it does. Make one by `settings_for`, which
    knows what belongs to the shape; the defaults are those of the step.

    A pod may use 200m of CPU, and a call costs `cpu_ms_per_call` of it, all told. It then
    waits `wait_ms`, as for a store.
    """

    shape: str = "step"
    seed: int = 1
    hold_seconds: int = HOLD_SECONDS
    base_rate: float = BASE_RATE
    factor: float = FACTOR
    slo_ms: float = 200.0
    deadline_seconds: float = 5.0
    cpu_limit_millicores: int = 200
    cpu_ms_per_call: float = CPU_MS_PER_CALL
    wait_ms: float = 50.0
    # Of a pod's limit, and so of what it can carry: the HPA on CPU 60 %.
    planned_share: float = 0.6
    # Above it the quota stops a pod for most of a period, and p99 leaves the SLO.
    carried_share: float = 0.8
    min_replicas: int = MIN_REPLICAS
    max_replicas: int = 8
    spares: int = STEP_SPARES
    max_generator_lag_ms: float = 50.0
    stabilisation_seconds: int | None = None
    rivals_from: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError for a rival that there is not, or a count outside the bounds."""
        if not 1 <= self.min_replicas <= self.max_replicas:
            told = f"minReplicas {self.min_replicas} will not do"
            raise ValueError(f"{told}; write one from 1 to {self.max_replicas}")
        for arm, least in self.rivals_from.items():
            if arm not in ARMS or arm == OURS:
                raise ValueError(f"{arm!r} is no rival; there are {CPU_HPA} and {IN_FLIGHT_HPA}")
            # Fewer than ours will do: who begins with less may hold the SLO, and cheaper.
            if not 1 <= least <= self.max_replicas:
                told = f"from 1 to {self.max_replicas}"
                raise ValueError(f"minReplicas {least} of {arm} will not do; write one {told}")

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
        """Calls in flight at one pod at the planned share: Little's law."""
        seconds = (self.wait_ms + self.cpu_ms_per_call + BESIDE_MS) / 1000
        return round(self.full_rate * self.planned_share * seconds, 2)

    @property
    def change_at(self) -> int | None:
        """When the demand jumps, seconds after the load's start; None for gradual shapes."""
        return BEFORE_SECONDS if self.shape in ("step", "spike") else None

    @property
    def asks_for_pod_seconds(self) -> bool:
        """Whether pod-seconds are judged; of the step, how soon and how many calls are."""
        return self.shape != "step"

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
            "ramp": f"trapezoid:{BEFORE_SECONDS}:{hold * RAMP_UP:g}:{high:g}"
            f":{hold * RAMP_TOP:g}:{hold * RAMP_UP:g}",
            "sawtooth": f"sawtooth:{self.seconds * TOOTH:g}:{low:g}:{high:g}:{TEETH}",
            "day": f"day:{self.seconds}:{high:g}",
        }
        if self.shape not in words or hold <= 0:
            raise ValueError(f"shape {self.shape!r} is none of {', '.join(SHAPES)}")
        return words[self.shape]

    def pods_needed(self, rate: float) -> int:
        """Serving pods that hold the SLO at `rate` calls a second, `max_replicas` at most."""
        needed = -(-rate // self.carried_rate)
        return int(min(max(needed, 1), self.max_replicas))

    def least_of(self, arm: str) -> int:
        """`minReplicas` of an arm, and with how many pods it begins."""
        return self.rivals_from.get(arm, self.min_replicas)

    def file_of(self, arm: str) -> str:
        """The recording's file: other beginnings lie beside the plain one."""
        return f"{arm}{self._beginning_of(arm)}{self._share_told}.json"

    @property
    def load_scale(self) -> float:
        """Which share of the calls of the issue there are."""
        return round(self.base_rate / BASE_RATE, 3)

    @property
    def _share_told(self) -> str:
        return "" if self.load_scale == 1 else f"-load-{self.load_scale:g}"

    @property
    def name(self) -> str:
        """The shape, who begins otherwise than the shape has it, its share: the figures' key."""
        begun = {arm: self._beginning_of(arm) for arm in ARMS}
        named = [self.shape, *(f"{arm}{words}" for arm, words in begun.items() if words)]
        return "-".join(named) + self._share_told

    def _beginning_of(self, arm: str) -> str:
        """From how many pods and with how many spares, where that is not the shape's own."""
        least = self.least_of(arm)
        words = "" if least == MIN_REPLICAS else f"-from-{least}"
        if arm == OURS and self.spares != PROFILES[self.shape].spares:
            words += f"-with-{self.spares}-spares"
        return words

    def of_arm(self, arm: str) -> dict[str, Any]:
        """Plain values of what an arm depends on; with other ones it is another measurement."""
        found = {**asdict(self), "planned_in_flight": self.planned_in_flight, "pace": self.pace}
        del found["rivals_from"]
        if arm != OURS:
            del found["spares"]
        return found | {"min_replicas": self.least_of(arm)}


def settings_for(shape: str, load_scale: float | None = None, **changes: Any) -> Settings:
    """
    What belongs to a shape, with changes; one that is None is no change.

    `load_scale` is for a machine that cannot carry the load and its generator: that share
    of the calls, each so much dearer, so that pods saturate, start and are needed as ever.

    Raises ValueError for a shape or a share that will not do, and as Settings does.
    """
    if shape not in PROFILES:
        raise ValueError(f"shape {shape!r} is none of {', '.join(SHAPES)}")
    asked = {name: value for name, value in changes.items() if value is not None}
    return Settings(shape=shape, **{**asdict(PROFILES[shape]), **_scaled(load_scale), **asked})


def _scaled(share: float | None) -> dict[str, float]:
    """The fields of a share of the load; none for all of it."""
    if share is None:
        return {}
    if not LEAST_LOAD_SCALE <= share <= 1:
        told = f"from {LEAST_LOAD_SCALE:g} to 1"
        raise ValueError(f"a load scale of {share:g} will not do; write one {told}")
    return {
        "base_rate": round(BASE_RATE * share, 3),
        "cpu_ms_per_call": round(CPU_MS_PER_CALL / share, 3),
    }
