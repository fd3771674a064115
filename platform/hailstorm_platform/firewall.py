"""
No packet from a cluster leaves this machine.

Drills kill pods while others call them: a packet to an address that has just
gone must not wander out on the uplink. Nothing in the cluster needs anything
from outside, so new connections from our Docker network to anywhere else are
refused, before any load. The rule names our own bridge and touches no other.
"""

import os
from typing import Final

from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError, PlatformError

NETWORK: Final = "hailstorm"
# The kernel allows 15 characters for the name of an interface.
BRIDGE: Final = "hailstorm0"
RULE: Final = (
    *("DOCKER-USER", "-i", BRIDGE, "!", "-o", BRIDGE),
    *("-m", "conntrack", "--ctstate", "NEW", "-j", "REJECT"),
)


def iptables_command(*, is_root: bool, image: str) -> list[str]:
    """
    How to call iptables: directly, or in a container of the host's network.

    A user who may use Docker but is not root reaches the rules that way; `image`
    must have iptables, which node images do.
    """
    if is_root:
        return ["iptables", "--wait", "10"]
    return [
        *("docker", "run", "--rm", "--privileged", "--network", "host"),
        *("--entrypoint", "iptables", image, "--wait", "10"),
    ]


def ensure_network(context: Context) -> None:
    """Create the Docker network of our clusters, with a bridge whose name we know."""
    try:
        context.runner.run(["docker", "network", "inspect", NETWORK])
    except CommandError:
        context.runner.run(
            [
                *("docker", "network", "create", "--driver", "bridge"),
                *("--opt", f"com.docker.network.bridge.name={BRIDGE}", NETWORK),
            ]
        )


def is_closed(context: Context, image: str) -> bool:
    """Whether our rule is in place."""
    command = iptables_command(is_root=os.geteuid() == 0, image=image)
    try:
        context.runner.run([*command, "-C", *RULE])
    except CommandError:
        return False
    return True


def close(context: Context, image: str) -> None:
    """Add the rule once, and look whether it is really there."""
    if is_closed(context, image):
        return
    command = iptables_command(is_root=os.geteuid() == 0, image=image)
    context.runner.run([*command, "-I", *RULE])
    if not is_closed(context, image):
        raise PlatformError(
            "iptables took the rule that keeps pod traffic on this machine, but does not show it."
        )
    context.report.say(f"firewall: new connections from {BRIDGE} to the outside are refused")


def open_again(context: Context, image: str) -> None:
    """Remove the rule that `close` added, and the network. Safe to repeat."""
    command = iptables_command(is_root=os.geteuid() == 0, image=image)
    while is_closed(context, image):
        context.runner.run([*command, "-D", *RULE])
    try:
        context.runner.run(["docker", "network", "inspect", NETWORK])
    except CommandError:
        return
    context.runner.run(["docker", "network", "rm", NETWORK])
