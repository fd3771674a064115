"""
What was seen of one arm, cut down to what it is judged by, and as JSON.

The load's own lines, the addresses that the Service had, the pods there were, and
the replicas that were asked for; all with the moment at which it was so.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from hailstorm_drills.comparison.names import TARGET
from hailstorm_drills.pods import read_lives

Steps = tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Origin:
    """Where an arm was run: the cluster's uid, and the commit ("" where git knows none)."""

    cluster: str
    commit: str


class RecordingError(ValueError):
    """What was recorded cannot be judged; the message says what is missing."""


@dataclass(frozen=True)
class Sample:
    """One call: when it was due (seconds from the start), the caller's lag, its latency (ms)."""

    due: float
    lag_ms: float
    latency_ms: float
    code: str


@dataclass(frozen=True)
class LoadSeen:
    """The load: its start (epoch seconds), calls a second as planned, and its calls."""

    start_at: float
    rates: tuple[float, ...]
    samples: tuple[Sample, ...]
    cpu_seconds: float


@dataclass(frozen=True)
class Recording:
    """
    An arm. Steps are (epoch seconds, count); pods are (from, to) in epoch seconds.

    `images` are those it was run with, by name, the operator's among them.
    """

    arm: str
    settings: Mapping[str, Any]
    images: Mapping[str, str]
    origin: Origin
    load: LoadSeen
    serving: Steps
    desired: Steps
    pods: tuple[tuple[float, float], ...]
    spares: int

    @property
    def measured_at(self) -> str:
        """When its load began, in UTC."""
        return datetime.fromtimestamp(self.load.start_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_load(text: str) -> LoadSeen:
    """Read the lines of `hailstorm_loadtests.unary`. Raises RecordingError when one is missing."""
    plan: Mapping[str, Any] | None = None
    end: Mapping[str, Any] | None = None
    samples: list[Sample] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found = json.loads(line)
        except ValueError as error:
            raise RecordingError(f"line {number} of the load is no JSON: {line[:80]}") from error
        if found["kind"] == "plan":
            plan = found
        elif found["kind"] == "calls":
            samples.extend(Sample(*row) for row in found["calls"])
        elif found["kind"] == "end":
            end = found
    if plan is None:
        raise RecordingError("the load never began")
    if end is None:
        raise RecordingError(f"the load's log is cut: {len(samples)} of {plan['calls']} calls")
    if not len(samples) == end["calls"] == plan["calls"]:
        raise RecordingError(
            f"{plan['calls']} calls were planned, {end['calls']} made, {len(samples)} told of"
        )
    samples.sort(key=lambda sample: sample.due)
    return LoadSeen(plan["start_at"], tuple(plan["rates"]), tuple(samples), end["cpu_seconds"])


def serving_steps(events: Iterable[Mapping[str, Any]]) -> Steps:
    """Ready addresses of the target's Service, each time their number changed."""
    slices: dict[str, frozenset[str]] = {}
    steps: list[tuple[float, int]] = []
    for event in events:
        body = event.get("object") or {}
        meta = body.get("metadata", {})
        if (meta.get("labels") or {}).get("kubernetes.io/service-name") != TARGET:
            continue
        if event["type"] == "DELETED":
            slices.pop(meta["name"], None)
        else:
            slices[meta["name"]] = frozenset(_ready_addresses(body))
        _step(steps, event["at"], len(frozenset().union(*slices.values())))
    return tuple(steps)


def _ready_addresses(body: Mapping[str, Any]) -> Iterable[str]:
    for endpoint in body.get("endpoints") or []:
        # An absent condition stands for true, says the API.
        if (endpoint.get("conditions") or {}).get("ready") is not False:
            yield from endpoint.get("addresses") or []


def desired_steps(events: Iterable[Mapping[str, Any]]) -> Steps:
    """`spec.replicas` of the target, each time it changed."""
    steps: list[tuple[float, int]] = []
    for event in events:
        body = event.get("object") or {}
        if body.get("metadata", {}).get("name") == TARGET and event["type"] != "DELETED":
            _step(steps, event["at"], int(body["spec"].get("replicas", 1)))
    return tuple(steps)


def pod_spans(events: Sequence[Mapping[str, Any]], end: float) -> tuple[tuple[float, float], ...]:
    """From first seen to gone (or `end`), for each pod of the target and each spare."""
    lives = read_lives(events)
    return tuple(
        (spans[0][0], spans[-1][1])
        for life in lives
        if life.name.startswith(f"{TARGET}-") and (spans := life.spans(end))
    )


def _step(steps: list[tuple[float, int]], at: float, value: int) -> None:
    if not steps or steps[-1][1] != value:
        steps.append((at, value))


def as_json(recording: Recording) -> dict[str, Any]:
    """For a file; `from_json` reads it back."""
    load = recording.load
    return {
        "arm": recording.arm,
        "settings": dict(recording.settings),
        "images": dict(recording.images),
        "origin": asdict(recording.origin),
        "load": {
            "start_at": load.start_at,
            "rates": load.rates,
            "cpu_seconds": load.cpu_seconds,
            "samples": [[s.due, s.lag_ms, s.latency_ms, s.code] for s in load.samples],
        },
        "serving": recording.serving,
        "desired": recording.desired,
        "pods": recording.pods,
        "spares": recording.spares,
    }


def from_json(found: Mapping[str, Any]) -> Recording:
    """Read back what `as_json` wrote."""
    load = found["load"]
    return Recording(
        arm=found["arm"],
        settings=found["settings"],
        images=found["images"],
        origin=Origin(**found["origin"]),
        load=LoadSeen(
            load["start_at"],
            tuple(load["rates"]),
            tuple(Sample(*row) for row in load["samples"]),
            load["cpu_seconds"],
        ),
        serving=tuple((at, n) for at, n in found["serving"]),
        desired=tuple((at, n) for at, n in found["desired"]),
        pods=tuple((a, b) for a, b in found["pods"]),
        spares=found["spares"],
    )
