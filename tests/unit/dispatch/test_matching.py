"""Whom dispatch asks, and how far it looks."""

from hypothesis import given
from hypothesis import strategies as st

from hailstorm.dispatch.matching import (
    Candidate,
    Choice,
    choose_candidates,
    choose_together,
    nearest,
    search_radii,
)

candidates = st.lists(
    st.builds(Candidate, st.text("abcdef", min_size=1, max_size=4), st.floats(0, 20_000)),
    unique_by=lambda c: c.driver_id,
)


def test_radii_grow_to_the_last() -> None:
    assert list(search_radii(2_000, 10_000, 2.5)) == [2_000, 5_000, 10_000]


def test_radii_end_exactly_at_the_last_when_growth_overshoots() -> None:
    assert list(search_radii(3_000, 10_000, 4.0)) == [3_000, 10_000]


def test_radii_are_one_when_the_first_is_beyond_the_last() -> None:
    assert list(search_radii(9_000, 5_000, 2.0)) == [5_000]


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.floats(1.1, 100))
def test_radii_always_rise_and_end_at_the_last(first: int, last: int, growth: float) -> None:
    radii = list(search_radii(first, last, growth))
    assert radii[-1] == last
    assert radii == sorted(radii)


def test_nearest_comes_first_and_ties_are_ordered_by_id() -> None:
    found = [Candidate("b", 5.0), Candidate("a", 5.0), Candidate("c", 1.0)]
    assert choose_candidates(found, set(), 10) == ["c", "a", "b"]


@given(candidates, st.sets(st.text("abcdef", min_size=1, max_size=4)), st.integers(1, 10))
def test_taken_drivers_are_never_asked_and_nearer_ones_never_left_out(
    found: list[Candidate], taken: set[str], at_most: int
) -> None:
    chosen = choose_candidates(found, taken, at_most)
    free = {c.driver_id: c.distance_m for c in found if c.driver_id not in taken}
    assert len(chosen) == min(at_most, len(free))
    assert set(chosen) <= set(free)
    left_out = [distance for driver, distance in free.items() if driver not in chosen]
    assert all(free[driver] <= distance for driver in chosen for distance in left_out)


def by_metres(**metres: float) -> list[Candidate]:
    return nearest([Candidate(name, m) for name, m in metres.items()], set(), 10)


def test_batch_leaves_the_only_driver_of_one_to_that_one() -> None:
    choices = choose_together([by_metres(a=100, b=300), by_metres(a=200)], 10)
    assert [choice.driver_ids for choice in choices] == [["b"], ["a"]]
    assert choices[0].kept_for_others == {"a"}


def test_batch_names_spare_drivers_whom_nobody_needs() -> None:
    choices = choose_together([by_metres(a=1, c=3, d=4), by_metres(b=1, c=2)], 10)
    assert [choice.driver_ids for choice in choices] == [["a", "c", "d"], ["b", "c"]]


def test_batch_tells_who_goes_without_whom_to_leave_alone() -> None:
    choices = choose_together([by_metres(a=100), by_metres(a=50)], 10)
    assert choices == [Choice([], frozenset({"a"})), Choice(["a"], frozenset())]


@given(st.lists(candidates.map(lambda c: nearest(c, set(), 10)), max_size=12), st.integers(1, 10))
def test_batch_gives_nobody_anothers_driver(requests: list[list[Candidate]], at_most: int) -> None:
    choices = choose_together(requests, at_most)
    # Each driver whom the solver gave away is kept by exactly one of the requests.
    given_away = frozenset().union(*(c.kept_for_others for c in choices))
    kept_by = [given_away - c.kept_for_others for c in choices]
    assert all(len(kept) <= 1 for kept in kept_by)
    if len(choices) > 1:
        owners = [driver_id for kept in kept_by for driver_id in kept]
        assert sorted(owners) == sorted(given_away)
    for found, choice in zip(requests, choices, strict=True):
        assert len(choice.driver_ids) <= at_most
        assert set(choice.driver_ids) <= {c.driver_id for c in found}
        assert not choice.kept_for_others & set(choice.driver_ids)
