"""
The operator's settings, read from HAILSTORM_OPERATOR_* once at the start.

A misspelt name or a value that makes no sense ends the process with a sentence
that names the variable: a setting that is silently ignored costs an afternoon.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

PREFIX: Final = "HAILSTORM_OPERATOR_"
# Between a leader's last write and the next one's first lies one beat, in which a request
# that is under way (cluster.REQUEST_TIMEOUT_SECONDS, 5) has to end.
LEAST_HEARTBEAT_SECONDS: Final = 6
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


class SettingsError(ValueError):
    """A variable that makes no sense; the message names it and says what to write."""


@dataclass(frozen=True)
class Settings:
    """Settings of one operator process."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to watch, comma-separated; empty stands for all. Default: all."""

    own_namespace: str = "hailstorm-system"
    """Where the operator's own Lease lies: the namespace it runs in."""

    http_port: int = 8081
    """Port of /livez, /readyz and /metrics."""

    log_level: str = "info"
    """One of debug, info, warning, error."""

    history_limit: int = 50
    """RolloutRecords kept for each Deployment; at least 2. A record is 2 to 20 KiB."""

    poll_milliseconds: int = 500
    """How often the edge is asked for calls in flight. Half a second: four samples a window."""

    recorder_url: str = "http://hailstorm-recorder:8082"
    """Where the recorder answers; empty: records say nothing of traffic."""

    heartbeat_seconds: int = 15
    """How often the Lease is stamped, 6 or more; four missed ones fail the liveness probe."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read settings. Raises SettingsError for an unknown variable or a wrong value."""
    settings = Settings(**parse_variables(environment, PREFIX, Settings))
    if settings.log_level not in LOG_LEVELS:
        raise SettingsError(f"{PREFIX}LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}")
    for name, least in (
        ("history_limit", 2),
        ("poll_milliseconds", 100),
        ("heartbeat_seconds", LEAST_HEARTBEAT_SECONDS),
    ):
        if getattr(settings, name) < least:
            raise SettingsError(f"{PREFIX}{name.upper()} must be {least} or more")
    return settings


def parse_variables(environment: Mapping[str, str], prefix: str, kind: Any) -> dict[str, Any]:
    """
    Values for the fields of a settings dataclass, from the variables with this prefix.

    Raises SettingsError for a variable that no field stands behind.
    """
    known = {prefix + field.name.upper(): field for field in fields(kind)}
    values: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.startswith(prefix):
            continue
        if name not in known:
            raise SettingsError(f"{name} is not a setting; there are {', '.join(sorted(known))}")
        values[known[name].name] = _parse(name, text, known[name].type)
    return values


def _parse(name: str, text: str, kind: object) -> object:
    if kind is int:
        if not text.isdigit():
            raise SettingsError(f"{name} is {text!r}; write a whole number")
        return int(text)
    if kind is str:
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())
