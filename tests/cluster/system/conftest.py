"""Shorthands for calls to the system under test."""

import uuid
from typing import Any

import pytest

from edge_calls import Call, Reply, call


@pytest.fixture
def edge(installed: Any) -> Call:
    """Call the edge: `edge("GET", path)`, `edge("POST", path, body)`."""

    def call_edge(method: str, path: str, body: Any = None) -> Reply:
        return call(installed.edge, method, path, body)

    return call_edge


@pytest.fixture
def city() -> str:
    """A city that no other test knows, so that tests do not see each other's drivers."""
    return f"city-{uuid.uuid4().hex[:12]}"
