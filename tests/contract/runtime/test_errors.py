"""Every way a call can go wrong, as the caller sees it on the wire."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from hailstorm.location.v1 import location_pb2
from hailstorm.runtime import errors

NEARBY = "/hailstorm.location.v1.LocationService/NearbyDrivers"

EVERY_ERROR = [
    errors.InvalidArgumentError([errors.FieldViolation("point.latitude", "is odd")]),
    errors.NotFoundError("no such trip"),
    errors.AlreadyExistsError("used for something else"),
    errors.PermissionDeniedError("somebody else's"),
    errors.FailedPreconditionError("not now", reason="OFFER_EXPIRED"),
    errors.AbortedError("moved on"),
    errors.UnimplementedError("not yet"),
    errors.DeadlineExceededError("too late"),
    errors.ResourceExhaustedError("full"),
    errors.UnavailableError("away"),
]


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def raising(error: BaseException) -> Any:
    async def nearby(request: Any, context: Any) -> Any:
        raise error

    return nearby


async def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The google.rpc details by their type, read with the library that callers use."""
    status = rpc_status.from_call(_Call(error))
    assert status is not None, "no details"
    found = {}
    for detail in status.details:
        kind = getattr(error_details_pb2, detail.type_url.rsplit(".", 1)[1])
        message = kind()
        assert detail.Unpack(message)
        found[detail.type_url.rsplit(".", 1)[1]] = message
    return found


class _Call:
    """rpc_status reads finished calls; an error of grpc.aio is one in other words."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self._error = error

    def trailing_metadata(self) -> Any:
        return list(self._error.trailing_metadata())

    def code(self) -> grpc.StatusCode:
        return self._error.code()

    def details(self) -> str | None:
        return self._error.details()


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
async def test_error_arrives_with_code_and_details(error: Any, running: Any) -> None:
    running.script.nearby = raising(error)
    seen = await refused(running.location.NearbyDrivers(location_pb2.NearbyDriversRequest()))
    assert (seen.code(), seen.details()) == (error.code, error.message)
    details = await details_of(seen)
    assert details["ErrorInfo"].reason == error.reason
    assert details["ErrorInfo"].domain == "hailstorm"
    is_retryable = isinstance(error, errors.RetryableError)
    assert ("RetryInfo" in details) is is_retryable
    assert ("grpc-retry-pushback-ms" in dict(seen.trailing_metadata())) is is_retryable
    if isinstance(error, errors.InvalidArgumentError):
        (violation,) = details["BadRequest"].field_violations
        assert (violation.field, violation.description) == ("point.latitude", "is odd")
    handled = running.value(
        "hailstorm_grpc_server_handled_total", method=NEARBY, code=error.code.name
    )
    assert handled == 1
    assert running.value("hailstorm_grpc_server_unexpected_total", method=NEARBY) == 0
    assert running.admission.is_idle


async def test_every_error_class_is_tried_above() -> None:
    def leaves(kind: type[Any]) -> set[type[Any]]:
        below = {k for k in kind.__subclasses__() if k.__module__ == errors.__name__}
        return set().union(*(leaves(each) for each in below)) if below else {kind}

    assert leaves(errors.ServiceError) == {type(error) for error in EVERY_ERROR}


async def test_unexpected_error_is_internal_counted_logged_and_told_nothing(
    running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    running.script.nearby = raising(ValueError("the password is hush"))
    seen = await refused(running.location.NearbyDrivers(location_pb2.NearbyDriversRequest()))
    assert seen.code() is grpc.StatusCode.INTERNAL
    assert "hush" not in (seen.details() or "")
    assert running.value("hailstorm_grpc_server_unexpected_total", method=NEARBY) == 1
    assert "the password is hush" in caplog.text


async def test_bytes_that_are_no_request_are_invalid(running: Any) -> None:
    raw = running.channel.unary_unary(NEARBY)
    # A broken varint, and a string that is not UTF-8.
    for bad in (b"\xff\xff\xff", b"\x0a\x02\xff\xfe"):
        seen = await refused(raw(bad))
        assert seen.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_answer_that_cannot_be_serialised_is_internal_and_counted(running: Any) -> None:
    async def nearby(request: Any, context: Any) -> Any:
        return None

    running.script.nearby = nearby
    seen = await refused(running.location.NearbyDrivers(location_pb2.NearbyDriversRequest()))
    assert seen.code() is grpc.StatusCode.INTERNAL
    assert running.value("hailstorm_grpc_server_unexpected_total", method=NEARBY) == 1


async def test_method_without_code_and_unknown_method_are_unimplemented(running: Any) -> None:
    seen = await refused(
        running.location.BatchGetPositions(location_pb2.BatchGetPositionsRequest())
    )
    assert seen.code() is grpc.StatusCode.UNIMPLEMENTED
    seen = await refused(running.channel.unary_unary("/hailstorm.location.v1.Nobody/Home")(b""))
    assert seen.code() is grpc.StatusCode.UNIMPLEMENTED
    # Names that callers invent must not become series.
    assert (
        running.registry.get_sample_value(
            "hailstorm_grpc_server_handled_total",
            {"method": "/hailstorm.location.v1.Nobody/Home", "code": "UNIMPLEMENTED"},
        )
        is None
    )


async def test_request_that_is_too_big_is_refused(running: Any) -> None:
    request = location_pb2.NearbyDriversRequest(city_id="x" * 100_000)
    seen = await refused(running.location.NearbyDrivers(request))
    assert seen.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_work_that_was_cancelled_inside_is_answered(running: Any) -> None:
    """grpc.aio takes it for the caller's own cancellation and never answers."""

    async def nearby(request: Any, context: Any) -> Any:
        shared = asyncio.ensure_future(asyncio.sleep(10))
        shared.cancel()
        return await shared

    running.script.nearby = nearby
    seen = await refused(
        running.location.NearbyDrivers(location_pb2.NearbyDriversRequest(), timeout=5)
    )
    assert seen.code() is grpc.StatusCode.UNAVAILABLE


async def test_failed_call_to_another_service_is_translated(running: Any) -> None:
    metadata = grpc.aio.Metadata()
    running.script.nearby = raising(
        grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, metadata, metadata, "gone")
    )
    seen = await refused(running.location.NearbyDrivers(location_pb2.NearbyDriversRequest()))
    assert seen.code() is grpc.StatusCode.UNAVAILABLE
    assert "RetryInfo" in await details_of(seen)
