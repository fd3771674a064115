"""
The drivers' side of offers: a worker's share of the fleet on one stream.

Used where dispatch does not say yes on the drivers' behalf. An offer is answered
after a driver's time to think, declined now and then, and now and then left to
expire. The stream is opened again for as long as the run lasts, at once after a
resume marker; what is live then comes again, and is answered once.
"""

import random
from collections.abc import Sequence
from typing import Any, Final

from hailstorm.dispatch.v1 import dispatch_pb2
from hailstorm_loadtests.arrivals import stream
from hailstorm_loadtests.calls import Caller, Subject, now
from hailstorm_loadtests.history import Call
from hailstorm_loadtests.profile import Profile
from hailstorm_loadtests.riders import (
    TRIES,
    TRY_AGAIN_SECONDS,
    Surroundings,
    difference,
    read_trip,
)

# As many drivers as one WatchOffers takes.
DRIVERS_PER_STREAM: Final = 500
# Real seconds that a driver looks at an offer; the profile's time lapse divides
# them. A guess: taxis answer within ten.
ANSWER_SECONDS: Final = (2.0, 10.0)
# The offer was over before the answer came: expired, or its rider called it off.
# That is an answer to a driver and no failure of the service.
TOO_LATE: Final = frozenset({"FAILED_PRECONDITION"})
# The stream's own deadline lies behind the end of the run, which cancels it.
STREAM_MARGIN_SECONDS: Final = 60.0


class OfferDesk:
    """Follows the offers of some drivers and answers them, until the run is over."""

    def __init__(
        self, profile: Profile, driver_ids: Sequence[str], caller: Caller, around: Surroundings
    ) -> None:
        self._profile, self._driver_ids = profile, driver_ids
        self._caller, self._around = caller, around
        self._seen: set[str] = set()
        self._withdrawn: set[str] = set()

    def run(self, intended: float) -> None:
        """Follow until the run is over; a broken stream is a line and a new stream."""
        request = dispatch_pb2.WatchOffersRequest(
            city_id=self._profile.city_id, driver_ids=self._driver_ids
        )
        deadline = self._profile.total_seconds() + STREAM_MARGIN_SECONDS
        while True:
            opened = self._caller.stream("WatchOffers", request, intended, deadline, Subject())
            self._around.watch_closed(opened, True)
            told = {"offer": 0, "withdrawal": 0, "resume": 0}
            for event in opened.events():
                told[self._take(event)] += 1
            self._around.watch_closed(opened, False)
            line = opened.finish(lambda line, told=told: write_stream(line, told))  # type: ignore[misc]
            if (line.detail or "").startswith("ended by the caller"):
                return
            intended = now() if told["resume"] else now() + TRY_AGAIN_SECONDS
            if not self._around.pause_until(intended):
                return

    def _take(self, event: Any) -> str:
        kind: str = event.WhichOneof("event")
        match kind:
            case "offer" if event.offer.offer_id not in self._seen:
                number = len(self._seen)
                self._seen.add(event.offer.offer_id)
                rng = stream(self._profile, f"answer-{self._driver_ids[0]}", number)
                offer = event.offer
                self._around.spawn(lambda: self._answer(offer, rng))
            case "withdrawal":
                self._withdrawn.add(event.withdrawal.offer_id)
        return kind

    def _answer(self, offer: Any, rng: random.Random) -> None:
        due = now() + rng.uniform(*ANSWER_SECONDS) / self._profile.time_lapse
        choice, is_doubled = rng.random(), rng.random() < self._profile.duplicate_share
        profile = self._profile
        if choice < profile.silent_share or not self._around.pause_until(due):
            return
        if offer.offer_id in self._withdrawn:
            return
        accepts = choice >= profile.silent_share + profile.decline_share
        method = "AcceptOffer" if accepts else "DeclineOffer"
        kind = dispatch_pb2.AcceptOfferRequest if accepts else dispatch_pb2.DeclineOfferRequest
        request = kind(city_id=profile.city_id, offer_id=offer.offer_id, driver_id=offer.driver_id)
        subject = Subject(
            key=f"{method}-{offer.offer_id}", trip_id=offer.trip_id, driver_id=offer.driver_id
        )
        for number in range(TRIES):
            first = self._tap(method, request, due, subject)
            if first.is_ok:
                if is_doubled:
                    self._tap(method, request, now(), subject, first.message)
                return
            due = now() + TRY_AGAIN_SECONDS
            if first.call.outcome == "ok" or number + 1 == TRIES:
                return
            if not self._around.pause_until(due):
                return

    def _tap(
        self, method: str, request: Any, due: float, subject: Subject, first: Any = None
    ) -> Any:
        def read(line: Call, message: Any) -> None:
            if method != "AcceptOffer":
                return
            read_trip(line, message)
            if first is not None and (differs := difference("RequestTrip", first, message)):
                line.detail, line.outcome = differs, "fail"

        return self._caller.call(
            method,
            request,
            due,
            self._profile.write_deadline_seconds,
            subject,
            read,
            also_answers=TOO_LATE,
        )


def write_stream(line: Call, told: dict[str, int]) -> None:
    """Put what the stream brought into its line; an end without a marker is a failure."""
    counts = f"offers={told['offer']} withdrawals={told['withdrawal']} resumed={told['resume'] > 0}"
    problem = None
    if line.code == "OK" and not told["resume"]:
        problem, line.outcome = "ended without a resume marker", "fail"
    line.detail = "; ".join(filter(None, (line.detail, problem, counts)))
