"""The settings of the dispatch service."""

from dataclasses import dataclass

from hailstorm.runtime.process import EdgeSettings, ProcessSettings
from hailstorm.runtime.settings import group, setting


@dataclass(frozen=True, slots=True)
class MatchingSettings:
    """How far dispatch looks for a driver, and for how long."""

    auto_accept: bool = setting(
        True,
        doc="Whether the driver's yes is given on the driver's behalf. false leaves the trip "
        "OFFERED until somebody answers the offer.",
    )
    first_radius_m: int = setting(
        2_000, doc="Metres of the first look. A guess: five minutes of a taxi.", minimum=1,
        maximum=20_000,
    )  # fmt: skip
    last_radius_m: int = setting(
        10_000, doc="Metres of the last look. A guess: a rider waits no longer than that drive.",
        minimum=1, maximum=20_000,
    )  # fmt: skip
    radius_growth: float = setting(
        2.5,
        doc="How much further each look reaches; 2 km, 5 km, 10 km take three.",
        minimum=1.1,
        maximum=100,
    )
    candidates: int = setting(
        10,
        doc="Drivers of one look. Ten are enough that another request takes all of them only in a "
        "crowd; each costs Postgres an index probe.",
        minimum=1,
        maximum=100,
    )
    rounds_per_radius: int = setting(
        3,
        doc="Looks at the same radius when all candidates were taken meanwhile.",
        minimum=1,
        maximum=20,
    )
    call_seconds: float = setting(
        2.0,
        doc="Most seconds that one call to another service may take, Envoy's retries included.",
        minimum=0.05,
        maximum=60,
    )
    reply_margin_seconds: float = setting(
        0.05,
        doc="Seconds of the caller's deadline kept back, so that our answer still arrives.",
        minimum=0,
        maximum=5,
    )
    neighbour_max_calls: int = setting(
        160,
        doc="Calls to one neighbour at a time; more are refused. Half of server.max_concurrent, so "
        "that one that does not answer leaves the other half to who does not need it.",
        minimum=1,
        maximum=100_000,
    )
    breaker_failures: int = setting(
        8,
        doc="Failures in a row after which a neighbour is not asked for a moment. Each has been "
        "tried on five pods by the edge; a killed pod's calls are fewer. A guess.",
        minimum=1,
        maximum=1000,
    )
    breaker_open_seconds: float = setting(
        0.25,
        doc="Seconds for which it is not asked; then by one caller, until it answers.",
        minimum=0.01,
        maximum=60,
    )


@dataclass(frozen=True, kw_only=True)
class DispatchSettings(ProcessSettings):
    """All settings of the dispatch service."""

    edge: EdgeSettings = group(EdgeSettings)
    dispatch: MatchingSettings = group(MatchingSettings)
