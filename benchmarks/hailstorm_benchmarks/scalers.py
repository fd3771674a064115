"""
As many pods at the knee as past it: ServiceScalers held where they are.

What happens past the knee is the services' doing. A scaler that gives them more pods
meanwhile answers another question, and on a core that is full already it only takes from
those that serve. Their bounds are set to the replicas of now; warm spares may still serve beside.

Run as a program it gives the bounds back when its stdin ends: whoever holds them may have been
killed, and helm does not: it patches a resource of ours by what changed in the chart alone.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

NAMESPACE: Final = "hailstorm"
# A healthy API server answers in milliseconds.
KUBECTL_SECONDS: Final = 30.0
BOUNDS: Final = ("minReplicas", "maxReplicas")

Bounds = Mapping[str, Mapping[str, int]]


class ScalersError(Exception):
    """The ServiceScalers cannot be held; the message says why."""


def kubectl_of(program: Path, kubeconfig: Path) -> list[str]:
    """The words of kubectl for the services of a cluster."""
    return [str(program), "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE]


@contextlib.contextmanager
def held(kubectl: Sequence[str]) -> Iterator[str]:
    """
    Hold every ServiceScaler at the replicas of its target; in words how many these are.

    Raises ScalersError, after which none is held.
    """
    kept, now = _found(kubectl)
    guard = _guard(kubectl, kept)
    try:
        give(kubectl, now)
        yield ", ".join(f"{name} {bounds['maxReplicas']}" for name, bounds in sorted(now.items()))
    finally:
        # It ends when the bounds are given back.
        guard.communicate()


def _found(kubectl: Sequence[str]) -> tuple[Bounds, Bounds]:
    """The bounds that there are, and those that hold the replicas of now. Raises ScalersError."""
    text = _run([*kubectl, "get", "servicescalers,deployments", "-o", "json"])
    try:
        items = json.loads(text)["items"]
        replicas = {
            one["metadata"]["name"]: one["spec"]["replicas"]
            for one in items
            if one["kind"] == "Deployment"
        }
        kept, now = {}, {}
        for one in items:
            # What is at 0 has no pods to hold, and 0 is no bound.
            count = replicas.get(one["spec"].get("targetRef", {}).get("name"))
            if one["kind"] == "ServiceScaler" and count:
                kept[one["metadata"]["name"]] = {key: one["spec"][key] for key in BOUNDS}
                now[one["metadata"]["name"]] = dict.fromkeys(BOUNDS, count)
    except (ValueError, KeyError, TypeError) as error:
        raise ScalersError(f"kubectl told something else: {error!r}") from error
    return kept, now


def give(kubectl: Sequence[str], bounds: Bounds) -> None:
    """Set bounds, by ServiceScaler. Raises ScalersError after all have been tried."""
    refused = []
    for name, one in bounds.items():
        patch = ("--type", "merge", "--patch", json.dumps({"spec": one}))
        try:
            _run([*kubectl, "patch", "servicescaler", name, *patch])
        except ScalersError as error:
            refused.append(f"{name}: {error}")
    if refused:
        raise ScalersError("; ".join(refused))


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=KUBECTL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ScalersError(f"kubectl: {error}") from error
    if done.returncode != 0:
        raise ScalersError(f"kubectl: {done.stderr.strip()[-200:]}")
    return done.stdout


def _guard(kubectl: Sequence[str], bounds: Bounds) -> "subprocess.Popen[bytes]":
    """A process that outlives this one by as long as it takes to give the bounds back."""
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(bounds), *kubectl],
        stdin=subprocess.PIPE,
        # Ctrl-C at the terminal is not for it.
        start_new_session=True,
    )


def main(arguments: list[str]) -> int:
    """`BOUNDS KUBECTL...`: wait until stdin ends, then give the bounds back."""
    bounds: dict[str, Any] = json.loads(arguments[0])
    sys.stdin.buffer.read()
    try:
        give(arguments[1:], bounds)
    except ScalersError as error:
        told = f"{bounds}: {error}"
        print(f"ServiceScalers are still held; set them to {told}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
