"""
What is called in a calibration: a method and its request, as bytes.

The request is written as JSON and serialised by the descriptors that the edge
transcodes with, or given as hex for a service whose descriptors are not at hand.
Only reads belong here: a pod is called some thousand times with one request.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

_MIDTOWN: Final = {"latitude": 40.7580, "longitude": -73.9855}
_BATTERY: Final = {"latitude": 40.7061, "longitude": -74.0087}
# A read of each of our services that needs nothing to be there.
OURS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "location": (
        "/hailstorm.location.v1.LocationService/NearbyDrivers",
        {"cityId": "nyc", "point": _MIDTOWN},
    ),
    "dispatch": (
        "/hailstorm.dispatch.v1.DispatchService/GetQuote",
        {"cityId": "nyc", "riderId": "calibration", "pickup": _MIDTOWN, "dropoff": _BATTERY},
    ),
    "trip": (
        "/hailstorm.trip.v1.TripService/ListTrips",
        {"cityId": "nyc", "riderId": "calibration"},
    ),
}

_FULL_NAME: Final = re.compile(r"/[\w.]+/\w+")
_MADE_BY: Final = "`buf build -o` or `protoc --include_imports -o`"


class MethodError(ValueError):
    """The method or its request makes no sense; the message says what to write."""


@dataclass(frozen=True)
class Call:
    """A full method name and a serialised request."""

    method: str
    request: bytes


def choose_call(
    deployment: str,
    method: str | None,
    request: str | None,
    request_hex: str | None,
    descriptors: Path | None,
) -> Call:
    """What to call on that Deployment. Raises MethodError."""
    values: Mapping[str, Any] = {}
    if method is None:
        if deployment not in OURS:
            raise MethodError(f"write --method /package.Service/Method: {deployment} is not ours")
        method, values = OURS[deployment]
    if not _FULL_NAME.fullmatch(method):
        raise MethodError(f"--method {method}: write /package.Service/Method")
    if request_hex is not None:
        try:
            return Call(method, bytes.fromhex(request_hex))
        except ValueError as error:
            raise MethodError(f"--request-hex: {error}") from None
    if request is not None:
        try:
            values = json.loads(request)
        except ValueError as error:
            raise MethodError(f"--request is no JSON: {error}") from None
    if not values:
        return Call(method, b"")
    if descriptors is None:
        raise MethodError(f"--request needs --descriptors, a file of {_MADE_BY}")
    return Call(method, serialise(method, values, descriptors))


def serialise(method: str, values: Mapping[str, Any], descriptors: Path) -> bytes:
    """The request of the method with those fields. Raises MethodError."""
    pool = descriptor_pool.DescriptorPool()
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
        for file in files.file:
            pool.Add(file)  # type: ignore[no-untyped-call, unused-ignore]
    except OSError as error:
        raise MethodError(f"--descriptors: {error}") from None
    except DecodeError:
        raise MethodError(
            f"--descriptors: {descriptors} is no set of descriptors; make it by {_MADE_BY}"
        ) from None
    except TypeError as error:
        # So the pool says that a file imports what is not in the set.
        raise MethodError(
            f"--descriptors: {descriptors} lacks what it imports; make it by {_MADE_BY} ({error})"
        ) from None
    service, _, name = method.strip("/").partition("/")
    try:
        found = pool.FindServiceByName(service).methods_by_name[name]
    except KeyError:
        raise MethodError(f"{descriptors} knows no {method}") from None
    if found.server_streaming or found.client_streaming:
        raise MethodError(f"{method} is a stream; calibrate by a unary method")
    message = message_factory.GetMessageClass(found.input_type)()
    try:
        json_format.ParseDict(dict(values), message)
    except json_format.ParseError as error:
        raise MethodError(f"--request: {error}") from None
    return message.SerializeToString()
