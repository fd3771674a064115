"""
How many pods, and why: a pure function of recorded inputs.

Little's law gives the number: pods = ceil(in-flight / (target x utilisation)).
The rest is about not doing harm. Growing follows the fast window at once;
shrinking has to satisfy the peak of the whole stable window and takes one step
a window. When the fast window asks for twice what is ready, the scaler panics:
it only grows, until a stable window has passed without such a demand and every
pod it asked for is ready. It starts in panic, because after a restart it knows
nothing of the last minute and amnesia must not shrink anything. A signal that
is missing holds; it is never taken for zero.

Every decision carries its inputs and the clamp that won, as plain JSON values,
and `replay` gives the same decision again from them.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from hailstorm_operator import api

# Knative's figure: twice what is ready is no ripple any more.
PANIC_FACTOR: Final = 2
# One pod a step suits a handful; for large counts a tenth, or shrinking from
# 200 to 100 takes an hour. The tenth is a guess.
STEP_DOWN_SHARE: Final = 0.1
# 16.8 / 5.6 is a hair above 3 in binary; no pod for a rounding error.
ROUNDING: Final = 1e-9

SignalState = Literal["fresh", "partial", "stale"]
Action = Literal["up", "down", "hold"]


@dataclass(frozen=True)
class Rules:
    """What the ServiceScaler asks for, as far as the number of pods depends on it."""

    min_replicas: int
    max_replicas: int
    in_flight_per_pod: float
    tolerance: float
    max_pods_in_creation: int
    stable_window_seconds: float


@dataclass(frozen=True)
class Demand:
    """In-flight calls over the windows; None where no sample lies in the window."""

    fast: float | None
    stable: float | None
    peak: float | None
    state: SignalState


@dataclass(frozen=True)
class Capacity:
    """The target as the cluster has it. `replicas` is what is asked for, `ready` what serves."""

    replicas: int
    ready: int
    rollout_in_progress: bool
    conflict: str = ""


@dataclass(frozen=True)
class Memory:
    """What one decision hands to the next. Times are epoch seconds."""

    panicking: bool
    last_crossing: float
    last_change: float
    replicas: int | None = None


@dataclass(frozen=True)
class Inputs:
    """Everything a decision depends on."""

    now: float
    rules: Rules
    demand: Demand
    capacity: Capacity
    memory: Memory


@dataclass(frozen=True)
class Decision:
    """How many replicas there should be, what held that back, and what to remember."""

    desired: int
    action: Action
    wanted: int | None
    clamp: str
    scaled_by_other: bool
    memory: Memory
    inputs: Inputs

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, complete for `replay`."""
        return asdict(self)


def first_memory(now: float) -> Memory:
    """What a scaler knows when it starts: nothing, so it may not shrink for a while."""
    return Memory(panicking=True, last_crossing=now, last_change=now)


def decide_scale(inputs: Inputs) -> Decision:
    """Decide how many replicas the target should have. Pure; never raises for valid inputs."""
    capacity, rules = inputs.capacity, inputs.rules
    by_other = inputs.memory.replicas not in (None, capacity.replicas)
    memory = _remember(inputs, by_other)
    wanted = _pods(inputs.demand.fast, inputs.demand.stable, rules)

    if capacity.conflict:
        desired, clamp = capacity.replicas, api.CLAMP_CONFLICT
    elif capacity.replicas == 0:
        # Zero by hand is how one switches an autoscaler off, as with the HPA.
        desired, clamp = 0, api.CLAMP_ZERO
    else:
        desired, clamp = _choose(inputs, memory, wanted)

    action: Action = "hold"
    if desired != capacity.replicas:
        action = "up" if desired > capacity.replicas else "down"
        memory = replace(memory, last_change=inputs.now)
    return Decision(
        desired=desired,
        action=action,
        wanted=wanted,
        clamp=clamp,
        scaled_by_other=by_other,
        memory=replace(memory, replicas=desired),
        inputs=inputs,
    )


def replay(recorded: Mapping[str, Any]) -> Decision:
    """Decide again from the inputs of a decision that was kept as JSON."""
    inputs = recorded["inputs"]
    return decide_scale(
        Inputs(
            now=inputs["now"],
            rules=Rules(**inputs["rules"]),
            demand=Demand(**inputs["demand"]),
            capacity=Capacity(**inputs["capacity"]),
            memory=Memory(**inputs["memory"]),
        )
    )


def explain(decision: Decision) -> str:
    """One sentence for Events and conditions."""
    inputs = decision.inputs
    rules, demand, replicas = inputs.rules, inputs.demand, inputs.capacity.replicas
    if demand.fast is None or decision.wanted is None:
        asked = "no in-flight figure"
    else:
        asked = (
            f"{max(demand.fast, demand.stable or 0):.1f} calls in flight at "
            f"{rules.in_flight_per_pod:g} a pod ask for {decision.wanted}"
        )
    change = (
        f"{replicas} → {decision.desired}" if decision.action != "hold" else f"{replicas} stays"
    )
    why = {
        api.CLAMP_NONE: "",
        api.CLAMP_STEADY: "",
        api.CLAMP_TOLERANCE: f", within the tolerance of {rules.tolerance:.0%}",
        api.CLAMP_MIN: f", minReplicas is {rules.min_replicas}",
        api.CLAMP_MAX: f", maxReplicas is {rules.max_replicas}",
        api.CLAMP_CREATION: f", at most {rules.max_pods_in_creation} pods may be in creation",
        api.CLAMP_PANIC: ", nothing shrinks in panic",
        api.CLAMP_ROLLOUT: ", nothing shrinks while a rollout is in progress",
        api.CLAMP_PARTIAL: ", nothing shrinks while a part of the edge does not answer",
        api.CLAMP_STALE: ", a missing signal is not zero",
        api.CLAMP_WINDOW: f", one step down each {rules.stable_window_seconds:g} s",
        api.CLAMP_STEP: f", one step down each {rules.stable_window_seconds:g} s",
        api.CLAMP_CONFLICT: ", another controller owns the replicas",
        api.CLAMP_ZERO: ", scaled to zero by hand",
    }[decision.clamp]
    return f"{change}: {asked}{why}"


def _remember(inputs: Inputs, by_other: bool) -> Memory:
    """Panic and the time of the last change, as of now."""
    memory, capacity, rules = inputs.memory, inputs.capacity, inputs.rules
    urgent = _pods(inputs.demand.fast, None, rules)
    crossing = urgent is not None and urgent >= PANIC_FACTOR * max(capacity.ready, 1)
    if crossing:
        memory = replace(memory, panicking=True, last_crossing=inputs.now)
    elif memory.panicking:
        calm = inputs.now - memory.last_crossing >= rules.stable_window_seconds
        # Leaving before the pods that were asked for serve would undo the scale-up.
        served = capacity.ready >= capacity.replicas
        memory = replace(memory, panicking=not (calm and served))
    if by_other:
        # A count set by hand stands for a window before it is stepped down.
        memory = replace(memory, last_change=inputs.now)
    return memory


def _choose(inputs: Inputs, memory: Memory, wanted: int | None) -> tuple[int, str]:
    """Desired replicas and the clamp that won, for a target that may be scaled."""
    capacity, rules, demand = inputs.capacity, inputs.rules, inputs.demand
    replicas = capacity.replicas
    # Bounds are the user's own words: they need no signal and wait for nothing.
    if replicas < rules.min_replicas:
        replicas, bound = rules.min_replicas, api.CLAMP_MIN
    elif replicas > rules.max_replicas:
        replicas, bound = rules.max_replicas, api.CLAMP_MAX
    else:
        bound = ""
    if demand.state == "stale" or wanted is None:
        return replicas, bound or api.CLAMP_STALE
    if wanted > replicas:
        return _grow(inputs, memory, wanted, replicas, bound)
    to_hold_peak = _pods(demand.stable, demand.peak, rules)
    if to_hold_peak is not None and to_hold_peak < replicas:
        return _shrink(inputs, memory, to_hold_peak, replicas, bound)
    return replicas, bound or api.CLAMP_STEADY


def _grow(
    inputs: Inputs, memory: Memory, wanted: int, replicas: int, bound: str
) -> tuple[int, str]:
    capacity, rules, demand = inputs.capacity, inputs.rules, inputs.demand
    load = max(demand.fast or 0, demand.stable or 0)
    ratio = load / (replicas * rules.in_flight_per_pod)
    if ratio <= 1 + rules.tolerance and not memory.panicking:
        return replicas, bound or api.CLAMP_TOLERANCE
    desired, clamp = wanted, api.CLAMP_NONE
    if desired > rules.max_replicas:
        desired, clamp = rules.max_replicas, api.CLAMP_MAX
    # Pods that start together on few cores hold each other up.
    startable = max(replicas, capacity.ready + rules.max_pods_in_creation)
    if desired > startable:
        desired, clamp = startable, api.CLAMP_CREATION
    return desired, clamp


def _shrink(
    inputs: Inputs, memory: Memory, to_hold_peak: int, replicas: int, bound: str
) -> tuple[int, str]:
    rules = inputs.rules
    floor = max(to_hold_peak, rules.min_replicas)
    if bound or floor >= replicas:
        return replicas, bound or api.CLAMP_MIN
    if memory.panicking:
        return replicas, api.CLAMP_PANIC
    if inputs.capacity.rollout_in_progress:
        return replicas, api.CLAMP_ROLLOUT
    if inputs.demand.state == "partial":
        return replicas, api.CLAMP_PARTIAL
    if inputs.now - memory.last_change < rules.stable_window_seconds:
        return replicas, api.CLAMP_WINDOW
    step = max(1, math.floor(replicas * STEP_DOWN_SHARE))
    return max(floor, replicas - step), api.CLAMP_STEP


def _pods(first: float | None, second: float | None, rules: Rules) -> int | None:
    """Pods for the higher of two loads; None when the first is unknown."""
    if first is None:
        return None
    load = max(first, second or 0)
    return math.ceil(load / rules.in_flight_per_pod - ROUNDING)
