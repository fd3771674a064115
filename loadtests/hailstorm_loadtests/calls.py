"""
One call through the edge, timed from the moment it was due, written down.

A call is a future, and no call blocks for its answer in gRPC: with gevent such a wait takes
one of ten threads of a pool for as long as it lasts, and whoever comes after the tenth learns
of an answer that is long there only when one of them ends (docs/decisions/generator-waits.md).

The channel is one for the whole process: channels of equal target share one
connection anyway, and round_robin over the edge's addresses only works on
connections that are really several. Retries are the edge's business, so what
fails here has failed for the user. `init_gevent` must have run before.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any, Final

import grpc

from hailstorm.dispatch.v1 import dispatch_pb2_grpc
from hailstorm.location.v1 import location_pb2_grpc
from hailstorm.trip.v1 import trip_pb2_grpc
from hailstorm_loadtests.history import Call, outcome_of

# Measured set: a removed address is noticed within a second, and a backoff
# never outlasts an outage by more than one. Pings are slower than that set's:
# on two cores that do everything, an edge that waits a second for its turn was
# taken for dead, and the calls on it were lost by their caller.
CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}'),
    ("grpc.enable_retries", 0),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.ping_timeout_ms", 5000),
    ("grpc.http2.max_pings_without_data", 0),
)
UPSTREAM_HEADER: Final = "x-hailstorm-upstream"
ATTEMPTS_HEADER: Final = "x-envoy-attempt-count"
# Long enough to see what an edge or a service says, short enough for a line.
DETAIL_CHARACTERS: Final = 200

# The epoch moves when somebody sets the clock; differences must not.
_EPOCH: Final = time.time() - time.monotonic()


def now() -> float:
    """Epoch seconds that never jump within this process."""
    return _EPOCH + time.monotonic()


@dataclass(frozen=True)
class Subject:
    """What a call is about, for its line of history."""

    key: str | None = None
    trip_id: str | None = None
    rider_id: str | None = None
    driver_id: str | None = None


@dataclass(frozen=True)
class Answer:
    """What came back: a message when the code is OK, and the line already written."""

    message: Any
    call: Call

    @property
    def is_ok(self) -> bool:
        """Whether there is a message to read."""
        return self.message is not None


# Reads state, version and ids out of an answer into its line; may turn an
# answer that breaks a promise into a failure.
Reader = Callable[[Call, Any], None]


class Caller:
    """Makes calls on one channel; `record` gets every line, whatever happened."""

    def __init__(self, address: str, record: Callable[[Call], None]) -> None:
        self._channel = grpc.insecure_channel(address, options=list(CHANNEL_OPTIONS))
        self._record = record
        dispatch = dispatch_pb2_grpc.DispatchServiceStub(self._channel)
        location = location_pb2_grpc.LocationServiceStub(self._channel)
        trip = trip_pb2_grpc.TripServiceStub(self._channel)
        self._methods: dict[str, Any] = {
            "RequestTrip": dispatch.RequestTrip,
            "WatchOffers": dispatch.WatchOffers,
            "AcceptOffer": dispatch.AcceptOffer,
            "DeclineOffer": dispatch.DeclineOffer,
            "ReportPositions": location.ReportPositions,
            "NearbyDrivers": location.NearbyDrivers,
            "ApproachPickup": trip.ApproachPickup,
            "StartTrip": trip.StartTrip,
            "CompleteTrip": trip.CompleteTrip,
            "CancelTrip": trip.CancelTrip,
            "GetTrip": trip.GetTrip,
            "WatchTrip": trip.WatchTrip,
        }

    def call(
        self,
        method: str,
        request: Any,
        intended: float,
        deadline_seconds: float,
        subject: Subject,
        read: Reader | None = None,
        also_answers: Set[str] = frozenset(),
    ) -> Answer:
        """
        Make a unary call and write its line. Never raises for what a server did.

        `also_answers` names codes that are an answer of the business, besides OK.
        """
        request_id = str(uuid.uuid4())
        is_over = threading.Event()
        started = now()
        rpc = self._methods[method].future(
            request, timeout=deadline_seconds, metadata=(("x-request-id", request_id),)
        )
        rpc.add_done_callback(lambda _: is_over.set())
        is_over.wait()
        ended = now()
        message = rpc.result() if rpc.code() is grpc.StatusCode.OK else None
        line = _line(method, intended, started, ended, request_id, subject, rpc)
        line.deadline = deadline_seconds
        if line.code in also_answers:
            line.outcome = "ok"
        if message is not None and read is not None:
            read(line, message)
        self._record(line)
        return Answer(message, line)

    def stream(
        self, method: str, request: Any, intended: float, deadline_seconds: float, subject: Subject
    ) -> "Stream":
        """Open a server stream; its line is written when it ends."""
        request_id = str(uuid.uuid4())
        started = now()
        rpc = self._methods[method](
            request, timeout=deadline_seconds, metadata=(("x-request-id", request_id),)
        )
        return Stream(method, rpc, intended, started, request_id, subject, self._record)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class Stream:
    """A server stream: iterate it to its end, then `line` tells how it went."""

    def __init__(
        self,
        method: str,
        rpc: Any,
        intended: float,
        started: float,
        request_id: str,
        subject: Subject,
        record: Callable[[Call], None],
    ) -> None:
        self._method, self._rpc, self._record = method, rpc, record
        self._intended, self._started = intended, started
        self._request_id, self._subject = request_id, subject
        self._was_cancelled = False

    def events(self) -> Iterator[Any]:
        """The stream's messages; a broken stream simply ends."""
        try:
            yield from self._rpc
        except grpc.RpcError:
            return

    def cancel(self) -> None:
        """End it from this side, for instance when the run is over."""
        self._was_cancelled = True
        self._rpc.cancel()

    def finish(self, read: Callable[[Call], None]) -> Call:
        """Write the line, after `read` has put in what the stream brought."""
        line = _line(
            self._method,
            self._intended,
            self._started,
            now(),
            self._request_id,
            self._subject,
            self._rpc,
        )
        if self._was_cancelled and line.code == "CANCELLED":
            line.outcome, line.detail = "ok", "ended by the caller"
        read(line)
        self._record(line)
        return line


def _line(
    method: str,
    intended: float,
    started: float,
    ended: float,
    request_id: str,
    subject: Subject,
    rpc: Any,
) -> Call:
    code = rpc.code().name
    headers = _headers(rpc)
    attempts = headers.get(ATTEMPTS_HEADER, "")
    upstream = headers.get(UPSTREAM_HEADER, "")
    return Call(
        intended=intended,
        started=started,
        ended=ended,
        method=method,
        code=code,
        outcome=outcome_of(code),
        # The edge writes "-" when it had no host to send to.
        upstream=upstream if ":" in upstream else None,
        attempts=int(attempts) if attempts.isdigit() else None,
        request_id=request_id,
        key=subject.key,
        trip_id=subject.trip_id,
        rider_id=subject.rider_id,
        driver_id=subject.driver_id,
        detail=None if code == "OK" else (rpc.details() or "")[:DETAIL_CHARACTERS],
    )


def _headers(rpc: Any) -> dict[str, str]:
    """Leading and trailing metadata in one: an error may come with trailers alone."""
    found: dict[str, str] = {}
    for metadata in (rpc.initial_metadata(), rpc.trailing_metadata()):
        for key, value in metadata or ():
            if isinstance(value, str):
                found[key] = value
    return found
