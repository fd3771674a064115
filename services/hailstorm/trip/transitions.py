"""
Every change of a trip: read, decide, write if nothing changed in between.

The decision is made on a snapshot without any lock, and stored only if the
trip is still at the version decided upon; otherwise it is made anew. The
answer goes to the store with the effect, so a repeated call finds it, on
whichever server it arrives, even when the first reply was lost.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import UnavailableError
from hailstorm.trip import trips
from hailstorm.trip.errors import KeyReusedError, OfferNotFoundError, TripNotFoundError
from hailstorm.trip.ids import new_trip_id
from hailstorm.trip.repository import reads, writes
from hailstorm.trip.repository.database import Database
from hailstorm.trip.repository.reads import Snapshot, Stored
from hailstorm.trip.repository.together import Together
from hailstorm.trip.repository.writes import Key, Written
from hailstorm.trip.states import Move, State
from hailstorm.trip.trips import Answer, Place, Trip

# Changes of one trip by others that a call outlasts. Only a handful of parties
# know a trip, so a tenth defeat means a defect rather than bad luck.
MAX_ATTEMPTS: Final = 10


class ContendedError(UnavailableError):
    """Others changed the trip each time we tried. The same call may be repeated."""

    reason = "TRIP_CONTENDED"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a rider asks for."""

    city_id: str
    rider_id: str
    pickup: Place
    dropoff: Place
    surge_multiplier: float
    quote_id: str | None


# What a decision makes of a trip: its next versions, or none to answer it as it stands.
Decision = Callable[[Trip, dt.datetime], Sequence[Trip]]


class Transitions:
    """
    The changes of trips. Safe for any number of callers at once.

    Methods return bytes: the stored answer, as `encode` made it of the trip.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        registry: CollectorRegistry,
        encode: Callable[[Trip], bytes],
    ) -> None:
        self._database = database
        self._snapshots = Together[reads.Asked, Any](partial(reads.snapshots, database))
        self._advances = Together[writes.Change, Written](self._store_many)
        self._clock = clock
        self._encode = encode
        self._listeners: list[Callable[[Trip], None]] = []
        counter = Counter(
            "hailstorm_trip_transitions",
            "Changes stored, by new state.",
            ("to",),
            registry=registry,
        )
        # All of them from the start: a series that appears late looks like a jump.
        self._counters = {state: counter.labels(to=state.value) for state in State}

    def on_change(self, listener: Callable[[Trip], None]) -> None:
        """Call `listener` with each trip that this process has changed."""
        self._listeners.append(listener)

    def stored(self, changed: Trip) -> None:
        """Count a change that is in the store, and tell the listeners."""
        self._counters[changed.state].inc()
        for listener in self._listeners:
            listener(changed)

    async def close(self) -> None:
        """End what is being asked of the store."""
        await self._snapshots.close()
        await self._advances.close()

    async def create(self, wish: Wish, key: Key) -> Trip:
        """
        Put the request on record, once for each key; the trip as it stands now.

        Raises KeyReusedError.
        """
        request = writes.Request(
            city_id=wish.city_id,
            trip_id=new_trip_id(self._clock.now()),
            rider_id=wish.rider_id,
            pickup=wish.pickup,
            dropoff=wish.dropoff,
            surge_multiplier=wish.surge_multiplier,
            quote_id=wish.quote_id,
        )
        created_at = await writes.create(self._database, request, key)
        if created_at is None:
            known = await self.created(wish.city_id, key)
            # It may be forgotten in this very moment, a day after; then it is new again.
            if known is None:
                raise ContendedError("the idempotency_key was forgotten just now; repeat the call")
            return known
        trip = Trip(
            city_id=request.city_id,
            trip_id=request.trip_id,
            rider_id=request.rider_id,
            pickup=request.pickup,
            dropoff=request.dropoff,
            surge_multiplier=request.surge_multiplier,
            quote_id=request.quote_id,
            requested_at=created_at,
            state=State.REQUESTED,
            version=1,
            move=Move.REQUEST,
            updated_at=created_at,
        )
        self.stored(trip)
        return trip

    async def created(self, city_id: str, key: Key) -> Trip | None:
        """The trip that an earlier call with the key made, if any. Raises KeyReusedError."""
        known = await reads.stored(self._database, city_id, key)
        if known is None:
            return None
        _check(known, key)
        return await self.current(city_id, known.trip_id)

    async def current(self, city_id: str, trip_id: str) -> Trip:
        """
        The trip as it stands. Raises TripNotFoundError.

        An offer whose time is over is taken back first: nobody is shown one.
        """
        for _ in range(MAX_ATTEMPTS):
            snapshot = await self._snapshot(city_id, trip_id, None)
            trip = _found(snapshot, city_id, trip_id)
            if not trip.is_offer_over(snapshot.now):
                return trip
            await self._expire(trip, snapshot.now)
        raise ContendedError(f"trip {trip_id} changes too fast to be read")

    async def change(self, city_id: str, trip_id: str, key: Key, decide: Decision) -> bytes:
        """
        Store what `decide` makes of the trip, and the answer to `key`.

        Raises TripNotFoundError, KeyReusedError, ContendedError and what
        `decide` raises; a refused decision leaves the key unused.
        """
        for _ in range(MAX_ATTEMPTS):
            snapshot = await self._snapshot(city_id, trip_id, key)
            if snapshot.stored is not None:
                return await self._repeat(snapshot.stored, city_id, key)
            trip = _found(snapshot, city_id, trip_id)
            if trip.is_offer_over(snapshot.now):
                await self._expire(trip, snapshot.now)
                continue
            after = decide(trip, snapshot.now)
            if not after:
                return self._encode(trip)
            answer = self._encode(after[-1])
            if await self._advance(trip, after, key, answer) is Written.DONE:
                return answer
        raise ContendedError(f"trip {trip_id} was changed by others each time")

    async def offer(
        self,
        city_id: str,
        trip_id: str,
        driver_ids: Sequence[str],
        ttl: dt.timedelta,
        auto_accept: bool,
        key: Key,
    ) -> bytes:
        """
        Bind the first free driver to the trip, once.

        With none free the trip is answered as it stands, and the key stays
        unused: an attempt that bound nobody may be made again. Errors as for
        `change`; WrongStateError when the trip is not REQUESTED.
        """
        for _ in range(MAX_ATTEMPTS):
            snapshot = await self._snapshot(city_id, trip_id, key)
            if snapshot.stored is not None:
                return await self._repeat(snapshot.stored, city_id, key)
            trip = _found(snapshot, city_id, trip_id)
            if trip.is_offer_over(snapshot.now):
                await self._expire(trip, snapshot.now)
                continue
            # Refuses a trip in another state before any driver is looked at.
            trips.moved(trip, Move.OFFER, snapshot.now)
            candidates = list(dict.fromkeys(driver_ids))
            answer = await self._bind(trip, candidates, ttl, auto_accept, key, snapshot.now)
            if answer is not None:
                return answer
        raise ContendedError(f"trip {trip_id} was changed by others each time")

    async def answer(self, city_id: str, answer: Answer, key: Key) -> bytes:
        """A driver's yes or no. Raises OfferNotFoundError, OfferOverError, and as `change`."""
        trip_id, version = trips.parse_offer_id(answer.offer_id, answer.driver_id)
        made, following = await reads.offer_history(self._database, city_id, trip_id, version)
        if made is None:
            raise OfferNotFoundError(answer.offer_id, answer.driver_id)

        def decide(trip: Trip, now: dt.datetime) -> Sequence[Trip]:
            after = trips.decide_answer(trip, made, following, answer, now)
            return () if after is trip else (after,)

        return await self.change(city_id, trip_id, key, decide)

    async def _bind(
        self,
        trip: Trip,
        candidates: list[str],
        ttl: dt.timedelta,
        auto_accept: bool,
        key: Key,
        now: dt.datetime,
    ) -> bytes | None:
        """The answer to `key`; None when the trip or the key are no longer what they were."""
        while True:
            driver_id, candidates = await self._first_free(trip.city_id, candidates, now)
            if driver_id is None:
                return self._encode(trip)
            after = [trips.decide_offer(trip, driver_id, ttl, now)]
            if auto_accept:
                after.append(trips.moved(after[0], Move.ACCEPT, now))
            answer = self._encode(after[-1])
            written = await self._advance(trip, after, key, answer)
            if written is Written.DONE:
                return answer
            # Another trip was faster with this driver: on to the next one.
            if written is not Written.DRIVER_TAKEN:
                return None

    async def _first_free(
        self, city_id: str, candidates: list[str], now: dt.datetime
    ) -> tuple[str | None, list[str]]:
        """The first candidate whom no trip holds, and those behind; (None, []) without one."""
        if not candidates:
            return None, []
        held = await reads.held(self._database, city_id, candidates)
        for place, driver_id in enumerate(candidates):
            holding = held.get(driver_id)
            if holding is not None and not holding.is_offer_over(now):
                continue
            if holding is not None:
                # The index does not know the time: take the old offer back first.
                await self._expire(holding, now)
            return driver_id, candidates[place + 1 :]
        return None, []

    async def _expire(self, trip: Trip, now: dt.datetime) -> None:
        """Take an expired offer back, unless somebody else was faster."""
        await self._advance(trip, [trips.moved(trip, Move.EXPIRE, now)], None, None)

    async def _snapshot(self, city_id: str, trip_id: str, key: Key | None) -> Snapshot:
        asked = reads.Asked(city_id, trip_id, key)
        row = await self._snapshots.ask(asked)
        if row is None:
            row = await reads.snapshot(self._database, asked)
        # Here and not for all: a row that cannot be read is this call's trouble alone.
        return reads.snapshot_of(row)

    async def _advance(
        self, before: Trip, after: Sequence[Trip], key: Key | None, answer: bytes | None
    ) -> Written:
        change = writes.Change(before, after, key, answer)
        if change.is_plain and (written := await self._advances.ask(change)) is not None:
            return written
        written = await writes.advance(self._database, change)
        if written is Written.DONE:
            self._tell(change)
        return written

    async def _store_many(self, changes: Sequence[writes.Change]) -> list[Written | None]:
        found = await writes.advances(self._database, changes)
        for change, written in zip(changes, found, strict=True):
            # Whether its caller still waits or not.
            if written is Written.DONE:
                self._tell(change)
        return found

    def _tell(self, change: writes.Change) -> None:
        for trip in change.after:
            self.stored(trip)

    async def _repeat(self, known: Stored, city_id: str, key: Key) -> bytes:
        _check(known, key)
        if known.response is not None:
            return known.response
        return self._encode(await self.current(city_id, known.trip_id))


def _check(known: Stored, key: Key) -> None:
    if known.request_hash != key.request_hash:
        raise KeyReusedError(key.key)


def _found(snapshot: Snapshot, city_id: str, trip_id: str) -> Trip:
    if snapshot.trip is None:
        raise TripNotFoundError(city_id, trip_id)
    return snapshot.trip
