"""
The status of a ServiceScaler: what it shows, and when it is worth a write.

Every write is an event on the API server's watch, so figures that move all the
time (in-flight calls) are refreshed now and then, while facts (a decision, a
condition, a count) are written at once.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.conditions import Condition, merge_conditions
from hailstorm_operator.explanations import contested_message, explain
from hailstorm_operator.scaling import Decision
from hailstorm_operator.signals import Reading
from hailstorm_operator.timestamps import whole_seconds, with_milliseconds

Json = Mapping[str, Any]
Status = dict[str, Any]

# A demand step and its way back fit; 20 decisions are about 15 KiB.
HISTORY: Final = 20
# Often enough for a person who watches `kubectl get svs -w`.
REFRESH_SECONDS: Final = 10.0
# Holding back for these reasons is news; the others are the quiet normal state.
NEWS: Final = frozenset(
    {
        api.CLAMP_MAX,
        api.CLAMP_CONNECTIONS,
        api.CLAMP_CREATION,
        api.CLAMP_ROLLOUT,
        api.CLAMP_PARTIAL,
        api.CLAMP_STALE,
        api.CLAMP_CONFLICT,
        api.CLAMP_OWNERS,
        api.CLAMP_CONTESTED,
        api.CLAMP_ZERO,
    }
)
# Clamps flip with every ripple around a bound; the same news twice is none.
HOLD_NEWS_SECONDS: Final = 10.0
VOLATILE: Final = ("inFlight", "signal", "latest")


def is_news(decision: Decision, kept: Decision | None) -> bool:
    """Whether a decision belongs into the bounded history, after the one `kept` last."""
    if kept is None or decision.action != "hold" or decision.scaled_by_other:
        return True
    if decision.memory.panicking != kept.memory.panicking:
        return True
    if decision.inputs.now - kept.inputs.now < HOLD_NEWS_SECONDS:
        return False
    if decision.inputs.demand.state != kept.inputs.demand.state:
        return True
    return decision.clamp != kept.clamp and decision.clamp in NEWS


def keep(history: list[Status], entry: Status) -> list[Status]:
    """Add an entry; what holds gives way before what moved, while it fills over half."""
    kept = [*history, entry]
    while len(kept) > HISTORY:
        holds = [number for number, one in enumerate(kept) if one["action"] == "hold"]
        kept.pop(holds[0] if len(holds) > HISTORY // 2 else 0)
    return kept


def history_entry(decision: Decision) -> Status:
    """A decision as the history keeps it: readable on top, complete for replay below."""
    at = datetime.fromtimestamp(decision.inputs.now, UTC)
    return {"at": with_milliseconds(at), "explanation": explain(decision), **decision.as_json()}


def describe(
    decision: Decision, reading: Reading, generation: int, conflict: tuple[str, str] | None
) -> tuple[Status, list[Condition]]:
    """What a tick has to say: status fields, and conditions without moving figures."""
    demand, capacity = decision.inputs.demand, decision.inputs.capacity
    status: Status = {
        "observedGeneration": generation,
        "replicas": capacity.replicas,
        "readyReplicas": capacity.ready,
        "desiredReplicas": decision.desired,
        "panicking": decision.memory.panicking,
        "inFlight": None if demand.fast is None else round(demand.fast, 1),
        "signal": {
            "kind": reading.kind,
            "state": reading.state,
            "shedPerSecond": round(reading.shed_per_second, 1),
            "serviceMilliseconds": round(reading.service_seconds * 1000, 1),
            "sources": [
                {"name": name, "inFlight": value}
                for name, value in sorted(reading.answered.items())
            ],
            "missing": list(reading.missing),
        },
        # What `hailstorm scaler explain` speaks of; the history holds only what was news.
        "latest": history_entry(decision),
    }
    return status, [
        _active(decision, conflict),
        _signal(reading),
        _panic(decision),
        _limited(decision),
        _conflict(decision, conflict),
    ]


def is_worth_writing(new: Json, written: Json | None, seconds_since_write: float) -> bool:
    """Facts at once; moving figures once in a while."""
    if written is None:
        return True
    names = new.keys() | written.keys()
    changed = {name for name in names if new.get(name) != written.get(name)}
    if changed - set(VOLATILE):
        return True
    return bool(changed) and seconds_since_write >= REFRESH_SECONDS


def with_conditions(status: Status, before: Json, conditions: list[Condition]) -> Status:
    """Add conditions to a status, keeping the times of those that did not flip."""
    now = whole_seconds(datetime.now(UTC))
    return {
        **status,
        "conditions": merge_conditions(before.get("conditions") or [], conditions, now),
    }


def _active(decision: Decision, conflict: tuple[str, str] | None) -> Condition:
    if conflict is not None:
        return Condition(api.CONDITION_ACTIVE, False, *conflict)
    if decision.is_contested:
        text = contested_message(decision)
        return Condition(api.CONDITION_ACTIVE, False, api.REASON_CONTESTED, text)
    if decision.clamp == api.CLAMP_ZERO:
        text = "the target was scaled to zero; scale it to one or more to hand it back"
        return Condition(api.CONDITION_ACTIVE, False, api.REASON_SCALED_TO_ZERO, text)
    return Condition(api.CONDITION_ACTIVE, True, api.REASON_SCALING, "replicas follow the demand")


def _signal(reading: Reading) -> Condition:
    kind = api.CONDITION_SIGNAL
    whose = "edge pod" if reading.kind == "edge" else "pod"
    if reading.state == "fresh":
        return Condition(kind, True, api.REASON_ALL_SOURCES, f"every {whose} answers")
    missing = ", ".join(reading.missing)
    if reading.state == "partial":
        text = f"no answer from {missing}; nothing shrinks meanwhile"
        return Condition(kind, False, api.REASON_SOURCES_MISSING, text)
    if reading.problem:
        text = f"nobody knows whom to ask: {reading.problem}; replicas stay as they are"
        return Condition(kind, False, api.REASON_SIGNAL_STALE, text)
    if reading.missing:
        text = f"no answer from {missing}; replicas stay as they are"
        return Condition(kind, False, api.REASON_SIGNAL_STALE, text)
    if reading.kind == "pods":
        text = "the target has no ready pods to ask; replicas stay as they are"
        return Condition(kind, False, api.REASON_NO_PODS, text)
    text = "the Service has no ready endpoints; replicas stay as they are"
    return Condition(kind, False, api.REASON_NO_SOURCES, text)


def _panic(decision: Decision) -> Condition:
    memory = decision.memory
    if not memory.panicking:
        return Condition(api.CONDITION_PANICKING, False, api.REASON_DEMAND_STEADY, "")
    text = "nothing shrinks until a stable window has passed and all replicas are ready"
    if memory.is_starting:
        return Condition(api.CONDITION_PANICKING, True, api.REASON_JUST_STARTED, text)
    return Condition(api.CONDITION_PANICKING, True, api.REASON_DEMAND_STEP, text)


def _limited(decision: Decision) -> Condition:
    rules, kind = decision.inputs.rules, api.CONDITION_LIMITED
    text = {
        api.CLAMP_MAX: f"the demand asks for more than maxReplicas {rules.max_replicas}",
        api.CLAMP_CONNECTIONS: f"the demand asks for more pods than the connection budget of "
        f"{rules.connections} holds at {rules.connections_per_pod} a pod",
        api.CLAMP_CREATION: f"at most {rules.max_pods_in_creation} pods are created at a time",
    }.get(decision.clamp)
    if text is None:
        return Condition(kind, False, api.REASON_WITHIN_BOUNDS, "")
    return Condition(kind, True, decision.clamp[0].upper() + decision.clamp[1:], text)


def _conflict(decision: Decision, conflict: tuple[str, str] | None) -> Condition:
    kind = api.CONDITION_CONFLICT
    if conflict is not None:
        # Holding for want of knowledge is no conflict yet; the reason says which it is.
        return Condition(kind, conflict[0] != api.REASON_OWNERS_UNKNOWN, *conflict)
    if decision.is_contested:
        return Condition(kind, True, api.REASON_CONTESTED, contested_message(decision))
    return Condition(kind, False, api.REASON_SOLE_OWNER, "")
