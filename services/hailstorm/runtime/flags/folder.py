"""
Flags in a folder, a file each: a mounted ConfigMap, or a developer's own.

    echo false > flags/surge

A ConfigMap's folder is replaced as a whole, by one link called `..data`; files
of a folder of one's own change one by one. Both show in what `os.stat` says of
the files, and a look costs about 30 µs, so it is asked rather than watched.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hailstorm.runtime.clock import Clock
from hailstorm.runtime.flags.feed import FOLDER, Feed

# What a ConfigMap may hold; whoever names another folder by mistake must not have
# it read into memory.
MAX_FILE_BYTES: Final = 1024 * 1024

# What tells one state of the folder from another: name, inode, time and size of
# each file. The inode is what changes when an editor, or a kubelet, replaces one.
_Signature = frozenset[tuple[str, int, int, int]]


class FolderSource:
    """Reads the folder when it has changed."""

    def __init__(self, folder: str, feed: Feed, clock: Clock, poll_seconds: float) -> None:
        self._folder = Path(folder)
        self._feed = feed
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._signature: _Signature | None = None

    def look(self) -> None:
        """Hand over what the folder holds, if that may have changed. Never raises OSError."""
        try:
            signature = self._sign()
            if signature != self._signature:
                texts = self._read()
                # Changed under our eyes: the next look will see it whole.
                self._signature = signature if self._sign() == signature else None
                self._feed.take(FOLDER, texts)
        except (OSError, ValueError) as error:
            self._signature = None
            self._feed.lost(FOLDER, f"{type(error).__name__}: {error}")

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._clock.sleep(self._poll_seconds)
            self.look()

    def _files(self) -> list[Path]:
        # What begins with a dot is the kubelet's, or an editor's.
        return [path for path in self._folder.iterdir() if not path.name.startswith(".")]

    def _sign(self) -> _Signature:
        stats = [(path.name, path.stat()) for path in self._files()]
        for name, stat in stats:
            if stat.st_size > MAX_FILE_BYTES:
                raise ValueError(f"{name} has {stat.st_size} bytes and is no flag")
        return frozenset((name, s.st_ino, s.st_mtime_ns, s.st_size) for name, s in stats)

    def _read(self) -> Mapping[str, str]:
        return {path.name: path.read_text() for path in self._files() if path.is_file()}
