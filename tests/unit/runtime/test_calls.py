"""What a call hands down: its id and what is left of its time."""

import asyncio
import json
import logging
import time

import pytest

from hailstorm.runtime.calls import (
    Call,
    enter_call,
    log_fields,
    outgoing_metadata,
    remaining_seconds,
    request_id_from,
)
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.telemetry import JsonFormatter


async def test_time_left_is_capped_and_never_negative() -> None:
    assert remaining_seconds(3) == 3
    enter_call(Call("/m", "r-1", time.monotonic() + 1))
    assert 0.5 < remaining_seconds(3) <= 1
    assert remaining_seconds(0.2) == 0.2
    enter_call(Call("/m", "r-1", time.monotonic() - 1))
    assert remaining_seconds(3) == 0


async def test_request_id_is_handed_down_and_made_when_missing() -> None:
    assert outgoing_metadata() == ()
    enter_call(Call("/m", request_id_from((("x-request-id", "r-7"),)), None))
    assert outgoing_metadata() == (("x-request-id", "r-7"),)
    made = {request_id_from(()), request_id_from((("x-request-id", ""),))}
    too_long = request_id_from((("x-request-id", "x" * 1000),))
    assert len(made) == 2
    assert len(too_long) == 36


async def test_class_is_handed_down_and_given_to_what_no_call_asked_for() -> None:
    assert outgoing_metadata(Priority.NORMAL) == (("x-hailstorm-priority", "normal"),)
    enter_call(Call("/m", "r-7", None, Priority.CRITICAL))
    handed_down = (("x-request-id", "r-7"), ("x-hailstorm-priority", "critical"))
    assert outgoing_metadata() == outgoing_metadata(Priority.NORMAL) == handed_down


async def test_calls_of_other_tasks_are_not_seen() -> None:
    async def serve(name: str) -> tuple[tuple[str, str], ...]:
        enter_call(Call("/m", name, None))
        await asyncio.sleep(0)
        return outgoing_metadata()

    results = await asyncio.gather(*(serve(f"r-{i}") for i in range(5)))
    assert [result[0][1] for result in results] == [f"r-{i}" for i in range(5)]


async def test_log_line_is_json_and_names_the_call() -> None:
    formatter = JsonFormatter("trip", "v7", ("trip_id", "city_id"))

    class Request:
        trip_id = "t-1"
        city_id = ""

    call = Call("/hailstorm.trip.v1.TripService/GetTrip", "r-1", None)
    call.request = Request()
    enter_call(call)
    log_fields(offer_id="o-1")
    record = logging.LogRecord("a.b", logging.WARNING, "f", 1, "two\n%s", ("lines",), None)
    record.__dict__["milliseconds"] = 1.5
    text = formatter.format(record)
    line = json.loads(text)
    assert "\n" not in text
    assert line["ts"].endswith("Z")
    assert {key: line[key] for key in line if key not in ("ts", "pod")} == {
        "level": "warning",
        "logger": "a.b",
        "message": "two\nlines",
        "service": "trip",
        "version": "v7",
        "method": "/hailstorm.trip.v1.TripService/GetTrip",
        "request_id": "r-1",
        "trip_id": "t-1",
        "offer_id": "o-1",
        "milliseconds": 1.5,
    }


def test_log_line_carries_the_traceback() -> None:
    formatter = JsonFormatter("trip", "v7")
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    record = logging.LogRecord(
        "a", logging.ERROR, "f", 1, "oh", (), (caught.type, caught.value, caught.tb)
    )
    assert "ZeroDivisionError" in json.loads(formatter.format(record))["exception"]
