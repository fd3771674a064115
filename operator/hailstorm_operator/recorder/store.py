"""
Everything that is kept, in one place: tallies, samples, gaps, and who was heard.

Takes messages, answers questions about a stretch of time, and says with every
answer whether it saw all of it. Knows no clock, no socket and no file.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hailstorm_operator.recorder import gaps as reasons
from hailstorm_operator.recorder.gaps import Gap, GapLedger
from hailstorm_operator.recorder.lines import (
    ATTEMPTS,
    CALLS,
    CODE_NAMES,
    FAILED,
    PULSE,
    Line,
    read_lines,
)
from hailstorm_operator.recorder.presence import Presence
from hailstorm_operator.recorder.samples import Samples
from hailstorm_operator.recorder.tallies import Key, Tallies, bucket_of

# A line ends within its Envoy's beat of now. One that claims another time comes
# from a clock that is wrong, and counts when it arrived.
MAX_SKEW_SECONDS: Final = 30.0
# The pulse carries, as this header, the target that was asked.
PULSE_HEADER: Final = "x-hailstorm-pulse"
MAX_DETAIL_LENGTH: Final = 200

Json = dict[str, Any]


@dataclass
class Counts:
    """What /metrics shows besides what the parts know."""

    messages: int = 0
    lines: int = 0
    misdated: int = 0
    unknown_logs: int = 0


class Store:
    """What was recorded since `since`, at most `keep_seconds` of it."""

    def __init__(self, keep_seconds: int, now: float) -> None:
        self.keep_seconds = keep_seconds
        self.since = now
        self.tallies = Tallies(keep_seconds)
        self.samples = Samples(keep_seconds)
        self.gaps = GapLedger(keep_seconds)
        self.presence = Presence(self.gaps, now)
        self.counts = Counts()
        self._envoys_written: list[Json] = []

    def take(self, message: Any, envoy: str, log: str, now: float) -> None:
        """Count a message; `envoy` and `log` are what its stream began with."""
        self.presence.heard(envoy, now)
        self.counts.messages += 1
        listener, _, kind = log.rpartition(".")
        if kind == PULSE:
            for entry in message.http_logs.log_entry:
                target = entry.request.request_headers.get(PULSE_HEADER)
                if target:
                    self.presence.pulsed(envoy, target, now)
            return
        if kind not in (CALLS, ATTEMPTS):
            self.counts.unknown_logs += 1
            return
        for line in read_lines(message):
            self.counts.lines += 1
            self._count(line, envoy, listener, kind, now)

    def settle(self, now: float) -> Json:
        """What is new since the last time, as the journal keeps it. Drops what is too old."""
        keys, seconds = self.tallies.settle()
        for part in (self.tallies, self.samples, self.gaps):
            part.forget(now)
        self.since = max(self.since, now - self.keep_seconds)
        line: Json = {"at": now}
        if keys:
            line["keys"] = {str(number): list(key) for number, key in keys.items()}
        if seconds:
            line["cells"] = {
                str(second): [number for pair in cells.items() for number in pair]
                for second, cells in seconds.items()
            }
        if samples := self.samples.settle():
            line["samples"] = samples
        if changed := self.gaps.settle():
            line["gaps"] = [_flat(gap) for gap in changed]
        envoys = self.envoys()
        if envoys != self._envoys_written:
            line["envoys"] = self._envoys_written = envoys
        return line

    def snapshot(self, now: float) -> Json:
        """What a journal that begins now must know from before: keys, gaps, Envoys."""
        return {
            "at": now,
            "keys": {str(number): list(key) for number, key in self.tallies.keys().items()},
            "gaps": [_flat(gap) for gap in self.gaps.window(self.since, now)],
            "envoys": self.envoys(),
        }

    def envoys(self) -> list[Json]:
        """Names and targets of the Envoys, to be expected again after a restart."""
        return [{"name": one.name, "target": one.target} for one in self.presence.envoys()]

    def restore(self, lines: Iterable[Mapping[str, Any]], now: float) -> None:
        """
        Take up a journal: what it holds was seen, and the time since its end was not.

        A line that does not make sense ends it, as a torn one does: what follows
        cannot be trusted.
        """
        keys: dict[int, Key] = {}
        known: list[Json] = []
        gaps: dict[tuple[float, str, str], Gap] = {}
        first = last = None
        for line in lines:
            at = float(line["at"])
            first, last = (at if first is None else first), at
            keys |= {int(number): Key(*key) for number, key in line.get("keys", {}).items()}
            cells = {int(second): flat for second, flat in line.get("cells", {}).items()}
            self.tallies.restore(keys, cells)
            self.samples.restore(line.get("samples", ()))
            for start, end, envoy, reason in line.get("gaps", ()):
                gaps[start, envoy, reason] = Gap(start, end, envoy, reason)
            known = line.get("envoys", known)
        if first is None or last is None:
            return
        # Packed, and not to be written a second time: the journal holds it.
        self.tallies.settle()
        for gap in gaps.values():
            # One that lasted goes on below as what the Envoy is not heard for.
            gap.end = last if gap.end is None else gap.end
        self.gaps.restore(gaps.values())
        self.since = max(first, now - self.keep_seconds)
        self.gaps.add(last, now, "", reasons.RECORDER_ABSENT)
        for envoy in known:
            self.presence.expect(envoy["name"], envoy["target"], last)
        for part in (self.tallies, self.samples, self.gaps):
            part.forget(now)

    def gaps_in(self, first: float, last: float) -> list[Gap]:
        """Gaps of a stretch, what came before the recording and what is to come included."""
        found = self.gaps.window(first, last)
        if first < self.since:
            found.insert(0, Gap(first, min(self.since, last), "", reasons.NOT_KEPT))
        return found

    def _count(self, line: Line, envoy: str, listener: str, kind: str, now: float) -> None:
        ended = line.ended
        if abs(ended - now) > MAX_SKEW_SECONDS:
            self.counts.misdated += 1
            ended = now
        key = Key(
            kind,
            listener,
            line.cluster,
            line.address,
            line.method,
            line.code,
            line.flag,
            line.outcome,
            line.is_stream,
            line.is_retried,
        )
        self.tallies.add(key, int(ended), bucket_of(line.seconds))
        if line.outcome == FAILED and self.samples.has_room(kind, int(ended)):
            self.samples.add(_sample(line, envoy, listener, kind, ended))


def _flat(gap: Gap) -> list[Any]:
    return [gap.start, gap.end, gap.envoy, gap.reason]


def _sample(line: Line, envoy: str, listener: str, kind: str, ended: float) -> Json:
    entry = line.entry
    common = entry.common_properties
    detail = common.upstream_transport_failure_reason or entry.response.response_code_details
    return {
        "at": round(ended, 6),
        "kind": kind,
        "listener": listener,
        "cluster": line.cluster,
        "address": line.address,
        "method": line.method,
        "code": CODE_NAMES[line.code],
        "flag": line.flag,
        "detail": detail[:MAX_DETAIL_LENGTH],
        "durationMs": round(line.seconds * 1000, 3),
        "attempts": common.upstream_request_attempt_count,
        "requestId": entry.request.request_id[:64],
        "envoy": envoy,
    }
