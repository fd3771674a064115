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
# The edge chart's stats listener.
DEFAULT_EDGE_PORT: Final = 9902
# Who leaves when the target shrinks.
VICTIM_LEAST_BUSY: Final = "LeastBusy"
VICTIM_KUBERNETES: Final = "Kubernetes"


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
class Behavior:
    """How eagerly to follow the demand. Windows in seconds, tolerance as a share."""

    fast_window_seconds: float = DEFAULT_FAST_WINDOW_SECONDS
    stable_window_seconds: float = DEFAULT_STABLE_WINDOW_SECONDS
    max_pods_in_creation: int = DEFAULT_MAX_PODS_IN_CREATION
    tolerance: float = DEFAULT_TOLERANCE
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
    signal: EdgeSignal
    target_in_flight: float
    utilisation: float
    behavior: Behavior
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
    behavior = spec.get("behavior") or {}
    fast = number(
        behavior, "spec.behavior", "fastWindowSeconds", 1, 60, DEFAULT_FAST_WINDOW_SECONDS
    )
    stable = number(
        behavior, "spec.behavior", "stableWindowSeconds", 5, 3600, DEFAULT_STABLE_WINDOW_SECONDS
    )
    if stable <= fast:
        raise SpecError(
            "spec.behavior.stableWindowSeconds",
            f"{stable:g} is not longer than fastWindowSeconds {fast:g}",
            "Write several times the fast window; 2 and 30 are the defaults",
        )
    return ScalerSpec(
        target=TargetRef(text(target, "spec.targetRef", "name")),
        min_replicas=low,
        max_replicas=high,
        signal=_edge_signal(mapping(spec, "spec", "signal")),
        target_in_flight=number(spec, "spec", "targetInFlight", 0.1, 100_000, None),
        utilisation=number(spec, "spec", "utilisation", 0.1, 1, DEFAULT_UTILISATION),
        behavior=Behavior(
            fast_window_seconds=fast,
            stable_window_seconds=stable,
            max_pods_in_creation=whole(
                behavior, "spec.behavior", "maxPodsInCreation", 1, DEFAULT_MAX_PODS_IN_CREATION
            ),
            tolerance=number(behavior, "spec.behavior", "tolerance", 0, 1, DEFAULT_TOLERANCE),
            chooses_victims=_chooses_victims(behavior.get("scaleDown") or {}),
        ),
        spares=_spares(spec.get("spares") or {}),
    )


def _spares(spares: Mapping[str, Any]) -> SparesSpec:
    service = spares.get("service") or ""
    return SparesSpec(whole(spares, "spec.spares", "count", 0, 0), str(service))


def _chooses_victims(scale_down: Mapping[str, Any]) -> bool:
    victim = scale_down.get("victim", VICTIM_LEAST_BUSY)
    if victim not in (VICTIM_LEAST_BUSY, VICTIM_KUBERNETES):
        raise SpecError(
            "spec.behavior.scaleDown.victim",
            f"{victim!r} is not known",
            f"Write {VICTIM_LEAST_BUSY} or {VICTIM_KUBERNETES}",
        )
    return bool(victim == VICTIM_LEAST_BUSY)


def _edge_signal(signal: Mapping[str, Any]) -> EdgeSignal:
    source = signal.get("source", "edge")
    if source != "edge":
        raise SpecError("spec.signal.source", f"{source!r} is not known", 'Write "edge"')
    edge = mapping(signal, "spec.signal", "edge")
    namespace = edge.get("namespace")
    return EdgeSignal(
        cluster=text(edge, "spec.signal.edge", "cluster"),
        service=text(edge, "spec.signal.edge", "service"),
        namespace=str(namespace) if namespace else None,
        port=whole(edge, "spec.signal.edge", "port", 1, DEFAULT_EDGE_PORT),
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
