"""
Calls through the edge's public side, as curl would make them.

The cluster tests share it; it lies here because pytest's importlib mode keeps
test folders off the import path.
"""

import http.client
import itertools
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Longer than the edge's own deadline for JSON callers.
TIMEOUT_SECONDS = 15
TIMES_SQUARE = {"latitude": 40.758, "longitude": -73.9855}
JFK = {"latitude": 40.6413, "longitude": -73.7781}


@dataclass(frozen=True)
class Reply:
    """An HTTP answer with its JSON body."""

    status: int
    headers: dict[str, str]
    body: Any

    def field_violations(self) -> set[str]:
        """Names of the fields that the error's details complain about."""
        return {
            violation["field"]
            for detail in self.body.get("details", [])
            for violation in detail.get("fieldViolations", [])
        }


def call(edge: str, method: str, path: str, body: Any = None) -> Reply:
    """One request; bytes are sent as they are, everything else as JSON."""
    host, port = edge.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_SECONDS)
    try:
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, raw, {"content-type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        try:
            parsed = json.loads(text) if text else None
        except json.JSONDecodeError:
            parsed = text.decode(errors="replace")
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, parsed)
    finally:
        connection.close()


Call = Callable[..., Reply]
SEQUENCE = itertools.count(1)


def ping(
    edge: Call, city: str, *drivers: str, availability: str = "AVAILABILITY_AVAILABLE"
) -> Reply:
    """Tell the positions of drivers who stand on Times Square."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return edge(
        "POST",
        f"/v1/cities/{city}/positions",
        {
            "positions": [
                {
                    "driverId": driver,
                    "sequence": str(next(SEQUENCE)),
                    "point": TIMES_SQUARE,
                    "observedAt": now,
                    "availability": availability,
                }
                for driver in drivers
            ]
        },
    )


def request_trip(edge: Call, city: str, key: str | None = None, **changes: Any) -> Reply:
    """Ask for a trip from Times Square to JFK."""
    body = {
        "idempotencyKey": key or f"key-{uuid.uuid4().hex}",
        "riderId": "rider-1",
        "pickup": TIMES_SQUARE,
        "dropoff": JFK,
        **changes,
    }
    return edge(
        "POST", f"/v1/cities/{city}/trips", {k: v for k, v in body.items() if v is not None}
    )
