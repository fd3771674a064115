"""
The life of one trip, on both phones: asked for, followed, driven, ended.

The plan of a life (how long, whether it is called off, which taps are doubled)
is drawn before its first call from a stream of its own. A tap that was not
answered with OK is made again with the same key, as a phone does; each try is
a line of its own, so that a failure stays a failure.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from hailstorm.dispatch.v1 import dispatch_pb2
from hailstorm.trip.v1 import trip_pb2
from hailstorm.types.v1 import types_pb2
from hailstorm_loadtests.arrivals import TripArrival
from hailstorm_loadtests.calls import Answer, Caller, Subject, now
from hailstorm_loadtests.city import CAR_SPEED_M_PER_S, Place, distance_m
from hailstorm_loadtests.drivers import Heading
from hailstorm_loadtests.history import Call
from hailstorm_loadtests.profile import Profile

# A tap is made this often at most, this far apart. Guesses: a person taps
# again after a moment and gives up after the third time.
TRIES: Final = 3
TRY_AGAIN_SECONDS: Final = 1.0
# How long a rider waits for a car before giving up, in seconds of the run.
PATIENCE_SECONDS: Final = 15.0
# Real seconds of the two legs and of a driver's time to react; the profile's
# time lapse divides them. Guesses: an approach of 1 to 4 minutes, a ride of 3
# to 13, which keeps drivers' turnover within a short run.
APPROACH_SECONDS: Final = (60.0, 240.0)
RIDE_SECONDS: Final = (160.0, 800.0)
REACTION_SECONDS: Final = (10.0, 60.0)
FINAL_STATES: Final = frozenset({"COMPLETED", "CANCELLED", "UNFULFILLED"})
BOUND_STATES: Final = frozenset({"MATCHED", "ARRIVING", "IN_PROGRESS"})


@dataclass(frozen=True)
class LifePlan:
    """Everything about a trip that is drawn before its first call."""

    reaction_seconds: float
    approach_seconds: float
    ride_seconds: float
    is_watched: bool
    is_cancelled: bool
    doubled_methods: frozenset[str]


class Surroundings(Protocol):
    """What a life needs of the engine."""

    def pause_until(self, moment: float) -> bool:
        """Wait; False when the run is over and nothing more may start."""

    def pause_life(self, moment: float) -> bool:
        """The same for a stage of a trip, which the end of the run may cut short."""

    def spawn(self, work: Callable[[], None]) -> None:
        """Do `work` beside the life."""

    def announce(self, heading: Heading) -> None:
        """Tell whoever reports that driver's positions."""

    def watch_closed(self, stream: Any, is_open: bool) -> None:
        """Keep track of open streams, so that they can be ended."""


def draw_life(profile: Profile, arrival: TripArrival, rng: random.Random) -> LifePlan:
    """Draw the plan of a life; the same stream gives the same plan."""
    ride = distance_m(arrival.pickup, arrival.dropoff) / CAR_SPEED_M_PER_S
    lapse = profile.time_lapse
    writes = ("RequestTrip", "ApproachPickup", "StartTrip", "CompleteTrip")
    return LifePlan(
        reaction_seconds=rng.uniform(*REACTION_SECONDS) / lapse,
        approach_seconds=rng.uniform(*APPROACH_SECONDS) / lapse,
        ride_seconds=min(max(ride, RIDE_SECONDS[0]), RIDE_SECONDS[1]) / lapse,
        is_watched=rng.random() < profile.watch_share,
        is_cancelled=rng.random() < profile.cancel_share,
        doubled_methods=frozenset(m for m in writes if rng.random() < profile.duplicate_share),
    )


def state_name(trip: types_pb2.Trip) -> str:
    """The state in the words of the design: MATCHED, not TRIP_STATE_MATCHED."""
    return types_pb2.TripState.Name(trip.state).removeprefix("TRIP_STATE_")


def read_trip(line: Call, message: Any) -> None:
    """Put the answered trip into the line."""
    trip = message.trip
    line.trip_id, line.version, line.state = trip.trip_id, trip.version, state_name(trip)
    if trip.HasField("driver_id"):
        line.driver_id = trip.driver_id


def difference(method: str, first: Any, again: Any) -> str | None:
    """
    What a doubled tap was answered differently, or None.

    A transition must give the stored answer to the letter. A request promises
    the same trip, which may have moved on since.
    """
    if method != "RequestTrip":
        return None if first == again else "the answer to the same key differs"
    names = ("city_id", "trip_id", "rider_id", "pickup", "dropoff", "requested_at")
    differing = [n for n in names if getattr(first.trip, n) != getattr(again.trip, n)]
    return f"the same key gave another {', '.join(differing)}" if differing else None


def latlng(place: Place) -> types_pb2.LatLng:
    """A place as the wire has it."""
    return types_pb2.LatLng(latitude=place.latitude, longitude=place.longitude)


class TripLife:
    """One trip from the first tap to the end."""

    def __init__(
        self,
        profile: Profile,
        arrival: TripArrival,
        plan: LifePlan,
        run_id: str,
        caller: Caller,
        around: Surroundings,
    ) -> None:
        self._profile, self._arrival, self._plan = profile, arrival, plan
        self._caller, self._around = caller, around
        self._prefix = f"{run_id}-{arrival.index}"
        self._rider_id = f"r-{self._prefix}"
        # Empty until the first answer.
        self._trip_id = ""
        self._driver_id: str | None = None
        self._version = 0
        self._state = "REQUESTED"

    def run(self, intended: float) -> None:
        """Live it. Returns when the trip has ended or the run is over."""
        if not self._request(intended):
            return
        follow = self._watch if self._plan.is_watched else self._poll
        self._around.spawn(lambda: follow(now()))
        if self._state in ("REQUESTED", "OFFERED"):
            self._wait_for_driver()
        if self._state in BOUND_STATES:
            self._drive()

    def _request(self, intended: float) -> bool:
        request = dispatch_pb2.RequestTripRequest(
            idempotency_key=f"{self._prefix}-request",
            city_id=self._profile.city_id,
            rider_id=self._rider_id,
            pickup=latlng(self._arrival.pickup),
            dropoff=latlng(self._arrival.dropoff),
        )
        return self._tap("RequestTrip", request, intended)

    def _wait_for_driver(self) -> None:
        """The follower learns of a driver; without one in time the rider gives up."""
        end = now() + PATIENCE_SECONDS
        while self._state in ("REQUESTED", "OFFERED"):
            if now() >= end:
                self._cancel("NoDriverInTime", now())
                return
            if not self._around.pause_until(now() + self._profile.poll_seconds / 2):
                return

    def _drive(self) -> None:
        """The driver's taps, each due a planned while after the answer before."""
        self._announce(is_busy=True, target=self._arrival.pickup)
        due = now() + self._plan.reaction_seconds
        if not self._around.pause_life(due):
            return
        if self._transition("ApproachPickup", trip_pb2.ApproachPickupRequest, due):
            due = now() + self._plan.approach_seconds
            if self._plan.is_cancelled:
                half = due - self._plan.approach_seconds / 2
                if self._around.pause_life(half):
                    self._cancel("ChangedPlans", half)
            elif self._around.pause_life(due) and self._transition(
                "StartTrip", trip_pb2.StartTripRequest, due
            ):
                self._announce(is_busy=True, target=self._arrival.dropoff)
                due = now() + self._plan.ride_seconds
                if self._around.pause_life(due):
                    self._transition("CompleteTrip", trip_pb2.CompleteTripRequest, due)
        if self._state in FINAL_STATES:
            self._announce(is_busy=False, target=None)

    def _announce(self, is_busy: bool, target: Place | None) -> None:
        if self._driver_id is not None:
            self._around.announce(Heading(self._driver_id, is_busy, target))

    def _transition(self, method: str, request_type: Any, due: float) -> bool:
        request = request_type(
            idempotency_key=f"{self._prefix}-{method}",
            city_id=self._profile.city_id,
            trip_id=self._trip_id,
            driver_id=self._driver_id,
            expected_version=self._version,
        )
        return self._tap(method, request, due)

    def _cancel(self, reason: str, due: float) -> bool:
        request = trip_pb2.CancelTripRequest(
            idempotency_key=f"{self._prefix}-CancelTrip",
            city_id=self._profile.city_id,
            trip_id=self._trip_id,
            actor_id=self._rider_id,
            reason=reason,
        )
        return self._tap("CancelTrip", request, due)

    def _tap(self, method: str, request: Any, intended: float) -> bool:
        """A write, made again with the same key until it is answered with OK."""
        for number in range(TRIES):
            answer = self._write(method, request, intended)
            if answer.is_ok:
                self._take(answer.message.trip)
                if method in self._plan.doubled_methods:
                    self._write(method, request, now(), answer.message)
                return True
            intended = now() + TRY_AGAIN_SECONDS
            if number + 1 < TRIES and not self._around.pause_until(intended):
                break
        return False

    def _write(self, method: str, request: Any, intended: float, first: Any = None) -> Answer:
        def read(line: Call, message: Any) -> None:
            read_trip(line, message)
            if first is not None:
                line.detail = difference(method, first, message)
                line.outcome = "fail" if line.detail else "ok"

        return self._caller.call(
            method,
            request,
            intended,
            self._profile.write_deadline_seconds,
            self._subject(request.idempotency_key),
            read,
        )

    def _subject(self, key: str | None = None) -> Subject:
        return Subject(key, self._trip_id or None, self._rider_id, self._driver_id)

    def _take(self, trip: types_pb2.Trip) -> None:
        """Learn where the trip stands; news older than what is known is no news."""
        if trip.version >= self._version:
            self._trip_id, self._version = trip.trip_id, trip.version
            self._state = state_name(trip)
            self._driver_id = trip.driver_id if trip.HasField("driver_id") else None

    def _poll(self, first: float) -> None:
        """The rider looks at fixed moments until the trip has ended."""
        due = first + self._profile.poll_seconds
        while self._around.pause_until(due):
            if self._state in FINAL_STATES:
                return
            intended = due
            self._around.spawn(lambda intended=intended: self._look(intended))  # type: ignore[misc]
            due += self._profile.poll_seconds

    def _look(self, intended: float) -> None:
        request = trip_pb2.GetTripRequest(city_id=self._profile.city_id, trip_id=self._trip_id)
        answer = self._caller.call(
            "GetTrip",
            request,
            intended,
            self._profile.read_deadline_seconds,
            self._subject(),
            read_trip,
        )
        if answer.is_ok:
            self._take(answer.message.trip)

    def _watch(self, intended: float) -> None:
        """The rider follows by stream, opened again with the last version seen."""
        seen = 0
        failures = 0
        while True:
            request = trip_pb2.WatchTripRequest(
                city_id=self._profile.city_id, trip_id=self._trip_id, after_version=seen
            )
            stream = self._caller.stream(
                "WatchTrip", request, intended, WATCH_DEADLINE_SECONDS, self._subject()
            )
            self._around.watch_closed(stream, True)
            followed = Followed(seen)
            for event in stream.events():
                followed.take(event)
                if event.HasField("trip"):
                    self._take(event.trip)
            self._around.watch_closed(stream, False)
            line = stream.finish(followed.write)
            seen = followed.version
            if followed.is_final or (line.detail or "").startswith("ended by the caller"):
                return
            failures += line.outcome != "ok"
            intended = now() if followed.is_resumed else now() + TRY_AGAIN_SECONDS
            if failures >= TRIES or not self._around.pause_until(intended):
                return


# Longer than any life in the run; a stream that outlives it is unknown.
WATCH_DEADLINE_SECONDS: Final = 120.0


class Followed:
    """What one WatchTrip stream brought, and whether it kept its promises."""

    def __init__(self, after_version: int) -> None:
        self.version = self._after = after_version
        self.is_final = False
        self.is_resumed = False
        self._trips = self._positions = 0
        self._problem: str | None = None
        self._last: types_pb2.Trip | None = None

    def take(self, event: trip_pb2.WatchTripResponse) -> None:
        """Take one event; changes must come in order and once."""
        match event.WhichOneof("event"):
            case "trip":
                if event.trip.version <= self.version:
                    self._problem = f"version {event.trip.version} after {self.version}"
                self._trips += 1
                self.version, self._last = event.trip.version, event.trip
                self.is_final = state_name(event.trip) in FINAL_STATES
            case "position":
                self._positions += 1
            case "resume":
                self.is_resumed = True
                if event.resume.after_version != self.version:
                    self._problem = (
                        f"resume at {event.resume.after_version}, seen was {self.version}"
                    )

    def write(self, line: Call) -> None:
        """Put it into the stream's line; a broken promise is a failure."""
        if self._last is not None:
            line.version, line.state = self._last.version, state_name(self._last)
            if self._last.HasField("driver_id"):
                line.driver_id = self._last.driver_id
        if line.code == "OK" and not self.is_final and not self.is_resumed:
            self._problem = self._problem or "ended before the trip, without a resume marker"
        if self._problem:
            line.outcome = "fail"
        told = (
            f"after={self._after} changes={self._trips} positions={self._positions} "
            f"resumed={self.is_resumed}"
        )
        line.detail = "; ".join(filter(None, (line.detail, self._problem, told)))
