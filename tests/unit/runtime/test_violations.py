"""Field checks: what passes, what does not, and that all of it is told."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hailstorm.location.v1 import location_pb2
from hailstorm.runtime.errors import InvalidArgumentError
from hailstorm.runtime.violations import Violations, are_ids, is_id


def told(violations: Violations) -> list[str]:
    try:
        violations.raise_if_any()
    except InvalidArgumentError as error:
        return [violation.field for violation in error.violations]
    return []


@pytest.mark.parametrize("text", ["a", "driver-1", "A_b.c:d-9", "x" * 64])
def test_identifier_passes(text: str) -> None:
    violations = Violations()
    assert violations.identifier("rider_id", text) == text
    assert told(violations) == []


@pytest.mark.parametrize(
    "text", ["", "x" * 65, "a b", "a|b", "a{b}", "a\n", "a\x00", "é", "\uff11", "a/b", "{nyc}"]
)
def test_identifier_is_refused(text: str) -> None:
    violations = Violations()
    violations.identifier("rider_id", text)
    assert told(violations) == ["rider_id"]


@pytest.mark.parametrize(("text", "passes"), [("x" * 7, False), ("x" * 8, True), ("x" * 65, False)])
def test_idempotency_key_has_eight_to_sixty_four_characters(text: str, passes: bool) -> None:
    violations = Violations()
    violations.idempotency_key("idempotency_key", text)
    assert (told(violations) == []) is passes


def request_at(latitude: float, longitude: float) -> Any:
    request = location_pb2.NearbyDriversRequest()
    request.point.latitude, request.point.longitude = latitude, longitude
    return request


@pytest.mark.parametrize(
    ("latitude", "longitude", "fields"),
    [
        (90, 180, []),
        (-90, -180, []),
        (0, 0, []),
        (90.0001, 0, ["point.latitude"]),
        (0, -180.0001, ["point.longitude"]),
        (math.nan, 0, ["point.latitude"]),
        (math.inf, -math.inf, ["point.latitude", "point.longitude"]),
    ],
)
def test_point_is_on_earth(latitude: float, longitude: float, fields: list[str]) -> None:
    violations = Violations()
    violations.point("point", request_at(latitude, longitude))
    assert told(violations) == fields


def test_point_is_required_and_zero_is_a_place() -> None:
    violations = Violations()
    violations.point("point", location_pb2.NearbyDriversRequest())
    assert told(violations) == ["point"]


@pytest.mark.parametrize(("value", "passes"), [(0, False), (1, True), (3, True), (4, False)])
def test_enumeration_is_known_and_specified(value: int, passes: bool) -> None:
    violations = Violations()
    violations.enumeration("availability", value, location_pb2.Availability)
    assert (told(violations) == []) is passes


def test_all_violations_are_told_in_order() -> None:
    violations = Violations()
    violations.identifier("city_id", "")
    violations.size("positions", [], 1, 500)
    violations.between("max_drivers", math.nan, 0, 100)
    assert told(violations) == ["city_id", "positions", "max_drivers"]


@given(st.lists(st.text("aZ9_.:- é\n", max_size=3) | st.sampled_from(["", "x" * 64, "x" * 65])))
def test_batch_of_ids_is_judged_as_each_of_them(texts: list[str]) -> None:
    assert are_ids(texts) == all(map(is_id, texts))
