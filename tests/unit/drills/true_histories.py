"""
Runs that never were but could have been: drawn from a seed, true by construction.

A clock, some drivers and some trips, moved by the rules of the design; and what
clients heard of it, with replies that were lost and taps that came twice.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from hailstorm_drills.checkers.chain import MOVES
from hailstorm_loadtests.history import Call, History

METHODS = {
    "OFFER": "OfferTrip",
    "ACCEPT": "AnswerOffer",
    "DECLINE": "AnswerOffer",
    "APPROACH": "ApproachPickup",
    "START": "StartTrip",
    "COMPLETE": "CompleteTrip",
    "CANCEL": "CancelTrip",
    "ABANDON": "AbandonTrip",
}
OFFER_SECONDS = 0.5
# A stamp is that much older than its commit at most, which is less than the
# checker allows for where commits are not known.
LAG_SECONDS = 0.04
# Against 6 for the others, so that most trips get somewhere.
RARE = {"CANCEL": 1, "ABANDON": 1}
FREE = ("REQUESTED", "UNFULFILLED")


@dataclass
class Run:
    """The two sources of a proof; tests bend them in one place each."""

    facts: dict[str, Any]
    calls: list[Call] = field(default_factory=list)

    @property
    def history(self) -> History:
        return History(tuple(self.calls))


@dataclass
class _World:
    rng: random.Random
    knows_commits: bool
    now: float = 1000.0
    events: list[dict[str, Any]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)


def true_run(seed: int, trips: int = 30, drivers: int = 5, knows_commits: bool = True) -> Run:
    """A run of `trips`, all of them at an end or bound; the same seed gives the same."""
    world = _World(random.Random(seed), knows_commits)
    world.free = [f"driver-{n}" for n in range(drivers)]
    waiting = [f"trip-{n}" for n in range(trips)]
    while waiting or any(_choices(world, t) for t in world.last):
        world.now += world.rng.uniform(0.001, 0.1)
        if waiting and world.rng.random() < 0.3:
            _move(world, waiting.pop(), "REQUEST")
        elif movable := [t for t in world.last if _choices(world, t)]:
            trip = world.rng.choice(movable)
            choices = _choices(world, trip)
            weights = [RARE.get(move, 6) for move in choices]
            _move(world, trip, world.rng.choices(choices, weights)[0])
    keys = [
        {"scope": f"CreateTrip/rider of {t}", "key": f"{t}-REQUEST", "trip_id": t}
        for t in world.last
    ]
    rows = [
        {
            "trip_id": trip,
            "rider_id": f"rider of {trip}",
            "driver_id": event["driver_id"],
            "state": event["state"],
            "version": event["version"],
        }
        for trip, event in world.last.items()
    ]
    facts = {
        "trips": rows,
        "events": world.events,
        "keys": keys,
        "overdue_offers": 0,
        "read_at": world.now + 1,
    }
    return Run(facts, world.calls)


def _choices(world: _World, trip: str) -> list[str]:
    """The moves that the trip may make now. A trip on the road may stay there."""
    event = world.last[trip]
    moves = [move for state, move in MOVES if state == event["state"]]
    if event["state"] == "REQUESTED":
        moves = [m for m in moves if m != "OFFER" or world.free]
    if event["state"] == "OFFERED":
        is_over = world.now >= event["offer_expires_at"]
        moves = ["EXPIRE"] if is_over else [m for m in moves if m != "EXPIRE"]
    return moves


def _move(world: _World, trip: str, move: str) -> None:
    rng, before = world.rng, world.last.get(trip)
    state = MOVES[before["state"] if before else "", move]
    driver = before["driver_id"] if before else None
    if move == "OFFER":
        driver = world.free.pop(rng.randrange(len(world.free)))
    never_accepted = before is not None and before["state"] == "OFFERED" and state == "CANCELLED"
    is_freed = driver is not None and (state in FREE or state in ("CANCELLED", "COMPLETED"))
    stamp = world.now - rng.uniform(0, LAG_SECONDS)
    if move == "EXPIRE" and before is not None:
        stamp = max(stamp, before["offer_expires_at"])
    event = {
        "trip_id": trip,
        "version": before["version"] + 1 if before else 1,
        "move": move,
        "state": state,
        "driver_id": None if state in FREE or never_accepted else driver,
        "occurred_at": max(stamp, before["occurred_at"] if before else 0),
        "committed_at": world.now if world.knows_commits else None,
        "offer_expires_at": stamp + OFFER_SECONDS if move == "OFFER" else None,
    }
    if is_freed and driver is not None:
        world.free.append(driver)
    world.events.append(event)
    world.last[trip] = event
    if move != "EXPIRE":
        _tell(world, event)


def _tell(world: _World, event: dict[str, Any]) -> None:
    """What the clients heard: lost replies are sent again, and some taps come twice."""
    lost, doubled = (world.rng.random() < 0.2 for _ in range(2))
    if lost:
        world.calls.append(_call(event, "UNAVAILABLE", "fail"))
    for _ in range(1 + doubled):
        world.calls.append(_call(event, "OK", "ok"))


def _call(event: dict[str, Any], code: str, outcome: Any) -> Call:
    is_request = event["move"] == "REQUEST"
    call = Call(
        intended=event["occurred_at"],
        started=event["occurred_at"],
        ended=event["occurred_at"] + 0.05,
        method="RequestTrip" if is_request else METHODS[event["move"]],
        code=code,
        outcome=outcome,
        key=f"{event['trip_id']}-{event['move']}" + ("" if is_request else f"-{event['version']}"),
        rider_id=f"rider of {event['trip_id']}",
    )
    if outcome == "ok":
        call.trip_id, call.version = event["trip_id"], event["version"]
        call.state, call.driver_id = event["state"], event["driver_id"]
    return call
