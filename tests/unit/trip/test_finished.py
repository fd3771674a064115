"""The course of a finished trip, from its versions."""

import datetime as dt

from hailstorm.trip.finished import Step, course_of

BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def steps(*states: str, driver_id: str | None = None) -> list[Step]:
    """One step a second; the last one has the driver."""
    made = [
        Step(number + 1, state, "asked", None, BEGAN + dt.timedelta(seconds=number))
        for number, state in enumerate(states)
    ]
    last = made[-1]
    made[-1] = Step(last.version, last.state, driver_id, "Why", last.occurred_at)
    return made


def at(second: int) -> dt.datetime:
    return BEGAN + dt.timedelta(seconds=second)


def test_course_has_the_first_time_of_each_state() -> None:
    course = course_of(
        steps(
            *("REQUESTED", "OFFERED", "REQUESTED", "OFFERED", "MATCHED", "ARRIVING"),
            *("IN_PROGRESS", "COMPLETED"),
            driver_id="driver-2",
        )
    )
    assert (course.offers, course.version, course.driver_id) == (2, 8, "driver-2")
    assert (course.offered_at, course.matched_at) == (at(1), at(4))
    assert (course.arriving_at, course.started_at, course.ended_at) == (at(5), at(6), at(7))


def test_state_that_never_was_has_no_time() -> None:
    course = course_of(steps("REQUESTED", "UNFULFILLED"))
    assert (course.state, course.end_reason, course.offers) == ("UNFULFILLED", "Why", 0)
    assert course.driver_id is None
    assert (course.offered_at, course.matched_at, course.started_at) == (None, None, None)


def test_word_of_a_newer_version_is_no_obstacle() -> None:
    assert course_of(steps("REQUESTED", "TELEPORTED", "CANCELLED")).ended_at == at(2)
