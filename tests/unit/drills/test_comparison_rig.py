"""The rig of a comparison: the arms' manifests, the adapter's answers, the pace."""

import json

import pytest

from hailstorm_drills.comparison import adapter
from hailstorm_drills.comparison.arms import (
    ADAPTER_NAMESPACE,
    API_SERVICE,
    crd_knows_spares,
    make_arm,
    spares_missing,
    spares_of,
    waiting_for,
)
from hailstorm_drills.comparison.envoy import envoy_config
from hailstorm_drills.comparison.manifests import load_pod, rig
from hailstorm_drills.comparison.recording import Origin
from hailstorm_drills.comparison.runner import Compare, requirements_missing
from hailstorm_drills.comparison.settings import (
    ARMS,
    CPU_HPA,
    IN_FLIGHT_HPA,
    OURS,
    Settings,
    settings_for,
)
from hailstorm_loadtests import unary
from hailstorm_operator.specs import parse_scaler_spec

SETTINGS = Settings()
IMAGES = {"drills": "d:1", "envoy": "e:1"}
HERE = Origin("cluster-1", "commit-1")


def arm(name, *, knows_spares=True, settings=SETTINGS):
    return make_arm(name, settings, "d:1", "Never", knows_spares=knows_spares)


def test_every_arm_plans_for_the_same_load_a_pod():
    cpu = arm(CPU_HPA).manifests[-1]["spec"]["metrics"][0]["resource"]["target"]
    in_flight = arm(IN_FLIGHT_HPA).manifests[-1]["spec"]["metrics"][0]["external"]["target"]
    ours = parse_scaler_spec(arm(OURS).manifests[-1]["spec"])
    assert cpu["averageValue"] == "120m"
    planned = float(in_flight["averageValue"].removesuffix("m")) / 1000
    assert ours.in_flight_per_pod == pytest.approx(planned, rel=0.01)
    # 120m of CPU at 2.6 ms a call are 46 calls/s, which take 57.6 ms each.
    assert planned == pytest.approx(46.15 * 0.0576, rel=0.01)


def test_our_arm_has_spares_only_where_the_kind_knows_them():
    assert arm(OURS).manifests[-1]["spec"]["spares"] == {"count": 4}
    assert spares_of(arm(OURS)) == 4
    assert "spares" not in arm(OURS, knows_spares=False).manifests[-1]["spec"]
    assert spares_of(arm(OURS, knows_spares=False)) == spares_of(arm(IN_FLIGHT_HPA)) == 0


def test_a_rival_begins_with_more_pods_and_ours_does_not():
    settings = settings_for("ramp", rivals_from={CPU_HPA: 5})
    specs = {name: arm(name, settings=settings).manifests[-1]["spec"] for name in ARMS}
    least = {name: spec["minReplicas"] for name, spec in specs.items()}
    assert least == {CPU_HPA: 5, IN_FLIGHT_HPA: 2, OURS: 2}


def test_an_arm_begins_with_new_pods_behind_a_new_edge():
    class Deployments:
        scaled = "2"
        edges = 0

        def __init__(self):
            self.done = []

        def kubectl(self, *words, timeout=30.0):
            if words[0] == "scale":
                self.scaled = words[-1].removeprefix("--replicas=")
                self.done.append(("scale", self.scaled))
            if words[:2] == ("delete", "pods"):
                self.done.append(("edge", words[2]))
                self.edges = 2
            return ""

        def get(self, resource, namespace):
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            names = [f"target-{n}" for n in range(int(self.scaled))]
            names += [f"edge-{n}" for n in range(self.edges)]
            return {"items": [{"metadata": {"name": name}, "status": ready} for name in names]}

    cluster = Deployments()
    compare = Compare(cluster, SETTINGS, IMAGES, "Never", HERE, say=lambda _: None)
    compare._reset(5)
    labels = "app.kubernetes.io/name=hailstorm-compare,app.kubernetes.io/component=edge"
    assert cluster.done == [("scale", "0"), ("edge", f"--selector={labels}"), ("scale", "5")]
    assert compare._not_reset("target", 2) == "5 pods, 5 of them ready"


def crd(**spec):
    schema = {"properties": {"spec": {"properties": spec}}}
    version = {"name": "v1alpha1", "schema": {"openAPIV3Schema": schema}}
    return {"spec": {"versions": [version]}}


def test_crd_knows_spares():
    assert not crd_knows_spares(crd())
    assert crd_knows_spares(crd(spares={"properties": {"count": {}}}))


def test_a_scaler_is_waited_for_until_it_sees_its_signal():
    def body(kind, conditions, **status):
        listed = [{"type": t, "status": s} for t, s in conditions.items()]
        return {"kind": kind, "status": {"conditions": listed, **status}}

    good = {"AbleToScale": "True", "ScalingActive": "True"}
    hpa = "HorizontalPodAutoscaler"
    assert waiting_for(body(hpa, good, currentMetrics=[{}])) is None
    assert waiting_for(body(hpa, good)) == "no metric yet"
    assert "ScalingActive" in waiting_for(body(hpa, {**good, "ScalingActive": "False"}))
    assert "Active" in waiting_for(body("ServiceScaler", {}))
    ours = {"Active": "True", "SignalFresh": "True"}
    assert waiting_for(body("ServiceScaler", ours)) is None


def test_spares_are_waited_for():
    def deployment(ready):
        return {"metadata": {"name": "target-spare"}, "status": {"readyReplicas": ready}}

    assert "no Deployment" in spares_missing([], 4)
    assert spares_missing([deployment(3)], 4) == "3 of 4 spares are ready"
    assert spares_missing([deployment(4)], 4) is None


def test_every_pod_satisfies_the_restricted_standard():
    found = [*rig(SETTINGS, IMAGES, "Never"), *arm(IN_FLIGHT_HPA).manifests]
    specs = [o["spec"]["template"]["spec"] for o in found if o["kind"] == "Deployment"]
    specs.append(load_pod(SETTINGS, "d:1", "Never")["spec"])
    assert len(specs) == 4
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


class ApiServices:
    """A cluster that has these APIServices, by name, and deletes as kubectl does."""

    def __init__(self, **labels_and_home):
        self.found = {API_SERVICE: labels_and_home}

    def kubectl(self, verb, resource, *words, timeout=30.0):
        if not resource.startswith("apiservices"):
            return ""
        if verb == "get":
            service = {"namespace": self.found[API_SERVICE]["home"], "name": "adapter"}
            return json.dumps({"spec": {"service": service}})
        if words[0].startswith("--selector="):
            asked = dict(one.split("=") for one in words[0].removeprefix("--selector=").split(","))
            for name, one in list(self.found.items()):
                if asked.items() <= one["labels"].items():
                    del self.found[name]
        else:
            self.found.pop(words[0], None)
        return ""

    def raw(self, _):
        return b""


def test_an_api_service_of_somebody_else_is_left_where_it_is():
    cluster = ApiServices(labels={"app.kubernetes.io/name": "keda"}, home="keda")
    assert requirements_missing(cluster, [OURS]) == []
    assert "keda/adapter" in requirements_missing(cluster, [IN_FLIGHT_HPA])[0]
    compare = Compare(cluster, SETTINGS, IMAGES, "Never", HERE, say=lambda _: None)
    compare.clean_up()
    compare._remove_scalers()
    assert set(cluster.found) == {API_SERVICE}


def test_the_api_service_of_a_comparison_is_removed_by_its_labels():
    (mine,) = (o for o in arm(IN_FLIGHT_HPA).manifests if o["kind"] == "APIService")
    cluster = ApiServices(labels=mine["metadata"]["labels"], home=ADAPTER_NAMESPACE)
    assert requirements_missing(cluster, [IN_FLIGHT_HPA]) == []
    Compare(cluster, SETTINGS, IMAGES, "Never", HERE, say=lambda _: None).clean_up()
    assert cluster.found == {}


def test_envoy_config_is_json():
    assert json.loads(json.dumps(envoy_config()))["static_resources"]["clusters"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["open", "--method", "Do", "--rate", "1", "--seconds", "1", "--seed", "1"], "method"),
        (
            ["open", "--method", "/a/b", "--rate", "1", "--seconds", "9999", "--seed", "1"],
            "seconds",
        ),
        (["open", "--method", "/a/b", "--rate", "1e9", "--seconds", "1", "--seed", "1"], "calls/s"),
        (["levels", "--method", "/a/b", "--levels", "0,1"], "levels"),
        (["levels", "--method", "/a/b", "--levels", "1", "--level-seconds", "999"], "level lasts"),
    ],
)
def test_load_refuses_what_is_unbounded(words, told):
    options = unary.make_parser().parse_args([*words, "--target", "127.0.0.1:1"])
    assert told in unary.problems(options)


def test_load_goes_to_no_public_address(capsys):
    words = ["levels", "--method", "/a/b", "--levels", "1", "--target", "example.com:443"]
    assert unary.main(words) == unary.EX_USAGE
    assert "refused" in capsys.readouterr().err


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_adapter_never_takes_silence_for_zero():
    clock, answers = Clock(), [7.0]

    def read():
        if not answers:
            raise OSError("refused")
        return answers.pop()

    signal = adapter.Signal(read, clock)
    path = f"/apis/{adapter.GROUP_VERSION}/namespaces/x/{adapter.METRIC}?labelSelector=a"
    assert adapter.answer(path, signal, {})[0] == 503
    signal.poll()
    status, body = adapter.answer(path, signal, {"cluster": "target"})
    assert status == 200
    assert body["items"][0]["value"] == "7000m"
    assert body["items"][0]["timestamp"] == "1970-01-01T00:01:40Z"
    clock.now += 1.9
    signal.poll()
    assert adapter.answer(path, signal, {})[0] == 200
    clock.now += 0.2
    assert adapter.answer(path, signal, {})[0] == 503


def test_adapter_gives_the_mean_of_two_seconds():
    clock, answers = Clock(), [9.0, 3.0, 4.0, 5.0, 8.0]
    signal = adapter.Signal(lambda: answers.pop(), clock)
    for expected in (8.0, 6.5, 17 / 3, 5.0, 21 / 4):
        signal.poll()
        value, at = signal.fresh()
        assert (value, at) == (pytest.approx(expected), clock.now)
        clock.now += 0.5


def test_adapter_answers_discovery_and_nothing_else():
    signal = adapter.Signal(lambda: 0.0)
    status, body = adapter.answer(f"/apis/{adapter.GROUP_VERSION}", signal, {})
    assert (status, body["kind"]) == (200, "APIResourceList")
    assert adapter.answer("/apis", signal, {})[0] == 200
    assert adapter.answer(f"/apis/{adapter.GROUP}", signal, {})[0] == 200
    assert adapter.answer("/healthz", signal, {})[0] == 404
    other = f"/apis/{adapter.GROUP_VERSION}/namespaces/x/cpu"
    assert adapter.answer(other, signal, {})[0] == 404


def test_adapter_reads_one_figure_and_misses_it_loudly():
    text = "cluster.target.upstream_rq_active: 12\n"
    assert adapter.parse_active(text, "target") == 12
    with pytest.raises(ValueError, match="upstream_rq_active"):
        adapter.parse_active(text, "other")
