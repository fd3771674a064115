"""
How lines of history come from workers to the master without being lost unseen.

A worker cuts its lines into numbered batches and keeps each until it is
acknowledged; the master takes a number once. At the end the worker declares
how many lines it sent. Only when declared and received agree for every worker
is the history complete; a run whose history is not complete is UNKNOWN.
Nothing here knows sockets or clocks: times come in as arguments.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

# An unacknowledged batch is sent again after this long. Ten times what a busy
# master needs to answer; a guess.
RESEND_SECONDS: Final = 3.0
# Lines in a batch at most: about 150 kB, far below what one message may hold.
BATCH_LINES: Final = 400

Line = dict[str, Any]


@dataclass
class Batch:
    """Numbered lines, and when they were last sent."""

    sequence: int
    lines: list[Line]
    sent_at: float = 0.0


@dataclass
class Outbox:
    """A worker's side."""

    waiting: list[Line] = field(default_factory=list)
    unacknowledged: dict[int, Batch] = field(default_factory=dict)
    sequence: int = 0
    line_count: int = 0

    def add(self, line: Line) -> None:
        """Take a line; it leaves with the next batch."""
        self.waiting.append(line)
        self.line_count += 1

    def due(self, now: float) -> list[Batch]:
        """The batches to send now: new ones, and old ones without an answer."""
        while self.waiting:
            self.sequence += 1
            batch = Batch(self.sequence, self.waiting[:BATCH_LINES])
            self.unacknowledged[self.sequence] = batch
            del self.waiting[:BATCH_LINES]
        ready = [
            batch
            for batch in self.unacknowledged.values()
            if not batch.sent_at or now - batch.sent_at >= RESEND_SECONDS
        ]
        for batch in ready:
            batch.sent_at = now
        return ready

    def acknowledge(self, sequence: int) -> None:
        """The master has it. Repeatable."""
        self.unacknowledged.pop(sequence, None)

    def is_empty(self) -> bool:
        """Whether the master has everything."""
        return not self.waiting and not self.unacknowledged


@dataclass
class _Sender:
    sequences: set[int] = field(default_factory=set)
    lines: int = 0
    declared: int | None = None


@dataclass
class Inbox:
    """The master's side."""

    senders: dict[str, _Sender] = field(default_factory=dict)

    def accept(self, worker: str, sequence: int, lines: Iterable[Line]) -> list[Line]:
        """The lines that are new: all of a batch, or none of one seen before."""
        sender = self.senders.setdefault(worker, _Sender())
        if sequence in sender.sequences:
            return []
        sender.sequences.add(sequence)
        fresh = list(lines)
        sender.lines += len(fresh)
        return fresh

    def declare(self, worker: str, lines: int) -> None:
        """The worker is done and says how many lines it sent in all."""
        self.senders.setdefault(worker, _Sender()).declared = lines

    @property
    def received(self) -> int:
        """Lines taken from all workers."""
        return sum(sender.lines for sender in self.senders.values())

    @property
    def declared(self) -> int | None:
        """Lines that all workers say they sent; None while one has not said."""
        counts = [sender.declared for sender in self.senders.values()]
        if not counts or any(count is None for count in counts):
            return None
        return sum(count or 0 for count in counts)

    def is_complete(self, workers: int) -> bool:
        """Whether `workers` have declared, and each one's lines are all here."""
        return len(self.senders) == workers and all(
            sender.declared == sender.lines for sender in self.senders.values()
        )
