"""The stores of tests and benchmarks: their ports, and what is said of one that will not start."""

import time

import pytest

from hailstorm_platform import store_processes
from hailstorm_platform.store_processes import RedisServer, free_port


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever asks next looks in the same place, and the first has not taken it yet.
    monkeypatch.setattr(store_processes, "_randomly", iter)
    ports = [free_port() for _ in range(8)]
    assert len(set(ports)) == 8


def test_a_redis_that_ends_is_told_at_once_and_says_why() -> None:
    server = RedisServer("--no-such-option", "1")
    began = time.monotonic()
    try:
        with pytest.raises(AssertionError, match=r"redis ended with 1: [\s\S]*no-such-option"):
            server.start()
    finally:
        server.remove()
    assert time.monotonic() - began < store_processes.START_SECONDS / 2
