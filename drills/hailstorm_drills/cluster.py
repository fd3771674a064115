"""
The way to the cluster: kubectl and helm as child processes, each with a time-out.

The two programs are what users run by hand, so a drill does nothing that could
not be typed. Nothing here waits without an end, and nothing retries: whether a
command may be repeated is its caller's knowledge.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# A healthy API server answers in milliseconds; one that needs longer than this
# on a busy machine is not one to run a drill on.
QUERY_SECONDS: Final = 30.0
# Helm renders, compares and applies; it does not wait for pods here.
HELM_SECONDS: Final = 180.0
# Of the programs' sessions, on the scale of nice: a ninth of the cluster's share of the CPU.
# With 0, one helm weighs as much as all pods of a kind cluster together.
SESSION_NICE: Final = 10
# How much of a program's complaint fits into a sentence.
COMPLAINT_CHARACTERS: Final = 600


class CommandError(RuntimeError):
    """A program failed, was missing, or took too long; the message has its own words."""


@dataclass(frozen=True)
class Cluster:
    """One cluster, reached through one kubeconfig."""

    kubeconfig: Path
    kubectl_program: str = "kubectl"
    helm_program: str = "helm"
    docker_program: str = "docker"

    def environment(self) -> dict[str, str]:
        """The child's environment: this process's, with our kubeconfig."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(
        self, *arguments: str, timeout: float = QUERY_SECONDS, text: str | None = None
    ) -> str:
        """Run kubectl and return its output; raises CommandError."""
        return self._run([self.kubectl_program, *arguments], timeout, text).decode()

    def helm(self, *arguments: str, timeout: float = HELM_SECONDS) -> str:
        """
        Run helm and return its output; raises CommandError.

        One that is killed leaves its release pending, and the upgrade that heals would be
        refused; so an interrupt goes on only after helm has ended.
        """
        return self._run([self.helm_program, *arguments], timeout, None, ends=True).decode()

    def get(self, resource: str, namespace: str, *options: str) -> dict[str, Any]:
        """`kubectl get -o json`, read; raises CommandError."""
        found = self.kubectl("get", resource, "--namespace", namespace, "-o", "json", *options)
        return dict(json.loads(found))

    def namespace(self) -> str:
        """The namespace of the kubeconfig's context, as kubectl takes it; raises CommandError."""
        found = json.loads(self.kubectl("config", "view", "--minify", "-o", "json"))
        contexts = found.get("contexts") or [{}]
        return str((contexts[0].get("context") or {}).get("namespace") or "default")

    def raw(self, path: str, timeout: float = QUERY_SECONDS) -> bytes:
        """GET a path of the API server, for instance through a pod's proxy."""
        return self._run([self.kubectl_program, "get", "--raw", path], timeout, None)

    def post(self, path: str, timeout: float = QUERY_SECONDS) -> bytes:
        """POST an empty body to a path of the API server."""
        command = [self.kubectl_program, "create", "--raw", path, "-f", "-"]
        return self._run(command, timeout, "")

    def apply(self, manifests: Sequence[dict[str, Any]]) -> None:
        """`kubectl apply` of the manifests in one go."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "-f", "-", text=json.dumps(whole), timeout=60)

    def node(self, node: str, script: str, timeout: float = QUERY_SECONDS) -> str:
        """
        Run a shell script inside a node and return its output; raises CommandError.

        Works where nodes are containers of the local Docker, as with kind.
        """
        try:
            return self._run(
                [self.docker_program, "exec", node, "sh", "-c", script], timeout, None
            ).decode()
        except CommandError as error:
            raise CommandError(
                f"node {node} cannot be entered with docker exec ({error}); the drill needs kind "
                "and its Docker daemon, which `python3 -m hailstorm_platform docker` names for "
                "DOCKER_HOST"
            ) from error

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start kubectl in the background; the caller ends it."""
        try:
            process = subprocess.Popen(
                [self.kubectl_program, *arguments],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # An interrupt on the terminal is for the drill, which then heals
                # the fault and still needs its watches while it does.
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError(f"{self.kubectl_program} cannot be started: {error}") from error
        _give_way(process.pid)
        return process

    def _run(
        self, command: list[str], timeout: float, text: str | None, *, ends: bool = False
    ) -> bytes:
        told = " ".join(command[:4])
        try:
            with subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Without it an interrupt on the terminal would reach the program itself.
                start_new_session=True,
            ) as process:
                _give_way(process.pid)
                out, err = _communicate(process, text, timeout, ends)
        except OSError as error:
            raise CommandError(f"{command[0]} cannot be started: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{told} ... took longer than {timeout:.0f} s") from error
        if process.returncode != 0:
            complaint = err.decode(errors="replace").strip()[-COMPLAINT_CHARACTERS:]
            raise CommandError(f"{told} ... failed: {complaint or 'without a word'}")
        return out


def _give_way(pid: int) -> None:
    """
    Let the cluster on this machine have the CPU first; a wish, where the kernel knows of none.

    Each session has a share of its own, whatever the nice value of its processes
    (sched(7), "The autogroup feature").
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(SESSION_NICE))


def _communicate(
    process: subprocess.Popen[bytes], text: str | None, timeout: float, ends: bool
) -> tuple[bytes, bytes]:
    """Both outputs; on time-out and interrupt kills it, the latter after its time if it `ends`."""
    limit = time.monotonic() + timeout
    try:
        try:
            return process.communicate(None if text is None else text.encode(), timeout)
        except KeyboardInterrupt:
            if ends:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=max(0.0, limit - time.monotonic()))
            raise
    except BaseException:
        process.kill()
        raise
