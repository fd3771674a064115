"""
The images that Kubernetes itself runs, under the names that kubeadm expects.

Static programs go onto an empty image. Only what needs iptables or a shell
stands on Debian.
"""

from pathlib import Path
from typing import Final

from hailstorm_platform import base_images, docker_images, go_tools, versions
from hailstorm_platform.context import Context

# No USER: kubeadm's manifests say as whom each of these runs.
_STATIC: Final = """\
FROM scratch
ENV PATH=/usr/local/bin
COPY program /usr/local/bin/{name}
ENTRYPOINT ["/usr/local/bin/{name}"]
"""
_NETWORK: Final = "FROM {base}\nRUN " + base_images.INSTALL.format(
    packages="iptables nftables conntrack iproute2 kmod catatonit"
)
_PAUSE: Final = """\
FROM {network} AS source
FROM scratch
COPY --from=source /usr/bin/catatonit /pause
ENTRYPOINT ["/pause","-P"]
"""
_ON_NETWORK: Final = "FROM {network}\nCOPY program /usr/local/bin/{name}\n"


def network(context: Context) -> str:
    """Debian with what programs the kernel's network: iptables, conntrack, ip."""
    return docker_images.build(
        context, "hailstorm/network", _NETWORK.format(base=base_images.debian(context)) + "\n"
    )


def static(context: Context, name: str, program: Path) -> str:
    """The tag of an image that holds one static program and nothing else."""
    return docker_images.build(
        context, f"hailstorm/{name}", _STATIC.format(name=name), files={"program": program}
    )


def provisioner(context: Context) -> str:
    """The local-path-provisioner behind the default StorageClass."""
    tool = go_tools.LOCAL_PATH_PROVISIONER
    return static(context, tool.name, go_tools.build(context, tool))


def pod_network(context: Context, kubernetes: Path) -> str:
    """The pod network's image: the network tools and kubectl."""
    return docker_images.build(
        context,
        "hailstorm/pod-network",
        _ON_NETWORK.format(network=network(context), name="kubectl"),
        files={"program": kubernetes / "kubectl"},
    )


def kubeadm_images(context: Context, kubernetes: Path) -> dict[str, str]:
    """The name kubeadm uses → our tag, for every image of `kubeadm config images list`."""
    version = versions.KUBERNETES
    found = {
        f"registry.k8s.io/{name}:{version}": static(context, name, kubernetes / name)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    }
    tools = network(context)
    found[f"registry.k8s.io/kube-proxy:{version}"] = docker_images.build(
        context,
        "hailstorm/kube-proxy",
        _ON_NETWORK.format(network=tools, name="kube-proxy"),
        files={"program": kubernetes / "kube-proxy"},
    )
    found[f"registry.k8s.io/coredns/coredns:{versions.COREDNS}"] = static(
        context, "coredns", go_tools.build(context, go_tools.COREDNS)
    )
    found[f"registry.k8s.io/etcd:{versions.ETCD_IMAGE_TAG}"] = static(
        context, "etcd", go_tools.build(context, go_tools.ETCD)
    )
    found[f"registry.k8s.io/pause:{versions.PAUSE}"] = docker_images.build(
        context, "hailstorm/pause", _PAUSE.format(network=tools)
    )
    return found
