"""What the interceptor does before a handler runs, without a server."""

import gc
import weakref
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from hailstorm.runtime.admission import Admission
from hailstorm.runtime.calls import outgoing_metadata, remaining_seconds
from hailstorm.runtime.errors import FieldViolation, InvalidArgumentError
from hailstorm.runtime.interceptor import LEAST_SECONDS, ServerInterceptor
from hailstorm.runtime.limits import FixedLimit
from hailstorm.runtime.pace import Pace
from hailstorm.runtime.priority import Priority
from hailstorm.runtime.process import RehearsalSettings
from hailstorm.runtime.rehearsal import Rehearsal
from hailstorm.runtime.telemetry import ServerMetrics


class Aborted(Exception):
    """What grpc.aio raises out of abort()."""


@dataclass
class Context:
    """The part of a servicer context that the interceptor asks."""

    remaining: float | None
    metadata: tuple[tuple[str, str], ...] = ()
    aborted: list[grpc.StatusCode] = field(default_factory=list)
    trailers: dict[str, Any] = field(default_factory=dict)

    def time_remaining(self) -> float | None:
        return self.remaining

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    def code(self) -> None:
        return None

    def cancelled(self) -> bool:
        return False

    async def abort(self, code: grpc.StatusCode, details: str, trailers: Any) -> None:
        self.aborted.append(code)
        self.trailers.update(trailers)
        raise Aborted


@dataclass(frozen=True)
class Details:
    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class Harness:
    """One method called `/a.B/C`, which notes what it saw."""

    def __init__(
        self,
        clock: Any,
        max_concurrent: int = 1,
        priority: Priority = Priority.CRITICAL,
        rehearsal: Rehearsal | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self.admission = Admission(clock, max_concurrent, max_streams=1, pace=pace)
        self.seen: list[Any] = []
        self.interceptor = ServerInterceptor(
            self.admission, ServerMetrics(self.registry), {"/a.B/C": priority}, rehearsal
        )

    async def intercept(self, continuation: Any, details: Details) -> Any:
        """What grpc.aio asks before it reads the request."""
        return await self.interceptor.intercept_service(continuation, details)

    async def call(self, context: Context, method: str = "/a.B/C") -> Any:
        async def handle(request: bytes, _: Any) -> bytes:
            self.seen.append((request, outgoing_metadata(), remaining_seconds(9)))
            return b"answer"

        async def continuation(_: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(handle, bytes, bytes)

        details = Details(method, context.metadata)
        handler = await self.interceptor.intercept_service(continuation, details)
        # A call that is refused at the door is not read, as if it were a stream.
        behaviour = handler.unary_unary or handler.stream_unary
        return await behaviour(b"request", context)

    def value(self, metric: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(metric, {"method": "/a.B/C", **labels})


@pytest.fixture
def harness(clock: Any) -> Harness:
    return Harness(clock)


async def test_call_that_came_too_late_is_dropped_and_counted(harness: Harness) -> None:
    context = Context(remaining=0.0)
    with pytest.raises(Aborted):
        await harness.call(context)
    assert context.aborted == [grpc.StatusCode.DEADLINE_EXCEEDED]
    assert harness.seen == []
    assert harness.admission.is_idle
    assert harness.value("hailstorm_grpc_server_expired_total") == 1
    handled = harness.value("hailstorm_grpc_server_handled_total", code="DEADLINE_EXCEEDED")
    assert handled == 1


async def test_call_that_cannot_be_answered_in_time_is_dropped(harness: Harness) -> None:
    with pytest.raises(Aborted):
        await harness.call(Context(remaining=LEAST_SECONDS))
    assert harness.seen == []
    assert await harness.call(Context(remaining=LEAST_SECONDS * 2)) == b"answer"


async def test_a_beginning_ends_once_and_says_whether_it_was_answered(clock: Any) -> None:
    ended = []

    class Noting(Pace):
        def end(self, ticket: int, *, answered: bool) -> None:
            super().end(ticket, answered=answered)
            ended.append(answered)

    pace = Noting(clock, FixedLimit(4), tolerated_seconds=1.0)
    harness = Harness(clock, max_concurrent=10, priority=Priority.NORMAL, pace=pace)
    assert await harness.call(Context(remaining=5.0)) == b"answer"
    with pytest.raises(Aborted):
        await harness.call(Context(remaining=0.0))
    assert ended == [True, False]
    assert pace.in_flight == 0


async def test_class_of_the_call_goes_before_that_of_its_method(clock: Any) -> None:
    harness = Harness(clock, max_concurrent=10, priority=Priority.NORMAL)
    for _ in range(8):
        harness.admission.enter(is_stream=False)
    # Of ten places eight are for NORMAL, which the method is.
    refused = Context(remaining=5.0)
    with pytest.raises(Aborted):
        await harness.call(refused)
    assert refused.aborted == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    important = Context(remaining=5.0, metadata=(("x-hailstorm-priority", "critical"),))
    assert await harness.call(important) == b"answer"
    ((_, metadata, _),) = harness.seen
    assert ("x-hailstorm-priority", "critical") in metadata
    nonsense = Context(remaining=5.0, metadata=(("x-hailstorm-priority", "utmost"),))
    with pytest.raises(Aborted):
        await harness.call(nonsense)
    assert harness.value("hailstorm_grpc_server_shed_total", priority="normal") == 2
    assert harness.value("hailstorm_grpc_server_shed_total", priority="critical") == 0


async def test_house_that_fills_while_a_request_is_read_refuses_it_again(
    harness: Harness,
) -> None:
    async def continuation(_: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(None, bytes, bytes)

    context = Context(remaining=5.0)
    handler = await harness.intercept(continuation, Details("/a.B/C"))
    harness.admission.enter(is_stream=False)
    with pytest.raises(Aborted):
        await handler.unary_unary(b"request", context)
    assert context.aborted == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert harness.admission.unary_in_flight == 1
    assert harness.value("hailstorm_grpc_server_shed_total", priority="critical") == 1


async def test_knock_is_answered_at_the_door_and_is_nobodys_call(harness: Harness) -> None:
    token = harness.interceptor.expect_knocks("sesame")
    await harness.call(Context(remaining=5.0))
    assert harness.interceptor.take_called() == {"/a.B/C"}
    harness.admission.enter(is_stream=False)
    knock = Context(remaining=5.0, metadata=(("x-hailstorm-knock", token),))
    assert await harness.call(knock) == b""
    assert harness.interceptor.take_called() == set()
    # Who does not know the word is refused like everybody else.
    stranger = Context(remaining=5.0, metadata=(("x-hailstorm-knock", "open"),))
    with pytest.raises(Aborted):
        await harness.call(stranger)
    assert len(harness.seen) == 1


async def test_more_refusals_tell_callers_to_come_later(clock: Any) -> None:
    harness = Harness(clock, max_concurrent=10, priority=Priority.NORMAL)

    async def pushback_ms() -> int:
        context = Context(remaining=5.0)
        with pytest.raises(Aborted):
            await harness.call(context)
        return int(context.trailers["grpc-retry-pushback-ms"])

    for _ in range(10):
        harness.admission.enter(is_stream=False)
    first = await pushback_ms()
    for _ in range(30):
        # All of this class are refused, for three seconds.
        await pushback_ms()
        harness.admission.observe(0.0)
    # Spread by half to either side, so that one of 0.1 s is never above 0.15 s.
    assert first <= 150
    assert await pushback_ms() >= 1000
    # And earlier again when there is room.
    for _ in range(10):
        harness.admission.leave(is_stream=False)
    for _ in range(30):
        await harness.call(Context(remaining=5.0))
        harness.admission.observe(0.0)
    for _ in range(10):
        harness.admission.enter(is_stream=False)
    assert await pushback_ms() <= 170


async def test_handler_sees_the_callers_id_and_time(harness: Harness) -> None:
    context = Context(remaining=5.0, metadata=(("x-request-id", "r-1"),))
    assert await harness.call(context) == b"answer"
    ((request, metadata, seconds),) = harness.seen
    assert request == b"request"
    assert metadata == (("x-request-id", "r-1"), ("x-hailstorm-priority", "critical"))
    assert 4 < seconds <= 5
    assert harness.value("hailstorm_grpc_server_handled_total", code="OK") == 1
    assert harness.value("hailstorm_grpc_server_seconds_count") == 1


async def test_health_is_neither_counted_nor_kept_out(harness: Harness) -> None:
    harness.admission.enter(is_stream=False)
    method = "/grpc.health.v1.Health/Check"
    assert await harness.call(Context(remaining=None), method) == b"answer"
    assert harness.admission.unary_in_flight == 1
    assert harness.value("hailstorm_grpc_server_handled_total", code="OK") is None


async def test_method_that_streams_requests_is_a_defect(clock: Any) -> None:
    registry = CollectorRegistry()
    interceptor = ServerInterceptor(Admission(clock, 1, 1), ServerMetrics(registry))

    async def continuation(_: Any) -> Any:
        return grpc.stream_unary_rpc_method_handler(lambda *_: None)

    with pytest.raises(TypeError, match="streams of requests"):
        await interceptor.intercept_service(continuation, Details("/a.B/C"))


async def test_refused_request_is_let_go_before_the_caller_is_told(clock: Any) -> None:
    """Errors, frames and calls know each other: only garbage collection would free it."""

    class Request:
        pass

    seen: list[weakref.ref[Request]] = []
    kept: list[Request | None] = []

    class Telling(Context):
        async def abort(self, code: grpc.StatusCode, details: str, trailers: Any) -> None:
            kept.append(seen[0]())
            await super().abort(code, details, trailers)

    def parse(_: bytes) -> Request:
        request = Request()
        seen.append(weakref.ref(request))
        return request

    async def handle(request: Request, _: Any) -> None:
        try:
            raise ValueError(request)
        except ValueError as error:
            raise InvalidArgumentError([FieldViolation("items", "are too many")]) from error

    async def continuation(_: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(handle, parse, bytes)

    interceptor = ServerInterceptor(Admission(clock, 1, 1), ServerMetrics(CollectorRegistry()))
    handler = await interceptor.intercept_service(continuation, Details("/a.B/C"))
    context = Telling(remaining=None)
    gc.disable()
    try:
        with pytest.raises(Aborted):
            await handler.unary_unary(b"", context)
    finally:
        gc.enable()
    assert context.aborted == [grpc.StatusCode.INVALID_ARGUMENT]
    assert kept == [None]


async def test_rehearsed_failure_is_answered_and_counted_and_is_no_defect(clock: Any) -> None:
    rehearsal = Rehearsal(RehearsalSettings(fail_share=1.0), clock, "pod")
    harness = Harness(clock, rehearsal=rehearsal)
    context = Context(remaining=1.0)
    with pytest.raises(Aborted):
        await harness.call(context)
    assert context.aborted == [grpc.StatusCode.INTERNAL]
    assert harness.seen == [], "a call that fails on purpose has no effect"
    assert harness.admission.is_idle
    assert harness.value("hailstorm_grpc_server_handled_total", code="INTERNAL") == 1
    assert not harness.value("hailstorm_grpc_server_unexpected_total")


async def test_rehearsal_leaves_health_checks_alone(clock: Any) -> None:
    rehearsal = Rehearsal(RehearsalSettings(fail_share=1.0), clock, "pod")
    harness = Harness(clock, rehearsal=rehearsal)
    assert await harness.call(Context(remaining=1.0), "/grpc.health.v1.Health/Check") == b"answer"
