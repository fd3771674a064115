"""
Installing both charts into one cluster.

Namespaces are made first, with their Pod Security level, so that a pod that
would break it is refused from the first install on.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hailstorm_platform import cluster
from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError, PlatformError
from hailstorm_platform.kubectl import get, kubectl

OPERATOR_NAMESPACE: Final = "hailstorm-system"
NAMESPACE: Final = "hailstorm"
# Seen: 40 s cold, most of it initdb and the migration; loaded machines take longer.
INSTALL_SECONDS: Final = 300
# Rendering and applying, beside the wait; after both no helm of ours is at work any more.
BUSY_SECONDS: Final = INSTALL_SECONDS + 60


def render_namespaces(*names: str) -> str:
    """These namespaces, or ours; what runs in them keeps to the strictest level there is."""
    return "---\n".join(
        f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n"
        f"  labels: {{pod-security.kubernetes.io/enforce: restricted}}\n"
        for name in names or (OPERATOR_NAMESPACE, NAMESPACE)
    )


def demo_values(context: Context) -> Path:
    """What the demo sets besides images: the operator is there, so it scales."""
    return context.paths.root / "platform" / "values" / "demo.yaml"


def free_release(context: Context, wanted: cluster.Cluster, chart: str, namespace: str) -> None:
    """
    Undo what a `helm upgrade` that was interrupted has left behind.

    Helm keeps such a release as pending-install or pending-upgrade and refuses every
    further upgrade of it. One that never was is uninstalled, of others the revision
    before comes back; the upgrade that follows installs what is wanted. A helm that is
    at work looks the same: PlatformError while one of ours could still be.
    """
    helm = [str(context.paths.bin / "helm")]
    where = ["--namespace", namespace, "--kubeconfig", str(context.paths.kubeconfig(wanted.name))]
    try:
        told = context.runner.run([*helm, "status", chart, *where, "--output", "json"])
    except CommandError as error:
        if "not found" in error.tail:
            return
        raise
    info = json.loads(told)["info"]
    cure = {
        "pending-install": ("uninstall", "--wait"),
        "uninstalling": ("uninstall", "--wait"),
        # The upgrade waits for what it installs; what comes back before it need not be ready.
        "pending-upgrade": ("rollback",),
        "pending-rollback": ("rollback",),
    }.get(info["status"])
    if cure is None:
        return
    verb, *options = cure
    age = _seconds_since_begun(info)
    if age < BUSY_SECONDS:
        by_hand = " ".join([*helm, verb, chart, *where])
        raise PlatformError(
            f"release {chart} is {info['status']} since {age:.0f} s: another helm seems to be at "
            f"work on it. Wait until it has ended; if none is (a run was killed), go on with "
            f"`{by_hand}`, or repeat this in {BUSY_SECONDS - age:.0f} s, which then does it."
        )
    context.report.say(f"release {chart} is {info['status']}: a run was interrupted; helm {verb}")
    command = [*helm, verb, chart, *where, *options, "--timeout", f"{INSTALL_SECONDS}s"]
    context.runner.run(command)


def _seconds_since_begun(info: Mapping[str, Any]) -> float:
    """How long ago the operation of a release began; Helm notes an uninstall's as `deleted`."""
    begun = dt.datetime.fromisoformat(info.get("deleted") or info["last_deployed"])
    return (dt.datetime.now(dt.UTC) - begun).total_seconds()


def install(context: Context, wanted: cluster.Cluster, images: Path, *values: Path) -> None:
    """
    Install or upgrade both charts and wait until they serve.

    `images` is for both charts, `values` for the services' alone. Safe to repeat.
    """
    # The operator's chart brings the kinds that the other one uses.
    install_operator(context, wanted, images)
    # Before anything of it is touched: another helm may be at work on it.
    free_release(context, wanted, "hailstorm", NAMESPACE)
    wake(context, wanted)
    _upgrade(context, wanted, "hailstorm", NAMESPACE, (images, *values))


def wake(context: Context, wanted: cluster.Cluster) -> None:
    """
    Bring back what was scaled to zero by hand.

    A ServiceScaler leaves zero alone and the chart says nothing of replicas that it owns,
    so helm would wait for nobody and whoever comes next for an answer.
    """
    found = get(context, wanted.name, "servicescalers,deployments", "--namespace", NAMESPACE)
    asleep = {
        one["metadata"]["name"]
        for one in found["items"]
        if one["kind"] == "Deployment" and one["spec"].get("replicas") == 0
    }
    for one in found["items"]:
        if one["kind"] != "ServiceScaler" or one["spec"]["targetRef"]["name"] not in asleep:
            continue
        name, least = one["spec"]["targetRef"]["name"], str(one["spec"]["minReplicas"])
        context.report.say(f"{name} was at 0 replicas by hand: back to {least}")
        where = ("--namespace", NAMESPACE, "--replicas", least)
        kubectl(context, wanted.name, "scale", "deployment", name, *where)


def install_operator(context: Context, wanted: cluster.Cluster, images: Path) -> None:
    """Install or upgrade the operator alone, and wait until it serves. Safe to repeat."""
    kubectl(context, wanted.name, "apply", "-f", "-", stdin=render_namespaces())
    free_release(context, wanted, "hailstorm-operator", OPERATOR_NAMESPACE)
    _upgrade(context, wanted, "hailstorm-operator", OPERATOR_NAMESPACE, (images,))


def _upgrade(
    context: Context, wanted: cluster.Cluster, chart: str, namespace: str, values: Sequence[Path]
) -> None:
    with context.report.step(f"helm upgrade --install {chart}"):
        command = [str(context.paths.bin / "helm"), "upgrade", "--install", chart]
        command += [str(context.paths.root / "charts" / chart), "--namespace", namespace]
        command += ["--wait", "--timeout", f"{INSTALL_SECONDS}s"]
        for file in values:
            command += ["--values", str(file)]
        context.runner.run([*command, "--kubeconfig", str(context.paths.kubeconfig(wanted.name))])
