"""The nodes of a kind cluster, as the Docker daemon in DOCKER_HOST knows them."""

import http.client
import json
import os
import socket
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
# Labels that kind puts on its containers.
CLUSTER_LABEL: Final = "io.x-k8s.kind.cluster"
ROLE_LABEL: Final = "io.x-k8s.kind.role"
WORKER: Final = "worker"


class DockerError(Exception):
    """The daemon cannot be asked, or did not answer; the message says which."""


class _DockerSocket(http.client.HTTPConnection):
    """HTTP over the daemon's unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Node:
    """A node's container; `role` is kind's: control-plane or worker."""

    name: str
    container_id: str
    role: str


def ask(path: str) -> Any:
    """The JSON that the daemon answers to GET `path`. Raises DockerError."""
    host = os.environ.get("DOCKER_HOST", DEFAULT_HOST)
    if not host.startswith("unix://"):
        raise DockerError(f"DOCKER_HOST is {host}; only a unix socket can be read here")
    connection = _DockerSocket(host.removeprefix("unix://"))
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise DockerError(f"docker answered {response.status} to {path}: {body[:200]!r}")
        return json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DockerError(f"docker at {host} cannot be asked: {error}") from error
    finally:
        connection.close()


def kind_nodes(cluster: str) -> list[Node]:
    """The running nodes of a kind cluster; none when there is no such cluster."""
    filters = quote(json.dumps({"label": [f"{CLUSTER_LABEL}={cluster}"]}))
    return [
        Node(found["Names"][0].lstrip("/"), found["Id"], found["Labels"].get(ROLE_LABEL, ""))
        for found in ask(f"/containers/json?filters={filters}")
    ]
