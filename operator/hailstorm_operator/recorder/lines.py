"""
One line of the edge's access log, judged: a call as its caller saw it end, or
one attempt of it at one pod.

    ok         status 0
    refused    the caller's own fault (NOT_FOUND, INVALID_ARGUMENT, ...)
    shed       RESOURCE_EXHAUSTED: turned away on purpose
    cancelled  the caller hung up before its deadline
    failed     everything else

Pure, and the only place that knows how Envoy says these things.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from hailstorm_operator.recorder.messages import FLAGS

OK: Final = "ok"
REFUSED: Final = "refused"
SHED: Final = "shed"
CANCELLED: Final = "cancelled"
FAILED: Final = "failed"
OUTCOMES: Final = (OK, REFUSED, SHED, CANCELLED, FAILED)

CALLS: Final = "calls"
ATTEMPTS: Final = "attempts"
PULSE: Final = "pulse"

# gRPC's own numbers.
CODE_OK: Final = 0
CODE_CANCELLED: Final = 1
CODE_UNKNOWN: Final = 2
CODE_DEADLINE_EXCEEDED: Final = 4
CODE_RESOURCE_EXHAUSTED: Final = 8
CODE_UNAVAILABLE: Final = 14
CODE_NAMES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
# The same line as the edge's own log draws (charts/hailstorm, hailstorm.envoy.accessLog).
_REFUSALS: Final = frozenset({3, 5, 6, 7, 9, 10, 11, 12, 16})
# JSON callers get an HTTP status alone; the transcoder's table, read backwards.
_HTTP_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 409: 10, 413: 8, 429: 8, 431: 3}
_HTTP_CODES_5XX: Final = {500: 13, 501: 12, 502: 14, 503: 14, 504: 4}

# Both ends time the same deadline, and the caller began first: when it hangs up,
# this share of the deadline has passed here. Measured: 0.3 s came as 301 ms and
# ended after 319; the tenth is for a caller far away.
DEADLINE_SHARE: Final = 0.9
_TIMEOUT: Final = re.compile(r"(\d{1,8})([HMSmun])")
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_FLAG_NAMES: Final = {name: short for short, (name, _) in FLAGS.items()}
_FLAG_ORDER: Final = {short: place for place, short in enumerate(FLAGS)}
# Said of a call whose caller left; everything else is said of pods or of Envoy.
_CALLER_LEFT: Final = frozenset({"DC", "DR"})


class Line(NamedTuple):
    """One entry. Times are epoch seconds of the Envoy's clock."""

    cluster: str
    """The edge's name of the service; "" when no route matched."""
    address: str
    """ip:port of the pod; "" when none was chosen."""
    method: str
    """<package>.<Service>/<Method>; "" when no route matched, or keys would be callers' words."""
    code: int
    flag: str
    """The first of Envoy's response flags, by what explains most; "" for none."""
    outcome: str
    is_stream: bool
    is_retried: bool
    """A call that needed more than one attempt. Always false of an attempt."""
    ended: float
    seconds: float
    entry: Any
    """What it was read from, for who needs more."""


def read_lines(message: Any) -> Iterator[Line]:
    """The lines of one message of an Envoy."""
    for entry in message.http_logs.log_entry:
        yield read_line(entry)


def read_line(entry: Any) -> Line:
    """Judge one entry."""
    common, response = entry.common_properties, entry.response
    flag = _flag(common.response_flags) if common.HasField("response_flags") else ""
    # The chart's routes are called <cluster>/<call or stream>, since a call that
    # found no pod carries no cluster.
    cluster, _, kind = common.route_name.partition("/")
    if not kind:
        cluster = common.upstream_cluster
    duration, start = common.duration, common.start_time
    seconds = duration.seconds + duration.nanos * 1e-9
    address = common.upstream_remote_address.socket_address
    code, outcome = _judge(entry, response, flag, seconds)
    return Line(
        cluster,
        f"{address.address}:{address.port_value}" if address.address else "",
        entry.request.path.partition("?")[0].lstrip("/") if cluster else "",
        code,
        flag,
        outcome,
        kind == "stream",
        common.upstream_request_attempt_count > 1,
        start.seconds + start.nanos * 1e-9 + seconds,
        seconds,
        entry,
    )


def parse_timeout(text: str) -> float | None:
    """Seconds of a grpc-timeout header, None when it says nothing sensible."""
    match = _TIMEOUT.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None


def _judge(entry: Any, response: Any, flag: str, seconds: float) -> tuple[int, str]:
    text = response.response_trailers.get("grpc-status") or response.response_headers.get(
        "grpc-status"
    )
    if text == "0":
        return CODE_OK, OK
    if text is not None:
        code = int(text) if text.isdigit() and int(text) < len(CODE_NAMES) else CODE_UNKNOWN
    elif flag and flag not in _CALLER_LEFT:
        # Cut off before or after the headers of an answer: no status either way.
        http = response.response_code.value
        code = CODE_UNAVAILABLE if http in (0, 200) else _code_of_http(http)
    else:
        http = response.response_code.value
        # A stream that was left has its 200 already, and no status.
        left = http == 0 or flag in _CALLER_LEFT or _is_unfinished(entry, http)
        if not left:
            code = _code_of_http(http)
        elif _is_past_deadline(entry, seconds):
            return CODE_DEADLINE_EXCEEDED, FAILED
        else:
            return CODE_CANCELLED, CANCELLED
    return code, _outcome(code)


def _outcome(code: int) -> str:
    if code == CODE_OK:
        return OK
    if code == CODE_RESOURCE_EXHAUSTED:
        return SHED
    return REFUSED if code in _REFUSALS else FAILED


def _is_unfinished(entry: Any, http: int) -> bool:
    # The pod's side of a call always ends with a status, unless it was cut off.
    return bool(http == 200 and not entry.response.response_code_details)


def _is_past_deadline(entry: Any, seconds: float) -> bool:
    timeout = parse_timeout(entry.request.request_headers.get("grpc-timeout") or "")
    return timeout is not None and seconds >= DEADLINE_SHARE * timeout


def _code_of_http(status: int) -> int:
    if 200 <= status < 400:
        return CODE_OK
    if status >= 500:
        return _HTTP_CODES_5XX.get(status, CODE_UNKNOWN)
    return _HTTP_CODES.get(status, CODE_UNKNOWN)


def _flag(flags: Any) -> str:
    found = [_FLAG_NAMES[field.name] for field, _ in flags.ListFields()]
    return min(found, key=_FLAG_ORDER.__getitem__, default="")
