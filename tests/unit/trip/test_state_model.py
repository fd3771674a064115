"""The deciders and the model of them, side by side through any sequence of calls."""

import datetime as dt
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hailstorm.runtime.errors import ServiceError
from hailstorm.trip import trips
from hailstorm.trip.states import Move
from hailstorm.trip.trips import Answer, Place, Trip
from hypothesis_profiles import share_of_examples
from trip_model import Model, Outcome

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
TTL = 15.0
RIDER = "rider-1"
DRIVERS = st.sampled_from(["driver-1", "driver-2"])
SECONDS = st.sampled_from([1, 14, 16])


class DecidersMachine(RuleBasedStateMachine):
    """One trip; its history is kept as the store would keep it."""

    @initialize()
    def request(self) -> None:
        self.model = Model()
        self.model.create(RIDER)
        self.history = [
            Trip(
                city_id="nyc",
                trip_id="trip-1",
                rider_id=RIDER,
                pickup=Place(40.7, -74.0),
                dropoff=Place(40.6, -73.8),
                surge_multiplier=1.0,
                quote_id=None,
                requested_at=NOON,
                state=trips.State.REQUESTED,
                version=1,
                move=Move.REQUEST,
                updated_at=NOON,
            )
        ]

    @property
    def now(self) -> dt.datetime:
        return NOON + dt.timedelta(seconds=self.model.now)

    @property
    def trip(self) -> Trip:
        return self.history[-1]

    def versions(self) -> st.SearchStrategy[int | None]:
        """None mostly, as clients mostly do not ask for a version."""
        last = self.trip.version
        return st.sampled_from([None, None, None, last, last + 1, max(1, last - 1)])

    def decide(self, decision: Any, *arguments: Any) -> Outcome:
        """What `change` of the transitions does, without a store."""
        if self.trip.is_offer_over(self.now):
            self.history.append(trips.moved(self.trip, Move.EXPIRE, self.now))
        try:
            after = decision(self.trip, *arguments)
        except ServiceError as error:
            return type(error)
        if after is not self.trip:
            self.history.append(after)
        return after.state.value, after.version, after.driver_id

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.model.now += seconds

    @precondition(lambda self: self.model.live_offers())
    @rule(before=st.sampled_from([0.0, 0.0, 0.000_001]))
    def offer_ends(self, before: float) -> None:
        """Its very end, or the last moment before it."""
        ((_, _, offer),) = self.model.live_offers()
        self.model.now = max(self.model.now, offer.expires - before)

    @rule(driver=DRIVERS)
    def offer(self, driver: str) -> None:
        ttl = dt.timedelta(seconds=TTL)
        seen = self.decide(trips.decide_offer, driver, ttl, self.now)
        assert seen == self.model.offer(0, [driver], TTL, auto=False)

    @precondition(lambda self: self.model.trips[0].offers)
    @rule(is_its_driver=st.sampled_from([True, True, False]), accepts=st.booleans(), data=st.data())
    def answer(self, is_its_driver: bool, accepts: bool, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.model.trips[0].offers, reverse=True)))
        owner = self.model.trips[0].offers[version].driver
        other = "driver-2" if owner == "driver-1" else "driver-1"
        self.answer_as(version, owner if is_its_driver else other, accepts)

    @precondition(lambda self: self.model.accepted_offers())
    @rule()
    def accept_again(self) -> None:
        ((_, version, offer),) = self.model.accepted_offers()
        self.answer_as(version, offer.driver, accepts=True)

    @rule(driver=DRIVERS)
    def answer_what_was_no_offer(self, driver: str) -> None:
        self.answer_as(1, driver, accepts=True)

    def answer_as(self, version: int, driver: str, accepts: bool) -> None:
        made = next(t for t in self.history if t.version == version)
        following = next((t.move for t in self.history if t.version == version + 1), None)
        answer = Answer(f"trip-1-o{version}", driver, accepts)
        seen = self.decide(
            lambda trip: trips.decide_answer(trip, made, following, answer, self.now)
        )
        assert seen == self.model.answer(0, version, driver, accepts)

    @precondition(lambda self: self.model.next_move(0))
    @rule()
    def drive_on(self) -> None:
        """What a driver does who does nothing wrong."""
        move, driver = self.model.next_move(0) or ("", "")
        seen = self.decide(trips.decide_drive, Move(move), driver, None, self.now)
        assert seen == self.model.drive(0, move, driver, None)

    @rule(move=st.sampled_from(sorted(trips.DRIVER_MOVES)), driver=DRIVERS, data=st.data())
    def drive(self, move: Move, driver: str, data: st.DataObject) -> None:
        expected = data.draw(self.versions())
        seen = self.decide(trips.decide_drive, move, driver, expected, self.now)
        assert seen == self.model.drive(0, move.value, driver, expected)

    @rule(actor=st.sampled_from(["driver-1", "nobody", RIDER]), data=st.data())
    def cancel(self, actor: str, data: st.DataObject) -> None:
        expected = data.draw(self.versions())
        seen = self.decide(trips.decide_cancel, actor, "", expected, self.now)
        assert seen == self.model.cancel(0, actor, expected)

    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        expected = data.draw(self.versions())
        seen = self.decide(trips.decide_abandon, "NoDriverNear", expected, self.now)
        assert seen == self.model.abandon(0, expected)

    @invariant()
    def history_is_that_of_the_model(self) -> None:
        assert (self.trip.state, self.trip.version, self.trip.driver_id) == self.model.trips[0].seen
        assert [t.version for t in self.history] == list(range(1, self.trip.version + 1))
        made = {t.version for t in self.history if t.move is Move.OFFER}
        assert made == set(self.model.trips[0].offers)


DecidersMachine.TestCase.settings = settings(
    max_examples=share_of_examples(2), stateful_step_count=20
)
test_deciders_do_what_the_model_says = DecidersMachine.TestCase
