"""Calls on trips in one line each, with keys and places that a test need not invent."""

import dataclasses
import itertools
from typing import Any

import grpc
from google.protobuf import duration_pb2

from hailstorm.runtime.process import EdgeSettings, LifecycleSettings
from hailstorm.runtime.settings import Secret, read_settings
from hailstorm.trip.settings import CacheSettings, PostgresSettings, TripSettings, TripsSettings
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc
from hailstorm.types.v1 import types_pb2
from integration.stores import Database

CITY = "nyc"
PICKUP = types_pb2.LatLng(latitude=40.758, longitude=-73.9855)
DROPOFF = types_pb2.LatLng(latitude=40.6413, longitude=-73.7781)
# Nobody listens there: what asks for positions is told so at once.
NOBODY = "127.0.0.1:1"

_numbers = itertools.count(1)


def fresh(word: str) -> str:
    """A name that no other call of this run uses."""
    return f"{word}-{next(_numbers):08}"


def postgres_settings(database: Database, **fields: Any) -> PostgresSettings:
    """Settings that reach `database`; patient, as the machine may be busy."""
    patient = {"connect_seconds": 10.0, "acquire_seconds": 10.0, "command_seconds": 10.0}
    return PostgresSettings(
        host=database.host,
        port=database.port,
        database=database.database,
        user=database.user,
        password=Secret(database.password),
        **{**_defaults(PostgresSettings), **patient, **fields},
    )


def trip_settings(database: Database, **fields: Any) -> TripSettings:
    """Settings of a trip service on `database`; fields go to the group that has them."""
    settings = read_settings(TripSettings, {})
    by_group = {
        kind: {name: value for name, value in fields.items() if name in _names(kind)}
        for kind in (PostgresSettings, TripsSettings, CacheSettings, LifecycleSettings)
    }
    assert sum(map(len, by_group.values())) == len(fields), f"unknown among {list(fields)}"
    quick = {"propagation_seconds": 0.0, "quiet_milliseconds": 50, "drain_max_seconds": 5.0}
    return dataclasses.replace(
        settings,
        edge=EdgeSettings(address=NOBODY),
        postgres=postgres_settings(database, **by_group[PostgresSettings]),
        trip=dataclasses.replace(settings.trip, **by_group[TripsSettings]),
        cache=dataclasses.replace(settings.cache, **by_group[CacheSettings]),
        lifecycle=dataclasses.replace(
            settings.lifecycle, **{**quick, **by_group[LifecycleSettings]}
        ),
    )


class TripCalls:
    """The methods of TripService, each with what a test leaves out."""

    def __init__(self, channel: Any) -> None:
        self.stub = trip_pb2_grpc.TripServiceStub(channel)

    async def create(self, key: str | None = None, **fields: Any) -> Any:
        request = trip_pb2.CreateTripRequest(
            **{
                "idempotency_key": key or fresh("key"),
                "city_id": CITY,
                "rider_id": "rider-1",
                "pickup": PICKUP,
                "dropoff": DROPOFF,
                **fields,
            }
        )
        return (await self.stub.CreateTrip(request, timeout=30)).trip

    async def offer(
        self, trip: Any, *driver_ids: str, key: str | None = None, accept: bool = True,
        ttl_seconds: float | None = None,
    ) -> Any:  # fmt: skip
        request = trip_pb2.OfferTripRequest(
            idempotency_key=key or fresh("offer"),
            city_id=trip.city_id,
            trip_id=trip.trip_id,
            driver_ids=driver_ids,
            auto_accept=accept,
        )
        if ttl_seconds is not None:
            request.offer_ttl.CopyFrom(duration_pb2.Duration(nanos=round(ttl_seconds * 1e9)))
        return (await self.stub.OfferTrip(request, timeout=30)).trip

    async def answer(self, trip: Any, accept: bool, key: str | None = None, **fields: Any) -> Any:
        request = trip_pb2.AnswerOfferRequest(
            **{
                "idempotency_key": key or fresh("answer"),
                "city_id": trip.city_id,
                "offer_id": trip.offer_id,
                "driver_id": trip.driver_id,
                "accept": accept,
                **fields,
            }
        )
        return (await self.stub.AnswerOffer(request, timeout=30)).trip

    async def abandon(self, trip: Any, key: str | None = None) -> Any:
        request = trip_pb2.AbandonTripRequest(
            idempotency_key=key or fresh("abandon"),
            city_id=trip.city_id,
            trip_id=trip.trip_id,
            reason="NoDriverNear",
        )
        return (await self.stub.AbandonTrip(request, timeout=30)).trip

    async def drive(self, method: str, trip: Any, key: str | None = None, **fields: Any) -> Any:
        """`method` is ApproachPickup, StartTrip or CompleteTrip."""
        request = getattr(trip_pb2, f"{method}Request")(
            **{
                "idempotency_key": key or fresh("drive"),
                "city_id": trip.city_id,
                "trip_id": trip.trip_id,
                "driver_id": trip.driver_id,
                **fields,
            }
        )
        return (await getattr(self.stub, method)(request, timeout=30)).trip

    async def cancel(self, trip: Any, actor_id: str, key: str | None = None, **fields: Any) -> Any:
        request = trip_pb2.CancelTripRequest(
            **{
                "idempotency_key": key or fresh("cancel"),
                "city_id": trip.city_id,
                "trip_id": trip.trip_id,
                "actor_id": actor_id,
                **fields,
            }
        )
        return (await self.stub.CancelTrip(request, timeout=30)).trip

    async def get(self, trip: Any) -> Any:
        request = trip_pb2.GetTripRequest(city_id=trip.city_id, trip_id=trip.trip_id)
        return (await self.stub.GetTrip(request, timeout=30)).trip

    def watch(self, trip: Any, after_version: int = 0) -> Any:
        """The stream; a test ends it by reading to its end or by cancelling it."""
        return self.stub.WatchTrip(
            trip_pb2.WatchTripRequest(
                city_id=trip.city_id, trip_id=trip.trip_id, after_version=after_version
            ),
            timeout=30,
        )


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    """The error that `call` ends with; AssertionError when it ends well."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"expected an error, got {answer}")


def state_name(trip: Any) -> str:
    """As in REQUESTED."""
    return types_pb2.TripState.Name(trip.state).removeprefix("TRIP_STATE_")


def _names(kind: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _defaults(kind: type[Any]) -> dict[str, Any]:
    return {
        field.name: field.default
        for field in dataclasses.fields(kind)
        if field.name not in {"host", "port", "database", "user", "password"}
    }
