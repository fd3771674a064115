"""
What a ServiceScaler's status says of its warm spares.

The moves are the spares' part of the decision ledger: who went where, when, and
why, so that a scale event can be taken apart afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.conditions import Condition
from hailstorm_operator.spare_pool import WAITING_TEXT, PoolFacts
from hailstorm_operator.spares import Spare

Status = dict[str, Any]

# Four spares in and out five times; a move is about 120 bytes.
MOVES: Final = 40


def describe(
    *,
    count: int,
    spares: Sequence[Spare],
    facts: PoolFacts,
    moves: Sequence[Mapping[str, Any]],
    error: tuple[str, str] | None,
    refusal: str,
) -> tuple[Status, list[Condition]]:
    """The block `status.spares`, and the condition SparesReady."""
    ready = sum(one.ready for one in spares)
    serving = sum(one.serving and one.ready for one in spares)
    # Pods as well as their Deployment: one that rolls is not in step yet.
    in_step = facts.is_in_step and all(one.in_step for one in spares)
    status: Status = {
        "desired": count,
        "ready": ready,
        "inService": serving,
        "templateInStep": in_step,
        "service": facts.service,
        "moves": [dict(one) for one in moves],
    }
    state = _condition(count, ready, serving, facts, error, refusal)
    return status, [Condition(api.CONDITION_SPARES, *state)]


def keep(moves: Sequence[Status], more: Sequence[Status]) -> list[Status]:
    """The newest moves, oldest first."""
    return [*moves, *more][-MOVES:]


def _condition(
    count: int,
    ready: int,
    serving: int,
    facts: PoolFacts,
    error: tuple[str, str] | None,
    refusal: str,
) -> tuple[bool, str, str]:
    if facts.problem is not None:
        return False, *facts.problem
    if error is not None:
        return False, *error
    if refusal:
        return False, api.REASON_SPARES_REFUSED, f"a spare could not be labelled: {refusal}"
    if count == 0:
        return False, api.REASON_NO_SPARES, "spec.spares.count or the target's replicas are 0"
    if ready < count:
        return False, api.REASON_SPARES_STARTING, f"{ready} of {count} spares are ready"
    if facts.budgets:
        text = (
            f"PodDisruptionBudget {', '.join(facts.budgets)} counts spares while they serve; add "
            f"matchExpressions: [{{key: {api.SPARE_OF_LABEL}, operator: DoesNotExist}}]"
        )
        return True, api.REASON_SPARES_COUNTED, text
    if not facts.is_in_step:
        return True, api.REASON_SPARES_WAITING, WAITING_TEXT
    if serving:
        return True, api.REASON_SPARES_SERVING, f"{serving} of {count} spares serve"
    return True, api.REASON_SPARES_READY, f"{ready} spares wait for Service {facts.service}"
