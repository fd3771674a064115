"""
An in-process cache in front of something slow: bounded, never a storm, never backwards.

    get ──fresh──────────────────────────────► the value
     ├──fresh, but early expiry or ──────────► the value, and one load behind the caller's back
     │  refresh-ahead says so
     ├──over, or never seen ──one load a key──► the value, or that there is none
     └──over, and the load fails ─within──────► the old value; later, the load's error
                                 stale_seconds

A load belongs to no caller: it runs in a task of its own, without the deadline
of the call that began it, and callers only wait for it. So one who leaves takes
nobody along, and a burst of misses is one load. The load itself must be bounded
in time.

Early expiry is XFetch: a caller takes the entry for expired `-load_time * beta *
ln(random)` before its end (A. Vattani, F. Chierichetti, K. Lowenstein: Optimal
Probabilistic Cache Stampede Prevention, VLDB 2015). Processes that loaded at one
moment so do not load again at one moment, and what loads slowly loads earlier.
"""

import asyncio
import contextvars
import math
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import RetryableError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Randomness(Protocol):
    """The part of random.Random that a cache uses."""

    def random(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Versioned(Generic[V]):
    """A value, and a number that grows with each change of it at its source."""

    value: V
    version: int


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """
    How long a cache believes what it was told.

    Attributes:
        size: entries; the least recently used one goes.
        ttl_seconds: how long a value is fresh.
        jitter: share of the time by which an entry may end sooner, drawn for
            each, so that what was loaded together is not loaded together again.
        absent_seconds: the same as `ttl_seconds` for "there is none".
        beta: of XFetch; 1 is the paper's optimum, more is earlier, 0 is never.
        refresh_ahead: share of the time before its end in which a read entry is
            loaded anew behind the reader's back; 0 is never.
        stale_seconds: how long after its end a value still serves when it
            cannot be loaded because the source is away.
    """

    size: int
    ttl_seconds: float
    jitter: float = 0.1
    absent_seconds: float = 0.0
    beta: float = 1.0
    refresh_ahead: float = 0.0
    stale_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    """What the source said; `found` None is that there is none."""

    found: Versioned[V] | None
    load_seconds: float
    refresh_at: float
    expires_at: float


class CacheMetrics:
    """The metrics of all caches of a process; one instance for a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reads = Counter(
            "hailstorm_cache_reads",
            "Reads: hit, absent (known not to be there), miss, stale (the source was away).",
            ("cache", "outcome"),
            registry=registry,
        )
        self.loads = Counter(
            "hailstorm_cache_loads",
            "Loads from the source: ok, absent, outdated (older than what is here), error.",
            ("cache", "outcome"),
            registry=registry,
        )
        self.entries = Gauge(
            "hailstorm_cache_entries", "Entries held.", ("cache",), registry=registry
        )


class Cache(Generic[K, V]):
    """
    Remembers what `load` finds for a key; None is that there is nothing.

    For one event loop, and any number of tasks. `name` tells it from others in
    the metrics.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[K], Awaitable[Versioned[V] | None]],
        policy: CachePolicy,
        clock: Clock,
        metrics: CacheMetrics,
        randomness: Randomness | None = None,
    ) -> None:
        self._load = load
        self._policy = policy
        self._clock = clock
        self._random = randomness or random.Random()
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._flights: dict[K, asyncio.Task[_Entry[V]]] = {}
        # All from the start, and looked up once: a hit is a microsecond.
        self._reads = {
            outcome: metrics.reads.labels(cache=name, outcome=outcome)
            for outcome in ("hit", "absent", "miss", "stale")
        }
        self._loads = {
            outcome: metrics.loads.labels(cache=name, outcome=outcome)
            for outcome in ("ok", "absent", "outdated", "error")
        }
        metrics.entries.labels(cache=name).set_function(lambda: len(self._entries))

    async def get(self, key: K) -> V | None:
        """
        The value for `key`, or None where the source has none.

        Raises what `load` raised, unless a value that is not too old can stand in.
        """
        entry = self._entries.get(key)
        now = self._clock.monotonic()
        if entry is not None and now < entry.expires_at:
            self._entries.move_to_end(key)
            self._reads["hit" if entry.found else "absent"].inc()
            if self._is_early(entry, now):
                # A failure shows when the entry is over; until then nobody needs it.
                self._fly(key)
            return _value(entry)
        try:
            # The load goes on for the others when this caller is cancelled.
            loaded = await asyncio.shield(self._fly(key))
        except RetryableError:
            late = self._clock.monotonic() - (entry.expires_at if entry else 0.0)
            if entry is None or entry.found is None or late >= self._policy.stale_seconds:
                raise
            self._reads["stale"].inc()
            return _value(entry)
        self._reads["miss"].inc()
        return _value(loaded)

    def put(self, key: K, found: Versioned[V]) -> None:
        """
        Remember what was just written to the source, unless something newer is here.

        A load that is under way may have read what was there before, and is not kept.
        """
        self._flights.pop(key, None)
        self._keep(key, found, 0.0)

    def forget(self, key: K) -> None:
        """Ask the source at the next read; a load that is under way is not kept."""
        self._flights.pop(key, None)
        self._entries.pop(key, None)

    def _is_early(self, entry: _Entry[V], now: float) -> bool:
        if now >= entry.refresh_at:
            return True
        # 1 - random is in (0, 1], whose logarithm exists.
        early = -entry.load_seconds * self._policy.beta * math.log(1.0 - self._random.random())
        return now + early >= entry.expires_at

    def _fly(self, key: K) -> "asyncio.Task[_Entry[V]]":
        """The load of `key` that is under way; begins one if none is."""
        flight = self._flights.get(key)
        if flight is None:
            # An empty context: the load must not inherit its first caller's deadline.
            flight = asyncio.create_task(self._fetch(key), context=contextvars.Context())
            self._flights[key] = flight
            flight.add_done_callback(lambda ended: self._land(key, ended))
        return flight

    async def _fetch(self, key: K) -> _Entry[V]:
        began = self._clock.monotonic()
        try:
            found = await self._load(key)
        except Exception:
            self._loads["error"].inc()
            raise
        load_seconds = self._clock.monotonic() - began
        if self._flights.get(key) is not asyncio.current_task():
            # Overtaken by `put` or `forget`; who waited for it asked before that.
            self._loads["outdated"].inc()
            return self._entry(found, load_seconds)
        return self._keep(key, found, load_seconds)

    def _land(self, key: K, flight: "asyncio.Task[_Entry[V]]") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            # Looked at: a failure that nobody waits for is not asyncio's to report.
            flight.exception()

    def _keep(self, key: K, found: Versioned[V] | None, load_seconds: float) -> _Entry[V]:
        """Remember it, and return it, or what is here if that is newer and not over."""
        known = self._entries.get(key)
        is_newer = (
            known is not None
            and known.found is not None
            and found is not None
            and known.found.version > found.version
            # Beyond its end the source is right: it may have begun to count anew.
            and self._clock.monotonic() < known.expires_at
        )
        if is_newer and known is not None:
            self._loads["outdated"].inc()
            return known
        self._loads["ok" if found else "absent"].inc()
        entry = self._entry(found, load_seconds)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._policy.size:
            self._entries.popitem(last=False)
        return entry

    def _entry(self, found: Versioned[V] | None, load_seconds: float) -> _Entry[V]:
        p = self._policy
        lasting = p.ttl_seconds if found else p.absent_seconds
        lasting *= 1.0 - p.jitter * self._random.random()
        expires_at = self._clock.monotonic() + lasting
        return _Entry(found, load_seconds, expires_at - lasting * p.refresh_ahead, expires_at)


def _value(entry: _Entry[V]) -> V | None:
    return None if entry.found is None else entry.found.value
