"""
Pods before the node's own work, wherever both want the CPU.

On a node of its own, making a pod (runc, CNI, unpacking, the kubelet's bookkeeping)
takes cores that nobody else wants. Here three nodes share two cores with the
services and the load, and each new pod took them from every call for a tenth of a
second. The weights leave the machinery what is idle, and at least a tenth when
nothing is; on cgroup v1 systemd turns them into cpu.shares.
"""

from typing import Final

from hailstorm_platform import node_images
from hailstorm_platform.context import Context

# systemd's default is 100 for each. The pods live in kubelet.slice, beside the kubelet
# itself; containerd, its shims and runc live in system.slice. docs/decisions has the
# measurement behind the ratio.
WEIGHTS: Final = {"kubelet.slice": 400, "kubelet.service": 25, "system.slice": 25}


def apply(context: Context, cluster: str) -> None:
    """Set the weights on every node. Repeatable; a restarted node has forgotten them."""
    for node in node_images.node_names(context, cluster):
        for unit, weight in WEIGHTS.items():
            context.runner.run(
                [
                    *("docker", "exec", node, "systemctl", "set-property", "--runtime"),
                    *(unit, f"CPUWeight={weight}"),
                ]
            )
