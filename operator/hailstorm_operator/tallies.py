"""
The recorder's answers, as the gate's values: the only module that knows its API.

`GET /tallies?kind=attempts&by=second` gives counts by pod and second and the gaps
of the time. Whatever goes wrong on the way is "no data", with a reason, and never
an empty second: an hour without an answer must not look like an hour without a
failure.
"""

import json
from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from hailstorm_operator.observations import Second, Tally, histogram_of
from hailstorm_operator.timestamps import parse_time

# The recorder's buckets, a fourth of a doubling each, in milliseconds.
EDGES: Final = tuple(round(2.0 ** (index / 4), 3) for index in range(63))
# It answers from memory; a slower answer is worth less than the next question.
TIMEOUT_SECONDS: Final = 1.0
# Envoys send lines every 0.2 s (chart: recorder.flushMilliseconds); two seconds is
# ten times that, and after it a second is taken as told in full.
SETTLED_SECONDS: Final = 2.0
# The recorder refuses more than 300 single seconds (recorder.answers), and takes no line
# while it makes an answer. A minute is what it is asked for at the start of every release.
PIECE_SECONDS: Final = 60

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Window:
    """Seconds by epoch; `no_data` says why there are none, or none after the last of them."""

    seconds: Mapping[int, Second] = field(default_factory=dict)
    no_data: str = ""


class TalliesReader:
    """Asks one recorder. Never raises for what the recorder or the network does."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url.rstrip("/")

    async def read(self, cluster: str, first: int, last: int, canary: Collection[str]) -> Window:
        """
        Attempts of the seconds from `first` to before `last`; `canary` are pod addresses.

        Asked for piece by piece, the oldest first. The first piece that fails ends it; what
        was told before stands.
        """
        if not self._url:
            return Window(no_data="the operator knows no recorder")
        seconds: dict[int, Second] = {}
        for start in range(first, last, PIECE_SECONDS):
            end = min(start + PIECE_SECONDS, last)
            piece = await self._read_piece(cluster, start, end, canary)
            seconds |= piece.seconds
            if piece.no_data:
                return Window(seconds, piece.no_data)
        return Window(seconds)

    async def _read_piece(
        self, cluster: str, first: int, last: int, canary: Collection[str]
    ) -> Window:
        query = {
            "kind": "attempts",
            "cluster": cluster,
            "by": "second",
            "from": str(first),
            "to": str(last),
        }
        try:
            async with self._session.get(
                f"{self._url}/tallies",
                params=query,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            ) as response:
                body = await response.read()
                if response.status != 200:
                    text = body[:200].decode(errors="replace")
                    return Window(no_data=f"the recorder answered {response.status} {text}")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Window(no_data=f"the recorder does not answer: {error or type(error).__name__}")
        try:
            return Window(parse_tallies(json.loads(body), first, last, canary))
        except (KeyError, TypeError, ValueError) as error:
            return Window(no_data=f"the recorder's answer makes no sense: {error!r}")


def parse_tallies(
    answer: Json, first: int, last: int, canary: Collection[str]
) -> dict[int, Second]:
    """
    Seconds from `first` to before `last`: told ones, quiet ones, and gaps.

    Raises KeyError, TypeError or ValueError for an answer of another form.
    """
    known_since = parse_time(answer["since"]).timestamp()
    gaps = [
        (
            parse_time(gap["from"]).timestamp(),
            parse_time(gap["to"]).timestamp() if gap["to"] else float("inf"),
        )
        for gap in answer["gaps"]
    ]
    told = {int(one["at"]): one["rows"] for one in answer["seconds"]}
    seconds = {}
    for at in range(first, last):
        is_gap = at < known_since or any(start < at + 1 and end > at for start, end in gaps)
        seconds[at] = Second(at, gap=True) if is_gap else _second(at, told.get(at, ()), canary)
    return seconds


def _second(at: int, rows: Any, canary: Collection[str]) -> Second:
    sides: dict[bool, list[Json]] = {True: [], False: []}
    for row in rows:
        host = _host(row["address"])
        # No pod was chosen: nobody's failure, neither the canary's nor the others'.
        if host:
            sides[host in canary].append(row)
    return Second(at, canary=_tally(sides[True]), others=_tally(sides[False]))


def _tally(rows: list[Json]) -> Tally:
    calls = failed = shed = 0
    buckets: dict[str, int] = {}
    for row in rows:
        count = int(row["count"])
        calls += count
        failed += count if row["outcome"] == "failed" else 0
        shed += count if row["outcome"] == "shed" else 0
        # A stream lasts as long as its caller likes, and what was turned away or cut
        # off was not served: neither tells how fast a pod is.
        if row["outcome"] != "ok" or row["stream"]:
            continue
        for bound, inside in row["buckets"]:
            index = str(bisect_left(EDGES, float(bound)))
            buckets[index] = buckets.get(index, 0) + int(inside)
    return Tally(calls, failed, shed, histogram_of(buckets))


def _host(address: str) -> str:
    # ip:port, where an IPv6 address has colons of its own.
    return address.rpartition(":")[0].strip("[]")
