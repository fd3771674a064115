"""`hailstorm <noun> <verb>`: the operator's tools for people, without a cluster of their own."""

import sys
from collections.abc import Callable, Sequence
from typing import Final

from hailstorm_operator import replay

COMMANDS: Final[dict[tuple[str, str], Callable[[Sequence[str]], int]]] = {
    ("rollout", "replay"): replay.main,
}
USAGE_EXIT: Final = 64


def main() -> int:
    """Exit code of the command; 64 when there is no such command."""
    noun, verb, *_ = [*sys.argv[1:], "", ""]
    command = COMMANDS.get((noun, verb))
    if command is None:
        known = ", ".join(f"hailstorm {' '.join(words)}" for words in COMMANDS)
        print(f"there is {known}; each takes --help", file=sys.stderr)
        return USAGE_EXIT
    return command(sys.argv[3:])
