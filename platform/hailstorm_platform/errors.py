"""
What can go wrong on a user's machine, told in one sentence.

`PlatformError` carries a sentence that says what to do; the command line prints
it and nothing else. Any other exception is a defect of this package and keeps
its traceback.
"""

from collections.abc import Sequence
from pathlib import Path


class PlatformError(Exception):
    """Something the reader can act on. Repeating helps only after they did."""


class CommandError(PlatformError):
    """
    A child process that failed.

    Attributes: `arguments` (what ran), `returncode` (None when it ran out of
    time), `tail` (the last lines it wrote), `log` (where the rest lies).
    """

    def __init__(
        self,
        arguments: Sequence[str],
        returncode: int | None,
        tail: str,
        log: Path | None = None,
    ) -> None:
        self.arguments = tuple(arguments)
        self.returncode = returncode
        self.tail = tail
        self.log = log
        how = "ran out of time" if returncode is None else f"failed with exit code {returncode}"
        shown = " ".join(arguments)
        if len(shown) > 160:
            shown = shown[:157] + "..."
        text = f"`{shown}` {how}"
        if log is not None:
            text += f"; its output is in {log}"
        if tail.strip():
            text += f":\n{tail.rstrip()}"
        super().__init__(text)
