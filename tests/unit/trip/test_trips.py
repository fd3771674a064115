"""Decisions over one trip: by example, and by any sequence of decisions there is."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hailstorm.runtime.errors import ServiceError
from hailstorm.trip import trips
from hailstorm.trip.errors import (
    NotYoursError,
    OfferNotFoundError,
    OfferOverError,
    VersionChangedError,
    WrongStateError,
)
from hailstorm.trip.states import FINAL, LIVE, TABLE, UNBOUND, Move, State
from hailstorm.trip.trips import Answer, Place, Trip

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
TTL = dt.timedelta(seconds=15)
SECOND = dt.timedelta(seconds=1)


def requested() -> Trip:
    return Trip(
        city_id="nyc",
        trip_id="trip-1",
        rider_id="rider-1",
        pickup=Place(40.7, -74.0),
        dropoff=Place(40.6, -73.8),
        surge_multiplier=1.0,
        quote_id=None,
        requested_at=NOON,
        state=State.REQUESTED,
        version=1,
        move=Move.REQUEST,
        updated_at=NOON,
    )


def offered() -> Trip:
    return trips.decide_offer(requested(), "driver-1", TTL, NOON)


def matched() -> Trip:
    return trips.moved(offered(), Move.ACCEPT, NOON)


def test_offer_names_itself_after_trip_and_version() -> None:
    offer = offered()
    assert offer.offer_id == "trip-1-o2"
    assert trips.parse_offer_id("trip-1-o2", "driver-1") == ("trip-1", 2)
    assert offer.offer_expires_at == NOON + TTL


@pytest.mark.parametrize("name", ["", "trip-1", "trip-1-o0", "trip-1-o", "-o2", "trip-1-o²", "o2"])
def test_other_names_are_no_offers(name: str) -> None:
    with pytest.raises(OfferNotFoundError):
        trips.parse_offer_id(name, "driver-1")


def test_offer_is_over_at_its_very_end() -> None:
    offer = offered()
    assert not offer.is_offer_over(NOON + TTL - dt.timedelta(microseconds=1))
    assert offer.is_offer_over(NOON + TTL)
    answer = Answer("trip-1-o2", "driver-1", accepts=True)
    with pytest.raises(OfferOverError):
        trips.decide_answer(offer, offer, None, answer, NOON + TTL)


def test_yes_to_an_earlier_offer_is_no_yes_to_this_one() -> None:
    first = offered()
    declined = trips.moved(first, Move.DECLINE, NOON)
    second = trips.moved(trips.decide_offer(declined, "driver-1", TTL, NOON), Move.ACCEPT, NOON)
    answer = Answer("trip-1-o2", "driver-1", accepts=True)
    with pytest.raises(OfferOverError):
        trips.decide_answer(second, first, Move.DECLINE, answer, NOON)


def test_yes_given_twice_changes_nothing_the_second_time() -> None:
    answer = Answer("trip-1-o2", "driver-1", accepts=True)
    trip = matched()
    assert trips.decide_answer(trip, offered(), Move.ACCEPT, answer, NOON) is trip


def test_stranger_is_refused_before_anything_is_told() -> None:
    with pytest.raises(NotYoursError):
        trips.decide_drive(matched(), Move.START, "driver-2", 99, NOON)
    with pytest.raises(NotYoursError):
        trips.decide_cancel(matched(), "driver-2", "", 99, NOON)


def test_driver_who_was_only_asked_cannot_end_the_riders_request() -> None:
    with pytest.raises(NotYoursError):
        trips.decide_cancel(offered(), "driver-1", "", None, NOON)
    assert trips.decide_cancel(matched(), "driver-1", "", None, NOON).state is State.CANCELLED
    assert trips.decide_cancel(offered(), "rider-1", "", None, NOON).state is State.CANCELLED


def test_version_is_checked_before_the_state() -> None:
    with pytest.raises(VersionChangedError, match="version 3"):
        trips.decide_drive(matched(), Move.START, "driver-1", 2, NOON)


def test_driver_of_a_dead_offer_is_told_the_state() -> None:
    ended = trips.moved(offered(), Move.ABANDON, NOON, "NoDriverNear")
    with pytest.raises(WrongStateError, match="UNFULFILLED"):
        trips.decide_drive(ended, Move.APPROACH, "driver-1", None, NOON)


def test_clock_that_went_back_does_not_take_the_history_with_it() -> None:
    assert trips.moved(offered(), Move.ACCEPT, NOON - SECOND).updated_at == NOON


class AnyHistory(RuleBasedStateMachine):
    """Whatever is decided in whatever order: the schema's constraints hold."""

    @initialize()
    def request(self) -> None:
        self.now = NOON
        self.history = [requested()]

    @property
    def trip(self) -> Trip:
        return self.history[-1]

    def _decide(self, decision: Any, *arguments: Any) -> None:
        try:
            after = decision(*arguments)
        except ServiceError:
            return
        if after is not self.trip:
            self.history.append(after)

    @rule(seconds=st.integers(-2, 20))
    def time_passes(self, seconds: int) -> None:
        self.now += dt.timedelta(seconds=seconds)

    @rule(driver=st.sampled_from(["driver-1", "driver-2"]))
    def offer(self, driver: str) -> None:
        self._decide(trips.decide_offer, self.trip, driver, TTL, self.now)

    @rule(driver=st.sampled_from(["driver-1", "driver-2"]), accepts=st.booleans(), data=st.data())
    def answer(self, driver: str, accepts: bool, data: st.DataObject) -> None:
        made = data.draw(st.sampled_from(self.history))
        following = next((t.move for t in self.history if t.version == made.version + 1), None)
        answer = Answer(made.offer_id or "trip-1-o9", driver, accepts)
        self._decide(trips.decide_answer, self.trip, made, following, answer, self.now)

    @rule(
        move=st.sampled_from(sorted(trips.DRIVER_MOVES)),
        driver=st.sampled_from(["driver-1", "driver-2"]),
    )
    def drive(self, move: Move, driver: str) -> None:
        self._decide(trips.decide_drive, self.trip, move, driver, None, self.now)

    @rule(actor=st.sampled_from(["rider-1", "driver-1", "driver-2"]))
    def cancel(self, actor: str) -> None:
        self._decide(trips.decide_cancel, self.trip, actor, "", None, self.now)

    @rule()
    def abandon(self) -> None:
        self._decide(trips.decide_abandon, self.trip, "NoDriverNear", None, self.now)

    @rule()
    def expire(self) -> None:
        if self.trip.is_offer_over(self.now):
            self._decide(trips.moved, self.trip, Move.EXPIRE, self.now)

    @invariant()
    def each_version_follows_from_the_one_before(self) -> None:
        for before, after in zip(self.history, self.history[1:], strict=False):
            assert after.version == before.version + 1
            assert TABLE[before.state, after.move] is after.state
            assert after.updated_at >= before.updated_at

    @invariant()
    def row_is_one_that_the_store_takes(self) -> None:
        trip = self.trip
        assert (trip.driver_id is not None) or trip.state not in LIVE | {State.COMPLETED}
        assert (trip.driver_id is None) or trip.state not in UNBOUND
        assert (trip.state is State.OFFERED) == (trip.offer_id is not None)
        assert (trip.state is State.OFFERED) == (trip.offer_expires_at is not None)
        ended_early = trip.state in FINAL - {State.COMPLETED}
        assert ended_early == (trip.end_reason is not None)

    @invariant()
    def at_most_one_yes_is_given(self) -> None:
        assert sum(trip.move is Move.ACCEPT for trip in self.history) <= 1


AnyHistory.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
test_any_history = AnyHistory.TestCase
