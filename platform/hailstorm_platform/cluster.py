"""
A kind cluster: created, asserted ready, deleted.

Two may live side by side, the demo's and the tests'; they share one Docker
network and differ in name and in the port of the edge.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hailstorm_platform import firewall, go_tools, kind_config, node_images, readiness
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError


@dataclass(frozen=True)
class Cluster:
    """A cluster's name and the port of 127.0.0.1 on which its edge answers."""

    name: str
    edge_port: int


DEMO: Final = Cluster("hailstorm", 18080)
TEST: Final = Cluster("hailstorm-test", 28080)
# The nodes that kind-config.yaml lists.
NODES: Final = 3
# Enough for a loaded machine; 40 s were seen on an idle one.
CREATE_SECONDS: Final = 600.0
# A stopped cluster is back within this time, or it is made anew (a guess).
RETURN_SECONDS: Final = 90.0

_KIND_ENVIRONMENT: Final = {"KIND_EXPERIMENTAL_DOCKER_NETWORK": firewall.NETWORK}


def _kind(context: Context) -> str:
    return str(go_tools.link(context, go_tools.build(context, go_tools.KIND)))


def names(context: Context) -> list[str]:
    """The clusters of ours that exist on the daemon in use."""
    out = context.runner.run(
        [
            *("docker", "ps", "--all", "--format", '{{.Label "io.x-k8s.kind.cluster"}}'),
            *("--filter", "label=io.x-k8s.kind.cluster", "--filter", f"network={firewall.NETWORK}"),
        ]
    )
    return sorted(set(out.split()))


def up(context: Context, cluster: Cluster, node_image: str, check_image: str) -> None:
    """
    Make a cluster exist and be ready; one that exists and is ready is kept.

    Raises when nodes, DNS or storage do not come up. `check_image` is a Python
    image that writes to a volume as the proof for storage.
    """
    firewall.ensure_network(context)
    firewall.close(context, node_image)
    if node_images.node_names(context, cluster.name):
        if _returned(context, cluster):
            context.report.say(f"cluster {cluster.name}: there and ready")
            if _stamp(context, cluster.name).read_text() != node_image:
                context.report.say("    made from an older node image; `make down` renews it")
            return
        context.report.say(f"cluster {cluster.name}: not usable as it is, made anew")
        down(context, cluster.name)
    with context.report.step(f"create cluster {cluster.name}"):
        _create(context, cluster, node_image)
    with context.report.step(f"wait until {cluster.name} is ready"):
        readiness.wait_for_nodes(context, cluster.name, NODES)
        readiness.configure_dns(context, cluster.name)
        readiness.check_storage(context, cluster.name, check_image)
        readiness.wait_for_dns(context, cluster.name)
    _stamp(context, cluster.name).write_text(node_image)


def _stamp(context: Context, name: str) -> Path:
    # Written last: a cluster without it was never finished.
    return context.paths.run / f"{name}.node-image"


def _create(context: Context, cluster: Cluster, node_image: str) -> None:
    text = (context.paths.root / "kind-config.yaml").read_text()
    config = context.paths.run / f"{cluster.name}-kind.yaml"
    config.write_text(kind_config.render(text, name=cluster.name, edge_port=cluster.edge_port))
    kubeconfig = context.paths.kubeconfig(cluster.name)
    kubeconfig.unlink(missing_ok=True)
    try:
        context.runner.run(
            [
                *(_kind(context), "create", "cluster", "--name", cluster.name),
                *("--config", str(config), "--image", node_image, "--kubeconfig", str(kubeconfig)),
            ],
            env=_KIND_ENVIRONMENT,
            timeout=CREATE_SECONDS,
            log=context.log(f"kind-{cluster.name}"),
        )
    except BaseException:
        # Half a cluster would look like one at the next start.
        down(context, cluster.name)
        raise
    kubeconfig.chmod(0o600)


def _returned(context: Context, cluster: Cluster) -> bool:
    # Finished once and alive: any other costs less to make anew than to repair.
    if not _stamp(context, cluster.name).exists():
        return False
    if not context.paths.kubeconfig(cluster.name).exists():
        return False
    running = context.runner.run(
        [
            *("docker", "ps", "--format", "{{.Names}}"),
            *("--filter", f"label=io.x-k8s.kind.cluster={cluster.name}"),
        ]
    ).split()
    try:
        stopped = set(node_images.node_names(context, cluster.name)) - set(running)
        if stopped:
            with context.report.step(f"start the stopped nodes of {cluster.name}"):
                context.runner.run(["docker", "start", *sorted(stopped)])
        readiness.wait_for_nodes(context, cluster.name, NODES, RETURN_SECONDS)
        readiness.wait_for_dns(context, cluster.name, RETURN_SECONDS)
    except PlatformError:
        return False
    return True


def down(context: Context, name: str) -> None:
    """Delete a cluster and the files that belong to it. Safe to repeat."""
    paths = context.paths
    if node_images.node_names(context, name):
        with context.report.step(f"delete cluster {name}"):
            context.runner.run(
                [
                    *(_kind(context), "delete", "cluster", "--name", name),
                    *("--kubeconfig", str(paths.kubeconfig(name))),
                ],
                env=_KIND_ENVIRONMENT,
                log=context.log(f"kind-delete-{name}"),
            )
    for path in (
        paths.kubeconfig(name),
        paths.image_values(name),
        paths.run / f"{name}-kind.yaml",
        _stamp(context, name),
    ):
        path.unlink(missing_ok=True)
