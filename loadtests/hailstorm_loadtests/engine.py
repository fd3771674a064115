"""
One worker's share of a run: three pumps that start calls when they are due.

Each call runs in a greenlet of its own, started at its moment whatever became
of the calls before, so a stalled system meets the same demand as a fast one.
The engine stops by itself: at the end of the schedule, when told to finish, or
at its bound of calls; trips under way may then end within the wind-down.
"""

import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import gevent
from gevent.event import Event
from gevent.pool import Group
from google.protobuf.timestamp_pb2 import Timestamp

from hailstorm.location.v1 import location_pb2
from hailstorm_loadtests.arrivals import Schedule, ping_moments, stream
from hailstorm_loadtests.calls import Caller, Subject, now
from hailstorm_loadtests.drivers import Fleet, Heading, Ping
from hailstorm_loadtests.history import Call
from hailstorm_loadtests.offers import DRIVERS_PER_STREAM, OfferDesk
from hailstorm_loadtests.profile import Profile
from hailstorm_loadtests.riders import TripLife, draw_life, latlng

# Once no new rider comes, each wait of a trip under way is cut to this at most:
# long enough that the last taps come as a trickle and not as a burst.
HURRY_SECONDS: Final = 8.0
# After the wind-down, calls under way have this long to meet their deadlines.
LAST_CALLS_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Assignment:
    """What one worker is told: which part of which run, and when it starts."""

    run_id: str
    index: int
    workers: int
    start_at: float
    target: str


class Engine:
    """Runs one assignment, once."""

    def __init__(
        self,
        profile: Profile,
        schedule: Schedule,
        assignment: Assignment,
        record: Callable[[Call], None],
        announce: Callable[[Heading], None],
    ) -> None:
        self._profile, self._schedule, self._assignment = profile, schedule, assignment
        self._announce_elsewhere = announce
        self._record_line = record
        self._caller = Caller(assignment.target, self._record)
        self._work = Group()
        self._lives = Group()
        self._streams: set[Any] = set()
        self._finishing, self._over = Event(), Event()
        self.calls = 0
        self.planned = {"trips": 0, "views": 0, "batches": 0}
        self.started = {"trips": 0, "views": 0, "batches": 0}
        self.is_capped = False
        index, workers = assignment.index, assignment.workers
        self._driver_ids = [
            f"d-{assignment.run_id}-{i}" for i in range(index, profile.drivers, workers)
        ]
        self._fleet = Fleet(
            self._driver_ids,
            schedule.places,
            profile.positions_per_call,
            stream(profile, "fleet", index),
            assignment.start_at,
        )
        self._late = profile.late_ping_share
        self._hurry = stream(profile, "hurry", index)

    # What a life needs of its surroundings.

    def pause_until(self, moment: float) -> bool:
        """Wait for the moment; False at once when the run is over."""
        return not self._over.wait(max(0.0, moment - now()))

    def pause_life(self, moment: float) -> bool:
        """As pause_until, but soon over once no new rider may come."""
        if self._finishing.wait(max(0.0, moment - now())):
            moment = min(moment, now() + self._hurry.uniform(0, HURRY_SECONDS))
        return self.pause_until(moment)

    def spawn(self, work: Callable[[], None]) -> None:
        """Start `work` now."""
        self._work.spawn(work)

    def announce(self, heading: Heading) -> None:
        """Turn the driver, here or at the worker that reports them."""
        if not self._fleet.head(heading):
            self._announce_elsewhere(heading)

    def head(self, heading: Heading) -> None:
        """News from another worker."""
        self._fleet.head(heading)

    def watch_closed(self, stream: Any, is_open: bool) -> None:
        """Keep track of open streams, so that the end of the run can end them."""
        (self._streams.add if is_open else self._streams.discard)(stream)

    # The run.

    def finish(self) -> None:
        """Start no new rider; trips under way may end. Repeatable."""
        self._finishing.set()

    def run(self) -> dict[str, Any]:
        """Run to the end and return what the generator says of itself."""
        profile = self._profile
        began = now()
        cpu_before = _cpu_seconds()
        demand_at = self._assignment.start_at + profile.warmup_seconds
        fleet = [
            gevent.spawn(self._pump_fleet, batch, demand_at + profile.duration_seconds)
            for batch in range(len(self._fleet.batches))
        ]
        if profile.answers_offers:
            fleet += [gevent.spawn(desk.run, now()) for desk in self._desks()]
        riders = [
            gevent.spawn(self._pump, self._trips(demand_at)),
            gevent.spawn(self._pump, self._views(demand_at)),
        ]
        gevent.joinall(riders)
        was_finished_early = self._finishing.is_set()
        self._finishing.set()
        gevent.joinall([gevent.spawn(self._lives.join)], timeout=profile.wind_down_seconds)
        unfinished = len(self._lives)
        self._over.set()
        for stream_ in list(self._streams):
            stream_.cancel()
        gevent.joinall(fleet)
        self._sign_off()
        self._work.join(timeout=LAST_CALLS_SECONDS)
        self._lives.join(timeout=LAST_CALLS_SECONDS)
        left = len(self._work) + len(self._lives)
        self._caller.close()
        return {
            "kind": "generator",
            "worker": self._assignment.index,
            "run_id": self._assignment.run_id,
            "seed": profile.seed,
            "started_at": self._assignment.start_at,
            "demand_at": demand_at,
            "ended_at": now(),
            "calls": self.calls,
            "planned": self.planned,
            "started": self.started,
            "is_capped": self.is_capped,
            "was_finished_early": was_finished_early,
            "unfinished_trips": unfinished,
            "abandoned_greenlets": left,
            "cpu_seconds": round(_cpu_seconds() - cpu_before, 3),
            "wall_seconds": round(now() - began, 3),
        }

    def _record(self, call: Call) -> None:
        self.calls += 1
        if self.calls >= self._profile.max_calls // self._assignment.workers:
            self.is_capped = True
            self.finish()
        self._record_line(call)

    def _pump(self, arrivals: "Iterator[Arrival]") -> None:
        """Start each arrival at its moment, until there is none or none is wanted."""
        for arrival in arrivals:
            self.planned[arrival.kind] += 1
            if self._finishing.wait(max(0.0, arrival.due - now())):
                self.planned[arrival.kind] -= 1
                return
            self.started[arrival.kind] += 1
            group = self._lives if arrival.kind == "trips" else self._work
            group.spawn(arrival.start, arrival.due)

    def _desks(self) -> Iterator[OfferDesk]:
        for start in range(0, len(self._driver_ids), DRIVERS_PER_STREAM):
            drivers = self._driver_ids[start : start + DRIVERS_PER_STREAM]
            yield OfferDesk(self._profile, drivers, self._caller, self)

    def _mine(self, items: tuple[Any, ...]) -> Iterator[Any]:
        return iter(items[self._assignment.index :: self._assignment.workers])

    def _trips(self, demand_at: float) -> "Iterator[Arrival]":
        for trip in self._mine(self._schedule.trips):
            plan = draw_life(self._profile, trip, stream(self._profile, "life", trip.index))
            life = TripLife(self._profile, trip, plan, self._assignment.run_id, self._caller, self)
            yield Arrival("trips", demand_at + trip.due, life.run)

    def _views(self, demand_at: float) -> "Iterator[Arrival]":
        for view in self._mine(self._schedule.views):
            request = location_pb2.NearbyDriversRequest(
                city_id=self._profile.city_id, point=latlng(view.place)
            )

            def look(due: float, request: Any = request) -> None:
                self._caller.call(
                    "NearbyDrivers",
                    request,
                    due,
                    self._profile.read_deadline_seconds,
                    Subject(),
                    _read_nearby,
                )

            yield Arrival("views", demand_at + view.due, look)

    def _pump_fleet(self, batch: int, end: float) -> None:
        """Report one batch at its beat until the run is over."""
        moments = ping_moments(
            # Batches of all workers share the beat evenly.
            batch * self._assignment.workers + self._assignment.index,
            len(self._fleet.batches) * self._assignment.workers,
            self._profile.ping_seconds,
            end + self._profile.wind_down_seconds - self._assignment.start_at,
        )
        for moment in moments:
            due = self._assignment.start_at + moment
            if not self.pause_until(due):
                return
            self.planned["batches"] += 1
            self.started["batches"] += 1
            self._work.spawn(self._report, batch, due)

    def _report(self, batch: int, due: float) -> None:
        late = self._fleet.late_ping(batch, self._late)
        pings = self._fleet.pings(batch, now())
        self._send(pings + ([late] if late else []), due, stale=1 if late else 0)

    def _send(
        self, pings: list[Ping], due: float, stale: int = 0, is_offline: bool = False
    ) -> None:
        request = location_pb2.ReportPositionsRequest(city_id=self._profile.city_id)
        for ping in pings:
            moment = Timestamp()
            moment.FromNanoseconds(int(ping.observed_at * 1e9))
            request.positions.add(
                driver_id=ping.driver_id,
                sequence=ping.sequence,
                point=latlng(ping.place),
                observed_at=moment,
                availability=(
                    location_pb2.AVAILABILITY_OFFLINE
                    if is_offline
                    else location_pb2.AVAILABILITY_BUSY
                    if ping.is_busy
                    else location_pb2.AVAILABILITY_AVAILABLE
                ),
            )

        def read(line: Call, message: Any) -> None:
            line.detail = refusals(message, stale)

        self._caller.call(
            "ReportPositions",
            request,
            due,
            self._profile.read_deadline_seconds,
            Subject(),
            read,
        )

    def _sign_off(self) -> None:
        """Every driver goes offline, so that the next run finds an empty map."""
        for batch in range(len(self._fleet.batches)):
            moment = now()
            self._work.spawn(self._send, self._fleet.pings(batch, moment), moment, is_offline=True)
            # A burst would be the generator's own, not the city's.
            gevent.sleep(0.02)


@dataclass(frozen=True)
class Arrival:
    """Something to start at its moment; `kind` names its counter."""

    kind: str
    due: float
    start: Callable[[float], None]


def refusals(message: location_pb2.ReportPositionsResponse, expected_stale: int) -> str | None:
    """What was refused of a batch, by reason; None when it is what was expected."""
    counts: dict[str, int] = {}
    for refused in message.refused:
        name = location_pb2.RefusalReason.Name(refused.reason).removeprefix("REFUSAL_REASON_")
        counts[name] = counts.get(name, 0) + 1
    if counts == ({"STALE": expected_stale} if expected_stale else {}):
        return None
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
    return f"refused {told}; expected {expected_stale} STALE"


def _read_nearby(line: Call, message: location_pb2.NearbyDriversResponse) -> None:
    line.detail = f"drivers={len(message.drivers)}"


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
