"""
What this machine has and what it lacks, before anything is built.

A finding either blocks or is only told; one blocking finding is enough to stop,
and each says in one sentence what to do about it.
"""

import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hailstorm_platform import apt, cluster, docker_daemon, go_tools, host, registry, versions
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError

# Seen: 9 GB of images and caches after `make demo`, and 3 GB of nodes' volumes.
DISK_GIB: Final = 15.0
# Seen: three nodes with everything on them use 3 GiB, a Go build of Kubernetes 3.
MEMORY_GIB: Final = 6.0


@dataclass(frozen=True)
class Finding:
    """One fact about the machine; `blocks` when nothing can work with it."""

    subject: str
    text: str
    blocks: bool = False


def judge_python(version: tuple[int, ...]) -> Finding:
    """The Python that runs this package, which also makes the environment."""
    text = ".".join(map(str, version[:3]))
    if version[:2] < versions.PYTHON_MINIMUM:
        needed = ".".join(map(str, versions.PYTHON_MINIMUM))
        return Finding("python", f"{text} is too old; install Python {needed} or later.", True)
    return Finding("python", text)


def judge_disk(free_gib: float, path: Path, *, in_memory: bool) -> Finding:
    """Space for images, caches and the nodes' volumes."""
    if in_memory:
        text = f"{path} lies in memory; set HAILSTORM_HOME to a folder on a disk."
        return Finding("disk", text, True)
    text = f"{free_gib:.0f} GiB free at {path}"
    if free_gib < DISK_GIB:
        return Finding("disk", f"{text}; make room for {DISK_GIB:.0f} GiB.", True)
    return Finding("disk", text)


def judge_memory(free_gib: float) -> Finding:
    """Memory for three nodes and what runs on them; too little is slow, not fatal."""
    text = f"{free_gib:.1f} GiB available"
    if free_gib < MEMORY_GIB:
        text += f"; below {MEMORY_GIB:.0f} GiB pods may be killed."
    return Finding("memory", text)


def judge_port(port: int, *, is_free: bool, is_ours: bool) -> Finding:
    """The port on which an edge is to answer."""
    if is_free or is_ours:
        return Finding("port", f"{port} {'is the running cluster' if is_ours else 'is free'}")
    return Finding("port", f"{port} is taken by another program; end it.", True)


def is_free(port: int) -> bool:
    """Whether nothing listens on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def examine(context: Context, commands: Commands) -> list[Finding]:
    """Every finding about this machine; starts nothing and installs nothing."""
    home = context.paths.home
    findings = [judge_python(sys.version_info[:3])]
    try:
        findings.append(Finding("go", go_tools.go_version(context)))
    except PlatformError as error:
        findings.append(Finding("go", str(error), True))
    findings.append(
        judge_disk(
            host.free_disk_gib(home),
            home,
            in_memory=host.is_memory_disk(Path("/proc/mounts").read_text(), home),
        )
    )
    findings.append(judge_memory(host.parse_memory_gib(Path("/proc/meminfo").read_text())))
    caps = "lacks" if host.lacks_sys_resource() else "has"
    findings.append(Finding("kernel", f"cgroup v{host.cgroup_version()}, {caps} CAP_SYS_RESOURCE"))
    findings += _examine_docker(context, commands)
    return findings


def _examine_docker(context: Context, commands: Commands) -> list[Finding]:
    try:
        choice = docker_daemon.choose_daemon(
            ours_answers=docker_daemon.ours_answers(context),
            system_answers=docker_daemon.answers(context, None),
            is_root=host.is_root(),
            has_dockerd=shutil.which("dockerd") is not None,
            has_apt=host.has_apt(),
        )
    except PlatformError as error:
        return [Finding("docker", str(error), True)]
    findings = [Finding("docker", choice.value)]
    running: list[str] = []
    if choice is docker_daemon.Daemon.OURS:
        commands.environment["DOCKER_HOST"] = docker_daemon.our_address(context.paths)
    if choice in (docker_daemon.Daemon.OURS, docker_daemon.Daemon.SYSTEM):
        running = cluster.names(context)
        source = registry.find_source(context)
        findings.append(Finding("images", source.value))
        if source is registry.Source.BUILT:
            findings.append(_examine_building())
    for wanted in (cluster.DEMO, cluster.TEST):
        findings.append(
            judge_port(
                wanted.edge_port,
                is_free=is_free(wanted.edge_port),
                is_ours=wanted.name in running,
            )
        )
    return findings


def _examine_building() -> Finding:
    if not host.is_root():
        return Finding("debian", "building images without a registry needs root.", True)
    try:
        return Finding("debian", f"mirror {apt.debian_mirror()}")
    except PlatformError as error:
        return Finding("debian", str(error), True)


def check(context: Context, commands: Commands) -> None:
    """Say every finding; raises when one of them blocks."""
    findings = examine(context, commands)
    for finding in findings:
        mark = "x" if finding.blocks else "."
        context.report.say(f"  {mark} {finding.subject}: {finding.text}")
    blocking = [finding.subject for finding in findings if finding.blocks]
    if blocking:
        raise PlatformError(f"This machine cannot run Hailstorm yet: see {', '.join(blocking)}.")
