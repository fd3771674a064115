"""
Deletes pods, one after another, and has each shot at while it ends.

The next one is deleted only when every replica is ready again and every Envoy
counts it as healthy: deleted earlier, a pod can be the only one that callers
know, and then its calls fail by no fault of its drain.
"""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.drain_test import probe
from hailstorm_drills.drain_test.judgement import Shot
from hailstorm_drills.drain_test.scene import GRPC_PORT, NAME, Wanted, scene
from hailstorm_drills.faults.base import FaultError, slowly, wait_for
from hailstorm_drills.load import LOAD_LABEL
from hailstorm_drills.rollouts import component_of, is_ready, unsettled
from hailstorm_drills.watching import Watch

# The part of Envoy's admin interface that the chart lets out.
ADMIN_PORT: Final = 9902
# What each service refuses at its border, without looking at a store.
METHODS: Final = {
    "dispatch": "/hailstorm.dispatch.v1.DispatchService/GetQuote",
    "location": "/hailstorm.location.v1.LocationService/NearbyDrivers",
    "trip": "/hailstorm.trip.v1.TripService/GetTrip",
}
PROPAGATION: Final = "HAILSTORM_LIFECYCLE_PROPAGATION_SECONDS"
# A pod comes back within this on a machine that does other things.
SETTLED_SECONDS: Final = 180.0
PROBE_START_SECONDS: Final = 60.0
DELETION_SECONDS: Final = 30.0


@dataclass
class DrainTest:
    """One run of the test."""

    cluster: Cluster
    wanted: Wanted
    say: Callable[[str], None] = print
    shots: list[Shot] = field(default_factory=list)
    # What the chart waits; 0 until it was read.
    propagation: float = 0.0

    def run(self) -> float:
        """
        Shoot at the pods; `shots` holds what was seen, also when it raises.

        Returns the chart's propagation. Raises CommandError or FaultError when
        it cannot go on; whatever was created is taken away either way.
        """
        w = self.wanted
        pods = Watch(self.cluster, "pods", w.namespace)
        deployments = Watch(self.cluster, "deployments", w.namespace)
        pods.start()
        deployments.start()
        try:
            with self._scene():
                wait_for(
                    lambda: self._unfit(pods, deployments),
                    SETTLED_SECONDS,
                    "the release is whole",
                    sleep=slowly,
                )
                self.propagation = propagation_of(deployments.objects(), w.component)
                for number in range(1, w.pods + 1):
                    wait_for(
                        lambda: self._unfit(pods, deployments),
                        SETTLED_SECONDS,
                        f"all is whole before pod {number}",
                        sleep=slowly,
                    )
                    shot = self._shoot(pods)
                    self.shots.append(shot)
                    self.say(f"{number} of {w.pods}: {shot.pod}, {len(shot.calls)} calls")
            return self.propagation
        finally:
            pods.stop()
            deployments.stop()

    def _unfit(self, pods: Watch, deployments: Watch) -> str | None:
        """None when every replica is ready and every Envoy counts all of them as healthy."""
        missing = unsettled(deployments.objects(), pods.objects())
        if missing:
            return missing
        ready = len(self._ready(pods))
        for pod in pods.objects():
            if component_of(pod) == "edge":
                name = pod["metadata"]["name"]
                known = self._healthy(name)
                if known != ready:
                    return f"{name} counts {known} healthy pods of {ready}"
        return None

    def _healthy(self, envoy: str) -> int:
        w = self.wanted
        stat = f"cluster.{w.component}.membership_healthy"
        path = f"/api/v1/namespaces/{w.namespace}/pods/{envoy}:{ADMIN_PORT}/proxy/stats"
        found = json.loads(self.cluster.raw(f"{path}?filter=membership_healthy&format=json"))
        return next((int(s["value"]) for s in found["stats"] if s.get("name") == stat), 0)

    def _ready(self, pods: Watch) -> list[dict[str, Any]]:
        return [
            pod
            for pod in pods.objects()
            if component_of(pod) == self.wanted.component
            and is_ready(pod)
            and not pod["metadata"].get("deletionTimestamp")
        ]

    def _shoot(self, pods: Watch) -> Shot:
        w = self.wanted
        ready = sorted(self._ready(pods), key=lambda pod: pod["metadata"]["creationTimestamp"])
        victim = ready[0]
        name, address = victim["metadata"]["name"], victim["status"]["podIP"]
        had_second = len(ready) > 1
        process = self.cluster.start(
            *("exec", NAME, "--namespace", w.load_namespace, "--"),
            *("python3", "-m", "hailstorm_drills.drain_test.probe"),
            *("--direct", f"{address}:{GRPC_PORT}"),
            *("--edge", f"dns:///edge-headless.{w.namespace}.svc.cluster.local:8080"),
            *("--service", f"{NAME}.{w.namespace}.svc.cluster.local:{GRPC_PORT}"),
            *("--method", METHODS[w.component], "--seconds", f"{w.seconds:g}"),
        )
        lines = Lines(process)
        try:
            wait_for(lines.missing_start, PROBE_START_SECONDS, "the probe shoots")
            self.cluster.kubectl(
                *("delete", "pod", name, "--namespace", w.namespace, "--wait=false")
            )
            wait_for(lambda: _not_deleted(pods, name), DELETION_SECONDS, f"{name} is deleted")
            while lines.is_running:
                others = [p for p in self._ready(pods) if p["metadata"]["name"] != name]
                had_second = had_second and bool(others)
                time.sleep(0.2)
        finally:
            process.kill()
            lines.join()
        return Shot(name, address, _deleted_at(pods, name), lines.calls(), had_second)

    @contextlib.contextmanager
    def _scene(self) -> Iterator[None]:
        """The probe's pod, a ClusterIP Service, and leave to reach the pods; gone afterwards."""
        w = self.wanted
        try:
            self._sweep()
            self.cluster.apply(scene(w))
            wait_for(self._no_probe, PROBE_START_SECONDS, "the probe's pod runs", sleep=slowly)
            yield
        finally:
            self._sweep()

    def _no_probe(self) -> str | None:
        pod = self.cluster.get(f"pod/{NAME}", self.wanted.load_namespace)
        return None if is_ready(pod) else f"it is {pod.get('status', {}).get('phase', 'new')}"

    def _sweep(self) -> None:
        w = self.wanted
        for kinds, namespace in (
            ("pod", w.load_namespace),
            ("service,networkpolicy", w.namespace),
        ):
            self.cluster.kubectl(
                *("delete", kinds, "--namespace", namespace, "--selector", f"{LOAD_LABEL}={NAME}"),
                *("--ignore-not-found", "--grace-period=1", "--wait=true", "--timeout=60s"),
                timeout=90,
            )


class Lines:
    """What the probe prints, read on a thread of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None, "it is piped"
        for line in self._process.stdout:
            self._lines.append(line.decode(errors="replace").strip())

    @property
    def is_running(self) -> bool:
        """Whether the probe still shoots."""
        return self._thread.is_alive()

    def missing_start(self) -> str | None:
        """None once it shoots; raises CommandError when it has ended before."""
        if probe.READY in self._lines:
            return None
        if not self.is_running:
            _, complaint = self._process.communicate()
            raise CommandError(f"the probe ended: {complaint.decode(errors='replace')[-300:]}")
        return "it has not begun"

    def calls(self) -> list[dict[str, Any]]:
        """All calls so far."""
        return [json.loads(line) for line in list(self._lines) if line.startswith("{")]

    def join(self) -> None:
        """Wait for the last line of a process that has ended."""
        self._thread.join(timeout=5)


def _deletion(pods: Watch, name: str) -> float | None:
    return next(
        (
            event["at"]
            for event in pods.seen()
            if event["type"] in ("MODIFIED", "DELETED")
            and event["object"]["metadata"]["name"] == name
            and event["object"]["metadata"].get("deletionTimestamp")
        ),
        None,
    )


def _not_deleted(pods: Watch, name: str) -> str | None:
    return None if _deletion(pods, name) is not None else "the watch has not told of it"


def _deleted_at(pods: Watch, name: str) -> float:
    at = _deletion(pods, name)
    assert at is not None, "it was waited for"
    return at


def propagation_of(deployments: list[dict[str, Any]], component: str) -> float:
    """What the component's pods wait, by their own environment; raises FaultError."""
    for deployment in deployments:
        if component_of(deployment) != component:
            continue
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            for variable in container.get("env", []):
                if variable["name"] == PROPAGATION:
                    return float(variable["value"])
    raise FaultError(f"{component} does not say {PROPAGATION}")
