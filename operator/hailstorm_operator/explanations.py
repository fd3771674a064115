"""Decisions in sentences: one line for Events, and the whole story for people."""

from typing import Final

from hailstorm_operator import api
from hailstorm_operator.scaling import CONTEST_WRITES, Decision

_WHY: Final = {
    api.CLAMP_NONE: "",
    api.CLAMP_STEADY: "",
    api.CLAMP_TOLERANCE: ", within the tolerance of {tolerance:.0%}",
    api.CLAMP_MIN: ", minReplicas is {min_replicas}",
    api.CLAMP_MAX: ", maxReplicas is {max_replicas}",
    api.CLAMP_CONNECTIONS: ", the connection budget of {connections} holds no more pods "
    "of {connections_per_pod} each",
    api.CLAMP_CREATION: ", at most {max_pods_in_creation} pods may be in creation",
    api.CLAMP_PANIC: ", nothing shrinks in panic",
    api.CLAMP_ROLLOUT: ", nothing shrinks while a rollout is in progress",
    api.CLAMP_PARTIAL: ", nothing shrinks while a source of the signal does not answer",
    api.CLAMP_STALE: ", a missing signal is not zero",
    api.CLAMP_UNSEEN: ", the last {scale_down_window_seconds:g} s have not been seen in full",
    api.CLAMP_WINDOW: ", one step down each {stable_window_seconds:g} s",
    api.CLAMP_STEP: ", one step down each {stable_window_seconds:g} s",
    api.CLAMP_CONFLICT: ", another controller owns the replicas",
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
    return f"{change}: {asked}{_WHY[decision.clamp].format(**vars(rules))}"


def contested_message(decision: Decision) -> str:
    """Who keeps writing the replicas, and how it ends."""
    who = decision.inputs.capacity.set_by or "somebody"
    window = decision.inputs.rules.scale_down_window_seconds
    return (
        f"{who} has set the replicas {CONTEST_WRITES} times against this scaler; it holds until "
        f"nobody does for {window:g} s. Leave spec.replicas out of what {who} applies"
    )
