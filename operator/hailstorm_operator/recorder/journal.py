"""
What was recorded, on disk: a line of JSON a second, in a few files that follow
each other.

A restart of the container then loses what was not written, a second at most, and
knows how long it was away. Nothing is synced: a process that dies loses nothing
that it has written, and a node that dies loses its emptyDir with it. A disk that
fails costs the history, not the recording.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

logger = logging.getLogger(__name__)

# The chart's emptyDir has 64 MiB, and a pod that goes beyond is evicted.
MAX_SEGMENT_BYTES: Final = 16 * 1024 * 1024
# Two whole ones behind the one being written: together never less than is kept.
SEGMENTS: Final = 3
_PREFIX: Final = "recorder-"
_SUFFIX: Final = ".jsonl"

Json = dict[str, Any]


class Journal:
    """A folder of segments. Reading never raises for what is in a file."""

    def __init__(self, folder: Path, keep_seconds: int) -> None:
        self._folder = folder
        self._segment_seconds = keep_seconds / (SEGMENTS - 1)
        self._file: IO[str] | None = None
        self._began = 0.0
        self._size = 0
        self.failures = 0

    def read(self) -> Iterator[Json]:
        """Every line, oldest first. A torn one is the last of its segment."""
        for path in self._segments():
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                logger.warning("journal %s: %s", path.name, error)
                continue
            for line in text.splitlines():
                try:
                    parsed = json.loads(line)
                except ValueError:
                    logger.warning("journal %s ends in a torn line", path.name)
                    break
                if isinstance(parsed, dict) and "at" in parsed:
                    yield parsed

    def needs_segment(self, now: float) -> bool:
        """Whether the next line must go to a new segment, which begins with a snapshot."""
        return (
            self._file is None
            or self._size > MAX_SEGMENT_BYTES
            or now - self._began > self._segment_seconds
        )

    def begin(self, snapshot: Json, now: float) -> None:
        """Start a segment and remove those that are too old."""
        self.close()
        segments = self._segments()
        number = int(segments[-1].stem.removeprefix(_PREFIX)) + 1 if segments else 0
        try:
            for path in segments[: len(segments) - (SEGMENTS - 1)]:
                path.unlink(missing_ok=True)
            path = self._folder / f"{_PREFIX}{number:08d}{_SUFFIX}"
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            self._failed(error)
            return
        self._began, self._size = now, 0
        self.write(snapshot)

    def write(self, line: Json) -> None:
        """Append a line; it is with the kernel when this returns."""
        if self._file is None:
            return
        text = json.dumps(line, separators=(",", ":")) + "\n"
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._failed(error)
            return
        self._size += len(text)

    def close(self) -> None:
        """Let go of the segment that is open."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._failed(error)
            self._file = None

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if self.failures == 1:
            logger.error("journal in %s: %s; a restart will forget", self._folder, error)
        self._file = None

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob(f"{_PREFIX}*{_SUFFIX}"))
