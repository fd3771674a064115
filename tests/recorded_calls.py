"""
Calls of a test, written down as the load generator writes its own.

So that the drills' checkers judge a test's history too: one line for each
sending, with what was promised to whom, whatever became of it.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import grpc

from hailstorm_drills.checkers import INVARIANTS
from hailstorm_drills.checkers.base import Finding, Verdict, run_checkers
from hailstorm_loadtests.history import Call, History, outcome_of
from trip_calls import state_name

# What an answer means that says nothing about the request: it may have been
# served, and is worth sending again with its key.
OPEN_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
# A defect of the server, whatever was asked.
DEFECTS = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})


@dataclass(frozen=True)
class Record:
    """What invariants are proved from: `Proof` of the checkers."""

    history: History
    facts: dict[str, Any]

    def findings(self) -> dict[str, Finding]:
        """The finding of each invariant, by its name."""
        return {found.checker: found for found in run_checkers(INVARIANTS, self)}

    def verdicts(self) -> dict[str, Verdict]:
        """The verdict of each invariant, by its name."""
        return {name: found.verdict for name, found in self.findings().items()}


class Recorder:
    """Writes every call down; `history` is what the checkers read."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    @property
    def history(self) -> History:
        return History(tuple(sorted(self.calls, key=lambda call: call.intended)))

    async def call(self, method: str, rpc: Any, request: Any) -> tuple[grpc.StatusCode, Any]:
        """Await `rpc`, the sent `request`; returns its code and its trip, None unless OK."""
        started = time.time()
        trip, code, detail = None, grpc.StatusCode.OK, None
        try:
            trip = (await rpc).trip
        except grpc.aio.AioRpcError as error:
            code, detail = error.code(), error.details()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # The call was given up, not its caller.
            code = grpc.StatusCode.CANCELLED
        line = Call(
            intended=started,
            started=started,
            ended=time.time(),
            method=method,
            code=code.name,
            outcome=outcome_of(code.name),
            attempts=1,
            key=getattr(request, "idempotency_key", None),
            trip_id=getattr(request, "trip_id", None),
            rider_id=getattr(request, "rider_id", None),
            detail=detail,
        )
        if trip is not None:
            line.trip_id, line.version, line.state = trip.trip_id, trip.version, state_name(trip)
            line.driver_id = trip.driver_id if trip.HasField("driver_id") else None
        self.calls.append(line)
        return code, trip

    def count(self, *codes: grpc.StatusCode) -> int:
        """How many calls ended with one of the codes."""
        return sum(call.code in {code.name for code in codes} for call in self.calls)
