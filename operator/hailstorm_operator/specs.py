"""
Resource dicts become frozen values here, or a SpecError that names field and cure.

The CRD refuses most mistakes at the door. What it cannot say, and what older
objects may hold, is checked again, so that everything behind this module works
on values that are known to make sense.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

# Knative's figure: a queue grows without bound as the share nears one.
DEFAULT_UTILISATION: Final = 0.7
# Long enough for four samples of the edge, short enough to see a step at once.
DEFAULT_FAST_WINDOW_SECONDS: Final = 2.0
DEFAULT_STABLE_WINDOW_SECONDS: Final = 30.0
# A guess for one machine: more pods starting together slow each other down.
DEFAULT_MAX_PODS_IN_CREATION: Final = 4
# The HPA's figure.
DEFAULT_TOLERANCE: Final = 0.1
# The HPA's figure, for the same purpose.
DEFAULT_SCALE_DOWN_WINDOW_SECONDS: Final = 300.0
# The edge chart's stats listener.
DEFAULT_EDGE_PORT: Final = 9902
# Who leaves when the target shrinks.
VICTIM_LEAST_BUSY: Final = "LeastBusy"
VICTIM_KUBERNETES: Final = "Kubernetes"
# Where our own services, and by habit most others, answer it.
DEFAULT_METRICS_PATH: Final = "/metrics"


class SpecError(ValueError):
    """
    A field of a resource makes no sense.

    Attributes:
        field: path of the field, as a user writes it.
        cure: a sentence that says what to write instead.
    """

    def __init__(self, field: str, problem: str, cure: str) -> None:
        super().__init__(f"{field}: {problem}. {cure}")
        self.field = field
        self.cure = cure


@dataclass(frozen=True)
class TargetRef:
    """The Deployment that is scaled, in the namespace of its ServiceScaler."""

    name: str


@dataclass(frozen=True)
class EdgeSignal:
    """In-flight calls of one Envoy cluster, summed over the pods behind a Service."""

    cluster: str
    service: str
    namespace: str | None
    port: int


@dataclass(frozen=True)
class PodsSignal:
    """A gauge of calls in flight that each pod of the target answers with."""

    metric: str
    port: int
    path: str = DEFAULT_METRICS_PATH


@dataclass(frozen=True)
class ConnectionBudget:
    """Connections that a database takes, and what a pod and everybody else holds of them."""

    connections_per_pod: int
    max: int
    reserved: int = 0

    @property
    def for_replicas(self) -> int:
        """Connections that the replicas and spares may hold together."""
        return self.max - self.reserved


@dataclass(frozen=True)
class Behavior:
    """
    How eagerly to follow the demand. Windows in seconds, tolerance as a share.

    `startup_seconds` None stands for what the scaler has measured.
    """

    fast_window_seconds: float = DEFAULT_FAST_WINDOW_SECONDS
    stable_window_seconds: float = DEFAULT_STABLE_WINDOW_SECONDS
    max_pods_in_creation: int = DEFAULT_MAX_PODS_IN_CREATION
    tolerance: float = DEFAULT_TOLERANCE
    scale_down_window_seconds: float = DEFAULT_SCALE_DOWN_WINDOW_SECONDS
    scale_down_step_seconds: float = DEFAULT_STABLE_WINDOW_SECONDS
    startup_seconds: float | None = None
    chooses_victims: bool = True


@dataclass(frozen=True)
class SparesSpec:
    """How many warm spares, and the Service they go into; "" where its selector tells."""

    count: int = 0
    service: str = ""


@dataclass(frozen=True)
class ScalerSpec:
    """What a ServiceScaler asks for, checked."""

    target: TargetRef
    min_replicas: int
    max_replicas: int
    signal: EdgeSignal | PodsSignal
    target_in_flight: float
    utilisation: float
    behavior: Behavior
    connection_budget: ConnectionBudget | None = None
    spares: SparesSpec = SparesSpec()

    @property
    def in_flight_per_pod(self) -> float:
        """Calls in flight that one pod is planned to hold."""
        return self.target_in_flight * self.utilisation

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a recorded decision."""
        return asdict(self)


def parse_scaler_spec(spec: Mapping[str, Any]) -> ScalerSpec:
    """Check the spec of a ServiceScaler. Raises SpecError for the first mistake."""
    target = mapping(spec, "spec", "targetRef")
    kind = (target.get("apiVersion", "apps/v1"), target.get("kind", "Deployment"))
    if kind != ("apps/v1", "Deployment"):
        raise SpecError(
            "spec.targetRef",
            f"{'/'.join(kind)} cannot be scaled here",
            "Name an apps/v1 Deployment",
        )
    low = whole(spec, "spec", "minReplicas", 1, None)
    high = whole(spec, "spec", "maxReplicas", 1, None)
    if high < low:
        raise SpecError(
            "spec.maxReplicas",
            f"{high} is below minReplicas {low}",
            f"Write {low} or more, or lower minReplicas",
        )
    spares = _spares(spec.get("spares") or {})
    return ScalerSpec(
        target=TargetRef(text(target, "spec.targetRef", "name")),
        min_replicas=low,
        max_replicas=high,
        signal=_signal(mapping(spec, "spec", "signal")),
        target_in_flight=number(spec, "spec", "targetInFlight", 0.1, 100_000, None),
        utilisation=number(spec, "spec", "utilisation", 0.1, 1, DEFAULT_UTILISATION),
        behavior=_behavior(spec.get("behavior") or {}),
        connection_budget=_connection_budget(spec, low, spares.count),
        spares=spares,
    )


def _behavior(behavior: Mapping[str, Any]) -> Behavior:
    path = "spec.behavior"
    fast = number(behavior, path, "fastWindowSeconds", 1, 60, DEFAULT_FAST_WINDOW_SECONDS)
    stable = number(behavior, path, "stableWindowSeconds", 5, 3600, DEFAULT_STABLE_WINDOW_SECONDS)
    if stable <= fast:
        raise SpecError(
            f"{path}.stableWindowSeconds",
            f"{stable:g} is not longer than fastWindowSeconds {fast:g}",
            "Write several times the fast window; 2 and 30 are the defaults",
        )
    down = behavior.get("scaleDown") or {}
    # By default five minutes, but never less than what has to be calm.
    default = max(DEFAULT_SCALE_DOWN_WINDOW_SECONDS, stable)
    window = number(down, f"{path}.scaleDown", "windowSeconds", 5, 3600, default)
    why = f"; {DEFAULT_SCALE_DOWN_WINDOW_SECONDS:g} is the default"
    _at_least(f"{path}.scaleDown.windowSeconds", window, "stableWindowSeconds", stable, why)
    step = number(down, f"{path}.scaleDown", "stepSeconds", 1, 3600, stable)
    why = ": before that nobody sees what the last step has done"
    _at_least(f"{path}.scaleDown.stepSeconds", step, "fastWindowSeconds", fast, why)
    startup = None
    if "startupSeconds" in behavior:
        startup = number(behavior, path, "startupSeconds", 0, 600)
    return Behavior(
        fast_window_seconds=fast,
        stable_window_seconds=stable,
        max_pods_in_creation=whole(
            behavior, path, "maxPodsInCreation", 1, DEFAULT_MAX_PODS_IN_CREATION
        ),
        tolerance=number(behavior, path, "tolerance", 0, 1, DEFAULT_TOLERANCE),
        scale_down_window_seconds=window,
        scale_down_step_seconds=step,
        startup_seconds=startup,
        chooses_victims=_chooses_victims(down),
    )


def _at_least(field: str, seconds: float, other: str, least: float, why: str) -> None:
    """Raises SpecError for a time that is shorter than another field's."""
    if seconds < least:
        told = f"{seconds:g} is shorter than {other} {least:g}"
        raise SpecError(field, told, f"Write {least:g} or more{why}")


def _chooses_victims(scale_down: Mapping[str, Any]) -> bool:
    victim = scale_down.get("victim", VICTIM_LEAST_BUSY)
    if victim not in (VICTIM_LEAST_BUSY, VICTIM_KUBERNETES):
        raise SpecError(
            "spec.behavior.scaleDown.victim",
            f"{victim!r} is not known",
            f"Write {VICTIM_LEAST_BUSY} or {VICTIM_KUBERNETES}",
        )
    return bool(victim == VICTIM_LEAST_BUSY)


def _spares(spares: Mapping[str, Any]) -> SparesSpec:
    service = spares.get("service") or ""
    return SparesSpec(whole(spares, "spec.spares", "count", 0, 0), str(service))


def _connection_budget(
    spec: Mapping[str, Any], min_replicas: int, spares: int
) -> ConnectionBudget | None:
    if spec.get("connectionBudget") is None:
        return None
    path = "spec.connectionBudget"
    block = mapping(spec, "spec", "connectionBudget")
    budget = ConnectionBudget(
        connections_per_pod=whole(block, path, "connectionsPerPod", 1, None),
        max=whole(block, path, "max", 1, None),
        reserved=whole(block, path, "reserved", 0, 0),
    )
    # A spare holds its connections while it waits, too.
    needed = (min_replicas + spares) * budget.connections_per_pod
    if needed > budget.for_replicas:
        raise SpecError(
            path,
            f"minReplicas {min_replicas} and spares.count {spares} hold {needed} connections, "
            f"and max less reserved is {budget.for_replicas}",
            f"Write max: {needed + budget.reserved} or more, or lower minReplicas, spares.count, "
            "connectionsPerPod or reserved",
        )
    return budget


def _signal(signal: Mapping[str, Any]) -> EdgeSignal | PodsSignal:
    if ("edge" in signal) == ("pods" in signal):
        raise SpecError(
            "spec.signal",
            "there has to be one source",
            "Write edge: {cluster, service} to count at the callers, or pods: {metric, port} "
            "to read a gauge of each pod",
        )
    if "edge" in signal:
        edge = mapping(signal, "spec.signal", "edge")
        namespace = edge.get("namespace")
        return EdgeSignal(
            cluster=text(edge, "spec.signal.edge", "cluster"),
            service=text(edge, "spec.signal.edge", "service"),
            namespace=str(namespace) if namespace else None,
            port=whole(edge, "spec.signal.edge", "port", 1, DEFAULT_EDGE_PORT),
        )
    pods = mapping(signal, "spec.signal", "pods")
    path = pods.get("path", DEFAULT_METRICS_PATH)
    if not isinstance(path, str) or not path.startswith("/"):
        raise SpecError("spec.signal.pods.path", f"{path!r} will not do", "Begin it with a slash")
    return PodsSignal(
        metric=text(pods, "spec.signal.pods", "metric"),
        port=whole(pods, "spec.signal.pods", "port", 1, None),
        path=path,
    )


def mapping(
    parent: Mapping[str, Any],
    path: str,
    field: str,
    cure: str = "See docs/reference/servicescaler.md",
) -> Mapping[str, Any]:
    """A nested block that must be there."""
    value = parent.get(field)
    if not isinstance(value, Mapping):
        raise SpecError(f"{path}.{field}", "is missing", cure)
    return value


def text(parent: Mapping[str, Any], path: str, field: str) -> str:
    """A name that must be there."""
    value = parent.get(field)
    if not isinstance(value, str) or not value:
        raise SpecError(f"{path}.{field}", "is missing", "Write a name")
    return value


def whole(parent: Mapping[str, Any], path: str, field: str, least: int, default: int | None) -> int:
    """A whole number, or its default."""
    value = parent.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError(
            f"{path}.{field}", f"{value!r} will not do", f"Write a whole number >= {least}"
        )
    return value


def number(
    parent: Mapping[str, Any],
    path: str,
    field: str,
    least: float,
    most: float,
    default: float | None = None,
) -> float:
    """A number within bounds, or its default."""
    value = parent.get(field, default)
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not least <= value <= most:
        raise SpecError(
            f"{path}.{field}",
            f"{value!r} will not do",
            f"Write a number from {least:g} to {most:g}",
        )
    return float(value)
