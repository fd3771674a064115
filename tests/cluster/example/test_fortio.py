"""A service with no code of ours behind the edge: a restart hurts nobody, and it is scaled."""

from dataclasses import dataclass
from typing import Any

import pytest

from cluster.example.conftest import Example, is_whole

# Long enough that a restart on a machine five times slower still has its calls.
LOAD_SECONDS = 45


@dataclass(frozen=True)
class Restart:
    """A `kubectl rollout restart` under load."""

    record: str
    load: str


@pytest.fixture(scope="module")
def restart(example: Example) -> Restart:
    """The app restarted under load, once its record is closed."""
    # Otherwise the record's traffic would rightly be Unknown: the edge has just been rolled.
    example.wait(example.coverage, 120, until=is_whole)
    # A template that the policy has not met as stable is nothing to judge another by.
    example.wait(
        lambda: example.get("rolloutpolicy", "fortio").get("status", {}),
        60,
        until=lambda status: status.get("stage") == "Idle" and bool(status.get("stableRevision")),
    )
    before = {one["metadata"]["name"] for one in example.records()}
    load = "restarted"
    example.start_load(load, "-qps=40", "-grpc-ping-delay=20ms", "-c=2", f"-t={LOAD_SECONDS}s")
    # A restart without calls is a restart of which nobody can say anything.
    example.wait(lambda: example.calls_seen(3), 60)
    example.kubectl("rollout", "restart", "deployment/fortio")

    def closed() -> list[str]:
        return [
            one["metadata"]["name"]
            for one in example.records()
            if one["metadata"]["name"] not in before
            and one.get("status", {}).get("outcome", "progressing") != "progressing"
        ]

    (record,) = example.wait(closed, 150)
    return Restart(record, load)


def test_restart_under_load_is_promoted(example: Example, restart: Restart) -> None:
    record = example.get("rolloutrecord", restart.record)
    assert record["spec"]["trigger"]["kind"] == "restart"
    status = record["status"]
    assert status["outcome"] == "complete", status
    assert status["policy"]["verdict"] == "promoted", status["policy"]["explanation"]


def test_scaler_follows_the_calls_in_flight_up_and_down(example: Example) -> None:
    least = int(example.get("servicescaler", "fortio")["spec"]["minReplicas"])
    example.wait(example.replicas, 90, until=lambda found: found == least)
    # 80 a second for 0.3 s each are 24 in flight; two pods are to have 11.
    example.start_load("step", "-t=10s")
    most = example.wait(example.replicas, 90, until=lambda found: found > least)

    def moves() -> list[tuple[str, int]]:
        decisions = example.get("servicescaler", "fortio")["status"].get("decisions", [])
        return [(one["action"], one["desired"]) for one in decisions if one["action"] != "hold"]

    example.wait(moves, 60, until=lambda found: found[-1:] >= [("up", least + 1)])
    example.wait(example.replicas, 150, until=lambda found: found < most)
    example.wait(moves, 60, until=lambda found: found[-1][0] == "down")
    assert set(example.load_result("step", 90)["RetCodes"]) == {"SERVING"}


def test_restart_under_load_failed_no_call(example: Example, restart: Restart) -> None:
    result = example.load_result(restart.load, LOAD_SECONDS + 60)
    assert set(result["RetCodes"]) == {"SERVING"}, result["RetCodes"]
    assert result["RetCodes"]["SERVING"] > 100

    def settled() -> dict[str, Any]:
        found: dict[str, Any] = example.get("rolloutrecord", restart.record)["status"]
        return found

    status = example.wait(settled, 120, until=lambda one: "traffic" in one)
    traffic = status["traffic"]
    seen = {"traffic": traffic, "failures": status.get("failures"), "now": example.coverage()}
    assert (traffic["state"], traffic["reason"]) == ("Known", "EveryCallSeen"), seen
    assert traffic["clusters"] == ["fortio"], seen
    assert traffic["during"]["offered"] > 0, seen
    assert [traffic[name]["failed"] for name in ("before", "during", "after")] == [0, 0, 0], seen
