"""Pods and an edge for the tests of the chart's traffic plane."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.charts.edge_process import Edge, Pod, start_edge, start_pods

# Deadlines that a test can wait for; everything else is the chart's default.
SHORT_DEADLINES = (
    "--set",
    "edge.deadlines.defaultSeconds=1,edge.deadlines.maxSeconds=2",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for logs and configurations of one module's processes."""
    return tmp_path_factory.mktemp("edge")


@pytest.fixture(scope="module")
def pods(folder: Path) -> Iterator[list[Pod]]:
    """Two pods that the tests of a module share and leave as they are."""
    started = start_pods(folder, 2)
    yield started
    for pod in started:
        pod.end()


@pytest.fixture(scope="module")
def edge(folder: Path, pods: list[Pod]) -> Iterator[Edge]:
    """The chart's edge in front of the two pods, with short deadlines."""
    started = start_edge(folder, pods, *SHORT_DEADLINES)
    yield started
    started.end()
