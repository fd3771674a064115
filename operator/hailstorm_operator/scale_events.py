"""
A scale-up taken apart: from the signal's age to a new pod's fair share of the calls.

    signal age ─ decision ─ API write ─ created ─ scheduled ─ started ─ ready
                                                      ─ first call ─ fair share

The operator's own part comes from its clock, a pod's moments from the pod watch,
and what callers saw from the recorder; without one the last two stay unknown. The
events are kept in the ServiceScaler's status, a few of them, so a restart forgets
none. How long pods took to start is what the decider plans ahead for.
"""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from hailstorm_operator.timelines import Timeline, observe_pod
from hailstorm_operator.timestamps import parse_time, with_milliseconds

Json = Mapping[str, Any]

# A step, its way back and the steps before: about 6 KiB.
KEPT: Final = 5
# Enough to see the slow one; how many more there were is in `to` less `from`.
MOST_PODS: Final = 8
# The slowest start that was seen took 40 s; what is not complete by then stays so.
OPEN_SECONDS: Final = 120.0
# creationTimestamp has whole seconds, by the API server's clock.
CLOCK_SECONDS: Final = 2.0
# LEAST_REQUEST does not deal calls out evenly; four fifths is as even as it gets.
FAIR_SHARE: Final = 0.8
# Moments of a pod, in order.
POD_MOMENTS: Final = ("created", "scheduled", "started", "ready", "firstCall", "fairShare")


@dataclass
class ScaleEvent:
    """One scale-up. `at` is when it was decided; milliseconds are the operator's own."""

    at: datetime
    before: int
    after: int
    signal_ms: float
    decision_ms: float
    write_ms: float
    pods: dict[str, Timeline] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As the status keeps it; `seconds` are those of the slowest pod, since `at`."""
        return {
            "at": with_milliseconds(self.at),
            "from": self.before,
            "to": self.after,
            "signalMilliseconds": self.signal_ms,
            "decisionMilliseconds": self.decision_ms,
            "writeMilliseconds": self.write_ms,
            "pods": [
                {key: pod[key] for key in ("name", "address", *POD_MOMENTS) if key in pod}
                for pod in self.pods.values()
            ],
            "seconds": self.seconds(),
        }

    def seconds(self) -> dict[str, float]:
        """How long after the decision every pod had reached a moment; what all have."""
        found = {}
        for moment in POD_MOMENTS:
            if self.pods and all(moment in pod for pod in self.pods.values()):
                last = max(parse_time(pod[moment]) for pod in self.pods.values())
                # A stamp of whole seconds can lie before the decision that caused it.
                found[moment] = round(max(0.0, (last - self.at).total_seconds()), 3)
        return found

    @property
    def has_room(self) -> bool:
        """Whether more pods of this event are expected."""
        return len(self.pods) < min(self.after - self.before, MOST_PODS)


class ScaleEvents:
    """The last scale-ups of one target. Fed by the loop and the pod watch."""

    def __init__(self, kept: Iterable[Json] = ()) -> None:
        self._events: list[ScaleEvent] = []
        self._known: set[str] = set()
        for one in kept:
            try:
                self._events.append(_read(one))
            except (KeyError, TypeError, ValueError):
                # Of an earlier version; the next one is readable.
                continue

    def begin(
        self,
        now: float,
        before: int,
        after: int,
        signal_seconds: float,
        decision_seconds: float,
        write_seconds: float,
    ) -> None:
        """A scale-up has been written."""
        event = ScaleEvent(
            at=datetime.fromtimestamp(now, UTC),
            before=before,
            after=after,
            signal_ms=round(signal_seconds * 1000, 1),
            decision_ms=round(decision_seconds * 1000, 1),
            write_ms=round(write_seconds * 1000, 1),
        )
        self._events = [*self._events, event][-KEPT:]

    def show_pod(self, pod: Json, seen: datetime, *, deleted: bool = False) -> None:
        """Take a watch event of a pod of the target."""
        name = pod["metadata"]["name"]
        if deleted:
            self._known.discard(name)
            return
        for event in self._events:
            if name in event.pods:
                event.pods[name] = observe_pod(event.pods[name], pod, seen)
                return
        if name in self._known:
            return
        self._known.add(name)
        created = parse_time(pod["metadata"]["creationTimestamp"])
        for event in self._events:
            since = (created - event.at).total_seconds()
            if event.has_room and -CLOCK_SECONDS <= since <= OPEN_SECONDS:
                event.pods[name] = observe_pod(None, pod, seen)
                return

    def asks_from(self, now: float) -> float | None:
        """Since when the recorder has to be asked who was called; None when nothing is open."""
        ready = [
            parse_time(pod["ready"]).timestamp()
            for event in self._events
            if now - event.at.timestamp() <= OPEN_SECONDS
            for pod in event.pods.values()
            if "ready" in pod and "fairShare" not in pod and pod.get("address")
        ]
        return min(ready) - CLOCK_SECONDS if ready else None

    def show_calls(self, seconds: Iterable[Json]) -> None:
        """Take the recorder's seconds, each with `at` and rows of `address` and `count`."""
        told = sorted(seconds, key=lambda one: int(one["at"]))
        for event in self._events:
            for pod in event.pods.values():
                if pod.get("address") and "fairShare" not in pod:
                    _observe_calls(pod, told)

    def startup_seconds(self) -> float:
        """Median time from created to ready of the pods of these events; 0 without one."""
        took = [
            (parse_time(pod["ready"]) - parse_time(pod["created"])).total_seconds()
            for event in self._events
            for pod in event.pods.values()
            if "ready" in pod and "created" in pod
        ]
        return round(statistics.median(took), 1) if took else 0.0

    def describe(self) -> list[dict[str, Any]]:
        """For the status."""
        return [event.as_json() for event in self._events]


def _observe_calls(pod: Timeline, seconds: Iterable[Json]) -> None:
    for one in seconds:
        counts: dict[str, int] = {}
        for row in one["rows"]:
            host = str(row["address"]).rpartition(":")[0].strip("[]")
            if host:
                counts[host] = counts.get(host, 0) + int(row["count"])
        mine = counts.get(pod["address"], 0)
        if not mine:
            continue
        # A second is told of when it is over.
        at = with_milliseconds(datetime.fromtimestamp(int(one["at"]), UTC))
        pod.setdefault("firstCall", at)
        if mine >= FAIR_SHARE * sum(counts.values()) / len(counts):
            pod["fairShare"] = at
            return


def _read(one: Json) -> ScaleEvent:
    return ScaleEvent(
        parse_time(one["at"]),
        int(one["from"]),
        int(one["to"]),
        float(one["signalMilliseconds"]),
        float(one["decisionMilliseconds"]),
        float(one["writeMilliseconds"]),
        {pod["name"]: dict(pod) for pod in one.get("pods") or []},
    )
