"""
kubectl, kind and helm against one cluster of ours.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError, PlatformError


def kubectl(
    context: Context, cluster: str, *arguments: str, stdin: str | None = None, timeout: float = 60
) -> str:
    """Run kubectl against a cluster and return its output."""
    command = [str(context.paths.bin / "kubectl"), "--kubeconfig"]
    command += [str(context.paths.kubeconfig(cluster)), *arguments]
    return context.runner.run(command, stdin=stdin, timeout=timeout)


def get(context: Context, cluster: str, *arguments: str) -> Any:
    """`kubectl get … -o json`, parsed."""
    return json.loads(kubectl(context, cluster, "get", *arguments, "-o", "json"))


def wait_until(what: str, deadline_seconds: float, probe: Callable[[], str]) -> None:
    """
    Look every half second until `probe` returns an empty text.

    `probe` says what is still missing; the last it said is in the error. An API
    server that does not answer yet counts as missing.
    """
    end = time.monotonic() + deadline_seconds
    while True:
        try:
            missing = probe()
        except CommandError as error:
            missing = error.tail.strip() or str(error)
        if not missing:
            return
        if time.monotonic() > end:
            raise PlatformError(f"{what} is not there after {deadline_seconds:.0f} s: {missing}")
        time.sleep(0.5)
