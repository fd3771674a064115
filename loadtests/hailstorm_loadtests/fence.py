"""
The fence around targets: load goes to a cluster of one's own, and nowhere else.

A load generator with a typing error in its target is an attack on a stranger.
So a target is a loopback address, a private address or a name inside a
cluster, and whatever a name resolves to must be private as well.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

CLUSTER_SUFFIXES: Final = (".svc", ".svc.cluster.local")
# One DNS label, or a name inside a cluster: `edge-headless`.
LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class TargetError(ValueError):
    """The target lies outside the fence, or cannot be understood."""


@dataclass(frozen=True)
class Target:
    """Where calls go: `address` is what gRPC is given."""

    host: str
    port: int

    @property
    def address(self) -> str:
        """With the dns scheme, so that every address behind the name is used."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"dns:///{host}:{self.port}"


def parse_target(text: str) -> Target:
    """Read `[dns:///]host:port`; raises TargetError unless it is inside the fence."""
    bare = text.removeprefix("dns:///")
    if "/" in bare:
        raise TargetError(f"target {text!r}: expected host:port, optionally after dns:///")
    host, colon, port_text = bare.rpartition(":")
    if not colon or not port_text.isdigit() or not 0 < int(port_text) < 65536:
        raise TargetError(f"target {text!r}: expected host:port with a port of 1 to 65535")
    host = host.removeprefix("[").removesuffix("]").lower()
    if not is_inside(host):
        raise TargetError(
            f"target {host!r} is refused: load goes to loopback, to a private address, or to a "
            "Service inside the cluster (name, or name.namespace.svc[.cluster.local])"
        )
    return Target(host, int(port_text))


def is_inside(host: str) -> bool:
    """Whether the written host is loopback, private, or a cluster's name."""
    try:
        return _is_private(host)
    except ValueError:
        pass
    if host == "localhost":
        return True
    for suffix in CLUSTER_SUFFIXES:
        if host.endswith(suffix):
            labels = host.removesuffix(suffix).split(".")
            # Service and namespace, or pod, Service and namespace.
            return len(labels) in (2, 3) and all(LABEL.fullmatch(label) for label in labels)
    return LABEL.fullmatch(host) is not None


Resolver = Callable[[str, int], Iterable[str]]


def resolve(host: str, port: int) -> list[str]:
    """Every address behind the name, as the system resolves it."""
    found = socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP)
    return sorted({str(entry[4][0]) for entry in found})


def assert_private(target: Target, resolver: Resolver = resolve) -> list[str]:
    """
    Resolve the target and return its addresses; raises TargetError when one is public.

    A search domain can lead a short name anywhere, so the name is not enough.
    """
    try:
        addresses = list(resolver(target.host, target.port))
    except OSError as error:
        raise TargetError(f"target {target.host!r} does not resolve: {error}") from error
    if not addresses:
        raise TargetError(f"target {target.host!r} has no address")
    public = [address for address in addresses if not _is_private(address)]
    if public:
        raise TargetError(f"target {target.host!r} leads to public addresses: {', '.join(public)}")
    return addresses


def _is_private(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    # is_private also covers documentation and benchmarking ranges, and the
    # unspecified address; only what a cluster uses is wanted.
    if address.is_unspecified or address.is_multicast:
        return False
    return address.is_loopback or any(
        address.version == network.version and address in network for network in PRIVATE
    )


PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
