"""Who may ask a store that did not answer."""

from hailstorm.runtime.breaker import Breaker


class HeldClock:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


def broken(clock: HeldClock) -> Breaker:
    breaker = Breaker(clock, failures=2, open_seconds=0.25)
    for _ in range(2):
        assert breaker.allows()
        breaker.failed()
    return breaker


def test_one_failure_closes_nobody_out() -> None:
    breaker = Breaker(HeldClock(), failures=2, open_seconds=0.25)
    breaker.failed()
    assert breaker.allows()
    breaker.answered()
    breaker.failed()
    assert breaker.allows()


def test_nobody_asks_while_it_is_open() -> None:
    clock = HeldClock()
    breaker = broken(clock)
    clock.time += 0.24
    assert not breaker.allows()


def test_one_asks_when_the_time_is_over_and_its_answer_lets_all_in() -> None:
    clock = HeldClock()
    breaker = broken(clock)
    clock.time += 0.25
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.answered()
    assert [breaker.allows() for _ in range(3)] == [True, True, True]


def test_failed_probe_opens_it_for_another_while() -> None:
    clock = HeldClock()
    breaker = broken(clock)
    clock.time += 0.25
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    clock.time += 0.25
    assert breaker.allows()


def test_probe_that_gave_up_leaves_the_place_to_the_next() -> None:
    clock = HeldClock()
    breaker = broken(clock)
    clock.time += 0.25
    assert breaker.allows()
    breaker.gave_up()
    assert breaker.allows()


def test_calls_that_fail_together_are_one_silence_and_no_outage() -> None:
    clock = HeldClock()
    breaker = Breaker(clock, failures=2, open_seconds=0.25, silence_seconds=1.0)
    for _ in range(40):
        breaker.failed()
    clock.time += 0.99
    breaker.failed()
    assert breaker.allows()
    clock.time += 0.01
    breaker.failed()
    assert not breaker.allows()
    # An answer begins the count anew.
    clock.time += 0.25
    assert breaker.allows()
    breaker.answered()
    clock.time += 5.0
    breaker.failed()
    breaker.failed()
    assert breaker.allows()
