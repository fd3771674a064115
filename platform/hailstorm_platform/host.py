"""
Facts about this machine, read from its own files.

Every parser takes text, so that the decisions built on it are tested with the
text of machines that we do not have.
"""

import os
import platform
import re
import shutil
from pathlib import Path
from typing import Final

# linux/capability.h
CAP_SYS_RESOURCE: Final = 24


def is_root() -> bool:
    """Whether packages and a Docker daemon may be handled here."""
    return os.geteuid() == 0


def has_apt() -> bool:
    """Whether missing packages can be installed by apt."""
    return shutil.which("apt-get") is not None


def parse_bounding_set(status: str) -> int:
    """`CapBnd` out of /proc/self/status; all ones where the file does not say."""
    match = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(match[1], 16) if match else (1 << 64) - 1


def lacks_sys_resource(status: str | None = None) -> bool:
    """Whether no process here can ever hold CAP_SYS_RESOURCE."""
    text = Path("/proc/self/status").read_text() if status is None else status
    return not parse_bounding_set(text) >> CAP_SYS_RESOURCE & 1


def parse_memory_gib(meminfo: str) -> float:
    """Memory that a new program can get, in GiB, out of /proc/meminfo."""
    match = re.search(r"^MemAvailable:\s*(\d+) kB$", meminfo, re.MULTILINE)
    return int(match[1]) / 2**20 if match else 0.0


def cgroup_version(root: Path = Path("/sys/fs/cgroup")) -> int:
    """1 or 2; the kubelet of Kubernetes 1.34 runs on both."""
    return 2 if (root / "cgroup.controllers").exists() else 1


def free_disk_gib(path: Path) -> float:
    """Space left where `path` lies or will lie."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / 2**30


def is_memory_disk(mounts: str, path: Path) -> bool:
    """Whether `path` lies on a tmpfs, by the text of /proc/mounts."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        mount = Path(fields[1].replace("\\040", " "))
        if (path == mount or mount in path.parents) and len(str(mount)) >= best:
            best, kind = len(str(mount)), fields[2]
    return kind in ("tmpfs", "ramfs")


def wheel_platform() -> str:
    """The architecture in the names of wheels."""
    machine = platform.machine()
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
