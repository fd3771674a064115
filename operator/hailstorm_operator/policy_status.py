"""
What the gate writes: the status of a RolloutPolicy, and `status.policy` of a record.

The policy's status says where it stands, for people, and carries the gate's own
memory below. The record keeps each decision with its inputs, complete for a
replay, and a hash over both.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hailstorm_operator import api, holds
from hailstorm_operator.conditions import Condition, merge_conditions
from hailstorm_operator.gate_inputs import Inputs
from hailstorm_operator.gate_memory import Memory, memory_from_json
from hailstorm_operator.policy_specs import HOLD_MIN_READY, PolicySpec
from hailstorm_operator.rollouts import Decision
from hailstorm_operator.timestamps import parse_time, whole_seconds
from hailstorm_operator.triggers import SAME_WRITE

Json = Mapping[str, Any]
Status = dict[str, Any]

IDLE: str = "Idle"
# Two for a policy; more are of policies before it. The CRD takes no more, since each has
# all its seconds.
MAX_DECISIONS: Final = 4


def memory_of(status: Json) -> Memory:
    """The memory in a policy's status; an empty one in a new policy's."""
    return memory_from_json(status.get("memory") or {})


def find_problem(deployment: Json, spec: PolicySpec, conflict: str) -> tuple[str, str] | None:
    """Why a target cannot be gated: (reason, what to do), or None."""
    metadata = deployment["metadata"]
    name = metadata["name"]
    if conflict:
        return (
            api.REASON_POLICY_CONFLICT,
            f"RolloutPolicy {conflict} is older and gates {name} too; delete one of the two",
        )
    if (metadata.get("labels") or {}).get(api.RECORD_LABEL) != api.RECORD_LABEL_VALUE:
        return (
            api.REASON_NOT_RECORDED,
            "a verdict is written into the rollout's record, and there is none; "
            f"kubectl label deployment {name} {api.RECORD_LABEL}={api.RECORD_LABEL_VALUE}",
        )
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return (
            api.REASON_RECREATE,
            f"{name} is rolled by Recreate, which leaves nothing to compare with; "
            "write spec.strategy.type: RollingUpdate",
        )
    deadline = holds.progress_seconds(deployment)
    if spec.hold_by == HOLD_MIN_READY and spec.hold_max_seconds >= deadline:
        return (
            api.REASON_HOLD_TOO_LONG,
            f"canary.holdSeconds.max {spec.hold_max_seconds:g} does not fit below "
            f"{name}'s progressDeadlineSeconds {deadline}; lower the one or raise the other",
        )
    return None


def missed_deadline(deployment: Json, since: float) -> str:
    """What Kubernetes says of a rollout that has missed its deadline; "" when it has not."""
    status, metadata = deployment.get("status") or {}, deployment["metadata"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return ""
    for one in status.get("conditions") or []:
        missed = one["type"] == "Progressing" and one.get("reason") == api.REASON_DEADLINE
        # The API stamps whole seconds.
        if missed and parse_time(one["lastTransitionTime"]).timestamp() >= since - 1:
            return str(one.get("message") or api.REASON_DEADLINE)
    return ""


def describe(
    memory: Memory,
    before: Json,
    looking: str,
    decision: Decision | None,
    generation: int,
    *,
    enforce: bool,
) -> Status:
    """The whole status. Fields that no longer hold are null, so that merging clears them."""
    rollout = memory.rollout
    status: Status = {
        "observedGeneration": generation,
        "stage": rollout.stage if rollout else IDLE,
        "looking": looking or None,
        "stableRevision": memory.stable.revision if memory.stable else None,
        "revision": rollout.revision if rollout else None,
        "lastVerdict": before.get("lastVerdict"),
        "lastRule": before.get("lastRule"),
        "lastExplanation": before.get("lastExplanation"),
        "memory": memory.as_json(),
    }
    if decision is not None:
        status |= {
            "lastVerdict": decision.verdict,
            "lastRule": decision.rule,
            "lastExplanation": decision.explanation,
        }
    reason = api.REASON_GATING if enforce else api.REASON_OBSERVING
    text = "releases of the target are " + ("gated" if enforce else "observed, none is held")
    status["conditions"] = with_condition(
        before, Condition(api.CONDITION_ACTIVE, True, reason, text)
    )
    return status


def with_condition(status: Json, condition: Condition) -> list[dict[str, Any]]:
    """The conditions of a status with one written over."""
    now = whole_seconds(datetime.now(UTC))
    return merge_conditions(status.get("conditions") or [], [condition], now)


def decision_entry(stage: str, decision: Decision, inputs: Inputs | None, at: str) -> Status:
    """One decision as a record keeps it."""
    entry: Status = {
        "at": at,
        "stage": stage,
        "verdict": decision.verdict,
        "action": decision.action,
        "rule": decision.rule,
        "explanation": decision.explanation,
        "figures": dict(decision.figures),
    }
    if inputs is not None:
        # Through JSON once: what is hashed is what a reader will have.
        entry["inputs"] = json.loads(json.dumps(inputs.as_json()))
    entry["evidence"] = evidence_hash(entry)
    return entry


def evidence_hash(entry: Json) -> str:
    """
    Identity of a decision and of all that it rests on.

    Numbers are written as the API server gives them back: it keeps 30.0 as 30.
    """
    content = {key: value for key, value in entry.items() if key != "evidence"}
    text = json.dumps(_whole(content), sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def find_decision(block: Json, stage: str, since: float) -> Json | None:
    """
    The decision of a stage that a rollout which began at `since` (epoch seconds) has to follow.

    An operator that died may have written it. One from before is about an attempt that
    another policy, or this one before it was made anew, has judged.
    """
    earliest = since - SAME_WRITE.total_seconds()
    for one in block.get("decisions") or []:
        if one["stage"] == stage and parse_time(one["at"]).timestamp() >= earliest:
            return dict(one)
    return None


def decision_of(entry: Json) -> Decision:
    """The decision that a record keeps."""
    return Decision(
        entry["verdict"],
        entry["action"],
        entry["rule"],
        entry["explanation"],
        entry.get("figures") or {},
    )


def record_block(policy: str, *, enforced: bool, before: Json, entry: Json) -> Status:
    """`status.policy` of a record: the newest verdict on top, every decision below."""
    return {
        "name": policy,
        "mode": "enforce" if enforced else "observe",
        "verdict": entry["verdict"],
        "action": entry["action"] if enforced else "none",
        "rule": entry["rule"],
        "explanation": entry["explanation"],
        "decidedAt": entry["at"],
        "evidence": entry["evidence"],
        "figures": entry["figures"],
        "decisions": [*(before.get("decisions") or []), dict(entry)][-MAX_DECISIONS:],
    }


def _whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
