"""Our own chart with spares: they wait outside the Service, and an upgrade keeps the scale."""

from typing import Any
from urllib.parse import quote

from eventually import eventually
from hailstorm_operator.pod_loads import parse_pod_loads, pod_loads_filter

NAMESPACE = ("-n", "hailstorm")


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


async def test_spare_of_dispatch_waits_outside_the_service(installed: Any) -> None:
    told = await eventually(
        lambda: spares(installed), 90, until=lambda s: s.get("ready", 0) == 1 and not s["inService"]
    )
    assert told["service"] == "dispatch"
    pods = installed.get("pods", *NAMESPACE, "-l", "hailstorm.dev/spare-of=dispatch")["items"]
    waiting = {pod["status"]["podIP"] for pod in pods}
    assert len(waiting) == 1
    assert not waiting & addresses(installed)
    budget = installed.get("poddisruptionbudget", "dispatch", *NAMESPACE)["status"]
    replicas = installed.get("deployment", "dispatch", *NAMESPACE)["spec"]["replicas"]
    assert budget["expectedPods"] == replicas, "no spare is counted"


async def test_edge_tells_the_calls_of_each_pod(installed: Any) -> None:
    edges = installed.get("pods", *NAMESPACE, "-l", "app.kubernetes.io/component=edge")["items"]
    path = (
        f"/api/v1/namespaces/hailstorm/pods/http:{edges[0]['metadata']['name']}:9902/proxy/stats"
        f"?filter={quote(pod_loads_filter('dispatch'))}"
    )

    def loads() -> dict[str, float]:
        text = installed.kubectl("get", "--raw", path)
        return parse_pod_loads(text, "dispatch", addresses(installed))

    await eventually(loads, 30, until=lambda found: set(found) == addresses(installed) != set())


async def test_upgrade_keeps_the_replicas_that_there_are(installed: Any) -> None:
    def replicas() -> int:
        count: int = installed.get("deployment", "dispatch", *NAMESPACE)["spec"]["replicas"]
        return count

    installed.kubectl("scale", *NAMESPACE, "deployment/dispatch", "--replicas=3")
    try:
        installed.upgrade("--set", "scaler.utilisation=0.71")
        assert replicas() == 3
    finally:
        installed.kubectl("scale", *NAMESPACE, "deployment/dispatch", "--replicas=2")
        installed.upgrade()
    assert replicas() == 2
