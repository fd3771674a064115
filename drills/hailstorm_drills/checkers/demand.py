"""What every took-hold asks besides the fault: users who could have felt it."""

from typing import Any

from hailstorm_drills.evidence import Evidence


def demand(evidence: Evidence) -> tuple[list[str], dict[str, Any], int]:
    """(doubts, figures, n): too few user calls; how many, and how many the edge retried."""
    calls = evidence.history.calls if evidence.history else ()
    n, wanted = len(calls), evidence.parameters.min_user_calls
    figures = {
        "retried_calls": sum((call.attempts or 1) > 1 for call in calls),
        "retried_inner_calls": sum(
            line.attempts > 1 for line in evidence.edge_lines if line.is_internal
        ),
        "user_calls": n,
    }
    doubts = [f"{n} user calls, {wanted} are needed"] if n < wanted else []
    return doubts, figures, n
