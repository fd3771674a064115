"""How many requests may begin, by how long they take; alone, and on a core that all share."""

import random

import pytest

from hailstorm.runtime.admission import Admission
from hailstorm.runtime.errors import ResourceExhaustedError
from hailstorm.runtime.limits import WINDOW, FixedLimit, GradientLimit
from hailstorm.runtime.pace import CROWD, GROWTH, LEAST, Pace
from hailstorm.runtime.priority import Priority
from unit.runtime.aio_server_model import SimulatedClock
from unit.runtime.shared_core_model import CAPACITY, Outcome, run

TOLERATED = 0.15
MAXIMUM = 320


class Seen:
    """A limit that tells what it was told."""

    def __init__(self, value: float = 2.0) -> None:
        self.value = value
        self.told: list[tuple[float, int]] = []

    def observe(self, wait_seconds: float, most_in_flight: int) -> None:
        self.told.append((round(wait_seconds, 3), most_in_flight))


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


def test_what_took_counts_with_the_wait_at_the_door(clock: SimulatedClock) -> None:
    limit = Seen()
    pace = Pace(clock, limit, TOLERATED, crowd=1)
    first, second = pace.begin(), pace.begin()
    clock.time = 0.06
    pace.end(first, answered=True)
    clock.time = 0.1
    pace.end(second, answered=True)
    pace.observe(0.0)
    assert limit.told == []
    clock.time = 0.16
    pace.observe(0.02)
    # The mean of 60 and 100 ms, and 20 at the door; both were inside at a time.
    assert limit.told == [(0.1, 2)]
    clock.time = 0.32
    pace.observe(0.0)
    # Nobody came: nobody is late.
    assert limit.told[1:] == [(0.0, 0)]


def test_a_call_that_does_not_end_counts_once_it_is_late(clock: SimulatedClock) -> None:
    limit = Seen()
    pace = Pace(clock, limit, TOLERATED, crowd=1)
    clock.time = 0.1
    pace.begin()
    clock.time = 0.2
    pace.observe(0.0)
    # Inside for 100 ms: that is neither well nor late.
    assert limit.told == []
    clock.time = 0.4
    pace.observe(0.0)
    assert limit.told == [(0.3, 1)]


def test_a_quick_error_tells_nothing_and_a_slow_one_does(clock: SimulatedClock) -> None:
    limit = Seen()
    pace = Pace(clock, limit, TOLERATED, crowd=1)
    for ends_at in (0.001, 0.2):
        clock.time = 0.0
        ticket = pace.begin()
        clock.time = ends_at
        pace.end(ticket, answered=False)
    pace.observe(0.0)
    assert limit.told == [(0.2, 1)]


def test_only_what_begins_something_is_paced(clock: SimulatedClock) -> None:
    pace = Pace(clock, Seen(1.0), TOLERATED)
    admission = Admission(clock, 10, 10, draw=lambda: 0.5, pace=pace)
    assert admission.begin_limit == 1.0
    ticket = admission.enter(False, Priority.NORMAL)
    with pytest.raises(ResourceExhaustedError):
        admission.check(False, Priority.NORMAL)
    # One that passed the door a moment before the other went in.
    with pytest.raises(ResourceExhaustedError):
        admission.enter(False, Priority.NORMAL)
    for priority in (Priority.CRITICAL, Priority.SHEDDABLE):
        admission.check(False, priority)
        admission.leave(False, admission.enter(False, priority))
    admission.check(True, Priority.NORMAL)
    admission.leave(False, ticket)
    admission.check(False, Priority.NORMAL)
    assert admission.unary_in_flight == 0


def test_a_fraction_is_a_chance(clock: SimulatedClock) -> None:
    draws = iter([0.31, 0.29])
    pace = Pace(clock, FixedLimit(1), TOLERATED)
    pace._limit.value = 0.3
    admission = Admission(clock, 10, 10, draw=lambda: next(draws), pace=pace)
    with pytest.raises(ResourceExhaustedError):
        admission.check(False, Priority.NORMAL)
    admission.check(False, Priority.NORMAL)
    admission.enter(False, Priority.NORMAL)


def test_what_is_refused_is_told_to_come_again_later_and_later(clock: SimulatedClock) -> None:
    pace = Pace(clock, Seen(0.0), TOLERATED)
    admission = Admission(clock, 10, 10, pace=pace)
    before = admission.pushback_seconds(Priority.NORMAL)
    for _ in range(20):
        with pytest.raises(ResourceExhaustedError):
            admission.check(False, Priority.NORMAL)
        admission.observe(0.0)
    assert admission.pushback_seconds(Priority.NORMAL) > 2 * before
    assert admission.pushback_seconds(Priority.CRITICAL) == before


def new_pods(
    clock: SimulatedClock, seed: int, *, paced: bool = True, growth: float = GROWTH
) -> list[Admission]:
    def pod(number: int) -> Admission:
        limit = GradientLimit(LEAST, MAXIMUM, TOLERATED, growth)
        pace = Pace(clock, limit, TOLERATED) if paced else None
        return Admission(clock, MAXIMUM, 10, draw=random.Random(seed + number).random, pace=pace)

    return [pod(number) for number in range(2)]


def outcome(
    rate: float, seed: int, *, paced: bool = True, growth: float = GROWTH, life: float = 0.0
) -> Outcome:
    clock = SimulatedClock()
    pods = new_pods(clock, seed, paced=paced, growth=growth)
    return run(pods, clock, rate, 240, seed, life)


# How long trips live, in seconds.
@pytest.mark.parametrize("life", [0.0, 30.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_goodput_beyond_the_knee_is_that_of_the_knee(seed: int, life: float) -> None:
    knee = 0.4 * CAPACITY
    at, beyond = outcome(knee, seed, life=life), outcome(3 * knee, seed, life=life)
    without = outcome(knee, seed, paced=False, life=life)
    assert without.good >= 0.85 * without.offered
    assert at.good >= 0.95 * without.good
    assert beyond.good >= 0.9 * without.good
    # Let in as they come nobody is refused, and hardly anybody is in time.
    flooded = outcome(3 * knee, seed, paced=False, life=life)
    assert flooded.refused == 0
    assert flooded.good <= 0.05 * without.good


@pytest.mark.parametrize("seed", [1, 2])
def test_a_limit_that_grows_at_once_lets_in_more_than_their_trips_can_have(seed: int) -> None:
    rate = 3 * 0.4 * CAPACITY
    slowly, at_once = (outcome(rate, seed, growth=each, life=30.0) for each in (GROWTH, 1.0))
    assert slowly.good >= 1.1 * at_once.good


@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_is_refused_where_there_is_time(seed: int) -> None:
    calm = outcome(0.2 * CAPACITY, seed)
    assert calm.refused <= 0.01 * calm.offered


def late(pace: Pace, clock: SimulatedClock, inside: int) -> None:
    """So many requests at a time that take half a second, for as long as a queue stands."""
    for _ in range(WINDOW + 1):
        tickets = [pace.begin() for _ in range(inside)]
        clock.time += 0.5
        for ticket in tickets:
            pace.end(ticket, answered=True)
        pace.observe(0.0)


def test_a_few_that_are_late_are_a_hiccup_unless_there_was_a_crowd(clock: SimulatedClock) -> None:
    limit = GradientLimit(LEAST, MAXIMUM, TOLERATED)
    pace = Pace(clock, limit, TOLERATED)
    late(pace, clock, CROWD - 1)
    assert limit.value == MAXIMUM
    late(pace, clock, CROWD)
    crowded = limit.value
    assert crowded < CROWD
    # Now that it is one, few that are late are too many still.
    late(pace, clock, 1)
    assert limit.value < crowded


def test_the_limit_is_free_again_after_an_overload(clock: SimulatedClock) -> None:
    limit = GradientLimit(LEAST, MAXIMUM, TOLERATED, GROWTH)
    pace = Pace(clock, limit, TOLERATED)
    late(pace, clock, CROWD)
    late(pace, clock, 1)
    assert limit.value < 1
    values = []
    for _ in range(600):
        clock.time += TOLERATED + 0.01
        pace.observe(0.0)
        values.append(limit.value)
    # On its way back one that is slow is a hiccup again.
    before = limit.value
    late(pace, clock, 1)
    assert limit.value >= before
    # Within 15 s it lets in what a pod of the knee has inside, and within 90 s nearly all.
    assert values[90] > 4
    assert values[-1] > 200
