"""Drivers who answer: offers accepted, declined, expired, called off, raced for, lost."""

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest

from eventually import eventually
from hailstorm.dispatch.v1 import dispatch_pb2
from integration.dispatch.conftest import System, wish
from integration.stores import Database, RedisServer
from integration.trip.test_exactly_once import DOUBLE_DRIVERS, DOUBLE_TRIPS, TORN
from trip_calls import CITY, refusal, state_name

PATIENCE = 60
# A driver who is asked answers; nobody's answer is given for them.
OFFERING = {
    "HAILSTORM_DISPATCH_AUTO_ACCEPT": "false",
    "HAILSTORM_SEARCH_POLL_MILLISECONDS": "50",
    "HAILSTORM_SEARCH_LEASE_SECONDS": "0.3",
    "HAILSTORM_OFFERS_POLL_MILLISECONDS": "50",
    "HAILSTORM_DISPATCH_PATIENCE_SECONDS": "30",
}


@pytest.fixture
async def offering(new_system: Any, database: Database, redis: RedisServer) -> System:
    made: System = await new_system(database, redis, OFFERING)
    return made


@pytest.fixture
async def offers_sql(offering: System, database: Database) -> Any:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


class Phone:
    """The app of some drivers: the stream of their offers, and their answers."""

    def __init__(self, stub: Any, *driver_ids: str) -> None:
        self._stub = stub
        request = dispatch_pb2.WatchOffersRequest(city_id=CITY, driver_ids=driver_ids)
        self._stream = stub.WatchOffers(request, timeout=PATIENCE)

    async def next(self) -> Any:
        """The next event of the stream; None when it has ended."""
        event = await asyncio.wait_for(self._stream.read(), PATIENCE)
        return None if event is grpc.aio.EOF else event

    async def offer(self) -> Any:
        """The next event, which must be an offer."""
        event = await self.next()
        assert event is not None
        assert event.WhichOneof("event") == "offer", event
        return event.offer

    async def withdrawal(self) -> tuple[str, str]:
        """The next event, which must be a withdrawal: its offer and why."""
        event = await self.next()
        assert event is not None
        assert event.WhichOneof("event") == "withdrawal", event
        name = dispatch_pb2.WithdrawalReason.Name(event.withdrawal.reason)
        return event.withdrawal.offer_id, name.removeprefix("WITHDRAWAL_REASON_")

    async def accept(self, offer: Any) -> Any:
        return (await self._stub.AcceptOffer(_answer(dispatch_pb2.AcceptOfferRequest, offer))).trip

    async def decline(self, offer: Any) -> None:
        await self._stub.DeclineOffer(_answer(dispatch_pb2.DeclineOfferRequest, offer))

    def close(self) -> None:
        self._stream.cancel()


def _answer(kind: Any, offer: Any) -> Any:
    return kind(city_id=CITY, offer_id=offer.offer_id, driver_id=offer.driver_id)


async def ask(stub: Any, key: str = "request-1", rider_id: str = "rider-1") -> Any:
    return (await stub.RequestTrip(wish(key, rider_id), timeout=PATIENCE)).trip


async def test_driver_gets_the_offer_on_another_pod_and_accepts_it(offering: System) -> None:
    await offering.report("driver-1")
    phone = Phone(offering.dispatch(1), "driver-0", "driver-1")
    trip = await ask(offering.dispatch(0))
    assert (state_name(trip), trip.driver_id) == ("OFFERED", "driver-1")
    offer = await phone.offer()
    assert (offer.offer_id, offer.trip_id, offer.driver_id) == (
        trip.offer_id, trip.trip_id, "driver-1",
    )  # fmt: skip
    assert (offer.pickup, offer.dropoff) == (trip.pickup, trip.dropoff)
    assert offer.expires_at == trip.offer_expires_at
    accepted = await phone.accept(offer)
    assert (state_name(accepted), accepted.driver_id) == ("MATCHED", "driver-1")
    # The reply was lost: the same answer, here and on the other pod.
    assert await phone.accept(offer) == accepted
    again = await offering.dispatch(0).AcceptOffer(_answer(dispatch_pb2.AcceptOfferRequest, offer))
    assert again.trip == accepted
    phone.close()


async def test_declined_trip_goes_on_to_another_driver(
    offering: System, offers_sql: asyncpg.Connection
) -> None:
    await offering.report("driver-1", "driver-2")
    phone = Phone(offering.dispatch(0), "driver-1", "driver-2")
    await ask(offering.dispatch(1))
    first = await phone.offer()
    assert first.driver_id == "driver-1"
    await phone.decline(first)
    await phone.decline(first)
    assert await phone.withdrawal() == (first.offer_id, "DECLINED")
    second = await phone.offer()
    assert second.driver_id == "driver-2"
    error = await refusal(phone.accept(first))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (await phone.accept(second)).driver_id == "driver-2"
    assert await offers_sql.fetchval("SELECT count(*) FROM trip_events WHERE move='OFFER'") == 2
    phone.close()


async def test_expired_offer_is_withdrawn_and_the_next_driver_asked(
    new_system: Any, database: Database, redis: RedisServer
) -> None:
    system: System = await new_system(database, redis, OFFERING, sweep_milliseconds=50)
    await system.report("driver-1", "driver-2")
    phone = Phone(system.dispatch(0), "driver-1", "driver-2")
    await ask(system.dispatch(1))
    first = await phone.offer()
    # Fifteen seconds go by.
    sql = await asyncpg.connect(database.dsn)
    await sql.execute("UPDATE trips SET offer_expires_at = clock_timestamp()")
    await sql.close()
    assert await phone.withdrawal() == (first.offer_id, "EXPIRED")
    second = await phone.offer()
    assert (first.driver_id, second.driver_id) == ("driver-1", "driver-2")
    error = await refusal(phone.accept(first))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    phone.close()


async def test_offer_of_a_cancelled_trip_is_withdrawn(offering: System) -> None:
    await offering.report("driver-1")
    phone = Phone(offering.dispatch(0), "driver-1")
    trip = await ask(offering.dispatch(1))
    offer = await phone.offer()
    await offering.trips().cancel(trip, "rider-1")
    assert await phone.withdrawal() == (offer.offer_id, "CANCELLED")
    error = await refusal(phone.accept(offer))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    phone.close()


async def test_trip_that_everybody_passes_on_ends_when_patience_does(
    new_system: Any, database: Database, redis: RedisServer
) -> None:
    impatient = {**OFFERING, "HAILSTORM_DISPATCH_PATIENCE_SECONDS": "1.5"}
    system: System = await new_system(database, redis, impatient)
    await system.report("driver-1")
    phone = Phone(system.dispatch(0), "driver-1")
    trip = await ask(system.dispatch(1))
    await phone.decline(await phone.offer())
    trips = system.trips()
    assert state_name(await trips.get(trip)) == "REQUESTED"

    async def ended() -> Any:
        now = await trips.get(trip)
        return now if state_name(now) == "UNFULFILLED" else None

    ending = await eventually(ended, 30)
    assert ending.end_reason == "NoDriverAccepted"
    age = ending.updated_at.ToMilliseconds() - trip.requested_at.ToMilliseconds()
    assert age >= 1500
    phone.close()


@pytest.mark.parametrize("min_age", ["60", "0"])
async def test_waiting_rider_gets_the_driver_who_comes_later(
    new_system: Any, database: Database, redis: RedisServer, min_age: str
) -> None:
    patient = {
        "HAILSTORM_DISPATCH_WAITS_WITHOUT_DRIVERS": "true",
        "HAILSTORM_SEARCH_MIN_AGE_SECONDS": min_age,
        "HAILSTORM_SEARCH_LEASE_SECONDS": "0.2",
        "HAILSTORM_SEARCH_POLL_MILLISECONDS": "50",
    }
    system: System = await new_system(database, redis, patient)
    trip = await ask(system.dispatch(0))
    assert state_name(trip) == "REQUESTED"
    if min_age == "0":
        # Whoever answered the rider is gone; the other one is not.
        await system.dispatches[0].stop()
    await system.report("driver-late")
    trips = system.trips()

    async def matched() -> bool:
        return state_name(await trips.get(trip)) == "MATCHED"

    await eventually(matched, 30)
    assert (await trips.get(trip)).driver_id == "driver-late"


async def test_search_goes_on_elsewhere_when_its_dispatch_is_gone(
    offering: System, offers_sql: asyncpg.Connection
) -> None:
    """The pod that was searching dies with a claim in its hands; the other one takes over."""
    await offering.report("driver-1")
    phone = Phone(offering.dispatch(1), "driver-1", "driver-2")
    trip = await ask(offering.dispatch(0))
    first = await phone.offer()
    # The first pod is gone without a word: its tasks stop where they are.
    await offering.dispatches[0].lifecycle._end_tasks()
    await offering.dispatches[0].server.stop(0)
    await offering.trips().answer(trip, accept=False)
    assert await phone.withdrawal() == (first.offer_id, "DECLINED")
    # As it would be left behind: claimed for this version, the lease not over.
    await offers_sql.execute(
        "UPDATE trips SET search_version = version, search_until = now() + interval '1 s'"
    )
    await offering.report("driver-2")
    second = await phone.offer()
    assert (second.trip_id, second.driver_id) == (trip.trip_id, "driver-2")
    phone.close()


async def test_two_pods_never_offer_one_trip_or_driver_twice_while_drivers_decline(
    offering: System, offers_sql: asyncpg.Connection
) -> None:
    """Twenty riders, forty drivers, every third answer a no; both pods search."""
    drivers = [f"driver-{i:02}" for i in range(40)]
    await offering.report(*drivers)
    stubs = [offering.dispatch(0), offering.dispatch(1)]
    phones = [Phone(stubs[0], *drivers[:20]), Phone(stubs[1], *drivers[20:])]
    answered = 0
    matched: dict[str, str] = {}

    async def answer(phone: Phone) -> None:
        nonlocal answered
        while event := await phone.next():
            if event.WhichOneof("event") != "offer":
                continue
            answered += 1
            if answered % 3 == 0:
                await phone.decline(event.offer)
            else:
                trip = await phone.accept(event.offer)
                assert trip.trip_id not in matched
                matched[trip.trip_id] = trip.driver_id

    answering = [asyncio.create_task(answer(phone)) for phone in phones]
    trips = await asyncio.gather(
        *(ask(stubs[i % 2], f"request-{i:04}", f"rider-{i}") for i in range(20))
    )
    await eventually(lambda: len(matched), 60, until=lambda n: n == 20)
    for phone, task in zip(phones, answering, strict=True):
        phone.close()
        task.cancel()
    assert sorted(matched) == sorted(trip.trip_id for trip in trips)
    assert await offers_sql.fetch(DOUBLE_DRIVERS) == []
    assert await offers_sql.fetch(DOUBLE_TRIPS) == []
    assert await offers_sql.fetch(TORN) == []
    asked_again = """
        SELECT trip_id, driver_id FROM trip_events WHERE move = 'OFFER'
        GROUP BY 1, 2 HAVING count(*) > 1"""
    assert await offers_sql.fetch(asked_again) == []
    declines = await offers_sql.fetchval("SELECT count(*) FROM trip_events WHERE move='DECLINE'")
    assert declines > 0, "nobody declined: nothing was tested"


async def test_accepts_that_race_with_cancellation_have_one_winner(offering: System) -> None:
    await offering.report(*(f"driver-{i}" for i in range(20)))
    stubs = [offering.dispatch(0), offering.dispatch(1)]
    trips = await asyncio.gather(
        *(ask(stubs[i % 2], f"request-{i:04}", f"rider-{i}") for i in range(20))
    )
    calls = offering.trips()

    async def race(number: int, trip: Any) -> tuple[str, str]:
        request = _answer(dispatch_pb2.AcceptOfferRequest, trip)

        async def code(call: Any) -> str:
            try:
                await call
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "OK"

        yes = stubs[number % 2].AcceptOffer(request, timeout=PATIENCE)
        accepted, cancelled = await asyncio.gather(
            code(yes), code(calls.cancel(trip, f"rider-{number}"))
        )
        # A rider may cancel a matched trip as well; a driver never gets a cancelled one.
        assert cancelled == "OK"
        return accepted, state_name(await calls.get(trip))

    outcomes = await asyncio.gather(*(race(n, trip) for n, trip in enumerate(trips)))
    assert {state for _, state in outcomes} == {"CANCELLED"}
    assert {code for code, _ in outcomes} <= {"OK", "FAILED_PRECONDITION"}


async def test_stream_opened_again_after_a_drain_starts_with_what_is_live(
    offering: System,
) -> None:
    await offering.report("driver-1")
    phone = Phone(offering.dispatch(0), "driver-1")
    await ask(offering.dispatch(1))
    offer = await phone.offer()
    stopping = asyncio.create_task(offering.dispatches[0].stop())
    event = await phone.next()
    assert event.WhichOneof("event") == "resume"
    assert await phone.next() is None
    again = Phone(offering.dispatch(1), "driver-1")
    assert await again.offer() == offer
    again.close()
    await stopping


async def test_streams_share_one_question_for_each_look(offering: System) -> None:
    await offering.report("driver-1")
    phones = [Phone(offering.dispatch(0), f"driver-{i}", "driver-1") for i in range(30)]
    watches = offering.dispatches[0]
    await eventually(lambda: watches.sample("hailstorm_offer_watches"), 30, lambda n: n == 30)
    method = "/hailstorm.trip.v1.TripService/ListOffers"

    def questions() -> float:
        return offering.trip.sample("hailstorm_grpc_server_handled_total", method=method, code="OK")

    asked = questions()
    trip = await ask(offering.dispatch(1))
    offers = await asyncio.gather(*(phone.offer() for phone in phones))
    assert {offer.offer_id for offer in offers} == {trip.offer_id}
    # Thirty streams hear of it by the look that finds it; a few looks went before.
    assert 1 <= questions() - asked < 30
    for phone in phones:
        phone.close()


async def test_answers_to_offers_that_never_were_are_not_found(offering: System) -> None:
    await offering.report("driver-1")
    stub = offering.dispatch(0)
    trip = await ask(stub)
    for offer_id, driver_id in (("nonsense", "driver-1"), (trip.offer_id, "driver-2")):
        request = dispatch_pb2.DeclineOfferRequest(
            city_id=CITY, offer_id=offer_id, driver_id=driver_id
        )
        error = await refusal(stub.DeclineOffer(request, timeout=PATIENCE))
        assert error.code() is grpc.StatusCode.NOT_FOUND
    assert state_name(await offering.trips().get(trip)) == "OFFERED"
