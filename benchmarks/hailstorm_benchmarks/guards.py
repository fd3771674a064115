"""
What a benchmark takes, given back by a process that outlives it: it may have been killed.

A guard is a program with words that say what to give back. It waits until its stdin ends,
which it does with whoever started it, and ends when all is given back.
"""

import subprocess
import sys


def start(program: str, *words: str) -> "subprocess.Popen[bytes]":
    """Start a Python program as a guard; `communicate` has it give back, and waits for it."""
    return subprocess.Popen(
        [sys.executable, program, *words],
        stdin=subprocess.PIPE,
        # Ctrl-C at the terminal is not for it.
        start_new_session=True,
    )


def wait() -> None:
    """In the guard: until whoever started it is done, or gone."""
    sys.stdin.buffer.read()
