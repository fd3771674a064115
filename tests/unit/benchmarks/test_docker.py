"""Where no Docker daemon can be asked, the message says so."""

from pathlib import Path

import pytest

from hailstorm_benchmarks.docker import DockerError, kind_nodes


def test_daemon_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(DockerError, match=r"none\.sock cannot be asked"):
        kind_nodes("hailstorm")


def test_daemon_elsewhere_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(DockerError, match="only a unix socket"):
        kind_nodes("hailstorm")
