"""Decisions in sentences: one line for Events, and the whole story for people."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.scaling import CONTEST_WRITES, Decision, ceiling
from hailstorm_operator.what_if import load_that_grows, load_that_shrinks

# A tenth of a call in flight is nothing to speak of.
SHOWN: Final = 0.1

_WHY: Final = {
    api.CLAMP_NONE: "",
    api.CLAMP_STEADY: "",
    api.CLAMP_TOLERANCE: ", within the tolerance of {tolerance:.0%}",
    api.CLAMP_MIN: ", minReplicas is {min_replicas}",
    api.CLAMP_MAX: ", maxReplicas is {max_replicas}",
    api.CLAMP_CONNECTIONS: ", the connection budget of {connections} holds no more pods "
    "of {connections_per_pod} each",
    api.CLAMP_CREATION: ", at most {max_pods_in_creation} pods may be in creation",
    api.CLAMP_ROOM: ", no more start at once than the load lacks, and the rest one by one",
    api.CLAMP_SPARED: ", pods are created as far as spares do not carry the load, and one by one "
    "once it is calm",
    api.CLAMP_STARTING: ", it has just started and cannot tell that from chance",
    api.CLAMP_PANIC: ", nothing shrinks in panic",
    api.CLAMP_ROLLOUT: ", nothing shrinks while a rollout is in progress",
    api.CLAMP_PARTIAL: ", nothing shrinks while a source of the signal does not answer",
    api.CLAMP_STALE: ", a missing signal is not zero",
    api.CLAMP_UNSEEN: ", the last {scale_down_window_seconds:g} s have not been seen in full",
    api.CLAMP_WINDOW: ", one step down each {step:g} s",
    api.CLAMP_STEP: ", one step down each {step:g} s",
    api.CLAMP_CONFLICT: ", another controller owns the replicas",
    api.CLAMP_OWNERS: ", it is not known yet who else owns the replicas",
    api.CLAMP_CONTESTED: ", somebody else keeps writing the replicas",
    api.CLAMP_ZERO: ", scaled to zero by hand",
}


def explain(decision: Decision) -> str:
    """One sentence for Events and conditions."""
    rules, replicas = decision.inputs.rules, decision.inputs.capacity.replicas
    if decision.planned is None:
        asked = "no in-flight figure"
    else:
        asked = (
            f"{decision.planned:.1f} calls in flight at "
            f"{rules.in_flight_per_pod:g} a pod ask for {decision.wanted}"
        )
    change = (
        f"{replicas} → {decision.desired}" if decision.action != "hold" else f"{replicas} stays"
    )
    return f"{change}: {asked}{_why(decision)}"


def _why(decision: Decision) -> str:
    rules = decision.inputs.rules
    return _WHY[decision.clamp].format(**vars(rules), step=rules.step)


def contested_message(decision: Decision) -> str:
    """Who keeps writing the replicas, and how it ends."""
    who = decision.inputs.capacity.set_by or "somebody"
    window = decision.inputs.rules.scale_down_window_seconds
    return (
        f"{who} has set the replicas {CONTEST_WRITES} times against this scaler; it holds until "
        f"nobody does for {window:g} s. Leave spec.replicas out of what {who} applies"
    )


_MOMENTS: Final = {
    "spareInService": "its spares were in the Service",
    "created": "its pods were created",
    "scheduled": "scheduled",
    "started": "started",
    "ready": "ready",
    "firstCall": "called",
    "fairShare": "called as much as the others",
}


def tell_event(event: Mapping[str, Any]) -> str:
    """A scale event of the status taken apart, in a sentence."""
    before, after = event["from"], event["to"]
    change = f"{before} → {after}" if after != before else f"spares beside {before}"
    took = event.get("seconds") or {}
    parts = [
        f"{words} after {took[moment]:.1f} s"
        for moment, words in _MOMENTS.items()
        if moment in took
    ]
    text = (
        f"The last step ({change}, {event['at']}): the signal was "
        f"{event['signalMilliseconds']:.0f} ms old, the decision took "
        f"{event['decisionMilliseconds']:.0f} ms and its write {event['writeMilliseconds']:.0f} ms"
    )
    return f"{text}; {', '.join(parts)}." if parts else f"{text}."


def tell(name: str, decision: Decision, kind: str, missing: Sequence[str]) -> list[str]:
    """Why there are as many pods as there are: what is measured, planned, held back, and until."""
    inputs = decision.inputs
    capacity = inputs.capacity
    head = (
        f"{name} has {_count(capacity.replicas, 'replica')}, {capacity.ready} of them ready, "
        f"and is to have {decision.desired}."
    )
    return [
        head,
        *_measured(decision, kind, missing),
        *_planned(decision),
        _held(decision),
        *_changes(decision),
    ]


def _measured(decision: Decision, kind: str, missing: Sequence[str]) -> list[str]:
    demand, rules = decision.inputs.demand, decision.inputs.rules
    who = "The edge counts" if kind == "edge" else "The pods report"
    said = [f"{one} does not answer." for one in missing]
    if demand.fast is None:
        return [*said, "Nothing is known of the calls in flight; that is not taken for zero."]
    stable = demand.fast if demand.stable is None else demand.stable
    text = (
        f"{who} {demand.fast:.1f} calls in flight at present, and {stable:.1f} "
        f"over the last {rules.stable_window_seconds:g} s"
    )
    if demand.shed >= SHOWN:
        text += (
            f"; {demand.shed:.1f} of them stand for calls that were refused (calls refused "
            "a second, times what a call takes)"
        )
    if demand.state == "partial":
        said.append("The silent ones are taken to carry as much as the others do.")
    return [f"{text}.", *said]


def _planned(decision: Decision) -> list[str]:
    inputs = decision.inputs
    demand, rules = inputs.demand, inputs.rules
    if decision.planned is None:
        return []
    said = []
    ahead = demand.slope * rules.startup_seconds
    if ahead >= SHOWN:
        said.append(
            f"It grows steadily, by {demand.slope:.2f} a second, and a new pod serves after "
            f"{rules.startup_seconds:.0f} s: what comes until then is planned for, too."
        )
    said.append(
        f"A pod is planned to hold {rules.in_flight_per_pod:g}, so {decision.planned:.1f} "
        f"ask for {_count(decision.wanted or 0, 'pod')}."
    )
    if decision.memory.is_starting:
        said.append("It has just started: nothing shrinks before it has seen a stable window.")
    elif decision.memory.panicking:
        said.append("It is in panic: it follows the last seconds, and only upwards.")
    peak = demand.peak
    if peak is not None and peak > decision.planned + SHOWN:
        said.append(
            f"The highest plan of the last {rules.scale_down_window_seconds:g} s was {peak:.1f}, "
            "and shrinking has to satisfy it."
        )
    return said


def _held(decision: Decision) -> str:
    if decision.clamp == api.CLAMP_STEADY:
        return "Fewer could not hold it, and more are not needed."
    if decision.clamp == api.CLAMP_NONE:
        return "Nothing held the decision back."
    return f"What decided is {decision.clamp}: {_why(decision).removeprefix(', ')}."


def _changes(decision: Decision) -> list[str]:
    inputs = decision.inputs
    memory, rules = inputs.memory, inputs.rules
    if inputs.capacity.replicas == 0:
        return ["Scale the target to 1 or more to hand it back."]
    said = []
    grows, shrinks = load_that_grows(inputs), load_that_shrinks(inputs)
    if grows is None:
        most, says = ceiling(rules, inputs.capacity)
        said.append(f"It cannot grow: {says} ends it at {most}.")
    else:
        said.append(f"It grows when more than {grows:.1f} calls in flight last.")
    if shrinks is None:
        said.append(f"It cannot shrink: minReplicas is {rules.min_replicas}.")
    else:
        seen = memory.seen_since + rules.scale_down_window_seconds
        step = memory.last_change + rules.step
        wait = max(seen, step) - inputs.now
        soon = f", in {wait:.0f} s at the earliest" if wait > 0 else ""
        said.append(
            f"It shrinks by a step when fewer than {shrinks:.1f} have been planned for over "
            f"{rules.scale_down_window_seconds:g} s{soon}."
        )
    return said


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
