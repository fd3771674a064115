"""The operator's recorder as a process of its own, beside an edge on this machine."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.charts.edge_process import Edge, free_port, wait_for_port


@dataclass
class Recorder:
    """A recorder; its ports are chosen before it starts, so that an edge can be told."""

    folder: Path
    logs: int
    answers: int
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, edges: Sequence[Edge]) -> None:
        """Start it, and return once it answers."""
        settings = {
            "GRPC_PORT": self.logs,
            "HTTP_PORT": self.answers,
            "EDGES": ",".join(f"127.0.0.1:{edge.stats}" for edge in edges),
            "FOLDER": self.folder,
        }
        log = self.folder / "recorder.log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hailstorm_operator.recorder"],
                env={
                    **os.environ,
                    **{
                        f"HAILSTORM_RECORDER_{name}": str(value) for name, value in settings.items()
                    },
                },
                stdout=out,
                stderr=out,
            )
        wait_for_port(self.answers, self.process, log)
        wait_for_port(self.logs, self.process, log)

    def end(self, number: int = signal.SIGKILL) -> None:
        """Signal it, and return once it has ended."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=10)
            self.process = None

    def ask(self, path: str, **parameters: Any) -> Any:
        """The JSON that it answers."""
        query = "&".join(f"{name.rstrip('_')}={value}" for name, value in parameters.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.answers, timeout=5)
        try:
            connection.request("GET", f"{path}?{query}")
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            return json.loads(body)
        finally:
            connection.close()

    def count(self, kind: str, **wanted: Any) -> int:
        """How many calls or attempts it has counted whose row has these values."""
        rows = self.ask("/tallies", kind=kind)["rows"]
        return sum(
            row["count"]
            for row in rows
            if all(row[name] == value for name, value in wanted.items())
        )


def new_recorder(folder: Path) -> Recorder:
    """A recorder that does not run yet."""
    place = folder / f"recorder-{free_port()}"
    place.mkdir()
    return Recorder(place, free_port(), free_port())
