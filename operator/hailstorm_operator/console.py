"""`hailstorm <noun> <verb>`: the operator's tools for people, without a cluster of their own."""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Final

from hailstorm_operator import replay, rollout_show

COMMANDS: Final[dict[tuple[str, str], Callable[[Sequence[str]], int]]] = {
    ("rollout", "replay"): replay.main,
    ("rollout", "show"): rollout_show.show_rollout,
}
# They load a cluster through kubectl and lie with the drills, which an operator's
# image does not carry; so they are found by name, when they are asked for.
PROGRAMS: Final[dict[str, str]] = {"calibrate": "hailstorm_drills.calibration.__main__"}
USAGE_EXIT: Final = 64


def main() -> int:
    """Exit code of the command; 64 when there is no such command."""
    noun, verb, *_ = [*sys.argv[1:], "", ""]
    if noun in PROGRAMS:
        program: Callable[[Sequence[str]], int] = importlib.import_module(PROGRAMS[noun]).main
        return program(sys.argv[2:])
    command = COMMANDS.get((noun, verb))
    if command is None:
        known = ", ".join(
            f"hailstorm {' '.join(words)}" for words in [*COMMANDS, *((name,) for name in PROGRAMS)]
        )
        print(f"there is {known}; each takes --help", file=sys.stderr)
        return USAGE_EXIT
    return command(sys.argv[3:])
