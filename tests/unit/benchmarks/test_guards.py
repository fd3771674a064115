"""A guard gives back when whoever started it is done, and not before."""

import os
import time
from pathlib import Path

from hailstorm_benchmarks import guards

# What it says, it writes to the file of its first word.
PROGRAM = """\
import pathlib, sys
from hailstorm_benchmarks import guards
file = pathlib.Path(sys.argv[1])
file.write_text("waits")
guards.wait()
file.write_text("gave back")
"""


def test_guard_waits_for_its_starter_and_is_in_no_session_of_his(tmp_path: Path) -> None:
    program, file = tmp_path / "guard.py", tmp_path / "said"
    program.write_text(PROGRAM)
    guard = guards.start(str(program), str(file))
    try:
        while not file.exists() or not file.read_text():
            assert guard.poll() is None, "the guard ended before it waited"
            time.sleep(0.01)
        # Ctrl-C goes to the processes of the terminal's session.
        assert os.getsid(guard.pid) != os.getsid(0)
        # Long enough for one that does not wait to give back, and end.
        time.sleep(0.2)
        assert file.read_text() == "waits"
    finally:
        guard.communicate()
    assert (guard.returncode, file.read_text()) == (0, "gave back")
