"""
`kubectl hailstorm ...`: kubectl finds this program as `kubectl-hailstorm` in the PATH.

    kubectl hailstorm rollout dispatch                 the newest rollout, drawn
    kubectl hailstorm rollout dispatch --record NAME   another one of its records
    kubectl hailstorm rollout dispatch --watch         again and again, until it ends
    kubectl hailstorm rollout dispatch -o json         the record itself

Whatever else `hailstorm` can do is passed on to it: `kubectl hailstorm scaler ...`. A
Deployment that is called as one of its verbs is written as `deployment/replay`.
"""

import sys

from hailstorm_operator import console


def main() -> int:
    """Exit code: 0, 1 when there is nothing to show, 2 and 64 for words that make no sense."""
    words = sys.argv[1:]
    if words[:1] == ["rollout"] and len(words) > 1 and tuple(words[:2]) not in console.COMMANDS:
        sys.argv[1:] = ["rollout", "show", *words[1:]]
    return console.main()


if __name__ == "__main__":
    sys.exit(main())
