"""
A service as a real process, started as in its image and ended as by a kubelet.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from integration.stores import free_port, wait_until

SERVICES: Final = Path(__file__).parents[2] / "services"


class ServiceProcess:
    """`python3 -m hailstorm.<name>`, with its log in a file."""

    def __init__(self, name: str, settings: dict[str, str], folder: Path) -> None:
        self.name = name
        self.grpc_port = free_port()
        self.http_port = free_port()
        self._log = folder / f"{name}-{self.grpc_port}.log"
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SERVICES),
            "HAILSTORM_SERVER_HOST": "127.0.0.1",
            "HAILSTORM_SERVER_GRPC_PORT": str(self.grpc_port),
            "HAILSTORM_SERVER_HTTP_PORT": str(self.http_port),
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        """The gRPC target, for a channel of `hailstorm.runtime.channels`."""
        return f"dns:///127.0.0.1:{self.grpc_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the process was not started"
        return self._process.pid

    def start(self, *arguments: str) -> None:
        """Start without waiting."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", f"hailstorm.{self.name}", *arguments),
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def start_and_wait(self) -> None:
        """Start, and return when it is ready; AssertionError with its log otherwise."""
        self.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when it is ready; AssertionError with its log when it ends or never is."""
        wait_until(self._is_ready, f"{self.name} is ready")

    def readiness(self) -> tuple[int, str]:
        """Status and body of /readyz; (0, "") when nobody answers."""
        return self.get("/readyz")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page; (0, "") when nobody answers."""
        try:
            url = f"http://127.0.0.1:{self.http_port}{path}"
            with urllib.request.urlopen(url, timeout=2) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def resident_mebibytes(self) -> float:
        """The memory that is resident now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 2**20

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None, "the process was not started"
        self._process.send_signal(number)

    def wait(self, timeout: float = 30) -> int:
        """The exit code; subprocess.TimeoutExpired when it does not end."""
        assert self._process is not None, "the process was not started"
        return self._process.wait(timeout)

    def remove(self) -> None:
        """End it, if it has not ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def log_text(self) -> str:
        """All that it wrote."""
        return self._log.read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        """Its log, parsed; raises ValueError when a line is not JSON."""
        return [json.loads(line) for line in self.log_text().splitlines()]

    def _is_ready(self) -> bool:
        assert self._process is not None, "the process was not started"
        if self._process.poll() is not None:
            raise AssertionError(f"{self.name} ended: {self.log_text()[-2000:]}")
        return self.readiness()[0] == 200
