"""
Requests that nobody should send, drawn from a seed and from the descriptors.

Fields are found in the services' own descriptors, so a field that is added is
fuzzed without a change here. A request is plausible, then hurt in one place;
or hostile throughout; or no request at all. Ids that answers brought are used
in later requests, so that the code behind the border is reached too.
"""

import random
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor, message_factory
from google.protobuf.descriptor import FieldDescriptor

from hailstorm.runtime.process import ProcessSettings
from hailstorm.runtime.settings import read_settings

# Names that answers bring are remembered up to so many each.
REMEMBERED: Final = 60
# Above every bound of a repeated field in the protos (500), below the largest message.
MANY: Final = 1001
# The largest message that a server takes, by its settings' default.
MAX_BYTES: Final = read_settings(ProcessSettings, {}).server.max_message_bytes
HOSTILE_STRINGS: Final = (
    "",
    " ",
    "\0",
    "trip\0-1",
    "x" * 65,
    "x" * 20_000,
    "ü",
    "\u202e\u0000\ufeff",
    "🚕" * 30,
    "'; DROP TABLE trips; --",
    "../../etc/passwd",
    "%s%n{0}${x}",
    "a\nb\r\n",
    "-1",
    "1e999",
    "trip-1-o999999999",
    "AAAA",
    "MTIzLzEyMw==",
    "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OS90cmlwLTE=",
)
HOSTILE_DOUBLES: Final = (
    float("nan"),
    float("inf"),
    float("-inf"),
    -0.0,
    5e-324,
    1.7e308,
    -1.7e308,
    90.0,
    -90.0,
    90.000001,
    180.0,
    -180.0,
    180.000001,
)
_BOUNDS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_WHOLE: Final = frozenset(_BOUNDS)
_REAL: Final = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
# What a name means that no type tells. Others get a word and a number.
PLAUSIBLE: Final[dict[str, Callable[[random.Random], Any]]] = {
    "city_id": lambda rng: rng.choice(["nyc", "nyc", "nyc", "boston"]),
    "latitude": lambda rng: 40.75 + rng.uniform(-0.02, 0.02),
    "longitude": lambda rng: -73.98 + rng.uniform(-0.02, 0.02),
    "surge_multiplier": lambda rng: rng.uniform(1, 3),
    "seconds": lambda rng: int(time.time()) - rng.randrange(3),
    "nanos": lambda rng: rng.randrange(10**9),
    "idempotency_key": lambda rng: f"key-{rng.randrange(4000):08}",
    # Absent ids are found among a few, so that requests meet each other.
    "driver_id": lambda rng: f"driver-{rng.randrange(40)}",
    "driver_ids": lambda rng: f"driver-{rng.randrange(40)}",
    "rider_id": lambda rng: f"rider-{rng.randrange(40)}",
    "page_token": lambda _: "",
    "quote_id": lambda rng: f"quote-{rng.randrange(4)}",
}


@dataclass(frozen=True)
class Method:
    """One method of a service, as the wire has it."""

    path: str
    request: Any
    response: Any
    is_stream: bool


@dataclass(frozen=True)
class Shot:
    """
    One call.

    `message` is the request that the bytes are, None when they are none;
    `timeout` is in seconds.
    """

    kind: str
    method: Method | None
    path: str
    is_stream: bool
    payload: bytes
    message: Any
    timeout: float
    metadata: tuple[tuple[str, str | bytes], ...]


def methods_of(service: descriptor.ServiceDescriptor) -> list[Method]:
    """The methods that a service has today."""
    make = message_factory.GetMessageClass
    return [
        Method(
            f"/{service.full_name}/{method.name}",
            make(method.input_type),
            make(method.output_type),
            method.server_streaming,
        )
        for method in service.methods
    ]


class Fuzzer:
    """Draws shots at one service; the same seed and answers draw the same."""

    def __init__(self, seed: int, service: descriptor.ServiceDescriptor) -> None:
        self.rng = random.Random(f"{seed}-{service.full_name}")
        self.methods = methods_of(service)
        self._service = service.full_name
        self._remembered: dict[str, list[str]] = {}
        # (weight, maker) of each kind of shot.
        self._kinds = (
            (30, self._plausible),
            (34, self._hurt),
            (12, self._hostile),
            (8, self._noise),
            (5, self._flipped),
            (5, self._bad_text),
            (4, self._unknown_method),
            (2, self._repeated_too_often),
        )

    def shots(self, count: int) -> Iterator[Shot]:
        """So many shots, each drawn when it is asked for."""
        weights = [weight for weight, _ in self._kinds]
        makers = [make for _, make in self._kinds]
        for _ in range(count):
            yield self.rng.choices(makers, weights)[0]()

    def remember(self, message: Any) -> None:
        """Use the ids of an answer in later requests."""
        for field, value in message.ListFields():
            many = value if field.is_repeated else [value]
            for each in many:
                if field.message_type is not None:
                    self.remember(each)
                elif isinstance(each, str) and each:
                    known = self._remembered.setdefault(field.name, [])
                    if len(known) >= REMEMBERED:
                        known[self.rng.randrange(REMEMBERED)] = each
                    else:
                        known.append(each)

    def crowds(self) -> Iterator[Shot]:
        """For each repeated field a million items, which is too large, and as many as fit."""
        for method in self.methods:
            for field in method.request.DESCRIPTOR.fields:
                if field.is_repeated:
                    item = _tag(field.number, 2) + b"\0"
                    yield self._shot("million", method, item * 1_000_000, None)
                    yield self._shot("crowded", method, item * (MAX_BYTES // len(item)), None)

    def plausible(self, method: Method) -> Any:
        """A request of the method with nothing wrong in it that a descriptor tells."""
        return self._request(method, 0.0)

    def _plausible(self) -> Shot:
        method = self.rng.choice(self.methods)
        request = self._request(method, 0.0)
        return self._shot("plausible", method, request.SerializeToString(), request)

    def _hurt(self) -> Shot:
        """A plausible request with one to three bad fields."""
        method = self.rng.choice(self.methods)
        request = self._request(method, 0.0)
        for _ in range(self.rng.randint(1, 3)):
            self._hurt_one(request)
        return self._shot("hurt", method, request.SerializeToString(), request)

    def _hostile(self) -> Shot:
        method = self.rng.choice(self.methods)
        request = self._request(method, self.rng.uniform(0.2, 1.0))
        return self._shot("hostile", method, request.SerializeToString(), request)

    def _noise(self) -> Shot:
        method = self.rng.choice(self.methods)
        return self._shot("noise", method, self.rng.randbytes(self.rng.randrange(300)), None)

    def _flipped(self) -> Shot:
        """A request with a few bytes changed, or its end cut off."""
        method = self.rng.choice(self.methods)
        payload = bytearray(self._request(method, 0.1).SerializeToString())
        for _ in range(self.rng.randint(1, 4)):
            if payload:
                payload[self.rng.randrange(len(payload))] = self.rng.randrange(256)
        if self.rng.random() < 0.5:
            del payload[self.rng.randrange(len(payload) + 1) :]
        return self._shot("flipped", method, bytes(payload), None)

    def _bad_text(self) -> Shot:
        """A request with a string that is not UTF-8, where the wire must be."""
        method = self.rng.choice(self.methods)
        payload = self._request(method, 0.0).SerializeToString()
        texts = [f for f in method.request.DESCRIPTOR.fields if f.type == f.TYPE_STRING]
        if texts:
            text = b"\xff\xfe\xc3\x28"
            payload += _tag(self.rng.choice(texts).number, 2) + bytes([len(text)]) + text
        return self._shot("bad-text", method, payload, None)

    def _unknown_method(self) -> Shot:
        method = self.rng.choice(self.methods)
        path = self.rng.choice(
            (
                f"/{self._service}/Drop{self.rng.randrange(10**6)}",
                f"/{self._service}/",
                f"/hailstorm.trip.v9.TripService/GetTrip{self.rng.randrange(10**6)}",
                "/" + "x" * 500,
                method.path.lower(),
            )
        )
        return self._shot("unknown-method", None, b"", None, path)

    def _repeated_too_often(self) -> Shot:
        method = self.rng.choice(self.methods)
        request = self._request(method, 0.0)
        for field in method.request.DESCRIPTOR.fields:
            if field.is_repeated:
                self._fill_repeated(request, field, 0.0, MANY)
        return self._shot("repeated", method, request.SerializeToString(), request)

    def _shot(
        self, kind: str, method: Method | None, payload: bytes, message: Any, path: str = ""
    ) -> Shot:
        is_stream = method is not None and method.is_stream
        timeout = 0.3 if is_stream else 10.0
        luck = self.rng.random()
        if luck < 0.01:
            timeout = self.rng.choice((0.0, 1e-9, 0.0005, 0.003))
        elif luck < 0.02 and not is_stream:
            timeout = self.rng.choice((1e6, 3e8, 1e12))
        return Shot(
            kind,
            method,
            method.path if method else path,
            is_stream,
            payload,
            message,
            timeout,
            self._metadata(),
        )

    def _metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        if self.rng.random() > 0.1:
            return ()
        rng = self.rng
        ids = ("", "x" * 4000, "a  b", "{}", "%00", "0" * 128, "'\"", rng.choice("abc"))
        return (
            ("x-request-id", rng.choice(ids)),
            (f"x-{rng.randrange(10**6)}", "y" * rng.randrange(200)),
            ("grpc-previous-rpc-attempts", rng.choice(("-1", "999", "x"))),
            ("x-garbage-bin", rng.randbytes(rng.randrange(100))),
        )

    def _request(self, method: Method, hostility: float) -> Any:
        request = method.request()
        self._fill(request, hostility, 0)
        return request

    def _fill(self, message: Any, hostility: float, depth: int) -> None:
        """Set the fields; each is left out now and then, and bad by `hostility`."""
        chosen: dict[str, FieldDescriptor] = {}
        for field in message.DESCRIPTOR.fields:
            group = field.containing_oneof
            if group is None:
                chosen[field.name] = field
            else:
                chosen[group.name] = self.rng.choice(group.fields)
        for field in chosen.values():
            # A field that tells presence may be absent; others are rarely so.
            is_optional = (
                field.containing_oneof is not None and len(field.containing_oneof.fields) == 1
            )
            if self.rng.random() < (0.6 if is_optional else 0.03 + 0.2 * hostility):
                continue
            if field.is_repeated:
                count = self.rng.choice((0, 1, 101)) if self.rng.random() < hostility else 0
                self._fill_repeated(message, field, hostility, count or self.rng.randint(1, 4))
            elif field.message_type is not None:
                if depth < 4:
                    part = getattr(message, field.name)
                    part.SetInParent()
                    self._fill(part, hostility, depth + 1)
            else:
                is_bad = self.rng.random() < hostility
                setattr(message, field.name, self._scalar(field, is_bad))

    def _fill_repeated(
        self, message: Any, field: FieldDescriptor, hostility: float, count: int
    ) -> None:
        items = getattr(message, field.name)
        for _ in range(count):
            if field.message_type is not None:
                self._fill(items.add(), hostility, 1)
            else:
                items.append(self._scalar(field, self.rng.random() < hostility))

    def _hurt_one(self, message: Any) -> None:
        """Make one field bad, at any depth."""
        field = self.rng.choice(message.DESCRIPTOR.fields)
        luck = self.rng.random()
        if luck < 0.15:
            message.ClearField(field.name)
        elif field.is_repeated:
            items = getattr(message, field.name)
            if field.message_type is None:
                items.append(self._scalar(field, True))
            elif items:
                self._hurt_one(self.rng.choice(items))
        elif field.message_type is not None:
            self._hurt_one(getattr(message, field.name))
        else:
            setattr(message, field.name, self._scalar(field, True))

    def _scalar(self, field: FieldDescriptor, is_bad: bool) -> Any:
        rng, kind = self.rng, field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_STRING:
            if field.type == FieldDescriptor.TYPE_BYTES:
                return rng.randbytes(rng.randrange(64))
            return rng.choice(HOSTILE_STRINGS) if is_bad else self._word(field.name)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            numbers = [value.number for value in field.enum_type.values]
            return rng.choice((0, -1, 99, 2**31 - 1)) if is_bad else rng.choice(numbers)
        if not is_bad and field.containing_type.full_name == "google.protobuf.Duration":
            return rng.randint(0, 5)
        if not is_bad and field.name in PLAUSIBLE:
            return PLAUSIBLE[field.name](rng)
        if kind in _REAL:
            return rng.choice(HOSTILE_DOUBLES) if is_bad else rng.uniform(0, 3)
        low, high = _BOUNDS[kind]
        if is_bad:
            bad = rng.choice((low, high, -1, 0, high - 1, 2**31, rng.randint(low, high)))
            return min(max(low, bad), high)
        return rng.randint(0, 20)

    def _word(self, name: str) -> str:
        # driver_ids holds what driver_id is, and actor_id what either party is.
        single = name.removesuffix("s") if name.endswith("_ids") else name
        known = self._remembered.get(single, [])
        if name == "actor_id":
            known = [*self._remembered.get("rider_id", []), *self._remembered.get("driver_id", [])]
        if known and self.rng.random() < 0.8:
            return self.rng.choice(known)
        if name in PLAUSIBLE:
            return str(PLAUSIBLE[name](self.rng))
        return f"{name}-{self.rng.randrange(20)}"


def _tag(number: int, wire_type: int) -> bytes:
    key = number << 3 | wire_type
    return struct.pack("B", key) if key < 128 else bytes([key & 127 | 128, key >> 7])
