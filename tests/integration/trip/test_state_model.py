"""
The transitions over a real Postgres and the model of them, side by side.

Postgres' own time is put under the test's hand: `clock_timestamp()` is looked
up by name, and in this database another one is found first. So offers end when
the test says so, in the store's eyes and in the code's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from prometheus_client import CollectorRegistry

from hailstorm.runtime.clock import SystemClock
from hailstorm.runtime.errors import ServiceError
from hailstorm.trip import trips
from hailstorm.trip.messages import encode_answer
from hailstorm.trip.repository import sweeps
from hailstorm.trip.repository.database import Database as TripDatabase
from hailstorm.trip.repository.migrate import migrate
from hailstorm.trip.repository.writes import Key
from hailstorm.trip.states import Move
from hailstorm.trip.transitions import Transitions, Wish
from hailstorm.trip.trips import Answer, Place, Trip
from hailstorm.trip.v1 import trip_pb2
from hailstorm_drills.checkers.base import Verdict
from hailstorm_drills.database import facts_of
from hailstorm_loadtests.history import Call, History
from hypothesis_profiles import share_of_examples
from integration.stores import PostgresServer
from recorded_calls import Record
from trip_calls import CITY, postgres_settings, state_name
from trip_model import Model, Outcome

# Few of both, so that calls meet each other.
TRIPS = 3
DRIVERS = ["driver-1", "driver-2", "driver-3"]
SOME_DRIVERS = st.lists(st.sampled_from(DRIVERS), min_size=1, max_size=3, unique=True)
TTL = 15
SECONDS = st.sampled_from([1, 14, 16])
STEPS = 25

# A clock that stands still until it is set. `now` counts from an hour ago, so
# that nothing is ever later than what really is.
CLOCK = """
CREATE SCHEMA hand;
CREATE TABLE hand.clock (now timestamptz NOT NULL);
INSERT INTO hand.clock VALUES (now() - interval '1 hour');
CREATE FUNCTION hand.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT now FROM hand.clock';
ALTER DATABASE model SET search_path = hand, public, pg_catalog;
"""


@dataclass
class Store:
    """The transitions on a database whose clock the test sets, and a loop to run them on."""

    run: Callable[[Awaitable[Any]], Any]
    database: TripDatabase
    transitions: Transitions
    sql: asyncpg.Connection


@pytest.fixture
def store(postgres_server: PostgresServer) -> Iterator[Store]:
    where = postgres_server.database("model")
    with asyncio.Runner() as runner:

        async def open_() -> Store:
            maintenance = await asyncpg.connect(postgres_server.maintenance.dsn)
            await maintenance.execute("CREATE DATABASE model")
            await maintenance.close()
            await migrate(postgres_settings(where), SystemClock())
            sql = await asyncpg.connect(where.dsn)
            await sql.execute(CLOCK)
            await sql.close()
            # Connections that are made from here on have the other clock.
            sql = await asyncpg.connect(where.dsn)
            registry = CollectorRegistry()
            database = TripDatabase(postgres_settings(where), SystemClock(), registry)
            transitions = Transitions(database, SystemClock(), registry, encode_answer)
            return Store(runner.run, database, transitions, sql)

        made = runner.run(open_())
        yield made
        runner.run(made.database.close())
        runner.run(made.sql.close())


class StoreMachine(RuleBasedStateMachine):
    """Some trips and drivers; every answer is the model's, and the checkers have the last word."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.model = Model()
        self.trip_ids: list[str] = []
        self.calls: list[Call] = []
        # What was stored under each key: the call to make again, and its answer.
        self.answered: list[tuple[str, Callable[[], Awaitable[Any]], bytes]] = []
        self.keys = 0
        self.store.run(
            store.sql.execute(
                "TRUNCATE trips, trip_events, idempotency;"
                " UPDATE hand.clock SET now = now() - interval '1 hour'"
            )
        )

    def key(self, method: str) -> Key:
        self.keys += 1
        return Key(method, f"key-{self.keys:06}", b"same")

    def ask(self, method: str, key: Key, call: Callable[[], Awaitable[bytes]]) -> Outcome:
        """Make the call; what was answered, or the error. The answer is written down."""
        try:
            answer = self.store.run(call())
        except ServiceError as error:
            return type(error)
        trip = trip_pb2.GetTripResponse.FromString(answer).trip
        self.write_down(method, key, trip)
        self.answered.append((method, call, answer))
        return state_name(trip), trip.version, trip.driver_id or None

    def write_down(self, method: str, key: Key | None, trip: Any) -> None:
        self.calls.append(
            Call(
                intended=0,
                started=0,
                ended=0,
                method=method,
                code="OK",
                outcome="ok",
                key=key.key if key else None,
                trip_id=trip.trip_id,
                rider_id=trip.rider_id,
                driver_id=trip.driver_id or None,
                version=trip.version,
                state=state_name(trip),
            )
        )

    def change(self, method: str, trip_id: str, decide: Any) -> Outcome:
        key = self.key(method)

        def decision(trip: Trip, now: Any) -> tuple[Trip, ...]:
            after = decide(trip, now)
            return () if after is trip else (after,)

        return self.ask(
            method, key, lambda: self.store.transitions.change(CITY, trip_id, key, decision)
        )

    def some_trip(self, data: st.DataObject) -> int:
        return data.draw(st.integers(0, len(self.trip_ids) - 1))

    def version(self, number: int, data: st.DataObject) -> int | None:
        """None mostly, as clients mostly do not ask for a version."""
        last = self.model.trips[number].version
        return data.draw(st.sampled_from([None, None, None, last, last + 1, max(1, last - 1)]))

    @initialize()
    def two_riders_ask(self) -> None:
        self.request()
        self.request()

    @precondition(lambda self: len(self.trip_ids) < TRIPS)
    @rule()
    def request(self) -> None:
        rider = f"r-model-{len(self.trip_ids)}"
        place = Place(40.7, -74.0)
        wish = Wish(CITY, rider, place, place, 1.0, None)
        key = Key(f"CreateTrip/{rider}", f"key-{rider}", b"same")
        trip = self.store.run(self.store.transitions.create(wish, key))
        again = self.store.run(self.store.transitions.create(wish, key))
        assert again == trip
        self.trip_ids.append(trip.trip_id)
        assert (trip.state, trip.version, trip.driver_id) == self.model.create(rider)

    @precondition(lambda self: self.trip_ids)
    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.model.now += seconds
        self.store.run(
            self.store.sql.execute(
                "UPDATE hand.clock SET now = now + make_interval(secs => $1)", seconds
            )
        )

    @precondition(lambda self: self.model.live_offers())
    @rule(then=st.sampled_from(["offer", "yes", "nothing"]))
    def offer_ends(self, then: str) -> None:
        """
        Its very end; and what meets it before anybody has looked.

        The index does not know the time, so the old offer holds its driver
        until somebody takes it back.
        """
        number, version, offer = min(self.model.live_offers(), key=lambda o: o[2].expires)
        self.time_passes(offer.expires - self.model.now)
        waiting = [n for n, t in enumerate(self.model.trips) if t.state == "REQUESTED"]
        if then == "offer" and waiting:
            self.offer_as(waiting[0], [offer.driver], auto=False)
        elif then == "yes":
            self.answer_as(number, version, offer.driver, accepts=True)

    @precondition(lambda self: self.trip_ids)
    @rule(drivers=SOME_DRIVERS, auto=st.booleans(), data=st.data())
    def offer(self, drivers: list[str], auto: bool, data: st.DataObject) -> None:
        self.offer_as(self.some_trip(data), drivers, auto)

    def offer_as(self, number: int, drivers: list[str], auto: bool) -> None:
        key = self.key("OfferTrip")
        ttl = trips.dt.timedelta(seconds=TTL)
        seen = self.ask(
            "OfferTrip",
            key,
            lambda: self.store.transitions.offer(
                CITY, self.trip_ids[number], drivers, ttl, auto, key
            ),
        )
        if seen == self.model.trips[number].seen:
            # Nobody was free: the key is unused, and may bind somebody later.
            self.answered.pop()
        assert seen == self.model.offer(number, drivers, TTL, auto)

    @precondition(lambda self: any(trip.offers for trip in self.model.trips))
    @rule(is_its_driver=st.sampled_from([True, True, False]), accepts=st.booleans(), data=st.data())
    def answer(self, is_its_driver: bool, accepts: bool, data: st.DataObject) -> None:
        """To any offer that was ever made."""
        made = [(n, v, o) for n, t in enumerate(self.model.trips) for v, o in t.offers.items()]
        number, version, offer = data.draw(st.sampled_from(made[::-1]))
        others = [name for name in DRIVERS if name != offer.driver]
        driver = offer.driver if is_its_driver else data.draw(st.sampled_from(others))
        self.answer_as(number, version, driver, accepts)

    @precondition(lambda self: self.model.live_offers())
    @rule(accepts=st.sampled_from([True, True, False]), data=st.data())
    def answer_in_time(self, accepts: bool, data: st.DataObject) -> None:
        number, version, offer = data.draw(st.sampled_from(self.model.live_offers()))
        self.answer_as(number, version, offer.driver, accepts)

    @precondition(lambda self: self.model.accepted_offers())
    @rule(data=st.data())
    def accept_again(self, data: st.DataObject) -> None:
        """With a key of its own; the trip may have ended since."""
        number, version, offer = data.draw(st.sampled_from(self.model.accepted_offers()))
        self.answer_as(number, version, offer.driver, accepts=True)

    def answer_as(self, number: int, version: int, driver: str, accepts: bool) -> None:
        answer = Answer(trips.offer_id_of(self.trip_ids[number], version), driver, accepts)
        key = self.key("AnswerOffer")
        before = len(self.answered)
        had = self.model.trips[number].seen
        seen = self.ask(
            "AnswerOffer", key, lambda: self.store.transitions.answer(CITY, answer, key)
        )
        if seen == had and len(self.answered) > before:
            # A yes given twice changes nothing, and its second key stays unused.
            self.answered.pop()
        assert seen == self.model.answer(number, version, driver, accepts)

    @precondition(lambda self: any(map(self.model.next_move, range(len(self.trip_ids)))))
    @rule(data=st.data())
    def drive_on(self, data: st.DataObject) -> None:
        """What a driver does who does nothing wrong."""
        bound = [n for n in range(len(self.trip_ids)) if self.model.next_move(n)]
        number = data.draw(st.sampled_from(bound))
        move, driver = self.model.next_move(number) or ("", "")
        self.drive_as(number, Move(move), driver, None)

    @precondition(lambda self: self.trip_ids)
    @rule(move=st.sampled_from([Move.APPROACH, Move.START, Move.COMPLETE]), data=st.data())
    def drive(self, move: Move, data: st.DataObject) -> None:
        number = self.some_trip(data)
        bound = self.model.trips[number].driver
        driver = data.draw(st.sampled_from([bound or "driver-1", *DRIVERS]))
        self.drive_as(number, move, driver, self.version(number, data))

    def drive_as(self, number: int, move: Move, driver: str, expected: int | None) -> None:
        seen = self.change(
            f"{move.value.title()}Trip",
            self.trip_ids[number],
            lambda trip, now: trips.decide_drive(trip, move, driver, expected, now),
        )
        assert seen == self.model.drive(number, move.value, driver, expected)

    @precondition(lambda self: self.trip_ids)
    @rule(actor=st.sampled_from(["the rider", "driver-1"]), data=st.data())
    def cancel(self, actor: str, data: st.DataObject) -> None:
        number = self.some_trip(data)
        actor = self.model.trips[number].rider if actor == "the rider" else actor
        expected = self.version(number, data)
        seen = self.change(
            "CancelTrip",
            self.trip_ids[number],
            lambda trip, now: trips.decide_cancel(trip, actor, "", expected, now),
        )
        assert seen == self.model.cancel(number, actor, expected)

    @precondition(lambda self: self.trip_ids)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        number = self.some_trip(data)
        had = self.model.trips[number].seen
        expected = self.version(number, data)
        seen = self.change(
            "AbandonTrip",
            self.trip_ids[number],
            lambda trip, now: trips.decide_abandon(trip, "NoDriverNear", expected, now),
        )
        if seen == had:
            self.answered.pop()
        assert seen == self.model.abandon(number, expected)

    @precondition(lambda self: self.trip_ids)
    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        number = self.some_trip(data)
        trip = self.store.run(self.store.transitions.current(CITY, self.trip_ids[number]))
        assert (trip.state, trip.version, trip.driver_id) == self.model.get(number)

    @precondition(lambda self: self.trip_ids)
    @rule()
    def sweep(self) -> None:
        self.store.run(sweeps.expire_offers(self.store.database, 100))
        self.model.sweep()

    @precondition(lambda self: self.answered)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        """The same key gives the same bytes, whatever has happened since."""
        method, call, answer = data.draw(st.sampled_from(self.answered))
        assert self.store.run(call()) == answer, method

    @invariant()
    def rows_are_those_of_the_model(self) -> None:
        rows = self.store.run(
            self.store.sql.fetch("SELECT trip_id, state, version, driver_id FROM trips")
        )
        kept = {r["trip_id"]: (r["state"], r["version"], r["driver_id"]) for r in rows}
        seen = [trip.seen for trip in self.model.trips]
        assert kept == dict(zip(self.trip_ids, seen, strict=True))

    def teardown(self) -> None:
        """The checkers of the drills agree, about every example."""
        if self.trip_ids:
            self.sweep()
            facts = self.store.run(facts_of(self.store.sql, "r-model-%", 0.0))
            # An offer may be live still; nobody has waited for its end.
            verdicts = Record(History(tuple(self.calls)), facts).verdicts()
            assert Verdict.FAIL not in verdicts.values(), verdicts
        super().teardown()


def test_store_does_what_the_model_says(store: Store) -> None:
    run_state_machine_as_test(
        lambda: StoreMachine(store),
        settings=settings(
            max_examples=share_of_examples(3),
            stateful_step_count=STEPS,
            # A smaller example would take minutes; this one is printed with its steps.
            phases=(Phase.generate,),
        ),
    )
