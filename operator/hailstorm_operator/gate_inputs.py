"""
What a verdict depends on, as plain values: the policy's rules and what was observed.

Everything is in here, the clock included, so that a record which keeps the inputs
keeps the whole case.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from hailstorm_operator.observations import (
    Second,
    Trouble,
    seconds_as_json,
    seconds_from_json,
)

Stage = Literal["canary", "watch"]

# Kept with each decision's inputs. Raised when the same inputs may give another decision;
# what was decided by earlier rules is replayed by those.
# 1: the hold compared the new pods with the others alone, and promoted also where those
#    had no calls. Kept decisions without a number are of these.
# 2: seconds in which only new pods had calls are compared with the past, and a promotion
#    needs a comparison that could have decided.
DECIDER_VERSION: Final = 2


@dataclass(frozen=True)
class LatencyRules:
    """Slow is a median above both `max_ratio` times and `max_delta_ms` more than the others'."""

    max_ratio: float
    max_delta_ms: float
    min_calls: int
    cold_start_seconds: float


@dataclass(frozen=True)
class GateRules:
    """What the RolloutPolicy asks for, as far as a verdict depends on it."""

    alpha: float
    hold_min_seconds: float
    hold_max_seconds: float
    min_calls: int
    ready_deadline_seconds: float
    watch_seconds: float
    on_insufficient_evidence: Literal["promote", "rollback", "hold"]
    has_traffic_source: bool = True
    latency: LatencyRules | None = None


@dataclass(frozen=True)
class Inputs:
    """
    Everything a verdict depends on. Times are epoch seconds; the clock is data.

    `canary_since` is when the first pod of the new template became ready, None
    before; `promoted_at` and `arrived_at` are when it was promoted and when every
    replica ran it. `before` are seconds from before the canary, of the old template
    alone. `decider` is the version of the rules to decide by.
    """

    now: float
    stage: Stage
    rules: GateRules
    started_at: float
    canary_since: float | None
    promoted_at: float | None = None
    arrived_at: float | None = None
    troubles: tuple[Trouble, ...] = ()
    missed_deadline: str = ""
    seconds: tuple[Second, ...] = ()
    before: tuple[Second, ...] = ()
    edges: tuple[float, ...] = ()
    no_data: str = ""
    decider: int = DECIDER_VERSION

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, complete for `replay`. No null: the API server drops those."""
        values = {
            **asdict(replace(self, seconds=(), before=())),
            "seconds": seconds_as_json(self.seconds),
            "before": seconds_as_json(self.before),
        }
        values["rules"] = {
            key: value for key, value in values["rules"].items() if value is not None
        }
        return {key: value for key, value in values.items() if value is not None}


def inputs_from_json(recorded: Mapping[str, Any]) -> Inputs:
    """
    The inputs that `as_json` has written.

    Raises KeyError, TypeError or ValueError for others, those of later rules included.
    """
    decider = int(recorded.get("decider", 1))
    if not 1 <= decider <= DECIDER_VERSION:
        raise ValueError(f"decided by rules {decider}, these are {DECIDER_VERSION}")
    rules = dict(recorded["rules"])
    latency = rules.pop("latency", None)
    return Inputs(
        now=recorded["now"],
        stage=recorded["stage"],
        rules=GateRules(**rules, latency=LatencyRules(**latency) if latency else None),
        started_at=recorded["started_at"],
        canary_since=recorded.get("canary_since"),
        promoted_at=recorded.get("promoted_at"),
        arrived_at=recorded.get("arrived_at"),
        troubles=tuple(Trouble(**one) for one in recorded["troubles"]),
        missed_deadline=recorded["missed_deadline"],
        seconds=seconds_from_json(recorded["seconds"]),
        before=seconds_from_json(recorded["before"]),
        edges=tuple(recorded["edges"]),
        no_data=recorded["no_data"],
        decider=decider,
    )


def known_seconds(
    told: Mapping[int, Second], start: float, now: float, settled: float
) -> tuple[Second, ...]:
    """
    Every second from `start` on, once. One that nobody has told of is a gap.

    Seconds after `settled` are still on their way: what is there of them counts,
    and what is not is neither a gap nor a quiet second.
    """
    known = []
    for at in range(math.floor(start), math.floor(now) + 1):
        is_settled = at < math.floor(settled)
        one = told.get(at)
        if one is None and is_settled:
            known.append(Second(at, gap=True))
        elif one is not None and (is_settled or one.gap or one.canary.calls or one.others.calls):
            known.append(one)
    return tuple(known)
