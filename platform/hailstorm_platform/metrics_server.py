"""
metrics-server, which `make compare` puts into the cluster for an hour and takes out again.

An HPA on CPU is the autoscaler that most people have, and it reads this. Nothing
else here needs it, so neither the node image nor CI carries it: it is built, or
pulled, when a comparison asks for it.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hailstorm_platform import base_images, cluster, go_tools, node_images, system_images, versions
from hailstorm_platform.context import Context
from hailstorm_platform.kubectl import kubectl, wait_until
from hailstorm_platform.registry import Source

NAMESPACE: Final = "hailstorm-metrics"
LABEL: Final = "hailstorm.dev/rig"
LABEL_VALUE: Final = "metrics-server"
API_SERVICE: Final = "v1beta1.metrics.k8s.io"
# Its own release's figure, and the floor of what kubelets answer anew.
RESOLUTION_SECONDS: Final = 15
# Two resolutions before the first figure, and a machine that does other things.
READY_SECONDS: Final = 180.0
_FILE: Final = Path(__file__).parent / "files" / "metrics-server.yaml"
_KINDS: Final = (
    "apiservices.apiregistration.k8s.io,clusterroles.rbac.authorization.k8s.io,"
    "clusterrolebindings.rbac.authorization.k8s.io"
)


def image(context: Context, source: Source) -> str:
    """The tag of the image: pulled where a registry answers, else built from its Go module."""
    if source is Source.REGISTRY:
        official = f"registry.k8s.io/metrics-server/metrics-server:{versions.METRICS_SERVER}"
        return base_images.pulled(
            context, official, "hailstorm/metrics-server", versions.METRICS_SERVER
        )
    tool = go_tools.METRICS_SERVER
    return system_images.static(context, tool.name, go_tools.build(context, tool))


def render(tag: str) -> str:
    """The manifests for that image."""
    values = {
        "namespace": NAMESPACE,
        "label": f"{LABEL}: {LABEL_VALUE}",
        "image": tag,
        "resolution": str(RESOLUTION_SECONDS),
    }
    text = _FILE.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


@contextlib.contextmanager
def installed(context: Context, wanted: cluster.Cluster, source: Source) -> Iterator[None]:
    """
    metrics-server in the cluster while the block runs.

    One that is there already, and not ours, is used and left alone. Raises
    PlatformError when ours gives no figures in time.
    """
    if _is_someone_elses(context, wanted):
        context.report.say(f"metrics-server: {API_SERVICE} is served already")
        yield
        return
    tag = image(context, source)
    node_images.load(context, wanted.name, [tag])
    try:
        with context.report.step("install metrics-server"):
            kubectl(context, wanted.name, "apply", "-f", "-", stdin=render(tag))
            wait_until("metrics-server", READY_SECONDS, lambda: _missing(context, wanted))
        yield
    finally:
        with context.report.step("remove metrics-server"):
            remove(context, wanted)


def remove(context: Context, wanted: cluster.Cluster) -> None:
    """Take away everything that was installed. Safe to repeat."""
    selector = f"--selector={LABEL}={LABEL_VALUE}"
    for kinds, *place in (
        # First, or the API server asks for what is no longer served.
        (_KINDS,),
        ("rolebindings.rbac.authorization.k8s.io", "--namespace=kube-system"),
        ("namespaces",),
    ):
        kubectl(
            context,
            wanted.name,
            *("delete", kinds, selector, *place, "--ignore-not-found", "--timeout=90s"),
            timeout=120,
        )


def _missing(context: Context, wanted: cluster.Cluster) -> str:
    path = "/apis/metrics.k8s.io/v1beta1/nodes"
    count = len(json.loads(kubectl(context, wanted.name, "get", "--raw", path))["items"])
    return "" if count >= cluster.NODES else f"figures of {count} of {cluster.NODES} nodes"


def _is_someone_elses(context: Context, wanted: cluster.Cluster) -> bool:
    # An API server that does not answer raises: taken for "not there", ours would replace it.
    what = ("apiservices.apiregistration.k8s.io", API_SERVICE)
    told = kubectl(context, wanted.name, "get", *what, "--ignore-not-found", "-o", "json")
    if not told.strip():
        return False
    return (json.loads(told)["metadata"].get("labels") or {}).get(LABEL) != LABEL_VALUE
