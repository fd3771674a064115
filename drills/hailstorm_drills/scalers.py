"""
The release's ServiceScalers as a drill sets them, and what they say they did; pure.
"""

from collections.abc import Mapping
from typing import Any, Final

from hailstorm_drills.marks import Mark
from hailstorm_drills.recorder import epoch

# A drill that lets a scaler work marks the stretch, with what the scaler wrote in it.
SCALER: Final = "scaler"
SERVICES: Final = ("dispatch", "location", "trip")
# Creation stamps and decisions are of one clock, the drill's marks of another.
CLOCK_SECONDS: Final = 1.0


def bounds(component: str, least: int, most: int) -> tuple[str, ...]:
    """`helm --set` of how many replicas a service may have."""
    return (f"scaler.{component}.minReplicas={least}", f"scaler.{component}.maxReplicas={most}")


def windows(stable_seconds: int, scale_down_seconds: int) -> tuple[str, ...]:
    """`helm --set` of the scalers' windows, in seconds; of all services."""
    return (
        f"scaler.behavior.stableWindowSeconds={stable_seconds}",
        f"scaler.behavior.scaleDown.windowSeconds={scale_down_seconds}",
    )


def writes_of(scaler: Mapping[str, Any], since: float) -> list[dict[str, Any]]:
    """The decisions that moved the replicas since then: {at, from, to, clamp} of each, in order."""
    decisions = scaler.get("status", {}).get("decisions") or []
    return [
        {
            "at": one["inputs"]["now"],
            "from": one["inputs"]["capacity"]["replicas"],
            "to": one["desired"],
            "clamp": one["clamp"],
        }
        for one in decisions
        if one["action"] != "hold" and one["inputs"]["now"] >= since - CLOCK_SECONDS
    ]


def moves_of(scaler: Mapping[str, Any], mark: Mark) -> list[dict[str, Any]]:
    """Where the warm spares went while the mark lasted, as the scaler tells it."""
    moves = (scaler.get("status", {}).get("spares") or {}).get("moves") or []
    return [dict(one) for one in moves if epoch(one["at"]) >= mark.at - CLOCK_SECONDS]
