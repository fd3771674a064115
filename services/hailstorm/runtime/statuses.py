"""
Errors as they go over the wire: code, sentence, and google.rpc details.

Details are what a program may rely on; the sentence is for people and changes.
They travel in `grpc-status-details-bin`, which grpc_status and every other
gRPC library read; `grpc-retry-pushback-ms` is gRPC's own word for RetryInfo,
which its retry policies obey (gRFC A6).
"""

import functools
import random
from typing import Any, Final

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from hailstorm.runtime.errors import (
    ERROR_DOMAIN,
    NO_RETRY_KEY,
    PUSHBACK_KEY,
    InvalidArgumentError,
    ResourceExhaustedError,
    RetryableError,
    ServiceError,
)

DETAILS_KEY: Final = "grpc-status-details-bin"

# gRPC refuses trailers above 8 KiB by default; a request with 500 wrong fields
# must still be answered, so the details name this many of them.
MAX_VIOLATIONS: Final = 25
# Longer sentences are cut, for the same reason.
MAX_TEXT_CHARACTERS: Final = 200

# Delays of otherwise equal refusals; as many as spread callers out over the delay.
REFUSAL_VARIANTS: Final = 16

Metadata = tuple[tuple[str, str | bytes], ...]


def status_of(error: ServiceError, retry_after_seconds: float | None = None) -> Any:
    """Build the google.rpc.Status of `error`: ErrorInfo always, and what else fits."""
    status = status_pb2.Status(code=error.code.value[0], message=text_of(error))
    info = error_details_pb2.ErrorInfo(
        reason=error.reason, domain=ERROR_DOMAIN, metadata=error.metadata
    )
    _pack(status, info)
    if isinstance(error, InvalidArgumentError):
        bad = error_details_pb2.BadRequest()
        for violation in error.violations[:MAX_VIOLATIONS]:
            bad.field_violations.add(
                field=violation.field[:MAX_TEXT_CHARACTERS],
                description=violation.description[:MAX_TEXT_CHARACTERS],
            )
        _pack(status, bad)
    if retry_after_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(retry_after_seconds * 1000))
        _pack(status, retry)
    return status


def reason_of(error: Any) -> str | None:
    """The `reason` that a server of ours gave with a failed call, an AioRpcError; None without."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return str(info.reason)
    return None


def trailers_of(error: ServiceError) -> Metadata:
    """The trailing metadata that goes with the code and the sentence of `error`."""
    delay = _spread(error.retry_after_seconds) if isinstance(error, RetryableError) else None
    trailers: Metadata = ((DETAILS_KEY, status_of(error, delay).SerializeToString()),)
    if delay is not None:
        trailers += ((PUSHBACK_KEY, str(round(delay * 1000))),)
    if isinstance(error, RetryableError) and not error.retry_elsewhere:
        trailers += ((NO_RETRY_KEY, "true"),)
    return trailers


def trailers_of_refusal(error: ResourceExhaustedError) -> Metadata:
    """
    The same as `trailers_of`, for errors that are many and much alike.

    Building details costs 30 us, a fifth of a refusal; an overloaded process
    gives the same few thousands of times a second, so they are kept.
    """
    variant = random.randrange(REFUSAL_VARIANTS)
    retry_after_ms = round(error.retry_after_seconds * 1000)
    return _refusal_trailers(error.message, error.reason, retry_after_ms, variant)


@functools.lru_cache(maxsize=1024)
def _refusal_trailers(message: str, reason: str, retry_after_ms: int, _variant: int) -> Metadata:
    # The spread is drawn anew for each variant, which is all that tells them apart.
    seconds = retry_after_ms / 1000
    return trailers_of(ResourceExhaustedError(message, reason=reason, retry_after_seconds=seconds))


def text_of(error: ServiceError) -> str:
    """The sentence of `error`, short enough for a trailer; equal to the Status's."""
    limit = 3 * MAX_TEXT_CHARACTERS
    return error.message if len(error.message) <= limit else error.message[: limit - 1] + "…"


def _spread(seconds: float) -> float:
    # Without it all callers that were refused together come back together.
    return seconds * random.uniform(0.5, 1.5)


def _pack(status: Any, detail: Any) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)
