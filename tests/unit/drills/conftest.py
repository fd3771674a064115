"""Small evidence, made by hand, that tests bend in one place each."""

from collections.abc import Callable
from typing import Any

import pytest

from hailstorm_drills.evidence import Evidence
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.phases import Interval
from hailstorm_drills.plan import Parameters
from hailstorm_drills.pods import PodLife
from hailstorm_loadtests.history import Call, History
from unit.drills.fakes import FakeRelease, deployment, make_stage

# The drill of these tests: baseline 0..60, fault 60..100, recovery 100..130.
INTERVALS = {
    "baseline": Interval(0.0, 60.0),
    "inject": Interval(60.0, 70.0),
    "hold": Interval(70.0, 100.0),
    "recover": Interval(100.0, 130.0),
}


def make_parameters(**changes: Any) -> Parameters:
    values: dict[str, Any] = {
        "drill": "rolling-deploy",
        "is_twin": False,
        "seed": 7,
        "baseline_seconds": 60.0,
        "recover_seconds": 30.0,
        "took_hold_seconds": 120.0,
        "healed_seconds": 300.0,
        "workers": 2,
        "load": {"seed": 7},
        "min_user_calls": 1000,
        "max_generator_lag_ms": 50.0,
        "max_fault_p99_ms": 1000.0,
        "release": "hailstorm",
        "chart": "charts/hailstorm",
        "values": ("v.yaml",),
        "next_values": ("n.yaml",),
        "namespace": "hailstorm",
        "operator_namespace": "hailstorm-system",
        "load_namespace": "hailstorm-load",
    }
    return Parameters(**{**values, **changes})


def make_call(at: float, seconds: float = 0.02, **changes: Any) -> Call:
    values: dict[str, Any] = {
        "intended": at,
        "started": at + 0.001,
        "ended": at + seconds,
        "method": "GetTrip",
        "code": "OK",
        "outcome": "ok",
        "upstream": "10.0.0.1:50051",
        "attempts": 1,
    }
    return Call(**{**values, **changes})


def make_life(name: str, component: str, ip: str, *changes: tuple[float, str]) -> PodLife:
    return PodLife(name, component, "1", name, "node", ip, changes)


def make_evidence(**changes: Any) -> Evidence:
    """A drill that went well: 20 calls/s, trip's one pod replaced."""
    calls = tuple(make_call(n * 0.05) for n in range(2600))
    lives = [
        make_life(
            "trip-old", "trip", "10.0.0.1", (-9.0, "ready"), (80.0, "draining"), (84.0, "gone")
        ),
        make_life(
            "trip-new", "trip", "10.0.0.2", (61.0, "pending"), (63.0, "starting"), (75.0, "ready")
        ),
    ]
    event = {"trip_id": "t1", "driver_id": None, "occurred_at": 1.0}
    values: dict[str, Any] = {
        "parameters": make_parameters(),
        "components": ("trip",),
        "intervals": INTERVALS,
        "history": History(calls, ({"kind": "generator", "worker": 0, "cpu_seconds": 3.0},)),
        "lives": lives,
        "facts": {
            "trips": [{"trip_id": "t1", "rider_id": "r1"}],
            "events": [{**event, "version": 1, "move": "REQUEST", "state": "REQUESTED"}],
            "keys": [],
            "overdue_offers": 0,
        },
        "records": [],
        "load": {
            "is_complete": True,
            "lines_received": 2601,
            "lines_declared": 2601,
            "calls_per_second": 20.0,
            "run_id": "r",
        },
        "health": {"before": None, "after": None},
        "machine": {"cores": 2, "memory_gib": 24.0},
        "started_at": 1_700_000_000.0,
    }
    return Evidence(**{**values, **changes})


@pytest.fixture
def evidence() -> Callable[..., Evidence]:
    return make_evidence


@pytest.fixture
def call() -> Callable[..., Call]:
    return make_call


@pytest.fixture
def life() -> Callable[..., PodLife]:
    return make_life


@pytest.fixture
def parameters() -> Callable[..., Parameters]:
    return make_parameters


@pytest.fixture
def stage(parameters: Any) -> Callable[..., Stage]:
    """A stage with one Deployment of so many replicas; `changes` are the plan's."""

    def make(pods: list[dict[str, Any]], replicas: int, **changes: Any) -> Stage:
        own = parameters(replicas=replicas, **changes)
        return make_stage(own, pods, [deployment(replicas=replicas)], FakeRelease())

    return make
