"""
Which warm spares go into service now and which come out: a pure function.

A spare is a shock absorber. It goes in when the demand asks for more pods than
serve, whatever the reason: a step of the demand, a pod that died, a rollout that
is short of one. It comes out again once the target itself has as many pods as
were asked for, and stays the while, however low the demand has become; so the
pool is whole again for the next step, and nothing flaps on the way.

    idle ── demand > ready + in service ──────────────────► in service
      ▲                                                         │
      └── the target's pods cover it, for SETTLE_SECONDS ◄──────┘

Without a signal nothing moves. Spares of an earlier template serve while the
target rolls or panics, and otherwise not: they are to be rolled themselves. Those
that nobody needs leave at once; those that the demand does need leave one in a
stable window, so that no rollout ends with a step down of what serves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from hailstorm_operator.inventory import DeploymentView

# The edge finds a new pod within a DNS refresh and a health check, half a second
# each; twice that, so that no spare leaves before its successor is called.
SETTLE_SECONDS: Final = 2.0

Why = Literal["demand", "covered", "stopped", "earlier template", ""]


@dataclass(frozen=True)
class Spare:
    """One pod of the pool. `load` is its calls in flight, None where nobody knows."""

    name: str
    ready: bool
    serving: bool
    in_step: bool
    load: float | None = None


@dataclass(frozen=True)
class SpareMemory:
    """
    The least surplus seen, and since when there has been one; when a spare of an
    earlier template last left although it was needed. Epoch seconds.
    """

    surplus: int = 0
    since: float = 0.0
    retired_at: float = 0.0


@dataclass(frozen=True)
class SpareInputs:
    """
    Everything the choice depends on.

    `wanted` pods are asked for by the demand (None without a signal, and whatever
    the bounds say: the spares run anyway), `lasting` by all of the stable window, where
    that is more (None where it is not known); `desired` were decided for the target,
    `ready` of its pods serve and `available` have done so for minReadySeconds.
    """

    now: float
    wanted: int | None
    desired: int
    ready: int
    available: int
    stable_window_seconds: float
    spares: tuple[Spare, ...]
    memory: SpareMemory
    lasting: int | None = None
    is_signal_whole: bool = True
    is_rolling: bool = False
    is_panicking: bool = False
    is_conflicted: bool = False
    is_stopped: bool = False


@dataclass(frozen=True)
class Round:
    """
    What one turn of the scaler knows. Times are epoch seconds.

    `wanted` pods are asked for by the demand, None without a signal, `lasting` by all of
    the stable window; `desired` were decided; `is_judged` says that a RolloutPolicy
    still looks at the target.
    """

    now: float
    view: DeploymentView
    wanted: int | None
    desired: int
    is_signal_whole: bool
    is_panicking: bool
    is_conflicted: bool
    is_judged: bool
    lasting: int | None = None


@dataclass(frozen=True)
class Entry:
    """Spares that were labelled into their Service: when (RFC 3339), and address by name."""

    labelled: str
    addresses: Mapping[str, str]


@dataclass(frozen=True)
class SpareDecision:
    """Names to label in; how many to label out, of which; why; and what to remember."""

    enter: tuple[str, ...] = ()
    leave: int = 0
    among: tuple[Spare, ...] = ()
    why: Why = ""
    memory: SpareMemory = SpareMemory()


def decide_spares(inputs: SpareInputs) -> SpareDecision:
    """Decide who goes in or out. Never both at once."""
    serving = tuple(one for one in inputs.spares if one.serving)
    if inputs.is_conflicted:
        # Whoever owns the target's replicas decides about its capacity.
        return SpareDecision()
    if inputs.is_stopped:
        return SpareDecision(leave=len(serving), among=serving, why="stopped" if serving else "")
    if inputs.wanted is None:
        return SpareDecision(memory=inputs.memory)
    missing = inputs.wanted - inputs.ready - _able(serving)
    enter = _idle(inputs)[: max(0, missing)]
    none_left = replace(inputs.memory, surplus=0, since=0.0)
    if enter:
        return SpareDecision(enter=enter, why="demand", memory=none_left)
    retired = _retire(inputs, serving, inputs.wanted)
    if retired is not None:
        return retired
    if missing > 0:
        return SpareDecision(memory=none_left)
    return _leave(inputs, serving, inputs.wanted)


def choose_leaving(among: Iterable[Spare], count: int) -> tuple[str, ...]:
    """Names of those that leave: not ready first, earlier templates next, then least busy."""

    def order(one: Spare) -> tuple[bool, bool, bool, float, str]:
        known = one.load is not None
        return one.ready, one.in_step, not known, one.load or 0.0, one.name

    return tuple(one.name for one in sorted(among, key=order)[:count])


def _retire(inputs: SpareInputs, serving: tuple[Spare, ...], wanted: int) -> SpareDecision | None:
    """Who leaves to be rolled itself; None where nobody does now."""
    outdated = tuple(one for one in serving if not _may_serve(one, inputs))
    if not outdated or not inputs.is_signal_whole:
        return None
    unneeded = max(0, inputs.available + _able(serving) - wanted)
    leave = min(len(outdated), unneeded + len(outdated) - _able(outdated))
    memory = inputs.memory
    if not leave:
        # The pool is rolled only when none of them serves, so they cannot stay for ever.
        if inputs.now - memory.retired_at < inputs.stable_window_seconds:
            return None
        leave, memory = 1, replace(memory, retired_at=inputs.now)
    return SpareDecision(leave=leave, among=outdated, why="earlier template", memory=memory)


def _able(spares: Iterable[Spare]) -> int:
    return sum(one.ready for one in spares)


def _leave(inputs: SpareInputs, serving: tuple[Spare, ...], wanted: int) -> SpareDecision:
    able = _able(serving)
    none_left = replace(inputs.memory, surplus=0, since=inputs.now)
    # A surge of a rollout goes again; what was asked for is what stays.
    own = min(inputs.available, inputs.desired)
    surplus = min(own + able - max(wanted, inputs.desired), able) + (len(serving) - able)
    if surplus <= 0 or not serving:
        return SpareDecision(memory=none_left)
    if not inputs.is_signal_whole:
        return SpareDecision(memory=inputs.memory)
    before = inputs.memory
    memory = (
        replace(before, surplus=min(before.surplus, surplus))
        if before.surplus > 0
        else replace(before, surplus=surplus, since=inputs.now)
    )
    # Above a bound the target never gets there; the demand's own ripples would
    # send spares in and out.
    # A demand that pauses has often not gone, and successors may not have come yet.
    is_covered = max(wanted, inputs.lasting or 0) <= inputs.desired
    wait = SETTLE_SECONDS if is_covered else inputs.stable_window_seconds
    if inputs.now - memory.since < wait:
        return SpareDecision(memory=memory)
    return SpareDecision(leave=memory.surplus, among=serving, why="covered", memory=none_left)


def _idle(inputs: SpareInputs) -> tuple[str, ...]:
    able = [
        one for one in inputs.spares if one.ready and not one.serving and _may_serve(one, inputs)
    ]
    return tuple(one.name for one in sorted(able, key=lambda one: (not one.in_step, one.name)))


def _may_serve(spare: Spare, inputs: SpareInputs) -> bool:
    return spare.in_step or inputs.is_rolling or inputs.is_panicking
