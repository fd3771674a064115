"""The settings of the location service."""

import enum
from dataclasses import dataclass

from hailstorm.runtime.process import ProcessSettings
from hailstorm.runtime.settings import Secret, group, setting


class IndexKind(enum.Enum):
    """Which index finds drivers."""

    RING = "ring"
    GEOSEARCH = "geosearch"


class RedisMode(enum.Enum):
    """What stands behind host and port."""

    SINGLE = "single"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """
    How to reach Redis, and how soon to give up.

    redis-py's own defaults need 58 s to notice a frozen server (measured).
    """

    mode: RedisMode = setting(
        RedisMode.SINGLE,
        doc="single is one server; cluster a Redis Cluster, of which host and port name any node, "
        "or all of them by several addresses.",
    )
    host: str = setting("redis", doc="Host name of Redis.")
    port: int = setting(6379, doc="TCP port of Redis.", minimum=1, maximum=65535)
    password: Secret | None = setting(None, doc="Password; without one, none is sent.")
    pool_max: int = setting(
        32,
        doc="Connections of one process to one server; further callers stand in line. A pipeline "
        "holds one for about 1 ms, so 32 serve far more than one Python process can ask.",
        minimum=1,
        maximum=1000,
    )
    pool_wait_seconds: float = setting(
        0.5,
        doc="Seconds of turning event loop to stand in line for a connection, then the call is "
        "shed as RESOURCE_EXHAUSTED: this process is overloaded, and Redis is not away. A guess: "
        "half of what a caller waits.",
        minimum=0.001,
        maximum=60,
    )
    timeout_seconds: float = setting(
        0.2,
        doc="Seconds of turning event loop for one attempt, connecting included; 200 times what an "
        "answer takes.",
        minimum=0.01,
        maximum=60,
    )
    total_seconds: float = setting(
        0.3,
        doc="Seconds of turning event loop for an operation, the one retry of a read included; "
        "well below the second after which a caller gives up.",
        minimum=0.01,
        maximum=60,
    )
    breaker_failures: int = setting(
        5,
        doc="Failures in a row after which Redis is not asked for a while. A guess: a restart cuts "
        "a few connections at once, and that is no outage.",
        minimum=1,
        maximum=1000,
    )
    breaker_silence_seconds: float = setting(
        1.0,
        doc="Seconds that these failures must span. Starting pods keep Redis off the CPU for some "
        "tenths of a second; all calls of that moment fail together, which was taken for an outage "
        "by every pod at once, so that no retry could help.",
        minimum=0,
        maximum=60,
    )
    breaker_open_seconds: float = setting(
        0.2,
        doc="Seconds for which it is not asked; then by one caller, until it answers. As short as "
        "one attempt, so that nobody notices when it is back.",
        minimum=0.01,
        maximum=60,
    )


@dataclass(frozen=True, slots=True)
class PositionSettings:
    """What the service believes of a phone, and how it searches."""

    index: IndexKind = setting(
        IndexKind.RING,
        doc="ring reads H3 cells outwards and stays fast in a crowd; geosearch is Redis' own, kept "
        "so that the difference can be shown. What holds while the flag geo-backend is not set.",
    )
    silence_seconds: float = setting(
        12.0,
        doc="Seconds without a ping after which a driver is not offered: three beats of 4 s. "
        "Shorter drops drivers in tunnels, longer offers trips to dead phones.",
        minimum=1,
        maximum=3600,
    )
    memory_seconds: float = setting(
        60.0,
        doc="Seconds for which a driver's last position is told and compared with; an older one is "
        "refused as too old. A guess: a long tunnel.",
        minimum=1,
        maximum=3600,
    )
    future_seconds: float = setting(
        5.0,
        doc="Seconds that a phone's clock may be ahead of ours. A guess: NTP keeps phones within "
        "one second, bad ones within a few.",
        minimum=0,
        maximum=3600,
    )
    max_speed_mps: float = setting(
        70.0,
        doc="Metres a second above which a move is a teleport; 252 km/h, which no taxi drives. "
        "Raise it when demand is replayed faster than life.",
        minimum=1,
        maximum=1_000_000,
    )
    jitter_m: float = setting(
        500.0,
        doc="Metres that a position may jump by at any time: GPS between high buildings. A guess.",
        minimum=0,
        maximum=1_000_000,
    )


@dataclass(frozen=True, kw_only=True)
class LocationSettings(ProcessSettings):
    """All settings of the location service."""

    redis: RedisSettings = group(RedisSettings)
    location: PositionSettings = group(PositionSettings)
