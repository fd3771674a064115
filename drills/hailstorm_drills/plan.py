"""
The plan of a drill: numbered steps and every parameter, printed before it runs.

Whoever runs a drill sees first what it will do to the cluster and by which
numbers it will judge. The plan is a pure function of its parameters, kept as
plan.json, and golden-tested.
"""

from dataclasses import asdict, dataclass
from typing import Any

from hailstorm_drills.steady import (
    LOAD_SCALES,
    MAX_BASELINE_BUSY_SHARE,
    MAX_BASELINE_FAILED_SHARE,
    MAX_BASELINE_P99_MS,
)


@dataclass(frozen=True)
class Parameters:
    """Everything a drill can be told; each is printed, and none is hidden elsewhere."""

    drill: str
    is_twin: bool
    seed: int
    baseline_seconds: float
    recover_seconds: float
    # The fault must have taken hold, and then healed, within these.
    took_hold_seconds: float
    healed_seconds: float
    workers: int
    # Fields of the load's profile that differ from its default.
    load: dict[str, Any]
    # Below this many user calls the verdict is UNKNOWN.
    min_user_calls: int
    # The load generator's own lag, p99; above it the verdict is UNKNOWN.
    max_generator_lag_ms: float
    # p99 from the intended start while the fault lasts; None does not judge it.
    max_fault_p99_ms: float | None
    release: str
    chart: str
    values: tuple[str, ...]
    next_values: tuple[str, ...]
    namespace: str
    operator_namespace: str
    load_namespace: str
    # How often the fault comes; every drill says which of these three it heeds.
    times: int = 1
    # How long a fault that is not over by itself is kept up, or repeated.
    fault_seconds: float = 0.0
    # Between two repetitions: of their starts for kills, of end and start for deploys.
    interval_seconds: float = 0.0
    # Components that the fault is for; empty means the drill's own choice.
    components: tuple[str, ...] = ()
    # Replicas before and after, in a drill that scales.
    replicas: int = 0
    to_replicas: int = 0
    # Shares of the load that are tried in turn, until users are well served.
    load_scales: tuple[float, ...] = LOAD_SCALES
    # p99 above which users are not well served before the fault.
    max_baseline_p99_ms: float = MAX_BASELINE_P99_MS
    # Share of calls that may fail before the fault.
    max_baseline_failed_share: float = MAX_BASELINE_FAILED_SHARE
    # Share of the machine's cores at work above which less load is tried.
    max_baseline_busy_share: float = MAX_BASELINE_BUSY_SHARE
    # p99 while the fault lasts, as so many times that before it; None does not judge it.
    max_p99_ratio: float | None = None
    # Whether drivers answer their offers themselves, over streams of them.
    offers: bool = False


@dataclass(frozen=True)
class Step:
    """One numbered step."""

    phase: str
    text: str


@dataclass(frozen=True)
class Plan:
    """What will happen, in order, and the numbers it depends on."""

    parameters: Parameters
    steps: tuple[Step, ...]

    def render(self) -> str:
        """The plan as it is printed; the same parameters give the same text."""
        p = self.parameters
        twin = " --twin (broken on purpose: it must come out FAIL)" if p.is_twin else ""
        lines = [f"drill {p.drill}{twin}, seed {p.seed}"]
        width = max(len(step.phase) for step in self.steps)
        lines += [
            f"{number:>3}. {step.phase:<{width}}  {step.text}"
            for number, step in enumerate(self.steps, start=1)
        ]
        lines.append("parameters")
        for name, value in asdict(p).items():
            shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
            lines.append(f"  {name}: {shown}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """For plan.json."""
        return {
            "parameters": asdict(self.parameters),
            "steps": [asdict(step) for step in self.steps],
        }


def parameters_from_json(found: dict[str, Any]) -> Parameters:
    """Read back what `as_json` wrote."""
    values = dict(found)
    for name in ("values", "next_values", "components"):
        values[name] = tuple(values.get(name, ()))
    values["load_scales"] = tuple(values.get("load_scales", LOAD_SCALES))
    return Parameters(**values)
