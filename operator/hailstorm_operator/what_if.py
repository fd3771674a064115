"""
What would change a decision: the decider asked about loads that are not there.

Both answers are for a calm scaler (no panic, all windows seen, nobody else
writing), because that is what a reader wants to know of the load; what holds it
back at this moment is the clamp's to say.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from hailstorm_operator.scaling import decide_scale
from hailstorm_operator.scaling_inputs import Demand, Inputs, Memory

# Halving that often finds a load to a millionth of what all pods together hold.
HALVINGS: Final = 40


def load_that_grows(inputs: Inputs) -> float | None:
    """Lasting calls in flight above which there are more replicas; None at the upper bound."""
    replicas = inputs.capacity.replicas
    most = 4 * (replicas + 1) * inputs.rules.in_flight_per_pod

    def grows(load: float) -> bool:
        return _desired(inputs, load) > replicas

    return _threshold(grows, most) if grows(most) else None


def load_that_shrinks(inputs: Inputs) -> float | None:
    """Lasting calls in flight below which there are fewer replicas; None at the lower bound."""
    replicas = inputs.capacity.replicas
    if _desired(inputs, 0.0) >= replicas:
        return None
    most = 4 * (replicas + 1) * inputs.rules.in_flight_per_pod
    return _threshold(lambda load: _desired(inputs, load) >= replicas, most)


def _desired(inputs: Inputs, load: float) -> int:
    capacity = inputs.capacity
    calm = replace(
        inputs,
        demand=Demand(load, load, load, "fresh"),
        # As if every pod were there, or few ready ones would make it a panic; and no spares,
        # which only put off what a lasting load asks for.
        capacity=replace(
            capacity,
            ready=capacity.replicas,
            rollout_in_progress=False,
            conflict="",
            spares_ready=0,
        ),
        memory=Memory(False, 0.0, 0.0, capacity.replicas),
    )
    return decide_scale(calm).desired


def _threshold(holds: Callable[[float], bool], most: float) -> float:
    """Where `holds` turns true; it is false at 0 and true at `most`."""
    low, high = 0.0, most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
