"""
Answers of the read API, from a store and a question. Pure.

Times are whole seconds: a stretch is widened to them, and the answer says which
seconds it speaks of. `complete` is false when a gap touches them.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from hailstorm_operator.recorder.gaps import Gap
from hailstorm_operator.recorder.lines import CODE_NAMES, FAILED
from hailstorm_operator.recorder.samples import Sample
from hailstorm_operator.recorder.store import Store
from hailstorm_operator.recorder.tallies import Key, Row, bound_ms
from hailstorm_operator.timestamps import parse_time, with_milliseconds

Json = dict[str, Any]

# Each second is some 100 KiB of JSON on a busy edge, and while it is made no line is taken.
MAX_SINGLE_SECONDS: Final = 300


class QuestionError(ValueError):
    """A parameter that makes no sense; the message names it."""


def parse_stretch(parameters: Mapping[str, str], now: float, keep: int) -> tuple[int, int]:
    """
    First second and the one after the last, from `from` and `to`.

    Each is an RFC 3339 time or epoch seconds; left out, they stand for all that
    is kept and for now.
    """
    first = _moment(parameters, "from", now - keep)
    last = _moment(parameters, "to", now)
    if last < first:
        raise QuestionError("`to` lies before `from`")
    return math.floor(first), math.ceil(last)


def tallies(
    store: Store,
    first: int,
    last: int,
    *,
    kind: str | None,
    cluster: str | None,
    by_second: bool,
) -> Json:
    """
    Counts by listener, service, pod, method, code and outcome, with latencies in buckets.

    Raises QuestionError when more seconds are asked for one by one than are given.
    """
    answer = _frame(store, first, last)
    if by_second:
        if last - max(first, math.floor(store.since)) > MAX_SINGLE_SECONDS:
            raise QuestionError(f"`by` second gives at most {MAX_SINGLE_SECONDS} s: ask for less")
        answer["seconds"] = [
            {"at": second, "rows": [_row(row) for row in rows]}
            for second in range(max(first, math.floor(store.since)), last)
            if (rows := store.tallies.rows(second, second + 1, kind, cluster))
        ]
    else:
        answer["rows"] = [_row(row) for row in store.tallies.rows(first, last, kind, cluster)]
    return answer


def failures(store: Store, first: int, last: int, *, kind: str | None, cluster: str | None) -> Json:
    """
    Failed calls and attempts one by one.

    `omitted` counts those without a sample; `unsampled` says in which second, of which
    service and at which pod they were, so that they can be put to it all the same.
    """
    samples = [
        one
        for one in store.samples.window(first, last, kind)
        if cluster is None or one["cluster"] == cluster
    ]
    total = sum(
        row.count
        for row in store.tallies.rows(first, last, kind, cluster)
        if row.key.outcome == FAILED
    )
    answer = _frame(store, first, last)
    omitted = max(0, total - len(samples))
    answer |= {
        "total": total,
        "omitted": omitted,
        "unsampled": _unsampled(store, first, last, kind, cluster, samples) if omitted else [],
        "failures": [{**one, "at": _time(one["at"])} for one in samples],
    }
    return answer


def _unsampled(
    store: Store,
    first: int,
    last: int,
    kind: str | None,
    cluster: str | None,
    samples: Sequence[Sample],
) -> list[Json]:
    """What was counted as failed beyond the samples, by second and pod."""

    def is_wanted(key: Key) -> bool:
        return (
            key.outcome == FAILED
            and (not kind or key.kind == kind)
            and (cluster is None or key.cluster == cluster)
        )

    left: Counter[tuple[int, str, str, str, str]] = Counter()
    for (second, key), count in store.tallies.by_second(first, last, is_wanted).items():
        left[second, key.kind, key.listener, key.cluster, key.address] += count
    for one in samples:
        left[int(one["at"]), one["kind"], one["listener"], one["cluster"], one["address"]] -= 1
    names = ("kind", "listener", "cluster", "address")
    return [
        {"at": _time(second), **dict(zip(names, where, strict=True)), "count": count}
        for (second, *where), count in sorted(left.items())
        if count > 0
    ]


def gaps(store: Store, first: int, last: int) -> Json:
    """Gaps of a stretch, and the Envoys there are."""
    answer = _frame(store, first, last)
    answer["envoys"] = [
        {
            "name": one.name,
            "target": one.target,
            "streams": one.streams,
            "heardAt": _time(one.heard_at) if one.heard_at else None,
            "pulseAt": _time(one.pulse_at) if one.pulse_at else None,
            "inGap": one.gap is not None,
        }
        for one in store.presence.envoys()
    ]
    return answer


def _frame(store: Store, first: int, last: int) -> Json:
    found = store.gaps_in(first, last)
    return {
        "from": _time(first),
        "to": _time(last),
        "since": _time(store.since),
        "complete": not found,
        "gaps": [_gap(gap) for gap in found],
    }


def _gap(gap: Gap) -> Json:
    return {
        "from": _time(gap.start),
        "to": None if gap.end is None else _time(gap.end),
        "envoy": gap.envoy,
        "reason": gap.reason,
    }


def _row(row: Row) -> Json:
    key = row.key
    return {
        "kind": key.kind,
        "listener": key.listener,
        "cluster": key.cluster,
        "address": key.address,
        "method": key.method,
        "code": CODE_NAMES[key.code],
        "flag": key.flag,
        "outcome": key.outcome,
        "stream": key.is_stream,
        "retried": key.is_retried,
        "count": row.count,
        # The seconds in which the first and the last of them ended.
        "firstAt": _time(row.first),
        "lastAt": _time(row.last),
        # Bound in milliseconds and count; the true durations are at most a fifth below.
        "buckets": [[bound_ms(bucket), row.buckets[bucket]] for bucket in sorted(row.buckets)],
    }


def _time(at: float) -> str:
    return with_milliseconds(datetime.fromtimestamp(at, UTC))


def _moment(parameters: Mapping[str, str], name: str, default: float) -> float:
    text = parameters.get(name, "")
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        pass
    try:
        # A plus sign in a query is a space.
        return parse_time(text.replace(" ", "+")).timestamp()
    except ValueError as error:
        raise QuestionError(f"`{name}` is {text!r}; write 2026-11-21T09:00:00Z or epoch") from error
