"""The pulse: a silent watch is noticed, a broken API server is no reason to restart."""

from hailstorm_operator.pulse import LOOP_STALL_SECONDS, MISSED_BEATS, Pulse

BEAT = 15.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def started() -> tuple[Pulse, Clock]:
    clock = Clock()
    return Pulse(BEAT, clock), clock


def test_answered_stamps_keep_it_alive() -> None:
    pulse, clock = started()
    for _ in range(100):
        clock.now += BEAT
        pulse.turned()
        pulse.stamped()
        pulse.stamp_seen()
    assert pulse.verdict() is None


def test_unanswered_stamp_is_a_silent_watch() -> None:
    pulse, clock = started()
    pulse.stamped()
    clock.now += MISSED_BEATS * BEAT + 1
    pulse.turned()
    assert "the watch is silent" in str(pulse.verdict())


def test_later_stamps_do_not_restart_the_patience() -> None:
    pulse, clock = started()
    for _ in range(MISSED_BEATS + 2):
        pulse.stamped()
        clock.now += BEAT
        pulse.turned()
    assert pulse.verdict()


def test_stamps_that_cannot_be_written_prove_nothing() -> None:
    pulse, clock = started()
    clock.now += 3600
    pulse.turned()
    assert pulse.verdict() is None


def test_stalled_loop_is_noticed() -> None:
    pulse, clock = started()
    clock.now += LOOP_STALL_SECONDS + 1
    assert "event loop" in str(pulse.verdict())


def test_ready_when_the_first_stamp_came_back() -> None:
    pulse, _ = started()
    pulse.event_seen()
    assert not pulse.is_ready
    pulse.stamp_seen()
    assert pulse.is_ready
