"""
The call that is being served: its id, its deadline, and what logs say about it.

It lives in a context variable, so a log line from deep inside a store names the
request, and a call made on the way takes over its id, its class and what is left
of its time: work that nobody waits for any more must not be started further down.
"""

import contextvars
import time
from typing import Any, Final

from hailstorm.runtime.priority import PRIORITY_KEY, Priority

REQUEST_ID_KEY: Final = "x-request-id"

# Longer ids would come from a caller who means no good; they go to every log line.
_MAX_REQUEST_ID_CHARACTERS: Final = 128


class Call:
    """
    One call in progress.

    Attributes:
        method: full name, as in /package.Service/Method.
        request_id: the caller's, or one made here.
        deadline: monotonic seconds at which the caller stops waiting; None is never.
        priority: its class, which calls made on its behalf take over.
        request: the request message, for the log fields it carries.
        fields: what else log lines of this call shall say.
    """

    __slots__ = ("deadline", "fields", "method", "priority", "request", "request_id")

    def __init__(
        self,
        method: str,
        request_id: str,
        deadline: float | None,
        priority: Priority | None = None,
    ) -> None:
        self.method = method
        self.request_id = request_id
        self.deadline = deadline
        self.priority = priority
        self.request: Any = None
        self.fields: dict[str, str] = {}


_current: contextvars.ContextVar[Call | None] = contextvars.ContextVar("call", default=None)


def current_call() -> Call | None:
    """The call that this code serves, or None in a background task."""
    return _current.get()


def enter_call(call: Call) -> None:
    """Make `call` the current one for the rest of this task."""
    _current.set(call)


def log_fields(**fields: str) -> None:
    """Add fields, as in `log_fields(trip_id=...)`, to the log lines of this call."""
    call = _current.get()
    if call is not None:
        call.fields.update(fields)


def remaining_seconds(at_most: float) -> float:
    """
    The timeout for a call made on behalf of this one: what is left, capped.

    It is 0 when nothing is left; a gRPC call then fails at once, as it should.
    """
    call = _current.get()
    if call is None or call.deadline is None:
        return at_most
    return max(0.0, min(at_most, call.deadline - time.monotonic()))


def outgoing_metadata(otherwise: Priority | None = None) -> tuple[tuple[str, str], ...]:
    """
    The metadata for a call made on behalf of this one: the same request id and class.

    `otherwise` is the class of what a background task does, on behalf of no
    call or of many; without it the called method's own class holds.
    """
    call = _current.get()
    if call is None:
        return () if otherwise is None else ((PRIORITY_KEY, otherwise.word),)
    if call.priority is None:
        return ((REQUEST_ID_KEY, call.request_id),)
    return ((REQUEST_ID_KEY, call.request_id), (PRIORITY_KEY, call.priority.word))


def outgoing_priority(otherwise: Priority) -> Priority:
    """The class of a call made on behalf of this one; `otherwise` where none is served."""
    call = _current.get()
    return otherwise if call is None or call.priority is None else call.priority


def request_id_from(metadata: Any) -> str:
    """The caller's request id, or a new one when there is none that can be logged."""
    for key, value in metadata:
        if key == REQUEST_ID_KEY and 0 < len(value) <= _MAX_REQUEST_ID_CHARACTERS:
            return str(value)
    # Imported late: behind the edge every call brings its id.
    import uuid

    return str(uuid.uuid4())
