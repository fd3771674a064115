"""What a scaler's loop says of itself in metrics, and that they end with it."""

from typing import Final, get_args

from prometheus_client import Counter, Gauge

from hailstorm_operator import metrics
from hailstorm_operator.scaling import Decision
from hailstorm_operator.scaling_inputs import SignalState
from hailstorm_operator.signals import Reading

# Each by (namespace, name) first, and what else its series are told apart by.
_SERIES: Final[tuple[tuple[Gauge | Counter, tuple[str, ...]], ...]] = (
    (metrics.IN_FLIGHT, ()),
    (metrics.DESIRED, ()),
    (metrics.READY, ()),
    (metrics.PANICKING, ()),
    (metrics.SOURCES_MISSING, ()),
    (metrics.SIGNAL_STATE, ("state",)),
    (metrics.DECISIONS, ("action", "clamp")),
    (metrics.SPARES, ("place",)),
    (metrics.SPARE_MOVES, ("to",)),
)


def show_reading(namespace: str, name: str, reading: Reading) -> None:
    """The signal's state, as it stands whether or not anything can be decided on it."""
    for state in get_args(SignalState):
        metrics.SIGNAL_STATE.labels(namespace, name, state).set(state == reading.state)
    metrics.SOURCES_MISSING.labels(namespace, name).set(len(reading.missing))


def show_decision(namespace: str, name: str, decision: Decision) -> None:
    """What was decided, and from how much."""
    if decision.inputs.demand.fast is not None:
        metrics.IN_FLIGHT.labels(namespace, name).set(decision.inputs.demand.fast)
    metrics.DESIRED.labels(namespace, name).set(decision.desired)
    metrics.READY.labels(namespace, name).set(decision.inputs.capacity.ready)
    metrics.PANICKING.labels(namespace, name).set(decision.memory.panicking)
    metrics.DECISIONS.labels(namespace, name, decision.action, decision.clamp).inc()


def forget(namespace: str, name: str) -> None:
    """End every series of a scaler: one that is gone must not go on as what it was last."""
    for metric, more in _SERIES:
        series = {
            tuple(sample.labels[label] for label in (*metrics.SCALER, *more))
            for family in metric.collect()
            for sample in family.samples
        }
        for labels in series:
            if labels[:2] == (namespace, name):
                metric.remove(*labels)
