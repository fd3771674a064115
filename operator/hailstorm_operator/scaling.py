"""
How many pods, and why: a pure function of recorded inputs.

Little's law gives the number: pods = ceil(in-flight / (target x utilisation)).
The rest is about not doing harm. The plan is the stable window's average plus
what a steady slope will have added by the time a new pod serves; the fast window alone
counts when it goes beyond what the pods can hold, and in panic. Shrinking has to
satisfy the highest plan of the scale-down window and takes one step a stable
window, or as often as the spec says. When the fast window asks for twice what is
ready, the scaler panics: it only grows, until a stable window has passed without
such a demand and every pod it asked for is ready. It starts in panic, because after a
restart it knows nothing of the last minutes and amnesia must not shrink anything; but
until there is such a demand it grows as in calm, or every restart would add a pod by
chance. A signal that is missing holds; it is never taken for zero.

Every decision carries its inputs and the clamp that won, as plain JSON values,
and `replay` gives the same decision again from them.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from hailstorm_operator import api
from hailstorm_operator.scaling_inputs import (
    DECIDER_VERSION,
    Capacity,
    Demand,
    Inputs,
    Memory,
    Rules,
    read_inputs,
)
from hailstorm_operator.slopes import headroom

# Knative's figure: twice what is ready is no ripple any more.
PANIC_FACTOR: Final = 2
# A pod that can never start (no node has room) must not keep a scaler in panic for
# ever; four calm windows are two minutes by default, longer than a slow start takes.
PANIC_PATIENCE_WINDOWS: Final = 4
# One pod a step suits a handful; for large counts a tenth, or shrinking from
# 200 to 100 takes an hour, and so would giving many spares back. The tenth is a guess.
STEP_SHARE: Final = 0.1
# 16.8 / 5.6 is a hair above 3 in binary; no pod for a rounding error.
ROUNDING: Final = 1e-9
# Of the stable window: as much of it as a slope needs, too (`slopes`). A guess.
START_SEEN_SHARE: Final = 0.5
# Deviations of one sample: a look at a queue that is gone half a second later moves
# the average of four by a quarter, and a day has 172,800 looks. A load that is more
# than the pods can serve is far beyond it within a second (`hailstorm simulate`).
CHANCE_DEVIATIONS: Final = 5.0
# A load of 85 % of what five pods hold passed for more than that once in ten seconds, and a pod
# was started that nobody needed (seen). With two deviations of the few looks there are, it has to
# lie 3.6 of its own away; a load that is more shows as a queue half a second later.
KNEE_DEVIATIONS: Final = 2.0
# For so long a load that the replicas cannot hold is left to the spares, and so long they have
# to carry it before the first successor is started. They serve within a second, what had
# queued up by then is gone in another two, and then the fast window has to forget it.
SPARE_PATIENCE_SECONDS: Final = 5.0
# A queue that still rises after so long is more than they carry: where pods' changes reach their
# EndpointSlice together they are in the Service within 0.9 s, and it turns when they are enough.
RISING_PATIENCE_SECONDS: Final = 1.0
# A pod that takes so many times what its kind takes to start may never serve. A guess.
STARTS_PATIENCE: Final = 2.0
# Once is somebody's wish, twice a correction, three times another controller.
CONTEST_WRITES: Final = 3

Action = Literal["up", "down", "hold"]


@dataclass(frozen=True)
class Decision:
    """
    How many replicas there should be, what held that back, and what to remember.

    `planned` is the load in calls in flight that `wanted` pods are for; whoever
    decides again later has to know the highest of them (Demand.peak).
    """

    desired: int
    action: Action
    wanted: int | None
    planned: float | None
    clamp: str
    scaled_by_other: bool
    memory: Memory
    inputs: Inputs

    @property
    def is_contested(self) -> bool:
        """Whether somebody else keeps writing the replicas."""
        return self.memory.overruled >= CONTEST_WRITES

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, complete for `replay`."""
        return {"decider": DECIDER_VERSION, **asdict(self)}


def decide_scale(inputs: Inputs) -> Decision:
    """Decide how many replicas the target should have. Pure; never raises for valid inputs."""
    capacity = inputs.capacity
    by_other = _is_overruled(inputs)
    memory = _remember(inputs, by_other)
    planned = _plan(inputs, _follows_last_seconds(memory))
    wanted = None if planned is None else pods_for(planned, inputs.rules)

    if capacity.conflict:
        is_known = capacity.conflict != api.REASON_OWNERS_UNKNOWN
        desired = capacity.replicas
        clamp = api.CLAMP_CONFLICT if is_known else api.CLAMP_OWNERS
    elif capacity.replicas == 0:
        # Zero by hand is how one switches an autoscaler off, as with the HPA.
        desired, clamp = 0, api.CLAMP_ZERO
    elif memory.overruled >= CONTEST_WRITES:
        # Two writers of one number only push the pods up and down between them.
        desired, clamp = capacity.replicas, api.CLAMP_CONTESTED
    else:
        desired, clamp = _choose(inputs, memory, planned)

    action: Action = "hold"
    if desired != capacity.replicas:
        action = "up" if desired > capacity.replicas else "down"
        memory = replace(memory, last_change=inputs.now)
    return Decision(
        desired=desired,
        action=action,
        wanted=wanted,
        planned=planned,
        clamp=clamp,
        scaled_by_other=by_other,
        memory=replace(memory, replicas=desired),
        inputs=inputs,
    )


def replay(recorded: Mapping[str, Any]) -> Decision:
    """Decide again from the inputs of a decision that was kept as JSON."""
    return decide_scale(read_inputs(recorded["inputs"]))


def pods_for(load: float, rules: Rules) -> int:
    """Little's law: pods that hold so many calls in flight, as they are planned to."""
    return _pods_of(load, rules.in_flight_per_pod)


def _pods_of(load: float, in_flight_per_pod: float) -> int:
    return math.ceil(load / in_flight_per_pod - ROUNDING)


def ceiling(rules: Rules, capacity: Capacity) -> tuple[int, str]:
    """The most replicas there may be, and what says so. Never below minReplicas."""
    if rules.connections_per_pod:
        fit = rules.connections // rules.connections_per_pod - capacity.spares
        if fit < rules.max_replicas:
            return max(fit, rules.min_replicas), api.CLAMP_CONNECTIONS
    return rules.max_replicas, api.CLAMP_MAX


def _is_overruled(inputs: Inputs) -> bool:
    """Whether somebody else has set the replicas since the last decision, against us."""
    capacity = inputs.capacity
    # Whoever owns the replicas may set them; that is no contest with one who keeps off.
    is_ours = not capacity.conflict
    return is_ours and _has_moved(inputs) and capacity.set_by != api.FIELD_MANAGER


def _has_moved(inputs: Inputs) -> bool:
    """Whether the replicas are others than those that were decided last."""
    return inputs.memory.replicas not in (None, inputs.capacity.replicas)


def _remember(inputs: Inputs, by_other: bool) -> Memory:
    """Panic, what has been seen, and who else writes, as of now."""
    memory, capacity, rules = inputs.memory, inputs.capacity, inputs.rules
    fast = inputs.demand.fast
    serving = max(capacity.ready + capacity.spares_serving, 1)
    urgent = (
        fast is not None
        and pods_for(fast, rules) >= PANIC_FACTOR * serving
        and not _is_chance(inputs.demand)
    )
    if urgent:
        memory = replace(memory, panicking=True, last_crossing=inputs.now, is_starting=False)
    elif memory.panicking:
        calm = inputs.now - memory.last_crossing
        # Leaving before the pods that were asked for serve would undo the scale-up.
        served = capacity.ready >= capacity.replicas
        patience = PANIC_PATIENCE_WINDOWS * rules.stable_window_seconds
        over = calm >= rules.stable_window_seconds and (served or calm >= patience)
        memory = replace(memory, panicking=not over, is_starting=memory.is_starting and not over)
    memory = _lean(memory, inputs)
    if inputs.demand.state == "stale":
        # What came while nothing was seen is not known, and might come again.
        memory = replace(memory, seen_since=inputs.now)
    recently = inputs.now - memory.overruled_at < rules.scale_down_window_seconds
    if capacity.conflict:
        # What the other one set stands for a window once it is gone, as by hand.
        changed = inputs.now if _has_moved(inputs) else memory.last_change
        memory = replace(memory, last_change=changed, overruled=0)
    elif by_other:
        memory = replace(
            memory,
            # A count set by hand stands for a window before it is stepped down.
            last_change=inputs.now,
            overruled=memory.overruled + 1 if recently else 1,
            overruled_at=inputs.now,
        )
    elif memory.overruled and not recently:
        memory = replace(memory, overruled=0)
    return memory


def _lean(memory: Memory, inputs: Inputs) -> Memory:
    """Since when spares stand in for replicas that are missing, and since when that is enough."""
    capacity, rules, fast = inputs.capacity, inputs.rules, inputs.demand.fast
    if fast is None:
        return memory
    held = rules.knee * capacity.ready
    is_over = pods_for(fast, rules) <= capacity.ready
    # With the last spare out there is nobody to lean on.
    if not capacity.spares_ready or is_over or (fast <= held and not capacity.spares_serving):
        return replace(memory, leaning_since=0.0, carried_since=0.0, lacking_since=0.0)
    # What lasts for a stable window is no chance, however it scatters.
    lasts = (inputs.demand.stable or 0.0) > held
    begins = fast > held and (lasts or not _is_chance(inputs.demand))
    leaning_since = memory.leaning_since or (inputs.now if begins else 0.0)
    carries = fast <= rules.knee * (capacity.ready + capacity.spares_serving)
    # A door that refuses the rest makes any load look carried.
    if leaning_since > 0 and carries and not _is_refused(inputs):
        carried_since = memory.carried_since or inputs.now
        return replace(
            memory, leaning_since=leaning_since, carried_since=carried_since, lacking_since=0.0
        )
    if memory.carried_since and inputs.now - memory.carried_since >= SPARE_PATIENCE_SECONDS:
        # The first start takes what the spares had left; taken for want of pods, four more
        # were started at once, and five seconds of calls were over their SLO (seen).
        leaning_since = inputs.now
    lacking_since = (memory.lacking_since or inputs.now) if leaning_since else 0.0
    return replace(
        memory, leaning_since=leaning_since, carried_since=0.0, lacking_since=lacking_since
    )


def _follows_last_seconds(memory: Memory) -> bool:
    """Whether a panic is that of a demand; a mere start has seen none."""
    return memory.panicking and not memory.is_starting


def _plan(inputs: Inputs, panicking: bool) -> float | None:
    """Calls in flight to have pods for; None without a signal."""
    demand, rules = inputs.demand, inputs.rules
    if demand.fast is None:
        return None
    # Where the fast window is lower, the stable one still averages a queue that is gone.
    load = demand.fast if demand.stable is None else min(demand.fast, demand.stable)
    if panicking or _is_beyond(inputs):
        load = demand.fast
    return load + headroom(load, demand.slope, rules.startup_seconds)


def _is_beyond(inputs: Inputs) -> bool:
    """Whether the fast window is more than the replicas can hold, and no chance."""
    demand = inputs.demand
    held = inputs.rules.knee * inputs.capacity.replicas
    # Of calls in flight as of a Poisson count, and of an average of so many looks.
    margin = KNEE_DEVIATIONS * math.sqrt(held / demand.looks) if demand.looks else 0.0
    above = demand.fast is not None and demand.fast > held + margin
    return above and not _is_chance(demand)


def _is_chance(demand: Demand) -> bool:
    """Whether the fast window may well be the stable one, seen at an odd moment."""
    if demand.fast is None or demand.stable is None or not demand.scatter:
        return False
    # Calls in flight scatter at least like a Poisson count.
    deviation = max(demand.scatter, math.sqrt(max(demand.stable, 1.0)))
    return demand.fast - demand.stable <= CHANCE_DEVIATIONS * deviation


def _choose(inputs: Inputs, memory: Memory, planned: float | None) -> tuple[int, str]:
    """Desired replicas and the clamp that won, for a target that may be scaled."""
    capacity, rules, demand = inputs.capacity, inputs.rules, inputs.demand
    replicas = capacity.replicas
    most, most_says = ceiling(rules, capacity)
    # Bounds are the user's own words: they need no signal and wait for nothing.
    if replicas < rules.min_replicas:
        replicas, bound = rules.min_replicas, api.CLAMP_MIN
    elif replicas > most:
        replicas, bound = most, most_says
    else:
        bound = ""
    if demand.state == "stale" or planned is None:
        return replicas, bound or api.CLAMP_STALE
    if pods_for(planned, rules) > replicas:
        return _grow(inputs, memory, planned, replicas, bound)
    to_hold_peak = _pods_after_shrinking(max(planned, demand.peak or 0.0), replicas, rules)
    if to_hold_peak < replicas:
        return _shrink(inputs, memory, to_hold_peak, replicas, bound)
    return replicas, bound or api.CLAMP_STEADY


def _grow(
    inputs: Inputs, memory: Memory, planned: float, replicas: int, bound: str
) -> tuple[int, str]:
    capacity, rules = inputs.capacity, inputs.rules
    ratio = planned / (replicas * rules.in_flight_per_pod)
    if ratio <= 1 + rules.tolerance and not _follows_last_seconds(memory):
        return replicas, bound or api.CLAMP_TOLERANCE
    if _sees_too_little(inputs, memory):
        return replicas, bound or api.CLAMP_STARTING
    desired, clamp = pods_for(planned, rules), api.CLAMP_NONE
    most, most_says = ceiling(rules, capacity)
    if desired > most:
        desired, clamp = most, most_says
    # Pods that start together on few cores hold each other up.
    at_once, at_once_says = _startable_at_once(inputs, memory, planned)
    startable = max(replicas, capacity.ready + at_once)
    if desired > startable:
        desired, clamp = startable, at_once_says
    # A bound that has moved it already is what decided, unless more comes on top.
    return (desired, clamp) if desired > replicas or not bound else (replicas, bound)


def _sees_too_little(inputs: Inputs, memory: Memory) -> bool:
    """
    Whether a scaler that has just started takes a few samples for a demand.

    Its two windows are one then, so neither checks the other; what the replicas cannot
    hold is no chance all the same.
    """
    rules, fast = inputs.rules, inputs.demand.fast
    is_held = fast is None or fast <= rules.knee * inputs.capacity.replicas
    has_seen = inputs.now - memory.seen_since >= START_SEEN_SHARE * rules.stable_window_seconds
    return memory.is_starting and is_held and not has_seen


def _startable_at_once(inputs: Inputs, memory: Memory, planned: float) -> tuple[int, str]:
    """
    How many pods may be starting at a time, and what says so.

    A start takes CPU from the pods that serve, just when they have none to spare. While
    spares carry the load nothing is in a hurry: first the queue of the step has to be gone,
    then their successors come one by one.
    """
    if not memory.leaning_since:
        return _startable_without_spares(inputs, planned)
    if memory.carried_since:
        is_calm = inputs.now - memory.carried_since >= SPARE_PATIENCE_SECONDS
        few = _few_of(inputs) if is_calm else 0
        return few + _lost(inputs, is_urgent=False), api.CLAMP_SPARED
    is_too_much = (
        inputs.demand.is_rising and inputs.now - memory.lacking_since >= RISING_PATIENCE_SECONDS
    )
    if not is_too_much and inputs.now - memory.leaning_since < SPARE_PATIENCE_SECONDS:
        return 0, api.CLAMP_SPARED
    # What the spares have is not lacking: a hiccup of a third of a second, three seconds after
    # they had it all, was answered with four pods, and cost six seconds of calls (seen).
    serving = inputs.capacity.ready + inputs.capacity.spares_serving
    return _as_lacking(inputs, inputs.demand.fast or 0.0, serving, api.CLAMP_SPARED)


def _startable_without_spares(inputs: Inputs, planned: float) -> tuple[int, str]:
    """
    As many at once as the load lacks to be held at all; those that bring room, one by one.

    Three that started amid a spike which five pods held made 2.7 % of its calls late, and an
    HPA that slept through it none (docs/decisions/room-comes-one-by-one.md).
    """
    # The plan looks ahead along a slope, and the last seconds see what it averages away.
    fast = 0.0 if _is_chance(inputs.demand) else inputs.demand.fast or 0.0
    return _as_lacking(inputs, max(planned, fast), inputs.capacity.ready, api.CLAMP_ROOM)


def _as_lacking(inputs: Inputs, load: float, serving: int, clamp: str) -> tuple[int, str]:
    """As many as `serving` pods are short of to hold a load, a few at the least."""
    rules = inputs.rules
    most = rules.max_pods_in_creation
    lost = _lost(inputs, is_urgent=load > rules.knee * serving)
    # At the knee they hold it, with nothing to spare.
    at_once = max(_pods_of(load, rules.knee) - serving, _few_of(inputs))
    if _is_refused(inputs) or at_once >= most:
        return most + lost, api.CLAMP_CREATION
    return at_once + lost, clamp


def _is_refused(inputs: Inputs) -> bool:
    """Whether so much is refused that nobody knows how much there would be in flight."""
    demand = inputs.demand
    return demand.shed > inputs.rules.tolerance * (demand.fast or 0.0)


def _lost(inputs: Inputs, *, is_urgent: bool) -> int:
    """
    How many pods that do not start are waited for no longer, by others in their place.

    They take nothing from those that do, so they are none of those that are starting.
    """
    capacity = inputs.capacity
    never = capacity.overdue if is_urgent else capacity.stuck
    # A surge of a rollout that does not start is no replica that is missing.
    return min(never, max(0, capacity.replicas - capacity.ready))


def patience(rules: Rules) -> tuple[float, float]:
    """
    Seconds after which a pod that is not ready is overdue, and after which it is stuck.

    While the others cannot hold the load the first is waited for, else the second.
    """
    starts = STARTS_PATIENCE * rules.startup_seconds
    windows = PANIC_PATIENCE_WINDOWS * rules.stable_window_seconds
    return max(rules.stable_window_seconds, starts), max(windows, starts)


def _few_of(inputs: Inputs) -> int:
    return min(inputs.rules.max_pods_in_creation, _step_of(inputs.capacity.replicas))


def _step_of(replicas: int) -> int:
    """One pod, a tenth of many."""
    return max(1, math.floor(replicas * STEP_SHARE))


def _pods_after_shrinking(load: float, replicas: int, rules: Rules) -> int:
    """
    How few pods hold a load that `replicas` pods have held until now.

    What is taken from one pod waits on the others, and calls that wait are in flight
    for longer: with fewer pods there are more of them. Close to the knee they grow as
    (pods before / pods after), at the least; without that a pod is taken away and
    given back for ever.
    """
    needed = load * (1 + rules.tolerance) / rules.in_flight_per_pod
    return math.ceil(math.sqrt(needed * replicas) - ROUNDING)


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
    if inputs.now - memory.seen_since < rules.scale_down_window_seconds:
        return replicas, api.CLAMP_UNSEEN
    if inputs.now - memory.last_change < rules.step:
        return replicas, api.CLAMP_WINDOW
    return max(floor, replicas - _step_of(replicas)), api.CLAMP_STEP
