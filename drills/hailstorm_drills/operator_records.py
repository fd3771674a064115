"""
What the operator wrote down about the same rollouts, read tolerantly; pure.

The records are the operator's own claim. They are shown beside the drill's
figures and not mixed into them: two witnesses, not one.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from hailstorm_drills.evidence import Evidence


def created_at(record: Mapping[str, Any]) -> float:
    """When the record came to be, epoch seconds, in whole seconds."""
    text = record["metadata"]["creationTimestamp"]
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def of_this_drill(evidence: Evidence) -> list[Mapping[str, Any]]:
    """Records created between the injection and the end; empty without records."""
    fault = evidence.fault
    if fault is None or not evidence.records:
        return []
    # Creation stamps are whole seconds, rounded down.
    return [
        record
        for record in evidence.records
        if fault.start - 1 <= created_at(record) <= fault.end + 1
    ]


def detection_seconds(evidence: Evidence) -> float | None:
    """From the injection to the operator's first record of it; None without one."""
    fault, records = evidence.fault, of_this_drill(evidence)
    if fault is None or not records:
        return None
    return max(0.0, round(min(map(created_at, records)) - fault.start, 1))
