"""Judging a cluster by what its API server says, and the rule around it."""

from typing import Any

import pytest

from hailstorm_platform import firewall, readiness
from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError, PlatformError
from hailstorm_platform.kubectl import wait_until


def node(name: str, ready: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def test_nodes_are_missing_until_all_are_there_and_ready() -> None:
    ready = [node("a", "True"), node("b", "True")]
    assert readiness.missing_nodes({"items": ready}, 2) == ""
    assert readiness.missing_nodes({"items": ready}, 3) == "2 of 3 nodes registered"
    unready = [node("a", "True"), node("b", "Unknown"), {"metadata": {"name": "c"}}]
    assert readiness.missing_nodes({"items": unready}, 3) == "not Ready: b, c"


def deployment(**status: int) -> dict[str, Any]:
    return {"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status}


def test_replicas_are_missing_while_an_old_one_is_still_there() -> None:
    done = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 2}
    assert readiness.missing_replicas(deployment(**done)) == ""
    assert "not looked at" in readiness.missing_replicas(
        deployment(**{**done, "observedGeneration": 1})
    )
    assert "replicas is 3" in readiness.missing_replicas(deployment(**{**done, "replicas": 3}))
    assert "availableReplicas is 0" in readiness.missing_replicas(
        deployment(observedGeneration=2, updatedReplicas=2)
    )


def test_waiting_ends_with_what_was_still_missing() -> None:
    with pytest.raises(PlatformError, match="the thing is not there after 0 s: two of three"):
        wait_until("the thing", 0, lambda: "two of three")


def test_waiting_takes_a_silent_server_for_missing() -> None:
    def refuse() -> str:
        raise CommandError(["kubectl"], 1, "connection refused")

    with pytest.raises(PlatformError, match="connection refused"):
        wait_until("the server", 0, refuse)


def test_rule_names_our_bridge_alone() -> None:
    assert len(firewall.BRIDGE) <= 15
    rule = " ".join(firewall.RULE)
    assert f"-i {firewall.BRIDGE} ! -o {firewall.BRIDGE}" in rule


def test_rule_is_reached_through_a_container_when_we_are_not_root() -> None:
    assert firewall.iptables_command(is_root=True, image="n")[0] == "iptables"
    command = firewall.iptables_command(is_root=False, image="kindest/node:x")
    assert command[:2] == ["docker", "run"]
    assert "kindest/node:x" in command
    assert command[4:6] == ["--network", "host"]


def test_closing_raises_when_the_rule_does_not_show(context: Context, runner) -> None:
    runner.answer("-C", with_=1)
    with pytest.raises(PlatformError, match="does not show it"):
        firewall.close(context, "image")
    assert runner.called("-I", "DOCKER-USER")


def test_closing_adds_nothing_when_the_rule_is_there(context: Context, runner) -> None:
    firewall.close(context, "image")
    assert not runner.called("-I")
