"""Checkers: pure functions from what a drill saw to what it means."""

from collections.abc import Callable
from typing import Final

from hailstorm_drills.checkers.acknowledged import check_acknowledged, check_doubled_effects
from hailstorm_drills.checkers.availability import check_availability
from hailstorm_drills.checkers.base import Checker, Finding
from hailstorm_drills.checkers.chain import check_chains
from hailstorm_drills.checkers.conduct import check_conduct
from hailstorm_drills.checkers.generator import check_generator
from hailstorm_drills.checkers.invariants import (
    check_driver_overlaps,
    check_offers_end,
    check_one_driver,
)
from hailstorm_drills.checkers.latency import check_latency
from hailstorm_drills.checkers.proof import Proof
from hailstorm_drills.checkers.recovery import check_recovery
from hailstorm_drills.checkers.took_hold import check_took_hold

# Proved from client history and Postgres alone, so that tests of services that
# run without a cluster are judged by the same code as drills.
INVARIANTS: Final[tuple[tuple[str, Callable[[Proof], Finding]], ...]] = (
    ("I1", check_driver_overlaps),
    ("I2", check_one_driver),
    ("I3", check_acknowledged),
    ("I4", check_offers_end),
    ("effects", check_doubled_effects),
    ("chain", check_chains),
)
ALL: Final[tuple[tuple[str, Checker], ...]] = (
    ("conduct", check_conduct),
    ("generator", check_generator),
    ("took-hold", check_took_hold),
    ("availability", check_availability),
    ("latency", check_latency),
    ("recovery", check_recovery),
    *INVARIANTS,
)
