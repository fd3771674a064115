"""Drivers' positions in the streams of trips, from the real location service."""

import asyncio
from typing import Any

import grpc

from eventually import eventually
from integration.dispatch.conftest import System, wish
from trip_calls import PICKUP, TripCalls


async def next_position(stream: Any) -> Any:
    """The next position that the stream tells; waits for it."""
    while True:
        event = await asyncio.wait_for(stream.read(), 30)
        if event.HasField("position"):
            return event.position


async def test_watch_tells_where_the_driver_is_and_goes_on_without_location(
    system: System,
) -> None:
    await system.report("driver-1")
    answer = await system.dispatch().RequestTrip(wish("request-1"), timeout=30)
    async with system.trip.channel() as channel:
        calls = TripCalls(channel)
        streams = [calls.watch(answer.trip, answer.trip.version) for _ in range(3)]
        for stream in streams:
            position = await next_position(stream)
            assert position.driver_id == "driver-1"
            assert abs(position.point.latitude - PICKUP.latitude) < 0.001
        await system.location.stop()
        await eventually(lambda: system.trip.sample("hailstorm_trip_position_failures_total"), 30)
        await calls.cancel(answer.trip, "rider-1")
        states = []
        while (event := await asyncio.wait_for(streams[0].read(), 30)) is not grpc.aio.EOF:
            if event.HasField("trip"):
                states.append(event.trip.state)
        assert states == [(await calls.get(answer.trip)).state]
        for stream in streams[1:]:
            stream.cancel()
