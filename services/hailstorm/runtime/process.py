"""
The settings that every service process has, whatever it serves.

They are apart from `settings`, which only knows how to read, so that a service
adds its own groups beside these by inheriting `ProcessSettings`.
"""

import enum
from dataclasses import dataclass

from hailstorm.runtime.settings import group, setting


class LogLevel(enum.Enum):
    """How much a process tells."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LimitKind(enum.Enum):
    """What decides how many calls may be in flight."""

    GRADIENT = "gradient"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the process listens, and how much it takes on."""

    host: str = setting("0.0.0.0", doc="Address to listen on. All of them, as a pod has one.")
    grpc_port: int = setting(50051, doc="TCP port of gRPC.", minimum=0, maximum=65535)
    http_port: int = setting(
        8081, doc="TCP port of /livez, /readyz and /metrics.", minimum=0, maximum=65535
    )
    limit: LimitKind = setting(
        LimitKind.FIXED,
        doc="gradient lowers the limit of calls in flight while calls wait for their turn; fixed "
        "leaves it at max_concurrent, which an overloaded process never gets near. fixed, because "
        "gradient costs a third of the calls at the very knee (measured) for what it saves beyond.",
    )
    max_concurrent: int = setting(
        320,
        doc="Unary calls in flight above which calls are shed with RESOURCE_EXHAUSTED. By Little's "
        "law 256 is one core's 5,000 calls/s (measured) at 50 ms each; more only queue. That many "
        "may begin something (80 %), the rest is for what was begun.",
        minimum=1,
        maximum=100_000,
    )
    min_concurrent: int = setting(
        1,
        doc="What the gradient leaves of it, for calls of the highest class. 1, as a process that "
        "has no time to spare is busy with one call.",
        minimum=1,
        maximum=100_000,
    )
    max_wait_milliseconds: int = setting(
        50,
        doc="Milliseconds that calls may wait for their turn before the gradient lowers the limit; "
        "an idle process has 1 to 3. A pod of half a core stands still for 50 of each 100 ms "
        "whenever it works, and that is no overload. With 100 the calls of one class alone were "
        "all answered too late at 1.5 times the knee (the model of the tests).",
        minimum=1,
        maximum=10_000,
    )
    begin_milliseconds: int = setting(
        0,
        doc="Milliseconds that calls that begin something may take on average, with eight or more "
        "of them in flight, before fewer are let in; 0 lets in whatever the limit does. For a "
        "process whose calls wait for others that may be short of time when it is not.",
        minimum=0,
        maximum=60_000,
    )
    max_pending: int = setting(
        1000,
        doc="Calls that may wait in gRPC's core for their turn; from a third of it on some are cut "
        "off, with CANCELLED and no delay. A third of gRPC's own 3000: no caller waits for more. "
        "Not lower behind Envoy, which takes a cut call for a dead pod.",
        minimum=8,
        maximum=100_000,
    )
    max_streams: int = setting(
        1000,
        doc="Open server streams above which a new one is shed. A guess: an idle stream costs "
        "about 20 KiB, so 1000 are a fifth of the memory of a pod.",
        minimum=1,
        maximum=100_000,
    )
    max_message_bytes: int = setting(
        256 * 1024,
        doc="Bytes of the largest request. A full batch of 500 positions is about 50 KiB, 65 with "
        "the longest ids. Two bytes of a request can be 80 of a message, and max_concurrent of the "
        "largest must fit into a pod.",
        minimum=1024,
        maximum=64 * 1024 * 1024,
    )
    max_connection_age_seconds: float = setting(
        20.0,
        doc="Age in seconds at which a connection is asked to end, so that callers look for new "
        "pods. 20 s and no server was left unused when measured.",
        minimum=1,
        maximum=86400,
    )
    max_connection_age_grace_seconds: float = setting(
        30.0,
        doc="Seconds that calls on such a connection may still take. Longer than any deadline.",
        minimum=1,
        maximum=86400,
    )


@dataclass(frozen=True, slots=True)
class LifecycleSettings:
    """How long the process takes to leave."""

    drain_enabled: bool = setting(
        True,
        doc="false stops at once on SIGTERM and loses the calls in flight: the broken twin that a "
        "drill must be able to tell from the real thing.",
    )
    propagation_seconds: float = setting(
        2.0,
        doc="Least seconds to keep serving after SIGTERM. Envoy notices within 0.5 s of health "
        "checks and 0.5 s of DNS; doubled for a loaded machine.",
        minimum=0,
        maximum=300,
    )
    quiet_milliseconds: int = setting(
        500,
        doc="Milliseconds without a new call after which nobody seems to be coming any more.",
        minimum=0,
        maximum=60_000,
    )
    drain_max_seconds: float = setting(
        15.0,
        doc="Most seconds to keep serving after SIGTERM, quiet or not.",
        minimum=0,
        maximum=3600,
    )
    stop_grace_seconds: float = setting(
        5.0,
        doc="Seconds that calls still in flight get once the server stops. The longest deadline.",
        minimum=0,
        maximum=3600,
    )
    close_seconds: float = setting(
        3.0,
        doc="Seconds that background tasks and pools get to end, each. A leaked connection makes "
        "asyncpg's close() wait for ever (asyncpg#299).",
        minimum=0.1,
        maximum=300,
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What the process tells."""

    level: LogLevel = setting(
        LogLevel.INFO, doc="Least level that is logged; debug logs a line for each call."
    )


@dataclass(frozen=True, slots=True)
class FlagSettings:
    """Where flags come from; without a source, every flag is what the code says."""

    folder: str | None = setting(
        None, doc="Folder with a file for each flag: a mounted ConfigMap, or one's own."
    )
    poll_seconds: float = setting(
        1.0,
        doc="Seconds between two looks at the folder; a look costs 30 us. A flip must be "
        "everywhere within 5 s.",
        minimum=0.01,
        maximum=3600,
    )
    config_map: str | None = setting(
        None, doc="Name of a ConfigMap to watch through the API server."
    )
    api_server: str = setting(
        "kubernetes.default.svc:443",
        doc="host:port of the API server. The chart gives an address, to need no DNS.",
    )
    credentials: str = setting(
        "/var/run/secrets/kubernetes.io/serviceaccount",
        doc="Folder with the ServiceAccount's token, ca.crt and namespace.",
    )


@dataclass(frozen=True, slots=True)
class RehearsalSettings:
    """How the process is bad on purpose; by default it is not. See `rehearsal`."""

    fail_share: float = setting(
        0.0,
        doc="Share of unary calls that are answered with INTERNAL instead of being served.",
        minimum=0,
        maximum=1,
    )
    delay_milliseconds: int = setting(
        0,
        doc="Milliseconds that each unary call waits before it is served.",
        minimum=0,
        maximum=60_000,
    )
    never_ready: bool = setting(
        False, doc="true lets /readyz answer 503 for ever, as a release does that cannot start."
    )
    seed: int = setting(
        1,
        doc="What the failing calls are drawn from, with the pod's name. Another seed is another "
        "pod template, hence a release that is new and no different.",
        minimum=0,
        # Helm hands numbers over as floats, which are whole up to here.
        maximum=2**53,
    )

    @property
    def is_on(self) -> bool:
        """Whether anything is wrong on purpose."""
        return bool(self.fail_share or self.delay_milliseconds or self.never_ready)


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """How the process reaches the other services."""

    address: str = setting(
        "dns:///edge-headless:8090",
        doc="gRPC target of the edge's internal listener; every Envoy's address must be in it.",
    )


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """What every service process reads. Services inherit it and add groups."""

    version: str = setting("dev", doc="Version that logs and metrics tell; the image sets it.")
    server: ServerSettings = group(ServerSettings)
    lifecycle: LifecycleSettings = group(LifecycleSettings)
    log: LogSettings = group(LogSettings)
    flags: FlagSettings = group(FlagSettings)
    rehearsal: RehearsalSettings = group(RehearsalSettings)
