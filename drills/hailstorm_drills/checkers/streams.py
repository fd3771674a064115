"""
Long streams through a fault: every event once, and each stream resumed where it ended.

A stream outlives the pod that serves it. When its server drains it says so; when
its server dies, or an Envoy between, it breaks, and no retry covers an answer that
has begun. Either way the caller opens it again behind the last version that it
has seen, so what users feel is whether an event was lost or came twice.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hailstorm_drills.checkers.base import Finding, Verdict, bound95
from hailstorm_drills.evidence import Evidence
from hailstorm_loadtests.history import Call

NAME: Final = "streams"
TRIP: Final = "WatchTrip"
OFFERS: Final = "WatchOffers"
EXAMPLES: Final = 5
# A caller opens a broken stream again after a second, and its call may wait for a
# deadline on the way; three times that.
RESUME_SECONDS: Final = 10.0
_FIGURES: Final = re.compile(r"(after|changes|resumed)=(\w+)")
_OFFERS: Final = re.compile(r"\boffers=(\d+)")


@dataclass(frozen=True)
class Link:
    """One stream of a trip: from behind which version, and how many changes it brought."""

    call: Call
    after: int
    changes: int
    is_resumed: bool

    @property
    def seen(self) -> int:
        """The last version that the caller knew when the stream ended."""
        return self.after if self.call.version is None or not self.changes else self.call.version

    @property
    def is_broken(self) -> bool:
        """It ended with an error of the way or the server; the caller ended none of these."""
        return self.call.outcome != "ok" and self.call.code != "OK"


def links_of(calls: Sequence[Call]) -> dict[str, list[Link]]:
    """Streams of each trip in the order in which they were opened; without figures, none."""
    found: dict[str, list[Link]] = {}
    for call in calls:
        if call.method != TRIP or not call.trip_id:
            continue
        told = dict(_FIGURES.findall(call.detail or ""))
        if "after" not in told or "changes" not in told:
            continue
        link = Link(call, int(told["after"]), int(told["changes"]), told.get("resumed") == "True")
        found.setdefault(call.trip_id, []).append(link)
    for links in found.values():
        links.sort(key=lambda link: link.call.started)
    return found


def is_mended(link: Link, following: Link | None) -> bool:
    """Whether a broken stream was opened again in time, behind what it had seen."""
    return (
        following is not None
        and following.after == link.seen
        and following.call.started - link.call.ended <= RESUME_SECONDS
    )


def mended(calls: Sequence[Call]) -> set[int]:
    """
    `id` of each stream's line that broke and was resumed without loss.

    Its caller knows all that it would have known, so it is no failed call.
    """
    found: set[int] = set()
    for links in links_of(calls).values():
        for link, following in zip(links, [*links[1:], None], strict=True):
            if link.is_broken and is_mended(link, following):
                found.add(id(link.call))
    opened = sorted((c for c in calls if c.method == OFFERS), key=lambda call: call.started)
    free = list(opened)
    for call in opened:
        if call.outcome == "ok" or call.code == "OK":
            continue
        again = next(
            (o for o in free if 0 <= o.started - call.ended <= RESUME_SECONDS and o is not call),
            None,
        )
        if again is not None:
            # One opening mends one break.
            free.remove(again)
            found.add(id(call))
    return found


def check_streams(evidence: Evidence) -> Finding:
    """
    FAIL when an event was lost or doubled, or a stream was not resumed where it
    ended; UNKNOWN when no stream was open while the fault lasted, or, where drivers
    answer for themselves, none of offers or not one offer.
    """
    fault = evidence.fault
    if evidence.history is None or fault is None:
        return Finding(NAME, Verdict.UNKNOWN, "there is no history, or no fault")
    calls = evidence.history.calls
    trips = links_of(calls)
    healed = mended(calls)
    violations: list[str] = []
    for trip_id, links in trips.items():
        violations += _wrong(trip_id, links)
    offers = [call for call in calls if call.method == OFFERS]
    broken = [
        call
        for call in calls
        if call.method in (TRIP, OFFERS) and call.outcome != "ok" and call.code != "OK"
    ]
    violations += [
        f"{call.method} {call.trip_id or ''} broke with {call.code} and was not resumed"
        for call in broken
        if id(call) not in healed and not (call.method == TRIP and call.trip_id not in trips)
    ]
    violations += [
        f"{OFFERS}: {call.detail}"
        for call in offers
        if call.outcome == "fail" and call.code == "OK"
    ]
    lost = lost_offers(evidence)
    violations += lost or []
    every = [link.call for links in trips.values() for link in links] + offers
    during = [c for c in every if c.started < fault.end and c.ended > fault.start]
    n = sum(link.changes for links in trips.values() for link in links)
    brought = sum(int(found[1]) for c in offers if (found := _OFFERS.search(c.detail or "")))
    figures: dict[str, Any] = {
        "trips_followed": len(trips),
        "offer_streams": len(offers),
        "offers": brought,
        "open_during_fault": len(during),
        "offer_streams_during_fault": sum(call.method == OFFERS for call in during),
        "changes": n,
        "resumed_by_marker": sum(link.is_resumed for links in trips.values() for link in links),
        "broken": len(broken),
        "broken_and_resumed": len(healed),
        "lost_offers": None if lost is None else len(lost),
        "violations": len(violations),
        "examples": violations[:EXAMPLES],
        "bound95": bound95(len(violations), n),
    }
    told = (
        f"{n} changes on {len(trips)} trips, {brought} offers on {len(offers)} streams of them, "
        f"{len(during)} open while the fault lasted; {figures['resumed_by_marker']} resumed by "
        f"marker, {len(healed)} of {len(broken)} broken ones resumed"
    )
    if violations:
        why = f"{len(violations)} wrong: {'; '.join(violations[:EXAMPLES])} ({told})"
        return Finding(NAME, Verdict.FAIL, why, n, figures)
    missing = _missing(evidence, figures)
    if missing:
        return Finding(NAME, Verdict.UNKNOWN, f"{missing}: {told}", n, figures)
    return Finding(NAME, Verdict.PASS, f"nothing lost or doubled: {told}", n, figures)


def _missing(evidence: Evidence, figures: Mapping[str, Any]) -> str:
    """What a PASS would not rest on; empty for nothing."""
    if not figures["open_during_fault"] or not figures["changes"]:
        return "nothing to judge"
    if not evidence.parameters.load.get("answers_offers"):
        return ""
    if not figures["offer_streams_during_fault"]:
        return "drivers were to answer, and no stream of offers was open while the fault lasted"
    return "" if figures["offers"] else "drivers were to answer, and no offer reached one"


def _wrong(trip_id: str, links: Sequence[Link]) -> list[str]:
    """What one trip's streams did wrong; versions grow by one with each change."""
    found = []
    for link in links:
        wanted = link.seen - link.after
        if link.changes < wanted:
            found.append(f"trip {trip_id}: {wanted - link.changes} changes up to v{link.seen} lost")
        elif link.changes > wanted:
            found.append(f"trip {trip_id}: {link.changes - wanted} changes came twice")
        if link.call.outcome == "fail" and link.call.code == "OK":
            found.append(f"trip {trip_id}: {link.call.detail}")
    for link, following in itertools.pairwise(links):
        if following.after != link.seen:
            found.append(
                f"trip {trip_id}: resumed behind v{following.after}, seen was v{link.seen}"
            )
    return found


def lost_offers(evidence: Evidence) -> list[str] | None:
    """
    Offers that expired without their driver having answered; None when that says nothing.

    Only where drivers answer for themselves and let none expire on purpose.
    """
    load = evidence.parameters.load
    if not load.get("answers_offers") or load.get("silent_share", 1) != 0:
        return None
    if evidence.facts is None or evidence.history is None:
        return None
    answered = {
        (call.trip_id, call.driver_id)
        for call in evidence.history.calls
        if call.method in ("AcceptOffer", "DeclineOffer")
    }
    return [
        f"the offer of trip {event['trip_id']} never reached {event['driver_id']}"
        for event in _expired(evidence.facts["events"])
        if (event["trip_id"], event["driver_id"]) not in answered
    ]


def _expired(events: Sequence[Any]) -> list[Any]:
    """OFFER events whose trip's next move was EXPIRE."""
    by_version = {(e.get("city_id", ""), e["trip_id"], e["version"]): e for e in events}
    return [
        event
        for (city, trip, version), event in by_version.items()
        if event["move"] == "OFFER"
        and by_version.get((city, trip, version + 1), {}).get("move") == "EXPIRE"
    ]
