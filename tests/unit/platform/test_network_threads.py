"""Which threads go first, and that nothing else is touched."""

import io
import os
from pathlib import Path

import pytest

from hailstorm_platform import network_threads
from hailstorm_platform.context import Context

FIRST = network_threads.FIRST


def process(root: Path, pid: int, comm: str, cmdline: bytes = b"") -> None:
    (root / str(pid)).mkdir()
    (root / str(pid) / "comm").write_text(f"{comm}\n")
    (root / str(pid) / "cmdline").write_bytes(cmdline)


@pytest.fixture
def niceness(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """By process id; two threads, of which the user has changed one."""
    found = {14: 0, 22: 5}
    monkeypatch.setattr(network_threads, "threads", lambda: iter(sorted(found)))
    monkeypatch.setattr(os, "getpriority", lambda _, pid: found[pid])
    monkeypatch.setattr(os, "setpriority", lambda _, pid, value: found.update({pid: value}))
    return found


def test_threads_are_the_kernels_own(tmp_path: Path) -> None:
    process(tmp_path, 14, "ksoftirqd/0")
    process(tmp_path, 22, "ksoftirqd/1")
    process(tmp_path, 30, "ksoftirqd/2", b"/bin/sh\0")
    process(tmp_path, 31, "kworker/0:1")
    (tmp_path / "32").mkdir()
    (tmp_path / "meminfo").write_text("")
    assert sorted(network_threads.threads(tmp_path)) == [14, 22]


def test_threads_with_the_usual_niceness_go_first_and_back(
    niceness: dict[int, int], context: Context, output: io.StringIO
) -> None:
    network_threads.put_first(context)
    assert niceness == {14: FIRST, 22: 5}
    network_threads.put_first(context)
    assert output.getvalue().count("goes first") == 1
    network_threads.put_back(context)
    network_threads.put_back(context)
    assert niceness == {14: 0, 22: 5}


def test_thread_that_ends_meanwhile_is_passed_over(
    niceness: dict[int, int], context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: int, pid: int) -> int:
        if pid == 14:
            raise ProcessLookupError
        return 0

    monkeypatch.setattr(os, "getpriority", gone)
    network_threads.put_first(context)
    assert niceness == {14: 0, 22: FIRST}


def test_whoever_may_not_change_them_is_told_and_goes_on(
    niceness: dict[int, int],
    context: Context,
    output: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    network_threads.put_first(context)
    assert output.getvalue().count("stays as it is") == 1
