"""
A flip reaches every pod within what flags promise, through the real API server.

When a pod heard is taken from its own log, so that kubectl's own seconds do not count.
"""

import datetime as dt
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from eventually import eventually

NAMESPACE = ("-n", "hailstorm")
SERVICES = ("dispatch", "location", "trip")
# What flags promise.
FLIP_SECONDS = 5


@pytest.fixture
def flag(installed: Any) -> Iterator[str]:
    """The name of a flag that nobody reads; every pod tells of it all the same."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    patch(installed, {name: None})


def patch(installed: Any, data: dict[str, str | None]) -> None:
    words = json.dumps({"data": data})
    installed.kubectl("patch", *NAMESPACE, "configmap", "flags", "--type=merge", "-p", words)


def heard(installed: Any, words: str) -> dict[str, float]:
    """By pod that serves: when it logged `words`, in Unix time; 0 when it has not."""
    selector = f"app.kubernetes.io/component in ({','.join(SERVICES)})"
    found = {}
    for pod in installed.get("pods", *NAMESPACE, "-l", selector)["items"]:
        name = pod["metadata"]["name"]
        if "deletionTimestamp" in pod["metadata"]:
            continue
        lines = installed.kubectl("logs", *NAMESPACE, name, "--since=2m").splitlines()
        told = [json.loads(line) for line in lines if words in line]
        found[name] = max(
            (dt.datetime.fromisoformat(each["ts"]).timestamp() for each in told), default=0.0
        )
    return found


async def test_flip_reaches_every_pod_in_time_and_restarts_none(installed: Any, flag: str) -> None:
    before = dict.fromkeys(heard(installed, "nothing says this"), 0.0)
    assert len(before) >= 2 * len(SERVICES)
    flipped_at = time.time()
    patch(installed, {flag: "true"})
    words = f"flag {flag}: default -> true"
    times = await eventually(
        lambda: heard(installed, words), 60, until=lambda found: all(found.values())
    )
    assert times.keys() == before.keys(), "no pod was restarted"
    late = {pod: round(at - flipped_at, 2) for pod, at in times.items()}
    # The kubelet's own copy would take 60 s and more.
    assert max(late.values()) < FLIP_SECONDS, late


async def test_slip_of_the_pen_is_refused_by_those_who_read_the_flag(installed: Any) -> None:
    patch(installed, {"geo-backend": "rnig"})
    try:
        words = "write one of: ring, geosearch"
        found = await eventually(
            lambda: heard(installed, words),
            60,
            until=lambda found: sum(at > 0 for at in found.values()) >= 2,
        )
        assert {pod.rpartition("-")[0].rpartition("-")[0] for pod, at in found.items() if at} == {
            "location"
        }
    finally:
        patch(installed, {"geo-backend": None})


def test_token_of_a_service_can_read_nothing(installed: Any) -> None:
    account = "--as=system:serviceaccount:hailstorm:flags-reader"

    def may(*question: str) -> bool:
        done = installed.run(
            "kubectl", "auth", "can-i", *question, account, *NAMESPACE, check=False
        )
        return bool(done.stdout.strip() == "yes")

    assert may("watch", "configmaps/flags")
    for question in (
        ("get", "configmaps/flags"),
        ("list", "configmaps"),
        ("watch", "configmaps"),
        ("watch", "configmaps/edge"),
        ("get", "secrets"),
        ("get", "pods"),
        ("patch", "configmaps/flags"),
    ):
        assert not may(*question), question
