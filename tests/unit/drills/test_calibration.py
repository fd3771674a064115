"""Calibration: the fit, the knee and its refusals, what is called, what is written."""

import json
import random
import signal
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from hailstorm_drills.calibration import __main__ as command
from hailstorm_drills.calibration.__main__ import CalibrateError
from hailstorm_drills.calibration.knee import KneeError, Level, find_knee, read_level
from hailstorm_drills.calibration.manifests import (
    CALIBRATION_LABEL,
    GATE,
    TemplateError,
    port_of,
    subject,
)
from hailstorm_drills.calibration.methods import MethodError, choose_call
from hailstorm_drills.calibration.usl import Fit, FitError, fit_usl
from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_operator import api
from hailstorm_operator.calibration import calibration_condition, images_of

LEVELS = (1, 2, 4, 8, 16, 32)
DESCRIPTORS = Path(__file__).parents[3] / "charts" / "hailstorm" / "files" / "hailstorm.pb"


def curve(gamma, sigma, kappa, levels=LEVELS, noise=0.0, seed=1):
    true = Fit(gamma, sigma, kappa, None, 1.0)
    draws = random.Random(seed)
    return [(float(n), true.throughput(n) * (1 + draws.uniform(-noise, noise))) for n in levels]


@pytest.mark.parametrize(
    ("gamma", "sigma", "kappa"),
    [(20, 0.05, 0.002), (1000, 0.3, 0.01), (15, 0.0, 0.0), (15, 0.1, 0.0), (40, 0.0, 0.003)],
)
def test_fit_finds_the_curve_it_was_made_from(gamma, sigma, kappa):
    fit = fit_usl(curve(gamma, sigma, kappa))
    assert fit.gamma == pytest.approx(gamma, rel=1e-6)
    assert fit.sigma == pytest.approx(sigma, abs=1e-6)
    assert fit.kappa == pytest.approx(kappa, abs=1e-6)
    assert fit.r2 == pytest.approx(1.0)


def test_fit_says_where_throughput_is_highest():
    fit = fit_usl(curve(20, 0.04, 0.0025))
    assert fit.peak == pytest.approx((0.96 / 0.0025) ** 0.5, rel=1e-3)
    assert fit_usl(curve(20, 0.1, 0.0)).peak is None


@pytest.mark.parametrize("seed", range(5))
def test_fit_bears_noise(seed):
    fit = fit_usl(curve(20, 0.05, 0.002, noise=0.03, seed=seed))
    assert fit.gamma == pytest.approx(20, rel=0.15)
    assert fit.r2 > 0.95


def test_fit_never_has_negative_shares():
    # Better than linear, as caches that warm up make it.
    fit = fit_usl([(n, 10 * n**1.1) for n in LEVELS])
    assert (fit.sigma, fit.kappa) == (0.0, 0.0)


@pytest.mark.parametrize("points", [curve(20, 0.1, 0)[:5], [(4.0, 10.0)] * 6, [(1.0, 0.0)] * 6, []])
def test_fit_refuses_too_few_levels(points):
    with pytest.raises(FitError, match="6 different levels"):
        fit_usl(points)


def level(n, throughput, p99, calls=200, failed=0):
    return Level(n, throughput, p99, calls, failed)


RISING = [level(1, 20, 50.0), level(2, 40, 51.0), level(4, 75, 60.0)]


def test_knee_is_the_level_before_p99_breaks():
    knee = find_knee([*RISING, level(8, 90, 210.0)], slo_ms=200)
    assert (knee.level.concurrency, knee.past.concurrency) == (4, 8)
    assert "p99 was 210 ms" in knee.why


def test_knee_is_the_level_before_throughput_stops_growing():
    knee = find_knee([*RISING, level(8, 77, 100.0)])
    assert knee.level.concurrency == 4
    assert "hardly more" in knee.why


def test_knee_is_the_level_before_calls_fail():
    knee = find_knee([*RISING, level(8, 120, 70.0, failed=10)])
    assert knee.level.concurrency == 4
    assert "10 of 200 calls failed" in knee.why


def test_knee_goes_by_a_lone_call_where_no_slo_is_given():
    assert find_knee([*RISING, level(8, 120, 151.0)]).slo_ms == 150.0


def test_knee_is_refused_when_none_was_reached():
    with pytest.raises(KneeError, match=r"no knee up to 4 in flight.*--levels"):
        find_knee(RISING, slo_ms=200)


def test_knee_is_refused_when_the_first_level_is_past_it():
    with pytest.raises(KneeError, match="the first level"):
        find_knee(RISING, slo_ms=10)


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ([], "no level to go by"),
        ([level(1, 0, None, calls=0)], "none was answered in time; make --level-seconds longer"),
        # A method that takes 0.5 s: nothing is wrong with it.
        ([level(1, 2, 500.0, calls=6)], "make --level-seconds 4 times as long"),
        ([level(1, 0, None, calls=6, failed=6)], "of unknown codes.*check --method"),
    ],
)
def test_knee_is_refused_without_answers(levels, told):
    with pytest.raises(KneeError, match=told):
        find_knee(levels)


def test_a_method_that_is_not_served_is_told_by_its_code():
    line = {
        "concurrency": 1,
        "throughput": 0.0,
        "p99_ms": None,
        "calls": 60,
        "codes": {"OK": 1, "UNIMPLEMENTED": 59},
    }
    with pytest.raises(KneeError, match=r"59 of them failed \(UNIMPLEMENTED 59\)"):
        find_knee([read_level(line)])


def test_conclude_gives_a_patch_and_the_images_it_holds_for():
    levels = [level(int(n), x, 50.0) for n, x in curve(20, 0.03, 0.001, levels=(1, 2, 4, 8, 16))]
    levels.append(level(32, levels[-1].throughput, 900.0))
    result = command.conclude(deployment(), "/a/b", levels, 200.0)
    assert result.target_in_flight == 16
    patch = result.patch()
    assert patch["spec"] == {"targetInFlight": 16}
    note = json.loads(patch["metadata"]["annotations"][api.CALIBRATION_ANNOTATION])
    assert note["images"] == {"app": "app:1"}
    assert len(note["levels"]) == 6
    assert "knee: 16 in flight" in result.render()


def deployment(**changes):
    container = {
        "name": "app",
        "image": "app:1",
        "ports": [{"name": "grpc", "containerPort": 50051}, {"name": "http", "containerPort": 80}],
    }
    labels = {"app": "shop"}
    return {
        "metadata": {"name": "shop", "namespace": "place", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{**container, **changes}]},
            },
        },
    }


def test_the_copy_is_in_no_service_and_nobody_adopts_it():
    policy, replica_set = subject(deployment())
    mark = {CALIBRATION_LABEL: "shop"}
    template = replica_set["spec"]["template"]
    # A Deployment adopts ReplicaSets whose own labels its selector matches.
    assert replica_set["metadata"]["labels"] == mark
    assert template["metadata"]["labels"] == {"app": "shop", **mark}
    # Never ready, so in no Service, though its labels match.
    assert {"conditionType": GATE} in template["spec"]["readinessGates"]
    assert policy["spec"]["podSelector"]["matchLabels"] == mark
    assert "readinessGates" not in deployment()["spec"]["template"]["spec"]


def test_port_is_found_by_name_or_said_to_be_missing():
    assert port_of(deployment(), None) == 50051
    assert port_of(deployment(), "http") == 80
    assert port_of(deployment(), "1234") == 1234
    assert port_of(deployment(ports=[{"containerPort": 9}]), None) == 9
    with pytest.raises(TemplateError, match="--port"):
        port_of(deployment(ports=[]), None)


def test_find_scaler_goes_by_the_target():
    one = {"metadata": {"name": "a"}, "spec": {"targetRef": {"name": "shop"}}}
    other = {"metadata": {"name": "b"}, "spec": {"targetRef": {"name": "till"}}}
    assert command.find_scaler([one, other], "shop") == "a"
    assert command.find_scaler([other], "shop") is None
    with pytest.raises(CalibrateError, match="delete one"):
        command.find_scaler([one, {**one, "metadata": {"name": "c"}}], "shop")


@pytest.mark.parametrize(
    ("context", "asked", "expected"),
    [
        ({"namespace": "fortio"}, [], "fortio"),
        ({"cluster": "kind"}, [], "default"),
        ({"namespace": "fortio"}, ["-n", "shop"], "shop"),
    ],
)
def test_namespace_is_the_contexts_own(context, asked, expected, monkeypatch, tmp_path):
    calls = []

    def kubectl(_, *words, **__):
        if words[0] == "config":
            return json.dumps({"contexts": [{"name": "kind", "context": context}]})
        calls.append(words)
        raise CommandError("not found")

    monkeypatch.setattr(Cluster, "kubectl", kubectl)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    values = tmp_path / "values.yaml"
    values.write_text("images: {drills: {repository: d, tag: a}}")
    words = ["app", "--method", "/a.B/C", "--values", str(values), *asked]
    assert command.main(words) == command.EX_SETUP
    assert calls == [("get", "deployment/app", "--namespace", expected, "-o", "json")]


@pytest.mark.parametrize("text", ["1,2,3", "4,2,1,8,16,32", "0,1,2,3,4,5", "1,2,x,4,5,6"])
def test_levels_must_rise_and_suffice(text):
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        command.parse_levels(text)


def test_read_levels_refuses_a_cut_log():
    line = {"kind": "level", "concurrency": 1, "throughput": 2.0, "p99_ms": 3.0, "calls": 9}
    text = json.dumps({**line, "codes": {"OK": 8, "UNAVAILABLE": 1}})
    assert command.read_levels(f'{text}\n{{"kind":"end"}}')[0].failed == 1
    with pytest.raises(CalibrateError, match="cut"):
        command.read_levels(text)
    with pytest.raises(CalibrateError, match="the load says"):
        command.read_levels("unary: nobody answers")


@pytest.mark.parametrize("name", ["location", "dispatch", "trip"])
def test_our_services_have_a_call_of_their_own(name):
    call = choose_call(name, None, None, None, DESCRIPTORS)
    assert call.method.startswith(f"/hailstorm.{name}.v1.")
    assert call.request


def test_choose_call_says_what_is_missing():
    assert choose_call("shop", "/a.B/C", None, "0a01", None).request == b"\x0a\x01"
    assert choose_call("shop", "/a.B/C", None, None, None).request == b""
    for arguments, told in (
        (("shop", None, None, None, None), "--method"),
        (("shop", "/a.B/C", "{", None, None), "no JSON"),
        (("shop", "/a.B/C", None, "xyz", None), "--request-hex"),
        (("shop", "a.B/C", None, "", None), "/package.Service/Method"),
        (("shop", "/a.B.C", None, None, None), "/package.Service/Method"),
        (("shop", "/a.B/C", '{"a": 1}', None, None), "--descriptors"),
        (("shop", "/a.B/C", '{"a": 1}', None, DESCRIPTORS), "knows no"),
        (("trip", "/hailstorm.trip.v1.TripService/GetTrip", '{"a": 1}', None, DESCRIPTORS), "a"),
        (
            ("trip", "/hailstorm.trip.v1.TripService/WatchTrip", '{"a": 1}', None, DESCRIPTORS),
            "stream",
        ),
    ):
        with pytest.raises(MethodError, match=told):
            choose_call(*arguments)


def test_descriptors_that_are_none_are_told(tmp_path):
    noise = tmp_path / "noise.pb"
    noise.write_bytes(b"\xff\xff\xff")
    alone = tmp_path / "alone.pb"
    lacking = descriptor_pb2.FileDescriptorSet()
    lacking.file.add(name="shop.proto", package="shop", dependency=["other.proto"])
    alone.write_bytes(lacking.SerializeToString())
    for path, told in ((noise, "no set of descriptors"), (alone, "lacks what it imports")):
        with pytest.raises(MethodError, match=rf"{told}.*--include_imports"):
            choose_call("shop", "/shop.Shop/Get", '{"a": 1}', None, path)


def pod(owner, address="10.0.0.1", **metadata):
    metadata = {"name": f"of-{owner}", "ownerReferences": [{"uid": owner}], **metadata}
    conditions = [{"type": "ContainersReady", "status": "True"}]
    return {"metadata": metadata, "status": {"podIP": address, "conditions": conditions}}


def test_the_pod_of_a_calibration_before_is_not_loaded(monkeypatch, tmp_path):
    def missing(*pods):
        monkeypatch.setattr(Cluster, "get", lambda *_: {"items": list(pods)})
        address = []
        told = command._pod_missing(Cluster(tmp_path), "place", "shop", "new", address)
        return told, address

    # It serves until its grace is over, and comes first by its name.
    before = pod("before", "10.0.0.9")
    assert missing(before, pod("new")) == (None, ["10.0.0.1"])
    told, address = missing(before)
    assert "no pod yet" in told
    assert address == []
    assert missing(pod("new", deletionTimestamp="2026-01-01T00:00:00Z"))[1] == []


def condition(images, note, target=8.0):
    annotations = {} if note is None else {api.CALIBRATION_ANNOTATION: note}
    found = calibration_condition(annotations, images, target)
    return found.status, found.reason


NOTE = json.dumps({"at": "2026-01-01T00:00:00Z", "images": {"app": "app:1"}, "targetInFlight": 8})


def test_a_new_image_makes_a_calibration_stale():
    assert condition({"app": "app:1"}, NOTE) == (False, api.REASON_CALIBRATED)
    assert condition({"app": "app:2"}, NOTE) == (True, api.REASON_IMAGE_CHANGED)
    assert condition({"other": "app:1"}, NOTE) == (True, api.REASON_IMAGE_CHANGED)
    # Not known is not changed.
    assert condition({}, NOTE) == (False, api.REASON_CALIBRATED)


def test_another_figure_by_hand_makes_a_calibration_stale():
    assert condition({"app": "app:1"}, NOTE, 9.0) == (True, api.REASON_TARGET_CHANGED)


def test_no_calibration_is_not_stale_and_a_broken_one_is():
    assert condition({"app": "app:1"}, None) == (False, api.REASON_NOT_CALIBRATED)
    for note in ("{", "{}", '{"at": "x", "images": 3, "targetInFlight": 1}'):
        assert condition({}, note) == (True, api.REASON_CALIBRATION_BROKEN)


def test_images_of_a_deployment():
    assert images_of(deployment()) == {"app": "app:1"}
    assert images_of({"spec": {}}) == {}
