"""
One drill at a time: a ConfigMap that only one can create.

Two drills in one cluster take each other's load away and roll each other's
pods, and both verdicts are about nothing. The lock names its holder; it is
stale when its time has run out, or when its holder ran on this machine and is
there no longer, and a stale one is taken over.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from hailstorm_drills.cluster import Cluster, CommandError

NAME: Final = "drill-lock"


class LockedError(RuntimeError):
    """Another drill is under way; the message says whose, and until when."""


def is_running(pid: int) -> bool:
    """Whether a process of that id is on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def staleness(
    holder: dict[str, str],
    now: float,
    host: str,
    running: Callable[[int], bool] = is_running,
) -> str | None:
    """Why the holder's lock no longer counts; None while it does."""
    try:
        until, pid = float(holder["until"]), int(holder["pid"])
    except (KeyError, ValueError):
        return "it does not say whose it is"
    if now > until:
        return "its time has run out"
    if holder.get("host") == host and not running(pid):
        return f"its holder, process {pid}, is gone"
    return None


@contextlib.contextmanager
def locked(cluster: Cluster, namespace: str, drill: str, seconds: float) -> Iterator[None]:
    """Hold the lock for the block; raises LockedError when another drill has it."""
    host, now = socket.gethostname(), time.time()
    # The namespace is not there before the first drill.
    cluster.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": namespace,
                    "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                },
            }
        ]
    )
    mine: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": namespace},
        "data": {
            "drill": drill,
            "host": host,
            "pid": str(os.getpid()),
            "until": f"{now + seconds}",
        },
    }
    text = json.dumps(mine)
    try:
        cluster.kubectl("create", "-f", "-", text=text)
    except CommandError as error:
        if "AlreadyExists" not in str(error) and "already exists" not in str(error):
            raise
        holder = cluster.get(f"configmap/{NAME}", namespace).get("data", {})
        why = staleness(holder, now, host)
        if why is None:
            left = float(holder["until"]) - now
            raise LockedError(
                f"drill {holder.get('drill')} is under way, process {holder['pid']} on "
                f"{holder.get('host')}, for {left:.0f} s more at most"
            ) from error
        _release(cluster, namespace)
        # Two that found it stale may both come here; only one can create it.
        cluster.kubectl("create", "-f", "-", text=text)
    try:
        yield
    finally:
        _release(cluster, namespace)


def _release(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("delete", "configmap", NAME, "--namespace", namespace, "--ignore-not-found")
