"""The table of states, written out once more by hand."""

import itertools

import pytest

from hailstorm.trip.states import ACCEPTED, FINAL, LIVE, TABLE, UNBOUND, Move, State, next_state
from hailstorm.types.v1 import types_pb2

# As the design draws it: one line a state, moves in the order of Move.
DRAWN = {
    "REQUESTED": "OFFER>OFFERED CANCEL>CANCELLED ABANDON>UNFULFILLED",
    "OFFERED": "ACCEPT>MATCHED DECLINE>REQUESTED EXPIRE>REQUESTED CANCEL>CANCELLED "
    "ABANDON>UNFULFILLED",
    "MATCHED": "APPROACH>ARRIVING CANCEL>CANCELLED",
    "ARRIVING": "START>IN_PROGRESS CANCEL>CANCELLED",
    "IN_PROGRESS": "COMPLETE>COMPLETED",
    "COMPLETED": "",
    "CANCELLED": "",
    "UNFULFILLED": "",
}


@pytest.mark.parametrize(("state", "move"), list(itertools.product(State, Move)))
def test_table_has_what_the_design_draws(state: State, move: Move) -> None:
    drawn = dict(arrow.split(">") for arrow in DRAWN[state].split())
    assert next_state(state, move) == drawn.get(move)


def test_states_are_those_of_the_api() -> None:
    names = {
        name.removeprefix("TRIP_STATE_") for name in types_pb2.TripState.DESCRIPTOR.values_by_name
    }
    assert names - {"UNSPECIFIED"} == {state.value for state in State}


def test_final_states_are_those_that_nothing_leaves() -> None:
    assert {state for state in State if state not in {s for s, _ in TABLE}} == FINAL


def test_every_state_is_reached() -> None:
    reached = {State.REQUESTED}
    while new := {after for (before, _), after in TABLE.items() if before in reached} - reached:
        reached |= new
    assert reached == set(State)


def test_sets_do_not_contradict_each_other() -> None:
    assert ACCEPTED < LIVE
    assert not LIVE & FINAL
    assert not LIVE & UNBOUND
