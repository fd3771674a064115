"""Another team's service behind the edge: what a few lines of values do, and may not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from contract.charts.chart_rendering import ROOT, RenderError, pick, render
from contract.charts.edge_process import Edge, Pod, start_edge, start_pods
from eventually import eventually
from hailstorm.trip.v1 import trip_pb2, trip_pb2_grpc

FORTIO = ("--values", str(ROOT / "examples" / "fortio" / "edge-values.yaml"))
OURS = ["dispatch", "location", "trip"]
HEALTH = "grpc.health.v1.Health"


def guest(**changes: Any) -> tuple[str, str]:
    """Values that add an upstream: the health service that every stand-in has, by its own name."""
    methods = {"Check": {"retry": True}, "Watch": {"stream": True}}
    upstream = {"port": 50051, "services": {HEALTH: methods}, **changes}
    return ("--set-json", f"edge.upstreams.guest={json.dumps(upstream)}")


def bootstrap(*arguments: str) -> Any:
    """Envoy's configuration."""
    return yaml.safe_load(pick(render(*arguments), "ConfigMap", "edge")["data"]["envoy.yaml"])


def cluster(name: str, *arguments: str) -> Any:
    """One cluster of it."""
    (found,) = [
        one for one in bootstrap(*arguments)["static_resources"]["clusters"] if one["name"] == name
    ]
    return found


def http2(found: Any) -> Any:
    """The HTTP/2 options of a cluster."""
    (options,) = found["typed_extension_protocol_options"].values()
    return options["explicit_http_config"]["http2_protocol_options"]


def routes(listener: int, *arguments: str) -> dict[str, Any]:
    """Routes of a listener (0 public, 1 internal), by path."""
    found = bootstrap(*arguments)["static_resources"]["listeners"][listener]
    manager = found["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = manager["route_config"]["virtual_hosts"]
    return {r["match"]["path"]: r for r in host["routes"] if "path" in r["match"]}


def transcoded(*arguments: str) -> list[str]:
    """What JSON callers can reach."""
    found = bootstrap(*arguments)["static_resources"]["listeners"][0]
    filters = found["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    (services,) = [
        f["typed_config"]["services"] for f in filters if f["name"].endswith("json_transcoder")
    ]
    return list(services)


def refusal(*arguments: str) -> str:
    """What Helm says to values that it must not take."""
    with pytest.raises(RenderError) as caught:
        render(*arguments)
    return str(caught.value)


def test_values_file_of_another_team_adds_its_service_and_changes_nothing_of_ours() -> None:
    before, after = bootstrap(), bootstrap(*FORTIO)
    clusters = {one["name"]: one for one in after["static_resources"]["clusters"]}
    assert {name: one for name, one in clusters.items() if name != "fortio"} == {
        one["name"]: one for one in before["static_resources"]["clusters"]
    }
    (endpoint,) = clusters["fortio"]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {
        "address": "fortio.fortio.svc.cluster.local",
        "port_value": 8079,
    }
    # Its servers are what gRPC's are by default.
    assert clusters["fortio"]["health_checks"][0]["grpc_health_check"] == {}
    assert "connection_keepalive" not in http2(clusters["fortio"])
    for listener in (0, 1):
        added = routes(listener, *FORTIO).keys() - routes(listener).keys()
        assert added == {"/fgrpc.PingServer/Ping"}
    assert transcoded(*FORTIO) == transcoded()
    assert "(dispatch|fortio|location|trip)" in str(after["stats_config"])


def test_edge_may_speak_to_another_team_s_namespace_on_that_port_alone() -> None:
    egress = pick(render(*FORTIO), "NetworkPolicy", "edge")["spec"]["egress"]
    assert [rule["to"] for rule in egress if rule["ports"] == [{"port": 8079}]] == [
        [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "fortio"}}}]
    ]


def test_our_pods_are_asked_for_the_name_that_a_drain_turns() -> None:
    for name in OURS:
        found = cluster(name)
        assert found["health_checks"][0]["grpc_health_check"] == {"service_name": "lb"}
        assert http2(found)["connection_keepalive"] == {"interval": "2s", "timeout": "2s"}
        (endpoint,) = found["load_assignment"]["endpoints"][0]["lb_endpoints"]
        address = endpoint["endpoint"]["address"]["socket_address"]["address"]
        assert address == f"{name}.hailstorm.svc.cluster.local"


def test_service_and_health_name_may_differ_from_the_upstream_s_name() -> None:
    found = cluster("guest", *guest(service="door", namespace="house", healthName="ping"))
    (endpoint,) = found["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = endpoint["endpoint"]["address"]["socket_address"]["address"]
    assert address == "door.house.svc.cluster.local"
    assert found["health_checks"][0]["grpc_health_check"] == {"service_name": "ping"}


def test_limits_of_an_upstream_are_its_own_and_the_rest_is_everybody_s() -> None:
    (own,) = cluster("guest", *guest(limits={"maxRequests": 7}))["circuit_breakers"]["thresholds"]
    (ours,) = cluster("trip", *guest(limits={"maxRequests": 7}))["circuit_breakers"]["thresholds"]
    assert own == {**ours, "max_requests": 7}
    assert ours["max_requests"] == 4096


def test_upstream_that_was_added_and_is_set_to_null_leaves_nothing() -> None:
    # Helm keeps the null of a key that the chart has no default for.
    gone = (*FORTIO, "--set", "edge.upstreams.fortio=null")
    assert bootstrap(*gone) == bootstrap()
    policies = [pick(render(*arguments), "NetworkPolicy", "edge") for arguments in ((), gone)]
    assert policies[0] == policies[1]


def test_upstream_that_is_set_to_null_is_gone() -> None:
    names = [
        one["name"]
        for one in bootstrap("--set", "edge.upstreams.trip=null")["static_resources"]["clusters"]
    ]
    assert names == ["dispatch", "location", "recorder", "admin"]


@pytest.mark.parametrize(
    ("retry", "policy"),
    [
        # The host's policy, which also covers calls that may have run.
        (True, None),
        (False, "connect-failure,refused-stream,reset-before-request"),
        ("never", "none"),
    ],
)
def test_retry_of_a_method_says_which_calls_are_sent_again(retry: Any, policy: Any) -> None:
    arguments = guest(services={HEALTH: {"Check": {"retry": retry}}})
    found = routes(0, *arguments)[f"/{HEALTH}/Check"]["route"].get("retry_policy")
    if policy == "none":
        assert found == {"num_retries": 0}
    else:
        assert (found or {}).get("retry_on") == policy


def test_deadline_of_a_method_may_be_a_part_of_a_second() -> None:
    found = routes(0, *guest(services={HEALTH: {"Check": {"deadlineSeconds": 0.25}}}))
    route = found[f"/{HEALTH}/Check"]
    assert route["route"]["max_stream_duration"]["max_stream_duration"] == "0.25s"
    assert route["request_headers_to_add"][0]["header"] == {"key": "grpc-timeout", "value": "250m"}


@pytest.mark.parametrize(
    ("arguments", "place", "cure"),
    [
        (("--set-json", "edge.upstreams=[]"), "edge.upstreams is a slice", "write a map from name"),
        (("--set", "edge.upstreams=ours"), "edge.upstreams is a string", "write a map from name"),
        (
            ("--set-json", 'edge.upstreams.recorder={"port": 1, "services": {"a.B": {"C": {}}}}'),
            "edge.upstreams.recorder",
            "call the upstream something else",
        ),
        (("--set", "server.grpcPort=50052"), "edge.upstreams.dispatch.port is 50051", "write that"),
        (
            guest(services={"hailstorm.trip.v1.TripService": {"GetTrip": {}}}),
            "hailstorm.trip.v1.TripService/GetTrip is listed under guest and under trip",
            "take it out of one",
        ),
        (
            guest(services={HEALTH: {"Watch": {"stream": True, "deadlineSeconds": 3}}}),
            "grpc.health.v1.Health/Watch has stream and deadlineSeconds",
            "take one of the two out",
        ),
        (
            guest(services={HEALTH: {"Check": {"deadlineSeconds": 11}}}),
            "grpc.health.v1.Health/Check has deadlineSeconds 11",
            "lower the one, or raise the other",
        ),
        (
            guest(json=True),
            "edge.upstreams.guest.json is true",
            "leave json out, or add its proto",
        ),
        (
            ("--set", ",".join(f"edge.upstreams.{name}=null" for name in OURS)),
            "edge.upstreams names no upstream",
            "leave one",
        ),
        # What one look can tell is the schema's business.
        (guest(nmespace="x"), "/edge/upstreams/guest", "nmespace"),
        (guest(port=0), "/edge/upstreams/guest/port", "minimum"),
        (guest(services={}), "/edge/upstreams/guest/services", "minProperties"),
        (guest(services={"a/B": {"C": {}}}), "/edge/upstreams/guest/services", "a/B"),
        (guest(services={"a.B": {"C": {"retry": "maybe"}}}), "/a.B/C/retry", "never"),
        (guest(services={"a.B": {"C": {"repeatable": True}}}), "/a.B/C", "repeatable"),
        (guest(limits={"maxRequests": 0}), "/edge/upstreams/guest/limits", "minimum"),
        (
            ("--set-json", "edge.upstreams.guest={}"),
            "/edge/upstreams/guest",
            "missing properties",
        ),
        (("--set-json", 'edge.upstreams.A_B={"port": 1}'), "/edge/upstreams", "A_B"),
    ],
)  # fmt: skip
def test_upstream_that_makes_no_sense_fails_by_its_place_with_a_cure(
    arguments: tuple[str, ...], place: str, cure: str
) -> None:
    said = refusal(*arguments)
    assert place in said
    assert cure in said


@pytest.fixture(scope="module")
def others(folder: Path) -> Iterator[list[Pod]]:
    """Two pods with gRPC's own defaults, for another team."""
    started = start_pods(folder, 2, refuses_pings=True)
    yield started
    for pod in started:
        pod.end()


def start(folder: Path, pods: list[Pod], others: list[Pod], *arguments: str) -> Edge:
    """The edge before our pods and the other team's."""
    return start_edge(folder, {**dict.fromkeys(OURS, pods), "guest": others}, *arguments)


@pytest.fixture(scope="module")
def visited(folder: Path, pods: list[Pod], others: list[Pod]) -> Iterator[Edge]:
    """The edge with the other team behind it."""
    started = start(folder, pods, others, *guest(limits={"maxRequests": 3}))
    yield started
    started.end()


def watch(edge: Edge) -> Any:
    """A stream that says one thing and then nothing."""
    stream = health_pb2_grpc.HealthStub(edge.channel()).Watch(health_pb2.HealthCheckRequest())
    assert next(stream).status == health_pb2.HealthCheckResponse.SERVING
    return stream


def test_other_team_s_method_is_called_and_counted_as_its_own(
    visited: Edge, others: list[Pod]
) -> None:
    before = visited.stat("cluster.guest.upstream_rq_total")
    stub = health_pb2_grpc.HealthStub(visited.channel())
    _, call = stub.Check.with_call(health_pb2.HealthCheckRequest())
    metadata = dict(call.initial_metadata())
    assert metadata["x-hailstorm-upstream"] in {pod.address for pod in others}
    assert visited.stat("cluster.guest.upstream_rq_total") == before + 1
    # The public listener is not the services' own.
    status, _, _ = visited.http("POST", f"/{HEALTH}/Check", {})
    assert status == 404


def test_full_upstream_is_refused_and_ours_is_not(visited: Edge) -> None:
    streams = [watch(visited) for _ in range(3)]
    stub = health_pb2_grpc.HealthStub(visited.channel())
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(), timeout=3)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    trips = trip_pb2_grpc.TripServiceStub(visited.channel())
    assert trips.GetTrip(trip_pb2.GetTripRequest(city_id="nyc", trip_id="t-1")).trip
    for stream in streams:
        stream.cancel()


async def test_servers_that_take_no_pings_keep_their_streams(
    folder: Path, pods: list[Pod], others: list[Pod], visited: Edge
) -> None:
    quiet = watch(visited)
    pinged = start(
        folder, pods, others, *guest(pings=True), "--set", "edge.keepalive.intervalSeconds=1"
    )
    try:
        # gRPC's servers count pings within five minutes, and the third ends the connection.
        stream = watch(pinged)
        await eventually(lambda: not stream.is_active(), 30)
        assert stream.code() is grpc.StatusCode.UNAVAILABLE
        assert quiet.is_active()
    finally:
        quiet.cancel()
        pinged.end()
