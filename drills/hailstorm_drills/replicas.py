"""
What was asked of each Deployment, and when, from raw watch events; pure.

`spec.replicas` is the order, and whoever scales writes it. How many pods there were
is another question, which the pods' own lives answer.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Count:
    """So many replicas, asked for from `at` on (epoch seconds, as the watch told of it)."""

    at: float
    replicas: int


@dataclass(frozen=True)
class Change:
    """One write of a Deployment's replicas."""

    at: float
    before: int
    after: int


def read_replicas(events: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Count, ...]]:
    """Each Deployment's counts, one for every change, the first of them as it was found."""
    found: dict[str, list[Count]] = {}
    for event in events:
        if event["type"] not in ("ADDED", "MODIFIED"):
            continue
        body = event["object"]
        counts = found.setdefault(str(body["metadata"]["name"]), [])
        # The API's own default.
        wanted = int(body["spec"].get("replicas", 1))
        if not counts or counts[-1].replicas != wanted:
            counts.append(Count(event["at"], wanted))
    return {name: tuple(counts) for name, counts in found.items()}


def replicas_at(counts: Sequence[Count], moment: float) -> int | None:
    """What was asked for at that moment; None before the Deployment was seen."""
    known = [count.replicas for count in counts if count.at <= moment]
    return known[-1] if known else None


def changes_between(counts: Sequence[Count], start: float, end: float) -> list[Change]:
    """The writes from `start` to before `end`."""
    return [
        Change(after.at, before.replicas, after.replicas)
        for before, after in itertools.pairwise(counts)
        if start <= after.at < end
    ]
