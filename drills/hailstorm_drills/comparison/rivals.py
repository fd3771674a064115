"""
What an HPA needs to hold the SLO: the least `minReplicas` with which it does.

It is found from below, one pod more at a time, so that no rival is charged for
pods that it could have done without. Pure functions of figures and settings.
"""

from collections.abc import Mapping
from dataclasses import replace

from hailstorm_drills.comparison.figures import Figures
from hailstorm_drills.comparison.settings import CPU_HPA, IN_FLIGHT_HPA, Settings
from hailstorm_drills.comparison.verdicts import HELD_SHARE


def raised(figures: Mapping[str, Figures], settings: Settings) -> Settings | None:
    """
    The next settings to measure; None when there is nothing to raise any more.

    A rival is raised that was measured, did not hold the SLO and has room below
    `max_replicas`. What a generator that lagged made slow is no answer of a rival's, and
    more pods are none to it: then nothing is raised.
    """
    lags = [one.generator_lag_p99_ms for one in figures.values()]
    if any(lag is None or lag > settings.max_generator_lag_ms for lag in lags):
        return None
    more = {
        arm: settings.least_of(arm) + 1
        for arm in (CPU_HPA, IN_FLIGHT_HPA)
        if arm in figures
        and figures[arm].over_slo_share > HELD_SHARE
        and settings.least_of(arm) < settings.max_replicas
    }
    return replace(settings, rivals_from={**settings.rivals_from, **more}) if more else None
