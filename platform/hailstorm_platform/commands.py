"""
Child processes.

The only module that starts one, so that tests replace it by a recorder and every
decision above it is checked without a machine. Nothing here goes through a
shell, and nothing reads the terminal.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hailstorm_platform.errors import CommandError, PlatformError

_TAIL_LINES = 15


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
