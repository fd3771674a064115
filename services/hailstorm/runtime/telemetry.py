"""
What a process tells: JSON lines on stdout, and metrics for /metrics.

One line is one JSON object, so that a drill can join logs to its history by
request_id without parsing sentences.
"""

import json
import logging
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from hailstorm.runtime.calls import current_call
from hailstorm.runtime.process import LogLevel

# From a cache hit to the longest deadline; dense where the SLO lies (50-200 ms).
SECONDS_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
# A loop that turns within 50 ms is healthy; at 1 s the kubelet's probes suffer.
LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_STANDARD_FIELDS: Final = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object, with the current call's ids."""

    def __init__(self, service: str, version: str, request_fields: Iterable[str] = ()) -> None:
        super().__init__()
        self._fixed = {"service": service, "version": version, "pod": socket.gethostname()}
        self._request_fields = tuple(request_fields)

    def format(self, record: logging.LogRecord) -> str:
        milliseconds = int(record.msecs)
        line: dict[str, Any] = {
            "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{milliseconds:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._fixed,
        }
        call = current_call()
        # Without a method it is what several calls have in common.
        if call is not None and call.method:
            line["method"] = call.method
            line["request_id"] = call.request_id
            for name in self._request_fields:
                # Absent is told apart from empty by neither proto3 nor us.
                if value := getattr(call.request, name, ""):
                    line[name] = value
            line.update(call.fields)
        for name, value in record.__dict__.items():
            if name not in _STANDARD_FIELDS and name not in line:
                line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def set_up_logging(
    service: str, version: str, level: LogLevel, request_fields: Iterable[str] = ()
) -> None:
    """Send all logging of this process to stdout as JSON. Repeatable."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service, version, request_fields))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.value.upper())
    # These tell of each call or connection, which is our interceptor's business.
    for chatty in ("asyncio", "grpc._cython.cygrpc"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class ServerMetrics:
    """The metrics that every server has; one instance for a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        prefix = "hailstorm_grpc_server"
        self.handled = Counter(
            f"{prefix}_handled", "Calls answered.", ("method", "code"), registry=registry
        )
        self.seconds = Histogram(
            f"{prefix}_seconds",
            "From the first line of the handler to its answer.",
            ("method",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(f"{prefix}_in_flight", "Unary calls in flight.", registry=registry)
        self.class_in_flight = Gauge(
            f"{prefix}_in_flight_by_priority",
            "Unary calls in flight, by their class.",
            ("priority",),
            registry=registry,
        )
        self.limit = Gauge(
            f"{prefix}_limit",
            "Unary calls that may be in flight; lower classes may fill a part of it.",
            registry=registry,
        )
        self.begin_limit = Gauge(
            f"{prefix}_begin_limit",
            "Calls that begin something that may be in flight, by how long they take.",
            registry=registry,
        )
        self.wait = Gauge(
            f"{prefix}_wait_seconds",
            "How long a call waits before anybody looks at it, as last measured.",
            registry=registry,
        )
        self.streams = Gauge(f"{prefix}_streams", "Open server streams.", registry=registry)
        self.shed = Counter(
            f"{prefix}_shed",
            "Calls refused before any work.",
            ("method", "priority"),
            registry=registry,
        )
        self.expired = Counter(
            f"{prefix}_expired",
            "Calls dropped before any work, as their deadline had passed.",
            ("method",),
            registry=registry,
        )
        self.unexpected = Counter(
            f"{prefix}_unexpected",
            "Calls answered with INTERNAL because of a defect.",
            ("method",),
            registry=registry,
        )
        self.lifecycle_state = Gauge(
            "hailstorm_lifecycle_state", "1 for the present state.", ("state",), registry=registry
        )
        self.lifecycle_since = Gauge(
            "hailstorm_lifecycle_state_since_seconds",
            "Unix time at which the process entered the state; less "
            "process_start_time_seconds, SERVING tells how long a start takes.",
            ("state",),
            registry=registry,
        )
        self.loop_lag = Histogram(
            "hailstorm_event_loop_lag_seconds",
            "How late the event loop wakes a sleeper.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self.task_failures = Counter(
            "hailstorm_task_failures",
            "Background tasks that ended with an error and were started again.",
            ("task",),
            registry=registry,
        )


def new_registry(version: str) -> CollectorRegistry:
    """A registry with the process's own memory and CPU, and the build's version."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Gauge("hailstorm_build_info", "Always 1.", ("version",), registry=registry)
    build.labels(version=version).set(1)
    return registry
