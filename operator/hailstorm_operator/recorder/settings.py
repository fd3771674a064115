"""The recorder's settings, read from HAILSTORM_RECORDER_* once at the start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hailstorm_operator.settings import LOG_LEVELS, SettingsError, parse_variables

PREFIX: Final = "HAILSTORM_RECORDER_"


@dataclass(frozen=True)
class Settings:
    """Settings of one recorder process."""

    grpc_port: int = 9990
    """Where Envoys send their access logs."""

    http_port: int = 8082
    """Port of the read API, /livez, /readyz and /metrics."""

    edges: tuple[str, ...] = ("edge-headless.hailstorm.svc:9902",)
    """
    Headless Services of edges with the port of their statistics, comma-separated.

    Each address behind them is asked once a second. Empty: only a stream that
    ends tells of a gap, and an Envoy that never comes is not missed.
    """

    keep_minutes: int = 30
    """How long everything is kept; at least 2. A rollout that took longer is UNKNOWN."""

    folder: str = ""
    """Where the journal lies; empty: a restart forgets everything."""

    log_level: str = "info"
    """One of debug, info, warning, error."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read settings. Raises SettingsError for an unknown variable or a wrong value."""
    settings = Settings(**parse_variables(environment, PREFIX, Settings))
    if settings.log_level not in LOG_LEVELS:
        raise SettingsError(f"{PREFIX}LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}")
    if settings.keep_minutes < 2:
        raise SettingsError(f"{PREFIX}KEEP_MINUTES must be 2 or more")
    for edge in settings.edges:
        host, _, port = edge.rpartition(":")
        if not host or not port.isdigit():
            raise SettingsError(f"{PREFIX}EDGES names {edge!r}; write HOST:PORT")
    return settings
