"""Marks tests by the folder they lie in, and keeps the outer layers honest."""

from pathlib import Path

import pytest

from hypothesis_profiles import load_profile

# Before any test is read: a test's own settings rest on the profile's.
load_profile()

LAYERS = ("unit", "contract", "integration", "cluster")
# Seconds that one test of a layer may take; a hang must name its test.
LAYER_TIMEOUT_SECONDS = {"unit": 20, "contract": 60, "integration": 120, "cluster": 900}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--with-cluster",
        action="store_true",
        help="run tests/cluster on the cluster of KUBECONFIG; an error when it is not there",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    root = Path(__file__).parent
    kept, dropped = [], []
    for item in items:
        layer = item.path.relative_to(root).parts[0]
        if layer in LAYERS:
            item.add_marker(layer)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(LAYER_TIMEOUT_SECONDS[layer]))
        if layer == "cluster" and not config.getoption("--with-cluster"):
            dropped.append(item)
        else:
            kept.append(item)
    if dropped:
        # Left out by choice, and said so; asked for and missing is an error.
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept
