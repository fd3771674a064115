"""Starting processes, telling progress, and ending with one sentence."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hailstorm_platform import commands, times
from hailstorm_platform.cli import main, parser
from hailstorm_platform.commands import Commands
from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError, PlatformError
from hailstorm_platform.report import Report
from hailstorm_platform.test_run import pytest_command, relay


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_is_returned_and_environment_added() -> None:
    commands = Commands()
    commands.environment["ONE"] = "1"
    code = "import os; print(os.environ['ONE'] + os.environ['TWO'])"
    assert commands.run(python(code), env={"TWO": "2"}) == "12\n"


def test_text_and_file_are_given_as_input(tmp_path: Path) -> None:
    code = "import sys; print(sys.stdin.read())"
    (tmp_path / "in").write_text("from a file")
    assert Commands().run(python(code), stdin="from a text") == "from a text\n"
    assert Commands().run(python(code), stdin=tmp_path / "in") == "from a file\n"
    assert Commands().run(python(code)) == "\n"


def test_failure_tells_command_code_and_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import sys; print('reason'); sys.exit(3)"
    with pytest.raises(CommandError, match="exit code 3") as caught:
        Commands().run(python(code), log=log)
    assert caught.value.returncode == 3
    assert "reason" in str(caught.value)
    assert str(log) in str(caught.value)


def test_timeout_ends_the_child() -> None:
    with pytest.raises(CommandError, match="ran out of time") as caught:
        Commands().run(python("import time; time.sleep(60)"), timeout=0.2)
    assert caught.value.returncode is None


def test_missing_program_is_named() -> None:
    with pytest.raises(PlatformError, match="`no-such-program` is not installed"):
        Commands().run(["no-such-program"])


# Heals for a second when it is told to end, and writes down that it did, and how often.
HEALING = """
import pathlib, signal, sys, time
told = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: told.append(signal.Signals(number).name))
pathlib.Path("ready").touch()
print("ready", flush=True)
while not told:
    time.sleep(0.01)
end = time.monotonic() + 1
while time.monotonic() < end:
    time.sleep(0.01)
pathlib.Path("healed").write_text(" ".join(told))
sys.exit(130)
"""
ATTENDING = """
import pathlib, sys
from hailstorm_platform.commands import Commands
try:
    code = Commands().attend([sys.executable, "-c", sys.argv[1]], pathlib.Path.cwd())
except KeyboardInterrupt:
    sys.exit(130)
sys.exit(code)
"""


# Its output is collected, so that it is ready is told by a file.
RUNNING = """
import pathlib, sys, threading
from hailstorm_platform.commands import Commands
def tell():
    while not pathlib.Path("ready").exists():
        threading.Event().wait(0.01)
    print("ready", flush=True)
threading.Thread(target=tell, daemon=True).start()
try:
    Commands().run([sys.executable, "-c", sys.argv[1]])
except KeyboardInterrupt:
    sys.exit(130)
"""


def attending(folder: Path, code: str = ATTENDING) -> subprocess.Popen[bytes]:
    """A process and its child HEALING, both ready, in a group of their own as on a terminal."""
    process = subprocess.Popen(
        [*python(code), HEALING],
        cwd=folder,
        env={"PYTHONPATH": str(Path(commands.__file__).parents[1])},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_interrupt_of_the_terminal_waits_for_a_child_that_heals(tmp_path: Path) -> None:
    with attending(tmp_path) as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert (tmp_path / "healed").read_text() == "SIGINT"


def test_interrupt_of_the_terminal_lets_a_command_end_by_itself(tmp_path: Path) -> None:
    with attending(tmp_path, RUNNING) as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert (tmp_path / "healed").read_text() == "SIGINT"


def test_sigterm_is_passed_on_once_and_the_child_waited_for(tmp_path: Path) -> None:
    with attending(tmp_path) as process:
        process.terminate()
        process.terminate()
        assert process.wait(60) == 130
        assert (tmp_path / "healed").read_text() == "SIGTERM"


def test_a_child_that_ends_by_itself_gives_its_code_and_signals_are_as_before(
    tmp_path: Path,
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert Commands().attend(python("import sys; sys.exit(2)"), tmp_path) == 2
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_report_tells_elapsed_time_and_failure() -> None:
    now = [100.0]
    out = io.StringIO()
    report = Report(out, clock=lambda: now[0])
    with report.step("first"):
        now[0] = 104.5
    with pytest.raises(ValueError, match="x"), report.step("second"):
        raise ValueError("x")
    assert "[   4.5s]   . first (4.5 s)" in out.getvalue()
    assert "x second (failed after 0.0 s)" in out.getvalue()
    assert report.durations == {"first": 4.5}


def test_times_name_every_step_that_was_done(context: Context) -> None:
    with context.report.step("build the thing"):
        pass
    written = json.loads(times.write(context, "demo").read_text())
    assert written["command"] == "make demo"
    assert list(written["steps"]) == ["build the thing"]
    assert written["seconds"] >= written["steps"]["build the thing"]


def test_relay_holds_back_the_line_that_closes() -> None:
    out = io.StringIO()
    closing = relay(io.StringIO("..\n\nF\n== 1 failed ==\n\n"), out)
    assert closing == "== 1 failed =="
    assert out.getvalue() == "..\n\nF\n"
    assert relay(io.StringIO(""), out) == ""


def test_pytest_runs_the_layers_that_exist_in_order(tmp_path: Path) -> None:
    for layer in ("integration", "unit"):
        (tmp_path / "tests" / layer).mkdir(parents=True)
    command = pytest_command(Path("py"), tmp_path, with_cluster=True)
    assert command == ["py", "-m", "pytest", "tests/unit", "tests/integration", "--with-cluster"]


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["cluster", "sideways"]])
def test_command_line_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(arguments)


def test_error_becomes_one_sentence_and_exit_code_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HAILSTORM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        "hailstorm_platform.doctor.examine",
        lambda *_: (_ for _ in ()).throw(PlatformError("Do x.")),
    )
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "doctor: Do x." in captured.err
    assert "Traceback" not in captured.err
