"""
Which Envoys there are, and whether each is being heard.

An Envoy without calls sends nothing, and so does one whose lines are lost. To
tell them apart the recorder asks each Envoy something harmless every second, and
waits for its own question to come back on the Envoy's log: the pulse. The
Envoys to ask are the addresses behind the edge's headless Service, and those
that were heard and still answer.

    heard ──stream ended, or no pulse came back──► gap ──heard again──► heard
      └──stream ended, no answer, and it was draining or is gone from DNS──► left (no gap)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hailstorm_operator.recorder.gaps import (
    DROPPED,
    NOT_YET_HEARD,
    SILENT,
    STREAM_ENDED,
    Gap,
    GapLedger,
)

# Three questions of a second, each back within 0.2 s: one may be lost to a busy machine.
SILENCE_SECONDS: Final = 3.0
# Without a Service to ask, nobody says whether an Envoy left or is cut off. Longer
# than the longest drain of the chart (20 s): by then it has no calls any more.
UNKNOWN_SECONDS: Final = 30.0
# An Envoy first met this soon after the recorder's own start was there before it,
# as far as anybody knows, and lost what it sent meanwhile.
STARTING_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Answer:
    """What an Envoy says when asked: lines it could not send so far, and whether it drains."""

    dropped: int
    is_draining: bool


@dataclass
class Envoy:
    """One Envoy. `target` is where its statistics are asked for, name what it calls itself."""

    name: str = ""
    target: str = ""
    asked_since: float | None = None
    heard_at: float | None = None
    pulse_at: float | None = None
    streams: int = 0
    ended_at: float | None = None
    """Last line before a stream ended; None while all is well."""
    broke_at: float = 0.0
    dropped: int | None = None
    is_draining: bool = False
    gap: Gap | None = None

    @property
    def title(self) -> str:
        """What people know it by."""
        return self.name or self.target


class Presence:
    """Envoys by name and by target. `review` once a second, after a round of pulses."""

    def __init__(self, gaps: GapLedger, started: float) -> None:
        self._gaps = gaps
        self._started = started
        self._by_name: dict[str, Envoy] = {}
        self._by_target: dict[str, Envoy] = {}
        self._left: dict[str, float] = {}

    def envoys(self) -> list[Envoy]:
        """Every Envoy that is known to be there."""
        found = (*self._by_name.values(), *self._by_target.values())
        return list({id(one): one for one in found}.values())

    def targets(self) -> set[str]:
        """Targets of Envoys that were heard: still to be asked when DNS no longer has them."""
        return {one.target for one in self._by_name.values() if one.target}

    def expect(self, name: str, target: str, since: float) -> None:
        """An Envoy that was there before a restart: unheard since then."""
        envoy = Envoy(name, target, asked_since=since)
        if name:
            self._by_name[name] = envoy
        if target:
            self._by_target[target] = envoy
        envoy.gap = self._gaps.open(since, envoy.title, NOT_YET_HEARD)

    def opened(self, name: str, now: float) -> None:
        """A stream of this Envoy began."""
        self._named(name, now).streams += 1
        self.heard(name, now)

    def heard(self, name: str, now: float) -> None:
        """A message of this Envoy came."""
        envoy = self._named(name, now)
        envoy.heard_at = now
        # That lines come again does not tell that all of them do; a pulse does.
        if envoy.gap is not None and envoy.gap.reason != SILENT:
            self._gaps.close(envoy.gap, now)
            envoy.gap, envoy.asked_since = None, now
        elif envoy.ended_at is not None and envoy.gap is None:
            # Back before anybody asked: what it sent in between is lost all the same.
            self._gaps.add(envoy.ended_at, now, envoy.title, STREAM_ENDED)
        envoy.ended_at = None

    def pulsed(self, name: str, target: str, now: float) -> None:
        """A question came back: name and target are the same Envoy's."""
        envoy = self._named(name, now)
        other = self._by_target.get(target)
        if other is not None and other is not envoy:
            if other.gap is not None:
                self._gaps.close(other.gap, now)
                other.gap = None
            envoy.asked_since = envoy.asked_since or other.asked_since
            if other.name and self._by_name.get(other.name) is other:
                # Its successor at the same address: a pod's name is used once.
                del self._by_name[other.name]
        self._by_target[target] = envoy
        envoy.target, envoy.pulse_at = target, now
        if envoy.gap is not None and envoy.gap.reason == SILENT:
            # No stream ended, and a stream keeps its order: it was slow, and all came.
            self._gaps.withdraw(envoy.gap)
        elif envoy.gap is not None:
            self._gaps.close(envoy.gap, now)
        envoy.gap = None

    def ended(self, name: str, now: float) -> None:
        """A stream of this Envoy ended."""
        envoy = self._named(name, now)
        envoy.streams = max(0, envoy.streams - 1)
        if envoy.ended_at is None:
            # What was on its way when it broke is lost, too: since the last line.
            envoy.ended_at = envoy.heard_at or now
        envoy.broke_at = now
        if envoy.gap is not None and envoy.gap.reason == SILENT:
            envoy.gap.reason = STREAM_ENDED

    def answered(self, target: str, answer: Answer, asked_before: float, now: float) -> None:
        """What an Envoy says of itself; the question before was asked at `asked_before`."""
        envoy = self._by_target.get(target)
        if envoy is None:
            return
        # What it dropped before it was first asked lies in the gap before that.
        if envoy.dropped is not None and answer.dropped > envoy.dropped:
            self._gaps.add(asked_before, now, envoy.title, DROPPED)
        envoy.dropped, envoy.is_draining = answer.dropped, answer.is_draining

    def review(
        self, expected: Iterable[str] | None, answered: Iterable[str], began: float, now: float
    ) -> None:
        """
        Decide who is heard, who is not, and who has left.

        `expected` are targets in DNS, None when no Service is watched; `answered`
        those that answered a question asked after `began`.
        """
        answering = set(answered)
        self._left = {
            target: at
            for target, at in self._left.items()
            if target not in answering and now - at < UNKNOWN_SECONDS
        }
        present = {*(expected or ()), *answering} - set(self._left)
        for target in present - set(self._by_target):
            envoy = self._by_target[target] = Envoy(target=target, asked_since=now)
            self._note_early(envoy, now)
        for envoy in self.envoys():
            if envoy.ended_at is not None and envoy.broke_at > began:
                # An answer from before it broke tells nothing: ask again first.
                continue
            if expected is None or not envoy.target:
                self._review_unwatched(envoy, now)
            elif envoy.ended_at is not None and envoy.is_draining and envoy.target not in answering:
                # A drain ends when nothing is in flight. DNS may be a few seconds behind.
                self._left[envoy.target] = now
                self._leave(envoy, now)
            elif envoy.target in present:
                self._review_present(envoy, now)
            elif envoy.streams == 0 or envoy.ended_at is not None or envoy.gap is not None:
                self._leave(envoy, now)

    def _review_present(self, envoy: Envoy, now: float) -> None:
        if envoy.gap is not None:
            return
        if envoy.ended_at is not None:
            envoy.gap = self._gaps.open(envoy.ended_at, envoy.title, STREAM_ENDED)
            envoy.ended_at = None
            return
        since = max(at for at in (envoy.pulse_at, envoy.asked_since, 0.0) if at is not None)
        if now - since > SILENCE_SECONDS:
            envoy.gap = self._gaps.open(since, envoy.title, SILENT)

    def _review_unwatched(self, envoy: Envoy, now: float) -> None:
        if envoy.ended_at is not None and envoy.gap is None and envoy.streams == 0:
            envoy.gap = self._gaps.open(envoy.ended_at, envoy.title, STREAM_ENDED)
            envoy.ended_at = None
        heard = envoy.heard_at or envoy.asked_since or now
        if envoy.gap is not None and now - heard > UNKNOWN_SECONDS:
            self._leave(envoy, now)

    def _leave(self, envoy: Envoy, now: float) -> None:
        if envoy.gap is not None:
            self._gaps.close(envoy.gap, now)
        self._by_name = {key: one for key, one in self._by_name.items() if one is not envoy}
        self._by_target = {key: one for key, one in self._by_target.items() if one is not envoy}

    def _named(self, name: str, now: float) -> Envoy:
        envoy = self._by_name.get(name)
        if envoy is None:
            envoy = self._by_name[name] = Envoy(name)
            self._note_early(envoy, now)
        return envoy

    def _note_early(self, envoy: Envoy, now: float) -> None:
        if now - self._started < STARTING_SECONDS:
            envoy.gap = self._gaps.open(self._started, envoy.title, NOT_YET_HEARD)
