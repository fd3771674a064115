"""
What matching together gains over nearest-first, in the same seeded demand.

A simulation in memory over the real pickups: cars that drive straight lines at
a car's speed, riders who give up. What decides are dispatch's own deciders
(`matching`, `windows`, `assignment`) with dispatch's own settings; what is left
out is everything that takes time in a computer.

    python benchmarks/matching.py --output docs/evidence/matching.json

Load is the work that riders ask for as a share of what the fleet can do if it
never drove empty: at 1.0 every car would have to find its next rider where it
stands. Riders are answered in one of two ways. "wait": a request without a car
waits for one until its patience ends, and is looked at every lease. "at once":
without a car near it is told so (`dispatch.waits_without_drivers` false).
"""

import argparse
import heapq
import itertools
import json
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from hailstorm.dispatch.cells import matching_cell, waiting_cell
from hailstorm.dispatch.matching import (
    Candidate,
    choose_candidates,
    choose_together,
    nearest,
    search_radii,
)
from hailstorm.dispatch.settings import DispatchSettings
from hailstorm.dispatch.windows import ArrivalRate, decide_window
from hailstorm.runtime.settings import read_settings
from hailstorm_benchmarks.documents import figures_of
from hailstorm_benchmarks.report import command_of, conclude
from hailstorm_loadtests.arrivals import make_schedule, stream
from hailstorm_loadtests.city import CAR_SPEED_M_PER_S, Place, draw_drift, move, read_pickups
from hailstorm_loadtests.profile import Profile

METRES_PER_DEGREE: Final = 111_195.0
# How much longer streets are than the line. A guess; 1.3 to 1.4 is usual for grids.
DETOUR: Final = 1.3
# Riders who have no car after this leave. A guess: three minutes.
PATIENCE_SECONDS: Final = 180.0
# The first part of a run fills the streets and is not counted.
WARM_UP_SHARE: Final = 0.2
PING_SECONDS: Final = 4.0

SETTINGS: Final = read_settings(DispatchSettings, {})


@dataclass(slots=True)
class Car:
    """A car; while it is free it drifts towards places where riders have been."""

    name: str
    at: Place
    moved_at: float
    rng: random.Random
    x: float = 0.0
    y: float = 0.0
    is_free: bool = True
    target: Place | None = None

    def drift(self, now: float, places: Sequence[Place]) -> None:
        """Be where a free car is by now."""
        if self.target is None or self.at == self.target:
            self.target = draw_drift(self.at, places, self.rng)
        self.at = move(self.at, self.target, (now - self.moved_at) * CAR_SPEED_M_PER_S / DETOUR)
        self.moved_at = now
        self.x, self.y = metres(self.at)


@dataclass(slots=True)
class Rider:
    """A request and, once it has ended, what became of it."""

    name: str
    at: float
    x: float
    y: float
    dropoff: Place
    ride_seconds: float
    cell: int
    block: int
    served_at: float | None = None
    pickup_m: float = 0.0
    has_left: bool = False


Found = tuple[Rider, list[Candidate]]
# Whom each of several riders takes, of the free cars that each has found.
Policy = Callable[[Sequence[Found]], Iterable[tuple[Rider, str]]]


def take_nearest(requests: Sequence[Found]) -> Iterable[tuple[Rider, str]]:
    """One by one, who has waited longest first: dispatch without batches."""
    taken: set[str] = set()
    for rider, found in sorted(requests, key=lambda request: (request[0].at, request[0].name)):
        chosen = choose_candidates(found, taken, 1)
        if chosen:
            taken.add(chosen[0])
            yield rider, chosen[0]


def take_nearest_pair(requests: Sequence[Found]) -> Iterable[tuple[Rider, str]]:
    """The shortest way of all first: as global as a batch, without a solver."""
    taken: set[str] = set()
    pairs = sorted(
        (c.distance_m, rider.name, c.driver_id, number)
        for number, (rider, found) in enumerate(requests)
        for c in found
    )
    served: set[int] = set()
    for _, _, car, number in pairs:
        if car not in taken and number not in served:
            taken.add(car)
            served.add(number)
            yield requests[number][0], car


def take_together(requests: Sequence[Found]) -> Iterable[tuple[Rider, str]]:
    """As dispatch's batches do, each of one block and of a limited size."""
    cells: dict[int, list[Found]] = {}
    for request in sorted(requests, key=lambda request: request[0].name):
        cells.setdefault(request[0].block, []).append(request)
    taken: set[str] = set()
    for batch in cells.values():
        for start in range(0, len(batch), SETTINGS.batch.max_requests):
            part = batch[start : start + SETTINGS.batch.max_requests]
            free = [[c for c in found if c.driver_id not in taken] for _, found in part]
            for (rider, _), choice in zip(part, choose_together(free, 1), strict=True):
                if choice.driver_ids:
                    taken.add(choice.driver_ids[0])
                    yield rider, choice.driver_ids[0]


POLICIES: Final[dict[str, Policy]] = {
    "nearest first": take_nearest,
    "nearest pair": take_nearest_pair,
    "batched": take_together,
}


@dataclass
class City:
    """One run: the streets, and the queue of what happens next."""

    policy: Policy
    waits: bool
    has_windows: bool
    cars: dict[str, Car]
    riders: list[Rider]
    places: Sequence[Place]
    waiting: dict[str, Rider] = field(default_factory=dict)
    rates: dict[int, ArrivalRate] = field(default_factory=dict)
    windows: dict[int, list[Rider]] = field(default_factory=dict)
    queue: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    numbers: Any = field(default_factory=itertools.count)

    def run(self, seconds: float) -> None:
        """Let it all happen."""
        for rider in self.riders:
            self.later(rider.at, lambda now, rider=rider: self.ask(now, rider))
        if self.waits:
            self.later(SETTINGS.search.lease_seconds, self.look_again)
        while self.queue and self.queue[0][0] < seconds + 2 * PATIENCE_SECONDS:
            now, _, happen = heapq.heappop(self.queue)
            happen(now)

    def later(self, at: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self.queue, (at, next(self.numbers), happen))

    def ask(self, now: float, rider: Rider) -> None:
        """A rider asks: alone, or in a window of the cell."""
        if not self.has_windows:
            self.answer(now, [rider])
            return
        rate = self.rates.setdefault(rider.cell, ArrivalRate())
        rate.note(now)
        if rider.cell in self.windows:
            self.windows[rider.cell].append(rider)
            return
        window = decide_window(
            rate.per_second(now),
            SETTINGS.batch.shortest_milliseconds / 1000,
            SETTINGS.batch.longest_milliseconds / 1000,
        )
        if window == 0:
            self.answer(now, [rider])
            return
        self.windows[rider.cell] = [rider]
        self.later(now + window, lambda end: self.answer(end, self.windows.pop(rider.cell)))

    def answer(self, now: float, riders: list[Rider]) -> None:
        """The first look; who has no car after it waits, or is told so."""
        self.match(now, riders)
        for rider in riders:
            if rider.served_at is None:
                if self.waits:
                    self.waiting[rider.name] = rider
                else:
                    rider.has_left = True

    def look_again(self, now: float) -> None:
        """All who wait are looked at together, as searches are when they are handed out."""
        for rider in list(self.waiting.values()):
            if now - rider.at > PATIENCE_SECONDS:
                rider.has_left = True
                del self.waiting[rider.name]
        self.match(now, list(self.waiting.values()))
        for rider in [r for r in self.waiting.values() if r.served_at is not None]:
            del self.waiting[rider.name]
        if len(self.queue) > 0:
            self.later(now + SETTINGS.search.lease_seconds, self.look_again)

    def match(self, now: float, riders: Sequence[Rider]) -> None:
        """Look further and further for those who have none yet."""
        s = SETTINGS.dispatch
        for car in self.cars.values():
            # Not more often than phones tell where they are.
            if car.is_free and now - car.moved_at >= PING_SECONDS:
                car.drift(now, self.places)
        for radius_m in search_radii(s.first_radius_m, s.last_radius_m, s.radius_growth):
            free = [car for car in self.cars.values() if car.is_free]
            left = [rider for rider in riders if rider.served_at is None]
            if not free or not left:
                return
            found = [(rider, near(rider, free, radius_m, s.candidates)) for rider in left]
            for rider, name in self.policy(found):
                self.bind(now, rider, self.cars[name])

    def bind(self, now: float, rider: Rider, car: Car) -> None:
        """The car drives to the pickup, then to the dropoff, and is free there."""
        rider.pickup_m = math.hypot(car.x - rider.x, car.y - rider.y)
        pickup_seconds = rider.pickup_m * DETOUR / CAR_SPEED_M_PER_S
        rider.served_at = now + pickup_seconds
        car.is_free = False

        def free(end: float) -> None:
            car.is_free, car.at, car.target, car.moved_at = True, rider.dropoff, None, end
            car.x, car.y = metres(rider.dropoff)

        self.later(rider.served_at + rider.ride_seconds, free)


def near(rider: Rider, free: Sequence[Car], radius_m: float, count: int) -> list[Candidate]:
    """What location answers: the nearest free cars within the radius."""
    found = [
        Candidate(car.name, metres)
        for car in free
        if (metres := math.hypot(car.x - rider.x, car.y - rider.y)) <= radius_m
    ]
    return nearest(found, set(), count)


def metres(place: Place) -> tuple[float, float]:
    """A place on a flat map of New York, in metres."""
    scale = math.cos(math.radians(40.75))
    return place.longitude * METRES_PER_DEGREE * scale, place.latitude * METRES_PER_DEGREE


def demand(profile: Profile, pickups: Sequence[Any]) -> tuple[list[Rider], list[Place]]:
    """The riders of a profile, and all places where cars may stand at first."""
    schedule = make_schedule(profile, pickups)
    riders = [
        Rider(
            f"rider-{trip.index:06}",
            trip.due,
            *metres(trip.pickup),
            trip.dropoff,
            math.dist(metres(trip.pickup), metres(trip.dropoff)) * DETOUR / CAR_SPEED_M_PER_S,
            matching_cell(trip.pickup.latitude, trip.pickup.longitude),
            waiting_cell(trip.pickup.latitude, trip.pickup.longitude),
        )
        for trip in schedule.trips
    ]
    return riders, list(schedule.places)


def simulate(
    riders: Sequence[Rider], places: Sequence[Place], profile: Profile, policy: str, waits: bool
) -> dict[str, float]:
    """One run; the figures of those who asked after the warm-up."""
    rng = stream(profile, "cars")
    cars = {}
    for number in range(profile.drivers):
        car = Car(f"car-{number:04}", rng.choice(places), 0.0, stream(profile, "car", number))
        car.x, car.y = metres(car.at)
        cars[car.name] = car
    own = [replace(rider) for rider in riders]
    city = City(POLICIES[policy], waits, policy != "nearest first", cars, own, places)
    city.run(profile.duration_seconds)
    counted = [r for r in own if r.at >= WARM_UP_SHARE * profile.duration_seconds]
    served = [r for r in counted if r.served_at is not None]
    waits_seconds = sorted(r.served_at - r.at for r in served if r.served_at is not None)
    return {
        "riders": len(counted),
        "mean_wait_s": statistics.fmean(waits_seconds),
        "p95_wait_s": waits_seconds[math.ceil(0.95 * len(waits_seconds)) - 1],
        "abandoned_share": 1 - len(served) / len(counted),
        "mean_pickup_m": statistics.fmean(r.pickup_m for r in served),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", type=float, nargs="+", default=[0.5, 0.7, 0.8, 0.9, 1.0, 1.2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--drivers", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--riders", nargs="+", default=["wait", "at once"])
    parser.add_argument("--output", type=Path, help="write the figures there as JSON")
    arguments = parser.parse_args()

    pickups = read_pickups()
    base = Profile(
        drivers=arguments.drivers,
        duration_seconds=60 * arguments.minutes,
    )
    # A ride's mean length sets what the fleet could do without empty ways.
    sample, _ = demand(replace(base, trips_per_minute=30), pickups)
    mean_ride = statistics.fmean(rider.ride_seconds for rider in sample)
    cases = [("wait", True, policy) for policy in POLICIES]
    cases += [("at once", False, policy) for policy in ("nearest first", "batched")]
    cases = [case for case in cases if case[0] in arguments.riders]
    header = f"{'riders':8} {'load':>5} {'policy':14} {'mean wait':>10} {'p95':>7} "
    print(f"{arguments.drivers} cars, mean ride {mean_ride:.0f} s, seeds {arguments.seeds}")
    print(header + f"{'abandoned':>10} {'pickup':>8}")
    began = time.monotonic()
    rows = []
    for load in arguments.loads:
        per_minute = load * arguments.drivers / mean_ride * 60
        profiles = [replace(base, trips_per_minute=per_minute, seed=s) for s in arguments.seeds]
        demands = [demand(profile, pickups) for profile in profiles]
        for riders, waits, policy in cases:
            runs = [
                simulate(*asked, profile, policy, waits)
                for asked, profile in zip(demands, profiles, strict=True)
            ]
            row = {"riders": riders, "load": load, "policy": policy, "runs": runs}
            row |= {key: statistics.fmean(run[key] for run in runs) for key in runs[0]}
            row["riders"], row["riders_counted"] = riders, sum(run["riders"] for run in runs)
            rows.append(row)
            print(
                f"{riders:8} {load:5.2f} {policy:14} {row['mean_wait_s']:8.1f} s "
                f"{row['p95_wait_s']:5.0f} s {row['abandoned_share']:9.1%} "
                f"{row['mean_pickup_m']:6.0f} m",
                flush=True,
            )
    print(f"took {time.monotonic() - began:.0f} s")
    document = {
        "command": command_of("matching", sys.argv[1:]),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count()},
        "drivers": arguments.drivers,
        "minutes": arguments.minutes,
        "seeds": arguments.seeds,
        "mean_ride_s": mean_ride,
        "patience_s": PATIENCE_SECONDS,
        "rows": rows,
    }
    if arguments.output:
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return conclude(figures_of("matching", document, 0))


if __name__ == "__main__":
    sys.exit(main())
