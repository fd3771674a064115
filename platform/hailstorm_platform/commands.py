"""
Child processes.

The only module that starts one, so that tests replace it by a recorder and every
decision above it is checked without a machine. Nothing here goes through a
shell, and nothing reads the terminal.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from hailstorm_platform.errors import CommandError, PlatformError

_TAIL_LINES = 15
# For a child that the terminal has interrupted too; helm needs some answers of the API server.
_END_SECONDS: Final = 10.0


class Runner(Protocol):
    """Starts child processes; `Commands` is the real one."""

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: Path | str | None = None,
        timeout: float | None = None,
        log: Path | None = None,
    ) -> str:
        """
        Run a command to its end and return what it wrote to standard output.

        `env` is added to the environment. `stdin` is a file to read, or the text
        itself. With `log`, both outputs are appended to that file and the
        returned text is empty. Raises `CommandError` on a non-zero exit and when
        `timeout` seconds have passed.
        """
        ...


class Commands:
    """The real runner. `environment` is added to every child's environment."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}

    def merged(self) -> dict[str, str]:
        """The environment that children get."""
        return {**os.environ, **self.environment}

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: Path | str | None = None,
        timeout: float | None = None,
        log: Path | None = None,
    ) -> str:
        """See `Runner.run`."""
        merged = {**self.merged(), **(env or {})}
        if isinstance(stdin, Path):
            with stdin.open("rb") as source:
                return self._run(arguments, merged, cwd, source.fileno(), None, timeout, log)
        if stdin is not None:
            return self._run(arguments, merged, cwd, subprocess.PIPE, stdin.encode(), timeout, log)
        return self._run(arguments, merged, cwd, subprocess.DEVNULL, None, timeout, log)

    def attend(self, arguments: Sequence[str], cwd: Path) -> int:
        """
        Run a program that the reader watches, and that heals what it did when told to end.

        Returns its exit code. An interrupt reaches it from the terminal itself; SIGTERM is
        passed on, once. Either way it is waited for, however long it heals, and only then
        KeyboardInterrupt is raised. For the main thread, where signals are handled.
        """
        received: set[int] = set()
        unsent = {signal.SIGTERM: True}
        process: subprocess.Popen[bytes] | None = None

        def pass_on() -> None:
            # A signal may come at any step in here; pop is a single one.
            if process and signal.SIGTERM in received and unsent.pop(signal.SIGTERM, False):
                process.send_signal(signal.SIGTERM)

        def note(number: int, _: FrameType | None) -> None:
            received.add(number)
            pass_on()

        # Who starts us with an ignored signal, as nohup does, wants it ignored by both.
        numbers = [
            number
            for number in (signal.SIGINT, signal.SIGTERM)
            if signal.getsignal(number) is not signal.SIG_IGN
        ]
        before = {number: signal.signal(number, note) for number in numbers}
        try:
            process = subprocess.Popen(
                list(arguments), cwd=cwd, env=self.merged(), stdin=subprocess.DEVNULL
            )
            # One may have come before there was anyone to pass it on to.
            pass_on()
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if received:
            raise KeyboardInterrupt
        return code

    def _run(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | None,
        stdin: int,
        text: bytes | None,
        timeout: float | None,
        log: Path | None,
    ) -> str:
        # The search for the program goes by the child's PATH, not by ours.
        output = log.open("ab") if log else None
        try:
            process = subprocess.Popen(
                list(arguments),
                env=dict(env),
                cwd=cwd,
                stdin=stdin,
                stdout=output or subprocess.PIPE,
                stderr=subprocess.STDOUT if output else subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise PlatformError(
                f"`{arguments[0]}` is not installed; `make doctor` says what to do."
            ) from error
        finally:
            if output:
                output.close()
        with process:
            try:
                out, err = process.communicate(text, timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                raise CommandError(arguments, None, _tail(out, err, log), log) from None
            except KeyboardInterrupt:
                # It ends by itself: helm calls its release failed then, and not pending.
                try:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.communicate(timeout=_END_SECONDS)
                finally:
                    process.kill()
                raise
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise CommandError(arguments, process.returncode, _tail(out, err, log), log)
        return (out or b"").decode(errors="replace")


def _tail(out: bytes | None, err: bytes | None, log: Path | None) -> str:
    if log is not None:
        text = log.read_bytes()[-8000:]
    else:
        text = (out or b"")[-4000:] + (err or b"")[-4000:]
    lines = text.decode(errors="replace").strip().splitlines()
    return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:])
