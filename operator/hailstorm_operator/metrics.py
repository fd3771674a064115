"""The operator's metrics, by the names that dashboards and drills use."""

from prometheus_client import Counter, Gauge, Histogram

SCALER = ("namespace", "name")

IN_FLIGHT = Gauge(
    "hailstorm_scaler_in_flight", "Calls in flight at the edge, fast window average.", SCALER
)
DESIRED = Gauge("hailstorm_scaler_desired_replicas", "Replicas that were decided.", SCALER)
READY = Gauge("hailstorm_scaler_ready_replicas", "Replicas that are ready.", SCALER)
PANICKING = Gauge("hailstorm_scaler_panicking", "1 in panic, else 0.", SCALER)
SOURCES_MISSING = Gauge(
    "hailstorm_scaler_sources_missing", "Sources of the signal that do not answer.", SCALER
)
SIGNAL_STATE = Gauge(
    "hailstorm_scaler_signal_state",
    "1 for what the signal is (fresh, partial or stale), 0 for what it is not.",
    (*SCALER, "state"),
)
DECISIONS = Counter(
    "hailstorm_scaler_decisions_total",
    "Decisions by what was done and which clamp won.",
    (*SCALER, "action", "clamp"),
)
# A poll is half a second; what matters is whether a decision stays well below it.
DECISION_SECONDS = Histogram(
    "hailstorm_scaler_decision_seconds",
    "From asking the edge to the replicas being written.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
SPARES = Gauge(
    "hailstorm_scaler_spares",
    "Warm spares that are ready, by where they are: pool or service.",
    (*SCALER, "place"),
)
SPARE_MOVES = Counter(
    "hailstorm_scaler_spare_moves_total",
    "Warm spares labelled into the Service, or out of it into the pool.",
    (*SCALER, "to"),
)
SCALE_STAGE_SECONDS = Histogram(
    "hailstorm_scaler_stage_seconds",
    "Parts of a scale-up that are the operator's own: age of the signal, decision, API write.",
    ("stage",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
ROLLOUTS = Counter(
    "hailstorm_rollouts_total",
    "Rollout attempts that ended.",
    ("namespace", "target", "kind", "outcome"),
)
ROLLOUT_SECONDS = Histogram(
    "hailstorm_rollout_seconds",
    "Duration of rollout attempts.",
    ("namespace", "target", "outcome"),
    buckets=(5, 10, 20, 40, 80, 160, 320, 640, 1280),
)
VERDICTS = Counter(
    "hailstorm_policy_verdicts_total",
    "Verdicts of RolloutPolicies by the rule that gave them.",
    ("namespace", "target", "verdict", "rule"),
)
ROLLBACK_SECONDS = Histogram(
    "hailstorm_policy_rollback_seconds",
    "From a verdict to the earlier template being written.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
WATCH_EVENTS = Counter(
    "hailstorm_operator_watch_events_total", "Watch events by kind of object.", ("kind",)
)
WATCH_MISSED = Counter(
    "hailstorm_operator_watch_missed_total",
    "Changes that a listing showed and no watch had reported.",
    ("kind",),
)
API_ERRORS = Counter(
    "hailstorm_operator_api_errors_total", "Calls of the Kubernetes API that failed.", ("where",)
)
LEADING = Gauge("hailstorm_operator_leading", "1 while this process is the one that writes.")
