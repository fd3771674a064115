"""A release of ours that fails on purpose is taken back by its policy, and its record says why."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from edge_calls import TIMES_SQUARE, Call
from eventually import eventually

PATH = "/v1/cities/{city}/drivers:nearby?point.latitude={latitude}&point.longitude={longitude}"
# A third of the calls reach the new one of three pods: two or three failures a second.
CALLERS, PAUSE_SECONDS, MAX_CALLS = 4, 0.1, 6_000
REHEARSAL = ("--set-json", "location.rehearsal.failShare=0.25")
GATED = ("--set", "rolloutPolicy.enabled=true")


class Users:
    """A few callers, each with a pause, for a bounded number of calls."""

    def __init__(self, edge: Call, city: str) -> None:
        self._edge, self._path = edge, PATH.format(city=city, **TIMES_SQUARE)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CALLERS)]
        self.statuses: Counter[int] = Counter()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _ask(self) -> None:
        for _ in range(MAX_CALLS // CALLERS):
            if self._stop.wait(PAUSE_SECONDS):
                return
            self.statuses[self._edge("GET", self._path).status] += 1


@pytest.fixture
def gated(installed: Any) -> Iterator[Any]:
    """The system with its chart's policies on; off again, and as it was, afterwards."""
    installed.upgrade(*GATED)
    yield installed
    installed.upgrade()


@pytest.fixture
def users(gated: Any, edge: Call, city: str) -> Iterator[Users]:
    """Callers of location while the test runs."""
    found = Users(edge, city)
    found.start()
    yield found
    found.stop()


def own_records(installed: Any, since: float) -> list[dict[str, Any]]:
    """Records of location by revision, of this test alone."""
    found = installed.get(
        "rolloutrecords", "-n", "hailstorm", "-l", "hailstorm.dev/target=location"
    )["items"]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since - 1))
    fresh = [one for one in found if one["metadata"]["creationTimestamp"] >= stamp]
    return sorted(fresh, key=lambda one: int(one["spec"]["revision"]))


def environment(installed: Any) -> set[str]:
    deployment = installed.get("deployment", "-n", "hailstorm", "location")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {one["name"] for one in container["env"]}


async def test_release_that_fails_on_purpose_is_taken_back(gated: Any, users: Users) -> None:
    await eventually(
        lambda: gated.get("rolloutpolicy", "-n", "hailstorm", "location").get("status", {}),
        60,
        until=lambda status: status.get("stage") == "Idle" and bool(status.get("stableRevision")),
    )
    since = time.time()
    gated.run(
        "helm", "upgrade", "hailstorm", "charts/hailstorm", "--namespace", "hailstorm",
        "--values", gated.images_values, *GATED, *REHEARSAL,
        # A template that was there before would be a rollback, which is let pass.
        "--set", f"location.rehearsal.seed={int(since)}", timeout=120,
    )  # fmt: skip
    assert "HAILSTORM_REHEARSAL_FAIL_SHARE" in environment(gated)

    bad, back = await eventually(
        lambda: own_records(gated, since),
        120,
        until=lambda found: (
            len(found) == 2 and found[0]["status"].get("outcome") not in (None, "progressing")
        ),
    )
    policy = bad["status"]["policy"]
    assert (policy["verdict"], policy["rule"], policy["action"]) == (
        "aborted", "FailuresOnNewPods", "rollback",
    )  # fmt: skip
    assert (bad["status"]["outcome"], bad["status"]["reason"]) == ("failed", "RolledBackByPolicy")
    trigger = back["spec"]["trigger"]
    assert trigger["kind"] == "rollback"
    assert "by RolloutPolicy location" in trigger["cause"]
    assert not [name for name in environment(gated) if "REHEARSAL" in name]

    def pods() -> list[bool]:
        found = gated.get("pods", "-n", "hailstorm", "-l", "app.kubernetes.io/component=location")
        return ["deletionTimestamp" in pod["metadata"] for pod in found["items"]]

    # The bad pod serves until it has drained.
    await eventually(pods, 60, until=lambda leaving: leaving == [False, False])

    # Who paid: the record's figures are what had been seen when it was decided, and
    # the users' own count has what came until the pod was gone.
    users.stop()
    failed = users.statuses[500]
    assert policy["figures"]["canaryFailed"] >= 1
    assert policy["figures"]["othersFailed"] == 0
    assert failed >= policy["figures"]["canaryFailed"], users.statuses
    assert users.statuses.keys() <= {200, 500}, "nobody paid but for the rehearsal"
    assert str(policy["figures"]["canaryFailed"]) in policy["explanation"]
