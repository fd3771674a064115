"""
A release rolls to its next version: `helm upgrade`, as an engineer would do it.

It is planned work and not damage, and users must not notice it all the same.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.faults.rolling import Objects, Rolling


@dataclass(frozen=True)
class Release:
    """One Helm release and how it is upgraded."""

    cluster: Cluster
    name: str
    namespace: str
    chart: str

    def upgrade(self, values: Sequence[str], settings: Sequence[str] = ()) -> None:
        """`helm upgrade --install` to these values; does not wait for pods."""
        self._free()
        files = [word for file in values for word in ("--values", file)]
        sets = [word for setting in settings for word in (_option(setting), setting)]
        self.cluster.helm(
            *("upgrade", "--install", self.name, self.chart),
            *("--namespace", self.namespace),
            # Two runs of a drill must not differ by what was set by hand before.
            "--reset-values",
            *files,
            *sets,
        )

    def rollback(self) -> None:
        """Back to the revision before."""
        self.cluster.helm("rollback", self.name, "--namespace", self.namespace)

    def _free(self) -> None:
        """
        Take back an upgrade that was cut short; Helm refuses every further one beside it.

        Ours was, if it took longer than a helm of ours may; a drill upgrades its release alone.
        """
        where = ("--namespace", self.namespace)
        try:
            told = self.cluster.helm("status", self.name, *where, "--output", "json")
        except CommandError as error:
            if "not found" in str(error):
                return
            raise
        if json.loads(told)["info"]["status"] in ("pending-upgrade", "pending-rollback"):
            self.rollback()


@dataclass
class HelmRollout(Rolling):
    """The fault."""

    release: Release
    next_values: Sequence[str]
    settings: Sequence[str]
    components: Sequence[str]
    pods: Objects
    deployments: Objects
    _before: dict[str, set[str]] = field(default_factory=dict)
    _was_injected: bool = False

    def inject(self) -> None:
        """`helm upgrade` to the next values."""
        self.release.upgrade(self.next_values, self.settings)
        self._was_injected = True

    def recover(self) -> None:
        """A rollout ends by itself; one that Kubernetes gave up on is rolled back."""
        if self._was_injected and any(map(_has_failed, self.deployments())):
            self.release.rollback()


def _option(setting: str) -> str:
    """How to hand a `key=value` to Helm, whose --set makes text of a number with a point."""
    _, _, value = setting.partition("=")
    try:
        return "--set-json" if isinstance(json.loads(value), float) else "--set"
    except ValueError:
        return "--set"


def _has_failed(deployment: dict[str, Any]) -> bool:
    return any(
        c["type"] == "Progressing" and c["status"] == "False"
        for c in deployment.get("status", {}).get("conditions", [])
    )
