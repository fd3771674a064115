"""
The limit of calls in flight, alone and in a model of a server that has too much to do.

Each scenario runs for two seeds, in simulated time; a figure in an assertion is
what the worst of twelve seeds gave, rounded away from it.
"""

import random

import pytest

from hailstorm.runtime.admission import LEAST_LIMIT_PART, Admission
from hailstorm.runtime.limits import CALM, WINDOW, FixedLimit, GradientLimit
from hailstorm.runtime.priority import Priority
from unit.runtime.aio_server_model import (
    ACCEPT_SECONDS,
    KNEE,
    LONG_KNEE,
    LONG_STEP_SECONDS,
    REFUSE_SECONDS,
    STEP_SECONDS,
    AioServer,
    SimulatedClock,
)

# Looking for a driver is one method with two classes, as in the location service.
MIX = {
    ("move", Priority.CRITICAL): 0.2,
    ("find", Priority.NORMAL): 0.3,
    ("find", Priority.SHEDDABLE): 0.5,
}
MAXIMUM = 256
TOLERATED = 0.05


def new_limit() -> GradientLimit:
    return GradientLimit(LEAST_LIMIT_PART, MAXIMUM, TOLERATED)


def new_server(
    seed: int, *, is_fixed: bool = False, step_seconds: float = STEP_SECONDS
) -> AioServer:
    print(f"seed {seed}")
    clock = SimulatedClock()
    limit = FixedLimit(MAXIMUM) if is_fixed else new_limit()
    draw = random.Random(seed).random
    admission = Admission(clock, MAXIMUM, 10, limit, draw=draw)
    return AioServer(admission, clock, seed, step_seconds)


def best_goodput(overload: float) -> float:
    """What is left of one core, as a part of the knee, when it must also refuse the rest."""
    refusal = (ACCEPT_SECONDS + REFUSE_SECONDS) * KNEE
    return (1 - overload * refusal) / (1 - refusal)


def test_limit_stays_at_its_maximum_while_nobody_waits() -> None:
    limit = new_limit()
    for _ in range(50):
        limit.observe(TOLERATED / 2, 200)
    assert limit.value == MAXIMUM


def test_hiccups_do_not_lower_the_limit() -> None:
    limit = new_limit()
    for number in range(60):
        # Two of three measurements fall into a pause of the machine.
        limit.observe(0.001 if number % 3 == 0 else 1.0, 5)
    assert limit.value == MAXIMUM


def test_queue_that_stays_lowers_the_limit_from_what_is_in_flight() -> None:
    limit = new_limit()
    for _ in range(WINDOW):
        limit.observe(0.1, 6)
    assert 1 < limit.value < 6


def test_limit_never_leaves_its_bounds() -> None:
    limit = GradientLimit(3, 10, TOLERATED)
    for _ in range(100):
        limit.observe(2.0, 0)
    assert limit.value == 3
    for _ in range(100):
        limit.observe(0.0, 10)
    assert limit.value == 10


def test_limit_waits_a_second_before_it_grows_beyond_what_is_used() -> None:
    limit = new_limit()
    for _ in range(20):
        limit.observe(0.2, 4)
    grown = []
    for _ in range(2 * CALM):
        limit.observe(0.0, 4)
        grown.append(limit.value)
    assert max(grown[: CALM - 1]) <= 8
    assert grown[-1] > 16


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("load", [0.5, 0.9])
def test_nothing_is_refused_below_the_knee(seed: int, load: float) -> None:
    outcome = new_server(seed).run(5, load * KNEE, MIX)
    assert outcome.refused.total() == 0
    assert outcome.good.total() >= 0.999 * outcome.offered.total() - 5


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("load", [1.2, 1.5, 2.0, 3.0])
def test_goodput_is_near_what_refusing_leaves(seed: int, load: float) -> None:
    server = new_server(seed)
    server.run(2, load * KNEE, MIX)
    goodput = server.run(5, load * KNEE, MIX).goodput(5) / KNEE
    assert goodput >= 0.85 * best_goodput(load)


@pytest.mark.parametrize("seed", [1, 2])
def test_goodput_stays_flat_where_a_call_is_worth_forty_refusals(seed: int) -> None:
    """It is small calls alone that the refusing of others costs their place."""
    seconds = 8.0
    goodput = {}
    for load in (1.0, 3.0):
        server = new_server(seed, step_seconds=LONG_STEP_SECONDS)
        # The limit is found first.
        server.run(3.0, load * LONG_KNEE, MIX)
        goodput[load] = server.run(seconds, load * LONG_KNEE, MIX).goodput(seconds)
    assert goodput[3.0] >= 0.9 * goodput[1.0]
    assert goodput[3.0] >= 0.8 * LONG_KNEE


def test_crowded_method_is_not_served_at_all_without_the_gradient() -> None:
    """The model's own check: if the fixed limit did as well, it would prove nothing."""
    server = new_server(1, is_fixed=True)
    server.run(2, 1.5 * KNEE, MIX)
    outcome = server.run(5, 1.5 * KNEE, MIX)
    assert outcome.part(Priority.NORMAL) < 0.05
    assert outcome.refused.total() == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_classes_are_refused_in_their_order(seed: int) -> None:
    server = new_server(seed)
    server.run(2, 1.5 * KNEE, MIX)
    outcome = server.run(5, 1.5 * KNEE, MIX)
    parts = [outcome.part(priority) for priority in sorted(Priority)]
    assert parts == sorted(parts)
    assert outcome.part(Priority.CRITICAL) >= 0.95


@pytest.mark.parametrize("seed", [1, 2])
def test_highest_class_is_never_starved(seed: int) -> None:
    server = new_server(seed)
    server.run(2, 3 * KNEE, MIX)
    outcome = server.run(5, 3 * KNEE, MIX)
    served = outcome.good[Priority.CRITICAL]
    assert served >= 2 * outcome.good[Priority.SHEDDABLE]
    assert served >= 0.4 * outcome.offered[Priority.CRITICAL]


@pytest.mark.parametrize("seed", [1, 2])
def test_highest_class_alone_is_limited_too(seed: int) -> None:
    """Let in without any limit it would wait until it is too late, all of it."""
    server = new_server(seed)
    server.run(2, 2 * KNEE, {("move", Priority.CRITICAL): 1.0})
    outcome = server.run(5, 2 * KNEE, {("move", Priority.CRITICAL): 1.0})
    assert outcome.goodput(5) / KNEE >= 0.75 * best_goodput(2)


@pytest.mark.parametrize("seed", [1, 2])
def test_slow_store_does_not_lower_the_limit(seed: int) -> None:
    """Callers who wait for a store are many, and the process has time for more."""
    outcome = new_server(seed).run(5, 0.3 * KNEE, MIX, store_seconds=0.2)
    assert min(outcome.limits) == MAXIMUM
    assert outcome.refused.total() == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_limit_recovers_when_the_overload_ends(seed: int) -> None:
    server = new_server(seed)
    server.run(5, 2 * KNEE, MIX)
    server.run(2, 0.5 * KNEE, MIX)
    outcome = server.run(3, 0.5 * KNEE, MIX)
    assert outcome.refused.total() == 0
    outcome = server.run(5, 0.3 * KNEE, MIX, store_seconds=0.2)
    assert outcome.limits[-1] == MAXIMUM


@pytest.mark.parametrize("seed", [1, 2])
def test_machine_that_others_use_too_does_not_make_it_refuse(seed: int) -> None:
    """A quarter of the core is taken away, in pieces of 20 ms."""
    outcome = new_server(seed).run(10, 0.5 * KNEE, MIX, stolen=0.25)
    assert outcome.refused.total() <= 0.03 * outcome.offered.total()
