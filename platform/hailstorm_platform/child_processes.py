"""Child processes of Linux: made as another user, their states, their children."""

import contextlib
import pwd
from collections.abc import Iterator
from pathlib import Path


def as_user(user: int | None, *command: str) -> tuple[str, ...]:
    """The command line that becomes `command`, under the same pid, as the user of that id.

    Not `Popen(user=...)`: that makes Python fork where it else calls vfork, and a
    fork runs the handlers that gRPC registered for it. In a process with busy
    gRPC threads they crashed 48 of 100 children before these became anything, and
    Popen takes such a child for one that has started.
    """
    return command if user is None else ("setpriv", f"--reuid={user}", "--", *command)


def is_alive(pid: int) -> bool:
    # Z: dead, and not yet asked for its exit code by whoever inherited it.
    return state_of(pid) != "Z"


def state_of(pid: int) -> str:
    """The letter of proc(5) for what a process does; Z also for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "Z"


def children_of(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        yield from (int(child) for child in task.read_text().split())


def unprivileged_user() -> int:
    """The user id that a program runs as which refuses root. RuntimeError when there is none."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise RuntimeError("postgres does not run as root, and there is no user to run it as")
