"""
A scale-up taken apart: from the signal's age to a new pod's fair share of the calls.

    signal age ─ decision ─ API write ─┬─ created ─ scheduled ─ started ─ ready
                                       │              ─ first call ─ fair share
                                       └─ labelled ─ spare in Service

The operator's own part comes from its clock, a pod's moments from the pod watch,
that a spare is in the Service from the watch of its EndpointSlices, and what
callers saw from the recorder; without one the last two stay unknown. A step that
spares serve alone is an event, too, from as many replicas to as many. The
events are kept in the ServiceScaler's status, a few of them, so a restart forgets
none. How long pods took to start is what the decider plans ahead for.
"""

import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from hailstorm_operator.spares import Entry
from hailstorm_operator.timelines import Timeline, observe_pod
from hailstorm_operator.timestamps import parse_time, with_milliseconds

Json = Mapping[str, Any]

# A step, its way back and the steps before: about 6 KiB.
KEPT: Final = 5
# Spares go in and out at a bound as the demand ripples; what pods took to start stays.
KEPT_OF_SPARES_ALONE: Final = 2
# Enough to see the slow one; how many more there were is in `to` less `from`.
MOST_PODS: Final = 8
# The slowest start that was seen took 40 s; what is not complete by then stays so.
OPEN_SECONDS: Final = 120.0
# The most that a spec may say (`behavior.startupSeconds`): who took longer waited for room.
MOST_STARTUP_SECONDS: Final = 600.0
# creationTimestamp has whole seconds, by the API server's clock.
CLOCK_SECONDS: Final = 2.0
# LEAST_REQUEST does not deal calls out evenly; four fifths is as even as it gets.
FAIR_SHARE: Final = 0.8
# Moments of a pod, in order.
POD_MOMENTS: Final = ("created", "scheduled", "started", "ready", "firstCall", "fairShare")


@dataclass
class ScaleEvent:
    """
    One scale-up. `at` is when it was decided; milliseconds are the operator's own.

    `spares` are by name, with when each was `labelled`, and `inService` once it was.
    """

    at: datetime
    before: int
    after: int
    signal_ms: float
    decision_ms: float
    write_ms: float
    pods: dict[str, Timeline] = field(default_factory=dict)
    spares: dict[str, dict[str, str]] = field(default_factory=dict)

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
            "spares": [dict(spare) for spare in self.spares.values()],
            "seconds": self.seconds(),
        }

    def seconds(self) -> dict[str, float]:
        """How long after the decision every pod had reached a moment; what all have."""
        found = self._since("inService", "spareInService", self.spares.values())
        for moment in POD_MOMENTS:
            found |= self._since(moment, moment, self.pods.values())
        return found

    @property
    def is_of_spares_alone(self) -> bool:
        """Whether no pod was asked for."""
        return self.after == self.before

    def _since(self, moment: str, name: str, lines: Collection[Json]) -> dict[str, float]:
        if not lines or not all(moment in line for line in lines):
            return {}
        last = max(parse_time(line[moment]) for line in lines)
        # A stamp of whole seconds can lie before the decision that caused it.
        return {name: round(max(0.0, (last - self.at).total_seconds()), 3)}

    @property
    def has_room(self) -> bool:
        """Whether more pods of this event are expected."""
        return len(self.pods) < min(self.after - self.before, MOST_PODS)


class ScaleEvents:
    """The last scale-ups of one target. Fed by the loop and the pod watch."""

    def __init__(self, kept: Iterable[Json] = ()) -> None:
        self._events: list[ScaleEvent] = []
        self._known: set[str] = set()
        # By address: spares that were labelled and are not seen in the Service yet. Those
        # from before a restart are not among them: nobody was there to see when.
        self._awaited: dict[str, tuple[ScaleEvent, str]] = {}
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
        if self._events and self._events[-1].at == event.at:
            # Spares of the same decision were quicker; they are what this one took in.
            quicker = self._events[-1]
            quicker.before, quicker.after = before, after
            quicker.decision_ms, quicker.write_ms = event.decision_ms, event.write_ms
            return
        self._events.append(event)
        alone = [one for one in self._events if one.is_of_spares_alone]
        if len(alone) > KEPT_OF_SPARES_ALONE:
            self._events.remove(alone[0])
        self._events = self._events[-KEPT:]

    def enter(
        self, now: float, replicas: int, entry: Entry, signal_seconds: float, decision: float
    ) -> None:
        """
        Spares went in by a decision of `now`: at a scale-up of that very one, or alone.

        The last two are seconds: the signal's age, and what the decision took.
        """
        at = datetime.fromtimestamp(now, UTC)
        if not (self._events and self._events[-1].at == at):
            write = (parse_time(entry.labelled) - at).total_seconds()
            self.begin(now, replicas, replicas, signal_seconds, decision, max(0.0, write))
        event = self._events[-1]
        for name, address in islice(entry.addresses.items(), MOST_PODS):
            event.spares[name] = {"name": name, "labelled": entry.labelled}
            if address:
                self._awaited[address] = (event, name)

    def show_endpoints(self, addresses: Iterable[str], seen: datetime) -> None:
        """Take who is ready in a slice of the Service that spares serve behind."""
        for address in addresses:
            event, name = self._awaited.pop(address, (None, ""))
            if event is None or (seen - event.at).total_seconds() > OPEN_SECONDS:
                continue
            event.spares[name]["inService"] = with_milliseconds(seen)

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
        """
        Median time from created to ready of the pods of these events; 0 without one.

        One that waited for an hour until a node had room says nothing of what a start takes.
        """
        took = [
            (parse_time(pod["ready"]) - parse_time(pod["created"])).total_seconds()
            for event in self._events
            for pod in event.pods.values()
            if "ready" in pod and "created" in pod
        ]
        starts = [seconds for seconds in took if seconds <= MOST_STARTUP_SECONDS]
        return round(statistics.median(starts), 1) if starts else 0.0

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
        {spare["name"]: dict(spare) for spare in one.get("spares") or []},
    )
