"""
Conditions of a status: {type, status, reason, message, lastTransitionTime}.

`lastTransitionTime` moves only when the status flips, as everywhere in
Kubernetes, so that "since when" can be read off; a new message alone does not
restart that clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hailstorm_operator import api

Json = dict[str, Any]


@dataclass(frozen=True)
class Condition:
    """One fact about a resource. `reason` is a word of `api`, `message` a sentence."""

    type: str
    status: bool
    reason: str
    message: str


def merge_conditions(
    before: Iterable[Mapping[str, Any]], now_true: Iterable[Condition], at: str
) -> list[Json]:
    """
    Write conditions over the ones a status holds; types not named stay as they are.

    `at` is an RFC 3339 time, used where a status flips or a type is new.
    """
    merged: dict[str, Json] = {str(old["type"]): dict(old) for old in before}
    for condition in now_true:
        status = "True" if condition.status else "False"
        old = merged.get(condition.type)
        since = old["lastTransitionTime"] if old and old["status"] == status else at
        merged[condition.type] = {
            "type": condition.type,
            "status": status,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": since,
        }
    return list(merged.values())


def refused_status(body: Mapping[str, Any], problem: str, at: str) -> Json:
    """The status of an object whose spec makes no sense: why it does nothing."""
    conditions = merge_conditions(
        (body.get("status") or {}).get("conditions") or [],
        [Condition(api.CONDITION_ACTIVE, False, api.REASON_SPEC_INVALID, problem)],
        at,
    )
    return {"observedGeneration": body["metadata"].get("generation", 0), "conditions": conditions}
