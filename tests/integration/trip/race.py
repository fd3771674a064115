"""
Many riders after few drivers, on two trip services, with everything going wrong.

What each rider does is drawn from the seed before the first call; who is faster
is the machine's business. Replies are lost, calls are given up, taps come twice
and at both services, a service is killed in the middle: whoever gets no answer
sends the same key again, as dispatch and phones do.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
from google.protobuf import duration_pb2

from eventually import eventually
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc
from hailstorm_drills.database import facts_of
from integration.cutting_proxy import CuttingProxy
from integration.processes import ServiceProcess
from recorded_calls import DEFECTS, OPEN_CODES, Record, Recorder
from trip_calls import CITY, DROPOFF, PICKUP, state_name

# Sendings of one key; a killed service is back after some twenty of them.
TRIES = 100
# Connections to one service: a cut one takes along only its own calls.
LANES = 3
OPTIONS = (
    # Channels of one target would share one connection otherwise.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
)


@dataclass(frozen=True)
class Shape:
    """How much of everything."""

    riders: int = 150
    drivers: int = 12
    # Riders who are under way at the same time.
    crowd: int = 60
    rounds: int = 6
    # Shares of the writes whose reply is lost, that are given up, and that come twice.
    lost: float = 0.06
    given_up: float = 0.06
    doubled: float = 0.12
    cancelled: float = 0.25
    accepted_at_once: float = 0.4
    # Seconds; short, so that answers meet the end of their offer.
    offer_seconds: tuple[float, float] = (0.05, 0.25)
    # When drivers answer and riders call off, in shares of the offer's time.
    answered_at: tuple[float, float] = (0.2, 1.2)
    # After this share of the riders, the first service is killed; above 1 it is not.
    kill_after: float = 0.4


class Race:
    """One race; `run` it, then judge its `record`."""

    def __init__(self, seed: int, shape: Shape, services: Sequence[ServiceProcess]) -> None:
        self.seed = seed
        self.shape = shape
        self.recorder = Recorder()
        # Answers that no request deserves.
        self.defects: list[str] = []
        self.proxies = [CuttingProxy(service.grpc_port) for service in services]
        self._services = services
        self._drivers = [f"driver-{number}" for number in range(shape.drivers)]
        self._direct: list[list[Any]] = []
        self._cut: list[Any] = []
        self._channels: list[Any] = []
        self._crowd = asyncio.Semaphore(shape.crowd)
        self._ended = 0
        self._riders_ended = asyncio.Event()

    async def run(self) -> None:
        """Race, and return when every rider has come to an end."""
        try:
            for service, proxy in zip(self._services, self.proxies, strict=True):
                lanes = [self._stub(f"127.0.0.1:{service.grpc_port}") for _ in range(LANES)]
                self._direct.append(lanes)
                self._cut.append(self._stub(await proxy.open()))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._kill())
                for number in range(self.shape.riders):
                    group.create_task(self._ride(number))
            # A task group takes a task that was cancelled for one that has ended.
            assert self._ended == self.shape.riders, "riders went missing"
        finally:
            for channel in self._channels:
                await channel.close()
            for proxy in self.proxies:
                await proxy.close()

    async def record(self, sql: asyncpg.Connection) -> Record:
        """What was told and what is kept, once the sweeps have ended every offer."""
        open_offers = "SELECT count(*) FROM trips WHERE state = 'OFFERED'"
        await eventually(lambda: sql.fetchval(open_offers), 20, until=lambda n: n == 0)
        return Record(self.recorder.history, await facts_of(sql, f"r-{self.seed}-%", 0.0))

    def moves(self, record: Record) -> Counter[str]:
        """How often each move was made."""
        return Counter(event["move"] for event in record.facts["events"])

    def _stub(self, target: str) -> Any:
        channel = grpc.aio.insecure_channel(target, options=OPTIONS)
        self._channels.append(channel)
        return trip_pb2_grpc.TripServiceStub(channel)

    async def _kill(self) -> None:
        """Kill the first service once that many riders have ended, and start it again."""
        if self.shape.kill_after > 1:
            return
        await self._riders_ended.wait()
        self._services[0].signal(signal.SIGKILL)
        await asyncio.to_thread(self._services[0].wait)
        self._services[0].start()

    async def _ride(self, number: int) -> None:
        async with self._crowd:
            await self._live(number, random.Random(f"{self.seed}-{number}"))
        self._ended += 1
        if self._ended >= self.shape.riders * self.shape.kill_after:
            self._riders_ended.set()

    async def _live(self, number: int, rng: random.Random) -> None:
        rider = f"r-{self.seed}-{number}"
        request = trip_pb2.CreateTripRequest(
            idempotency_key=f"{rider}-request",
            city_id=CITY,
            rider_id=rider,
            pickup=PICKUP,
            dropoff=DROPOFF,
        )
        trip = await self._write("CreateTrip", request, rng)
        for round_ in range(self.shape.rounds):
            # A sound service refuses none of these; a mutated one may.
            trip = trip and await self._offer(trip, round_, rng)
            if trip is None:
                return
            if state_name(trip) == "OFFERED":
                await self._answer(trip, rider, rng)
                trip = await self._look(trip, rng)
                if trip is None:
                    return
            if state_name(trip) == "MATCHED":
                await self._drive(trip, rider, rng)
                return
            if state_name(trip) != "REQUESTED":
                return
            # Drivers become free by and by.
            await asyncio.sleep(rng.uniform(*self.shape.offer_seconds) / 2)
        await self._write("AbandonTrip", self._abandon(trip), rng)

    async def _offer(self, trip: Any, round_: int, rng: random.Random) -> Any:
        request = trip_pb2.OfferTripRequest(
            idempotency_key=f"{trip.trip_id}-offer-{round_}",
            city_id=CITY,
            trip_id=trip.trip_id,
            driver_ids=rng.sample(self._drivers, rng.randint(1, len(self._drivers) // 2)),
            auto_accept=rng.random() < self.shape.accepted_at_once,
        )
        ttl = rng.uniform(*self.shape.offer_seconds)
        request.offer_ttl.CopyFrom(duration_pb2.Duration(nanos=round(ttl * 1e9)))
        return await self._write("OfferTrip", request, rng)

    async def _answer(self, trip: Any, rider: str, rng: random.Random) -> None:
        """The driver answers about when the offer ends, and the rider may call it off."""
        answer = trip_pb2.AnswerOfferRequest(
            idempotency_key=f"{trip.offer_id}-answer",
            city_id=CITY,
            offer_id=trip.offer_id,
            driver_id=trip.driver_id,
            accept=rng.random() < 0.7,
        )
        left = (trip.offer_expires_at.ToNanoseconds() - trip.updated_at.ToNanoseconds()) / 1e9
        parties: list[Awaitable[Any]] = [
            self._later(left * rng.uniform(*self.shape.answered_at), "AnswerOffer", answer, rng)
        ]
        if rng.random() < self.shape.cancelled:
            pause = left * rng.uniform(*self.shape.answered_at)
            parties.append(self._later(pause, "CancelTrip", self._cancel(trip, rider), rng))
        await asyncio.gather(*parties)

    async def _drive(self, trip: Any, rider: str, rng: random.Random) -> None:
        """The driver's taps in order; the rider's cancellation may meet any of them."""
        call_off_at = rng.randrange(3) if rng.random() < self.shape.cancelled else None
        for stage, method in enumerate(("ApproachPickup", "StartTrip", "CompleteTrip")):
            request = getattr(trip_pb2, f"{method}Request")(
                idempotency_key=f"{trip.trip_id}-{method}",
                city_id=CITY,
                trip_id=trip.trip_id,
                driver_id=trip.driver_id,
            )
            parties = [self._write(method, request, rng)]
            if stage == call_off_at:
                parties.append(self._write("CancelTrip", self._cancel(trip, rider), rng))
            tapped, *_ = await asyncio.gather(*parties)
            if tapped is None:
                return

    async def _look(self, trip: Any, rng: random.Random) -> Any:
        request = trip_pb2.GetTripRequest(city_id=CITY, trip_id=trip.trip_id)
        return await self._write("GetTrip", request, rng)

    async def _later(self, seconds: float, method: str, request: Any, rng: random.Random) -> Any:
        await asyncio.sleep(seconds)
        return await self._write(method, request, rng)

    def _cancel(self, trip: Any, rider: str) -> Any:
        return trip_pb2.CancelTripRequest(
            idempotency_key=f"{trip.trip_id}-cancel",
            city_id=CITY,
            trip_id=trip.trip_id,
            actor_id=rider,
        )

    def _abandon(self, trip: Any) -> Any:
        return trip_pb2.AbandonTripRequest(
            idempotency_key=f"{trip.trip_id}-abandon",
            city_id=CITY,
            trip_id=trip.trip_id,
            reason="NoDriverNear",
        )

    async def _write(self, method: str, request: Any, rng: random.Random) -> Any:
        """
        Send until there is an answer, each time to the other service.

        Returns the trip, or None when the answer is a refusal.
        """
        first = rng.randrange(len(self._services))
        luck = rng.random()
        shape = self.shape
        for attempt in range(TRIES):
            at = (first + attempt) % len(self._services)
            if attempt == 0 and luck < shape.lost:
                self.proxies[at].arm()
                code, trip = await self._send(self._cut[at], method, request)
            elif attempt == 0 and luck < shape.lost + shape.given_up:
                code, trip = await self._give_up(at, method, request, rng)
            elif attempt == 0 and luck < shape.lost + shape.given_up + shape.doubled:
                sent = [self._send(rng.choice(lanes), method, request) for lanes in self._direct]
                answers = await asyncio.gather(*sent)
                code, trip = next((a for a in answers if a[1] is not None), answers[0])
            else:
                code, trip = await self._send(rng.choice(self._direct[at]), method, request)
            if code not in OPEN_CODES:
                return trip
            await asyncio.sleep(rng.uniform(0.005, 0.04))
        raise AssertionError(f"{method} was not answered in {TRIES} sendings, last {code.name}")

    async def _send(self, stub: Any, method: str, request: Any) -> tuple[Any, Any]:
        rpc = getattr(stub, method)(request, timeout=10)
        code, trip = await self.recorder.call(method, rpc, request)
        if code in DEFECTS:
            self.defects.append(f"{method}: {code.name} {self.recorder.calls[-1].detail}")
        return code, trip

    async def _give_up(
        self, at: int, method: str, request: Any, rng: random.Random
    ) -> tuple[Any, Any]:
        """Send, and stop listening a moment later."""
        rpc = getattr(rng.choice(self._direct[at]), method)(request, timeout=10)
        asyncio.get_running_loop().call_later(rng.uniform(0, 0.01), rpc.cancel)
        return await self.recorder.call(method, rpc, request)
