"""
Moments as the Kubernetes API writes them, and the more exact of two witnesses.

The API stamps whole seconds; a watch event arrives with a fraction but a little
late, or very late after a restart. Nothing here invents precision: a fraction
is printed only where this process saw the event inside that very second.
"""

from datetime import UTC, datetime, timedelta


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time as the API writes it. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment.astimezone(UTC)


def whole_seconds(moment: datetime) -> str:
    """Write a moment with the API's own precision of a second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def with_milliseconds(moment: datetime) -> str:
    """Write a moment that this process has seen."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def witnessed(stamped: str, seen: datetime | None) -> str:
    """
    The best account of a moment that the API stamped and a watch may have seen.

    The stamp is truncated, so the truth lies within its second. A watch event of
    that second adds the fraction; one of a later second (or of an earlier one,
    when clocks disagree) adds nothing, and the stamp stays as it is.
    """
    start = parse_time(stamped)
    if seen is not None and start <= seen < start + timedelta(seconds=1):
        return with_milliseconds(seen)
    return whole_seconds(start)
