"""
Runs the arms of a comparison one after another, each from the same beginning.

    reset → scaler at work → load → scaler away

Whatever goes wrong, an interrupt included, the arm's scaler is removed and, at
the end, both namespaces: a second owner of replicas that stays behind would
spoil the next arm, and an APIService without its adapter every `kubectl`.
"""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.comparison import manifests, recording
from hailstorm_drills.comparison.arms import (
    ADAPTER,
    ADAPTER_NAMESPACE,
    API_SERVICE,
    HPA_RESOURCE,
    SCALER,
    SVS_RESOURCE,
    Arm,
    crd_knows_spares,
    make_arm,
    spares_missing,
    spares_of,
    waiting_for,
)
from hailstorm_drills.comparison.names import EDGE, LOAD, NAMESPACE, TARGET
from hailstorm_drills.comparison.settings import ARM_TITLES, CPU_HPA, IN_FLIGHT_HPA, OURS, Settings
from hailstorm_drills.faults.base import FaultError, wait_for
from hailstorm_drills.watching import Watch
from hailstorm_operator import api

# Images are on the nodes; a pod of 200m needs some seconds for its imports.
RIG_SECONDS: Final = 180.0
# An HPA looks each 15 s and metrics-server each 15 s; several of both.
SCALER_SECONDS: Final = 150.0
# Ten pods that drain, on a busy machine.
RESET_SECONDS: Final = 120.0
# Beyond its own end: start of the pod, deadlines of the last calls, the log.
LOAD_MARGIN_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 1.0
# What was begun before the load and is still to settle: an HPA's first look.
QUIET_SECONDS: Final = 5.0


class CompareError(RuntimeError):
    """An arm could not be run; the message says what was waited for."""


class Compare:
    """The rig in the cluster, and the arms on it."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        images: Mapping[str, str],
        pull_policy: str,
        origin: recording.Origin,
        say: Callable[[str], None] = print,
    ) -> None:
        self._cluster, self._settings = cluster, settings
        self._images, self._pull_policy = images, pull_policy
        self._origin, self._say = origin, say

    def set_up(self, arms: Sequence[str]) -> None:
        """Make the rig; raises CompareError when it does not come up."""
        self._say("compare: the target, its edge")
        self.clean_up()
        self._cluster.apply(manifests.rig(self._settings, self._images, self._pull_policy))
        if OURS in arms:
            # Said now, and not after the other arms: the installed kind may be another.
            ours = {"apiVersion": "v1", "kind": "List", "items": [*self._arm(OURS).manifests]}
            command = ("apply", "--dry-run=server", "-f", "-")
            self._cluster.kubectl(*command, text=json.dumps(ours))
        self._wait(self._rig_missing, RIG_SECONDS, "the rig is ready")

    def clean_up(self) -> None:
        """Remove everything that a comparison makes. Repeatable; raises CommandError."""
        self._remove_api_service()
        for namespace in (ADAPTER_NAMESPACE, NAMESPACE):
            self._delete("namespaces", namespace, None, wait=RESET_SECONDS)

    def run_arm(self, name: str) -> recording.Recording:
        """Run one arm and return what was seen. Raises CompareError."""
        arm = self._arm(name)
        spares = spares_of(arm)
        least = self._settings.least_of(name)
        self._say(f"{ARM_TITLES[name]}: back to {least} pods")
        try:
            self._reset(least)
            self._cluster.apply(arm.manifests)
            self._wait(
                lambda: self._scaler_missing(arm, spares), SCALER_SECONDS, "the scaler is at work"
            )
            time.sleep(QUIET_SECONDS)
            return self._under_load(name, spares)
        finally:
            self._remove_scalers()

    def _arm(self, name: str) -> Arm:
        return make_arm(
            name,
            self._settings,
            self._images["drills"],
            self._pull_policy,
            knows_spares=name == OURS and self._crd_knows_spares(),
        )

    def _under_load(self, name: str, spares: int) -> recording.Recording:
        watches = {
            kind: Watch(self._cluster, kind, NAMESPACE)
            for kind in ("pods", "endpointslices", "deployments")
        }
        for watch in watches.values():
            watch.start()
        try:
            load = recording.read_load(self._load(name, watches))
        except recording.RecordingError as error:
            raise CompareError(f"{ARM_TITLES[name]}: {error}") from error
        finally:
            for watch in watches.values():
                watch.stop()
        gaps = [k for k, watch in watches.items() if any(e["type"] == "GAP" for e in watch.seen())]
        if gaps:
            raise CompareError(f"{ARM_TITLES[name]}: the watch of {', '.join(gaps)} broke")
        end = load.start_at + len(load.rates)
        return recording.Recording(
            arm=name,
            settings=self._settings.of_arm(name),
            images=self._images,
            origin=self._origin,
            load=load,
            serving=recording.serving_steps(watches["endpointslices"].seen()),
            desired=recording.desired_steps(watches["deployments"].seen()),
            pods=recording.pod_spans(watches["pods"].seen(), end),
            spares=spares,
        )

    def _load(self, name: str, watches: Mapping[str, Watch]) -> str:
        """Make the calls, telling of progress; the load's whole log."""
        self._delete("pods", LOAD, NAMESPACE, wait=30)
        pod = manifests.load_pod(self._settings, self._images["drills"], self._pull_policy)
        self._cluster.apply([pod])
        end = time.monotonic() + self._settings.seconds + LOAD_MARGIN_SECONDS
        told = 0.0
        while True:
            # Out of the watch: a kubectl each second would take its share of the machine.
            phase = _phase(watches["pods"].objects(), LOAD)
            if phase in ("Succeeded", "Failed"):
                break
            if time.monotonic() > end:
                raise CompareError(f"{ARM_TITLES[name]}: the load is {phase} beyond its time")
            if time.monotonic() - told >= 10:
                told = time.monotonic()
                steps = recording.serving_steps(watches["endpointslices"].seen())
                left = max(0.0, end - LOAD_MARGIN_SECONDS - time.monotonic())
                serving = steps[-1][1] if steps else 0
                self._say(f"{ARM_TITLES[name]}: {serving} pods serve, some {left:.0f} s to go")
            time.sleep(LOOK_SECONDS)
        text = self._cluster.kubectl("logs", LOAD, "--namespace", NAMESPACE, timeout=60)
        if phase == "Failed":
            raise CompareError(f"{ARM_TITLES[name]}: the load failed: {text[-400:]}")
        self._delete("pods", LOAD, NAMESPACE, wait=30)
        return text

    def _reset(self, pods: int) -> None:
        """
        No scaler, and as many new pods as at the arm's beginning behind a new edge.

        Calls that an overwhelmed arm has left are still in flight at pods and Envoys when
        the next begins, which an HPA on that takes for demand: seen, 4 pods before its load.
        """
        self._remove_scalers()
        self._scale(0)
        command = ("delete", "pods", f"--selector={_labels_of(EDGE)}", "--namespace", NAMESPACE)
        self._cluster.kubectl(*command, timeout=RESET_SECONDS)
        self._wait_for_pods(EDGE, manifests.EDGE_REPLICAS)
        self._scale(pods)

    def _scale(self, pods: int) -> None:
        command = ("scale", "deployment", TARGET, "--namespace", NAMESPACE)
        self._cluster.kubectl(*command, f"--replicas={pods}")
        self._wait_for_pods(TARGET, pods)

    def _wait_for_pods(self, name: str, count: int) -> None:
        told = f"{count} pods of {name}, and no other"
        self._wait(lambda: self._not_reset(name, count), RESET_SECONDS, told)

    def _remove_scalers(self) -> None:
        for resource in (HPA_RESOURCE, SVS_RESOURCE):
            with contextlib.suppress(CommandError):
                # A kind that is not installed has no objects either.
                self._delete(resource, SCALER, NAMESPACE, wait=30)
        self._remove_api_service()

    def _remove_api_service(self) -> None:
        # By our labels: arms that need no adapter run beside somebody else's of that name.
        selector = f"--selector={_labels_of(ADAPTER)}"
        command = ("delete", "apiservices.apiregistration.k8s.io", selector)
        self._cluster.kubectl(*command, "--ignore-not-found", "--wait=false")

    def _delete(
        self, resource: str, name: str, namespace: str | None, wait: float | None = None
    ) -> None:
        place = () if namespace is None else ("--namespace", namespace)
        waiting = ("--wait=false",) if wait is None else (f"--timeout={wait:.0f}s",)
        self._cluster.kubectl(
            *("delete", resource, name, *place, "--ignore-not-found", *waiting),
            timeout=(wait or 0) + 30,
        )

    def _rig_missing(self) -> str | None:
        found = self._cluster.get("deployments", NAMESPACE)["items"]
        ready = {
            d["metadata"]["name"]: (d.get("status") or {}).get("readyReplicas", 0) for d in found
        }
        wanted = {TARGET: self._settings.min_replicas, EDGE: manifests.EDGE_REPLICAS}
        missing = [f"{n}: {ready.get(n, 0)}/{k}" for n, k in wanted.items() if ready.get(n, 0) < k]
        return ", ".join(missing) or None

    def _not_reset(self, name: str, wanted: int) -> str | None:
        pods = self._cluster.get("pods", NAMESPACE)["items"]
        mine = [pod for pod in pods if pod["metadata"]["name"].startswith(f"{name}-")]
        ready = sum(
            any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(pod))
            for pod in mine
            if not pod["metadata"].get("deletionTimestamp")
        )
        if len(mine) == ready == wanted:
            return None
        return f"{len(mine)} pods, {ready} of them ready"

    def _scaler_missing(self, arm: Arm, spares: int) -> str | None:
        body = self._cluster.get(f"{arm.resource}/{SCALER}", NAMESPACE)
        missing = waiting_for(body)
        if missing is None and spares:
            found = self._cluster.get("deployments.apps", NAMESPACE)["items"]
            missing = spares_missing(found, spares)
        return missing

    def _crd_knows_spares(self) -> bool:
        text = self._cluster.kubectl("get", "crd", SVS_RESOURCE, "-o", "json")
        return crd_knows_spares(json.loads(text))

    def _wait(self, probe: Callable[[], str | None], seconds: float, what: str) -> None:
        def look() -> str | None:
            try:
                return probe()
            except CommandError as error:
                return str(error)

        try:
            wait_for(look, seconds, what, sleep=lambda _: time.sleep(LOOK_SECONDS))
        except FaultError as error:
            raise CompareError(str(error)) from error


def requirements_missing(cluster: Cluster, arms: Sequence[str]) -> list[str]:
    """What the cluster lacks for these arms, in sentences; nothing is changed."""
    missing = []
    if CPU_HPA in arms and not _answers(cluster, "/apis/metrics.k8s.io/v1beta1/nodes"):
        missing.append("the HPA on CPU needs metrics-server: `make compare` installs it")
    if OURS in arms and not _answers(cluster, f"/apis/{api.API_VERSION}/{api.SCALER_PLURAL}"):
        missing.append("our arm needs the operator: install charts/hailstorm-operator")
    if IN_FLIGHT_HPA in arms and (other := _other_adapter(cluster)):
        missing.append(f"{API_SERVICE} is served by {other} here; a comparison would take it away")
    return missing


def _other_adapter(cluster: Cluster) -> str | None:
    """Whose the API of external metrics is, when it is not a comparison's own."""
    text = cluster.kubectl(
        *("get", "apiservices.apiregistration.k8s.io", API_SERVICE),
        *("--ignore-not-found", "-o", "json"),
    )
    if not text.strip():
        return None
    service = json.loads(text)["spec"].get("service") or {}
    place = f"{service.get('namespace')}/{service.get('name')}"
    return None if service.get("namespace") == ADAPTER_NAMESPACE else place


def _answers(cluster: Cluster, path: str) -> bool:
    try:
        cluster.raw(path)
    except CommandError:
        return False
    return True


def _labels_of(component: str) -> str:
    return ",".join(f"{name}={value}" for name, value in manifests.selector(component).items())


def _phase(pods: Sequence[Mapping[str, Any]], name: str) -> str | None:
    for pod in pods:
        if pod["metadata"]["name"] == name:
            return str((pod.get("status") or {}).get("phase"))
    return None


def _conditions(pod: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (pod.get("status") or {}).get("conditions") or []
