"""Child processes: the way they become another user, and what is seen of them."""

import os
import signal
import subprocess
import sys

import pytest

from hailstorm_platform.child_processes import (
    as_user,
    children_of,
    is_alive,
    state_of,
    unprivileged_user,
)

SLEEP = (sys.executable, "-c", "import time; print(flush=True); time.sleep(600)")


def test_command_of_the_same_user_stays_as_it_is() -> None:
    assert as_user(None, "true", "--flag") == ("true", "--flag")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_command_becomes_another_user_under_the_same_pid() -> None:
    user = unprivileged_user()
    with subprocess.Popen(
        as_user(user, "/bin/sh", "-c", "echo $$; id -u; id -ru"), stdout=subprocess.PIPE, text=True
    ) as process:
        said, _ = process.communicate()
    assert said.split() == [str(process.pid), str(user), str(user)]


def test_states_and_children_of_a_process() -> None:
    with subprocess.Popen(SLEEP, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert process.pid in set(children_of(os.getpid()))
            assert is_alive(process.pid)
        finally:
            process.kill()
            # Without being asked for its exit code it stays, dead.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert state_of(process.pid) == "Z"
        assert not is_alive(process.pid)
    assert process.returncode == -signal.SIGKILL
    assert not is_alive(process.pid)
    assert process.pid not in set(children_of(os.getpid()))
