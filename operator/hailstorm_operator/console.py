"""`hailstorm <noun> <verb>`: the operator's tools for people, without a cluster of their own."""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Final

from hailstorm_operator import replay, rollout_show, scaler_console
from hailstorm_operator.simulation import command as simulation


def calibrate(arguments: Sequence[str]) -> int:
    """
    `hailstorm calibrate`, which loads a cluster through kubectl.

    It lies with the drills, which an operator's image does not carry; so it is
    imported by name, and only when it is asked for.
    """
    program = importlib.import_module("hailstorm_drills.calibration.__main__")
    return int(program.main(arguments))


COMMANDS: Final[dict[tuple[str, ...], Callable[[Sequence[str]], int]]] = {
    ("rollout", "replay"): replay.main,
    ("rollout", "show"): rollout_show.show_rollout,
    ("scaler", "explain"): scaler_console.explain_main,
    ("scaler", "replay"): scaler_console.replay_main,
    ("simulate",): simulation.main,
    ("calibrate",): calibrate,
}
USAGE_EXIT: Final = 64


def main() -> int:
    """Exit code of the command; 64 when there is no such command."""
    for words, command in COMMANDS.items():
        if tuple(sys.argv[1 : 1 + len(words)]) == words:
            return command(sys.argv[1 + len(words) :])
    known = ", ".join(f"hailstorm {' '.join(words)}" for words in COMMANDS)
    print(f"there is {known}; each takes --help", file=sys.stderr)
    return USAGE_EXIT
