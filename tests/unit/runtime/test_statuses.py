"""Errors as a caller sees them."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from hailstorm.runtime.errors import (
    NO_RETRY_KEY,
    PUSHBACK_KEY,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    ResourceExhaustedError,
    RetryableError,
    ServiceError,
    UnavailableError,
    error_from_rpc,
)
from hailstorm.runtime.statuses import (
    DETAILS_KEY,
    MAX_VIOLATIONS,
    reason_of,
    trailers_of,
)


def status_from(error: ServiceError) -> status_pb2.Status:
    return status_pb2.Status.FromString(dict(trailers_of(error))[DETAILS_KEY])


def test_error_info_carries_reason_domain_and_facts() -> None:
    error = FailedPreconditionError("gone", reason="OFFER_EXPIRED", metadata={"offer_id": "o-1"})
    status = status_from(error)
    assert (status.code, status.message) == (grpc.StatusCode.FAILED_PRECONDITION.value[0], "gone")
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "OFFER_EXPIRED",
        "hailstorm",
        {"offer_id": "o-1"},
    )


def test_reason_is_read_back_from_a_failed_call() -> None:
    class Failed:
        def __init__(self, trailers: object) -> None:
            self.trailing_metadata = lambda: trailers

    error = FailedPreconditionError("gone", reason="OFFER_EXPIRED")
    assert reason_of(Failed(trailers_of(error))) == "OFFER_EXPIRED"
    assert reason_of(Failed((("x", "y"),))) is None
    assert reason_of(Failed(None)) is None


def test_bad_request_names_every_field() -> None:
    error = InvalidArgumentError([FieldViolation("a", "is odd"), FieldViolation("b.c", "is even")])
    bad = error_details_pb2.BadRequest()
    assert status_from(error).details[1].Unpack(bad)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("a", "is odd"),
        ("b.c", "is even"),
    ]


def test_many_violations_still_fit_a_trailer() -> None:
    error = InvalidArgumentError(
        [FieldViolation(f"positions[{i}]" + "x" * 1000, "y" * 1000) for i in range(500)]
    )
    bad = error_details_pb2.BadRequest()
    status = status_from(error)
    assert status.details[1].Unpack(bad)
    assert len(bad.field_violations) == MAX_VIOLATIONS
    assert len(status.message) <= 600
    assert "and 497 more" in str(InvalidArgumentError([FieldViolation("f", "d")] * 500))


@pytest.mark.parametrize("kind", [UnavailableError, ResourceExhaustedError])
def test_retryable_errors_say_when_to_come_back(kind: type[RetryableError]) -> None:
    delays = set()
    for _ in range(50):
        trailers = dict(trailers_of(kind("later", retry_after_seconds=0.2)))
        milliseconds = int(trailers[PUSHBACK_KEY])
        retry = error_details_pb2.RetryInfo()
        assert status_pb2.Status.FromString(trailers[DETAILS_KEY]).details[-1].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() == milliseconds
        assert 100 <= milliseconds <= 300
        delays.add(milliseconds)
    # Spread, so that those refused together do not come back together.
    assert len(delays) > 10


def test_other_errors_say_nothing_about_retries() -> None:
    assert PUSHBACK_KEY not in dict(trailers_of(DeadlineExceededError("late")))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE),
        (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.DEADLINE_EXCEEDED),
        # Our own request was wrong: a defect of ours, not of our caller's.
        (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL),
        (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL),
    ],
)
def test_error_of_a_dependency_becomes_ours(
    code: grpc.StatusCode, expected: grpc.StatusCode
) -> None:
    metadata = grpc.aio.Metadata()
    error = error_from_rpc(grpc.aio.AioRpcError(code, metadata, metadata, "why"), "trip")
    assert error.code is expected
    assert "trip" in error.message


@pytest.mark.parametrize(
    ("code", "told", "seconds"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "2500", 2.5),
        (grpc.StatusCode.UNAVAILABLE, "2500", 2.5),
        # No sooner than without a word.
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "3", 0.1),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "soon", 0.1),
        # "Do not repeat", by gRFC A6: that is for whoever called.
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "-1", 0.1),
    ],
)
def test_when_a_neighbour_wants_to_be_asked_again_is_handed_on(
    code: grpc.StatusCode, told: str, seconds: float
) -> None:
    trailers = grpc.aio.Metadata((PUSHBACK_KEY, told))
    error = error_from_rpc(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers), "trip")
    assert isinstance(error, RetryableError)
    assert error.retry_after_seconds == seconds


def test_what_is_known_to_be_away_is_not_tried_elsewhere() -> None:
    away = dict(trailers_of(UnavailableError("away", retry_elsewhere=False)))
    assert away[NO_RETRY_KEY] == "true"
    assert NO_RETRY_KEY not in dict(trailers_of(UnavailableError("this pod only")))
