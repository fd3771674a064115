"""
The cache: a result is named by a hash of everything it was made from.

A result is made in a temporary folder and renamed at the end, so an interrupted
build leaves nothing that looks complete. A lock per result keeps two runs from
making it twice; the second one waits and then finds it.
"""

import fcntl
import hashlib
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hailstorm_platform.paths import Paths

# 48 bits: no two of the few dozen results of one machine will ever meet.
HASH_LENGTH: Final = 12


def hash_of(parts: Iterable[str]) -> str:
    """A short name for a list of texts; order counts, and so does each border."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:HASH_LENGTH]


def _nothing(_: Path) -> bool:
    return False


def hash_of_tree(path: Path, ignore: Callable[[Path], bool] = _nothing) -> str:
    """A short name for a file or a folder: names, contents and executable bits."""
    if path.is_file():
        return hash_of(["file", _file_identity(path)])
    parts = ["folder"]
    for child in sorted(path.rglob("*")):
        relative = child.relative_to(path)
        if child.is_file() and not ignore(relative):
            parts += [str(relative), _file_identity(child)]
    return hash_of(parts)


def _file_identity(path: Path) -> str:
    executable = bool(path.stat().st_mode & stat.S_IXUSR)
    with path.open("rb") as source:
        return f"{executable}:{hashlib.file_digest(source, 'sha256').hexdigest()}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` as a lock that other processes and threads wait for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def cached(paths: Paths, thing: str, digest: str, make: Callable[[Path], None]) -> Path:
    """
    The folder `cache/<thing>-<digest>`, made by `make` when it is not there yet.

    `make` fills the empty folder it is given. Whatever it raises passes through,
    and the next call begins anew.
    """
    final = paths.cache / f"{thing}-{digest}"
    if final.is_dir():
        return final
    with locked(paths.cache / ".locks" / f"{thing}-{digest}"):
        if final.is_dir():
            return final
        scratch = Path(tempfile.mkdtemp(prefix=f".{thing}-", dir=paths.cache))
        try:
            # mkdtemp makes the folder private, which would follow into images.
            scratch.chmod(0o755)
            make(scratch)
            scratch.rename(final)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    return final
