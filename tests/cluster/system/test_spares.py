"""Our own chart with spares: they wait outside the Service, and an upgrade keeps the scale."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from eventually import eventually
from hailstorm_operator.pod_loads import parse_pod_loads, pod_loads_filter

NAMESPACE = ("-n", "hailstorm")


def replicas(installed: Any) -> int:
    """What dispatch is scaled to."""
    count: int = installed.get("deployment", "dispatch", *NAMESPACE)["spec"]["replicas"]
    return count


@pytest.fixture(scope="module")
def scaled(installed: Any) -> Iterator[Any]:
    """The release with scalers, which it had not when dispatch was scaled to three."""
    installed.kubectl("scale", *NAMESPACE, "deployment/dispatch", "--replicas=3")
    installed.upgrade("--set", "scaler.enabled=true")
    yield installed
    installed.upgrade()


def spares(installed: Any) -> dict[str, Any]:
    scaler = installed.get("servicescaler", "dispatch", *NAMESPACE)
    found: dict[str, Any] = scaler.get("status", {}).get("spares", {})
    return found


def addresses(installed: Any) -> set[str]:
    """Addresses behind the Service of dispatch."""
    slices = installed.get(
        "endpointslices", *NAMESPACE, "-l", "kubernetes.io/service-name=dispatch"
    )["items"]
    return {
        address
        for one in slices
        for endpoint in one.get("endpoints") or []
        for address in endpoint["addresses"]
    }


def test_upgrade_to_scalers_keeps_the_replicas_that_there_are(scaled: Any) -> None:
    # A field that the release before had and this one drops would fall back to 1.
    assert replicas(scaled) == 3
    # Nothing shrinks within the five minutes of a scale-down window.
    scaled.upgrade("--set", "scaler.enabled=true", "--set-json", "scaler.utilisation=0.71")
    assert replicas(scaled) == 3


async def test_spare_of_dispatch_waits_outside_the_service(scaled: Any) -> None:
    told = await eventually(
        lambda: spares(scaled), 90, until=lambda s: s.get("ready", 0) == 1 and not s["inService"]
    )
    assert told["service"] == "dispatch"
    pods = scaled.get("pods", *NAMESPACE, "-l", "hailstorm.dev/spare-of=dispatch")["items"]
    waiting = {pod["status"]["podIP"] for pod in pods}
    assert len(waiting) == 1
    assert not waiting & addresses(scaled)
    budget = scaled.get("poddisruptionbudget", "dispatch", *NAMESPACE)["status"]
    assert budget["expectedPods"] == replicas(scaled), "no spare is counted"


async def test_edge_tells_the_calls_of_each_pod(scaled: Any) -> None:
    found = scaled.get("pods", *NAMESPACE, "-l", "app.kubernetes.io/component=edge")["items"]
    edge = next(one for one in found if "deletionTimestamp" not in one["metadata"])
    path = (
        f"/api/v1/namespaces/hailstorm/pods/http:{edge['metadata']['name']}:9902/proxy/stats"
        f"?filter={quote(pod_loads_filter('dispatch'))}"
    )

    def loads() -> dict[str, float]:
        text = scaled.kubectl("get", "--raw", path)
        return parse_pod_loads(text, "dispatch", addresses(scaled))

    await eventually(loads, 30, until=lambda found: set(found) == addresses(scaled) != set())
