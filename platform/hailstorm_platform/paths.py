"""
Where things lie.

Everything that is generated lives under one folder, `.hailstorm/`, which
HAILSTORM_HOME moves; nothing outside it is written, apart from packages that
apt installs and the one firewall rule that `make down` removes.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hailstorm_platform.errors import PlatformError

# A Unix socket's path fits into 108 bytes; dockerd needs some of them for
# sockets deeper in its run folder (".../docker/containerd/containerd-debug.sock").
_LONGEST_RUN_FOLDER = 60


@dataclass(frozen=True)
class Paths:
    """The project's root and the folder for everything generated."""

    root: Path
    home: Path

    @property
    def cache(self) -> Path:
        """Results that are named by a hash of what they were made from."""
        return self.home / "cache"

    @property
    def bin(self) -> Path:
        """Links to the current kind, helm, kubectl, buf."""
        return self.home / "bin"

    @property
    def venv(self) -> Path:
        """The virtual environment with every dependency."""
        return self.home / "venv"

    @property
    def venv_python(self) -> Path:
        """The interpreter of the virtual environment."""
        return self.venv / "bin" / "python"

    @property
    def run(self) -> Path:
        """What belongs to running things: kubeconfigs, logs, generated values."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """The whole output of each child process that was worth keeping."""
        return self.home / "logs"

    @property
    def reports(self) -> Path:
        """What drills leave behind."""
        return self.home / "reports"

    @property
    def docker_data(self) -> Path:
        """The data root of a Docker daemon that this package started."""
        return self.home / "docker"

    @property
    def docker_run(self) -> Path:
        """
        Socket and process id of a Docker daemon that this package started.

        A deep checkout moves it to /tmp, under a name that this checkout alone
        has, because a socket's path must be short.
        """
        folder = self.run / "docker"
        if len(str(folder)) <= _LONGEST_RUN_FOLDER:
            return folder
        digest = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
        return Path("/tmp") / f"hailstorm-{digest}"

    def kubeconfig(self, cluster: str) -> Path:
        """The kubeconfig of a cluster that this package created."""
        return self.run / f"{cluster}.kubeconfig"

    def image_values(self, cluster: str) -> Path:
        """The Helm values that name the images of a cluster."""
        return self.run / f"{cluster}-images.yaml"

    def create(self) -> None:
        """Create the folders. Safe to repeat."""
        for folder in (self.cache, self.bin, self.run, self.logs):
            folder.mkdir(parents=True, exist_ok=True)


def find_paths(environment: Mapping[str, str] = os.environ) -> Paths:
    """Find the project's root from this file, and its home from HAILSTORM_HOME."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "platform" / "hailstorm_platform").is_dir():
        raise PlatformError(
            f"{root} is not a Hailstorm checkout; run make from the project's folder."
        )
    home = environment.get("HAILSTORM_HOME", "")
    return Paths(root=root, home=Path(home).resolve() if home else root / ".hailstorm")
