"""
kind-config.yaml for one cluster.

The file in the repository is a plain kind configuration that works by itself;
another cluster's is made from it by changing two lines.
"""

import re

from hailstorm_platform.errors import PlatformError


def render(text: str, *, name: str, edge_port: int) -> str:
    """The configuration of cluster `name`, its edge on 127.0.0.1:`edge_port`."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,40}", name):
        raise PlatformError(f"{name!r} is no name for a cluster; use a-z, 0-9 and '-'.")
    if not 1024 <= edge_port <= 65535:
        raise PlatformError(f"{edge_port} is no port for the edge; use 1024 to 65535.")
    edits = (
        (r"^name: .*$", f"name: {name}"),
        (r"^( +)hostPort: .*$", rf"\g<1>hostPort: {edge_port}"),
    )
    for pattern, replacement in edits:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        if count != 1:
            raise PlatformError(f"kind-config.yaml must have exactly one line like {pattern!r}.")
    return text
