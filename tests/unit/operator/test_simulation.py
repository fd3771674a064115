"""The models: the service's queue, the rivals' rules, and a scorecard that can be repeated."""

import gzip
import json
import random
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hailstorm_drills.comparison.recording import LoadSeen, Origin, Recording, as_json
from hailstorm_operator.simulation import command
from hailstorm_operator.simulation.demand import (
    BIN_SECONDS,
    DAY_SECONDS,
    SHAPES,
    Demand,
    DemandError,
    count_pickups,
    read_demand,
    read_pickups,
    shaped,
    spread,
)
from hailstorm_operator.simulation.policies import Bounds, CpuHpa, InFlightHpa, Kpa, Policy, Seen
from hailstorm_operator.simulation.scorecard import Pods, run
from hailstorm_operator.simulation.service import PodModel, Service, poisson

ROOT = Path(__file__).parents[3]
PICKUPS = ROOT / "loadtests" / "hailstorm_loadtests" / "data" / "nyc-pickups-2014-04.csv.gz"


def test_shapes_run_between_their_rates() -> None:
    for name in SHAPES:
        rates = shaped(name, 60.0, 300.0).calls_per_second
        assert min(rates) == pytest.approx(60.0)
        assert max(rates) == pytest.approx(300.0, rel=0.02)
    assert shaped("day", 60.0, 300.0).seconds == DAY_SECONDS


def test_bundled_day_is_the_one_in_the_recorded_pickups() -> None:
    counted = tuple(spread(count_pickups(PICKUPS, "2014-04-04"), 60.0, 300.0))
    assert shaped("day", 60.0, 300.0).calls_per_second == counted
    assert read_pickups(PICKUPS, "2014-04-04", 60.0, 300.0).calls_per_second == counted


def test_spread_of_an_even_day_is_level() -> None:
    assert set(spread([5, 5], 10.0, 90.0)) == {10.0}
    assert len(list(spread([1, 2, 3], 0.0, 1.0))) == 3 * BIN_SECONDS


def test_recorded_demand_is_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("second,calls_per_second\n0,12.5\n1,80\n")
    assert read_demand(path) == Demand("calls", (12.5, 80.0))
    packed = tmp_path / "calls.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_demand(packed).calls_per_second == (12.5, 80.0)


def test_a_recording_of_compare_is_a_demand(tmp_path: Path) -> None:
    load = LoadSeen(1_000.0, (60.0, 300.0), (), 1.0)
    origin = Origin("uid", "commit")
    seen = Recording("ours", {}, {}, origin, load, (), (), (), 0)
    path = tmp_path / "ours.json"
    path.write_text(json.dumps(as_json(seen)))
    assert read_demand(path) == Demand("ours", (60.0, 300.0))
    packed = tmp_path / "ours.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_demand(packed).calls_per_second == (60.0, 300.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1, 2]", "no load.rates"),
        ('{"load": {}}', "no load.rates"),
        ('{"load": {"rates": 3}}', "no load.rates"),
        ("calls_per_second\n1\n", "no load.rates"),
        ('{"load": {"rates": [1, -1]}}', "not a rate"),
        ('{"load": {"rates": [true]}}', "not a rate"),
        ('{"load": {"rates": []}}', "has no rows"),
    ],
)
def test_a_recording_that_makes_no_sense_is_refused(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "ours.json"
    path.write_text(text)
    with pytest.raises(DemandError, match=problem):
        read_demand(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("second\n1\n", "no column calls_per_second"),
        ("calls_per_second\n-1\n", "line 2: not a rate"),
        ("calls_per_second\nmany\n", "line 2: not a rate"),
        ("calls_per_second\n", "has no rows"),
    ],
)
def test_demand_that_makes_no_sense_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(text)
    with pytest.raises(DemandError, match=problem):
        read_demand(path)


def test_other_mistakes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DemandError, match="no shape 'cliff'"):
        shaped("cliff", 1, 2)
    with pytest.raises(DemandError, match="0 <= low <= high"):
        shaped("step", 3, 2)
    with pytest.raises(DemandError, match="cannot be read"):
        read_demand(tmp_path / "missing.csv")
    with pytest.raises(DemandError, match="no pickup_at on 1999-01-01"):
        count_pickups(PICKUPS, "1999-01-01")


POD = PodModel()


def test_calls_in_flight_grow_with_use_and_steeply_at_its_end() -> None:
    at = [POD.in_flight(use) for use in (0.0, 0.3, 0.6, 0.9, 0.99)]
    assert at == sorted(at)
    assert at[0] == 0.0
    assert POD.in_flight(0.99) - POD.in_flight(0.9) > POD.in_flight(0.9) - POD.in_flight(0.7)


def test_service_keeps_what_it_cannot_serve_and_gives_up_what_waits_too_long() -> None:
    service = Service(POD, random.Random("service"))
    first = service.step(100.0, 1, 1.0)
    assert (first.served, service.backlog, first.use) == (50.0, 50.0, 1.0)
    for _ in range(10):
        last = service.step(100.0, 1, 1.0)
    assert service.backlog == 50.0 * POD.deadline_seconds
    assert last.failed == 50.0
    # Behind a second of backlog everybody is late.
    assert last.late == 100.0


def test_service_without_pods_fails_everything() -> None:
    service = Service(POD, random.Random("service"))
    service.step(100.0, 1, 1.0)
    moment = service.step(10.0, 0, 1.0)
    assert (moment.failed, moment.in_flight, service.backlog) == (60.0, 0.0, 0.0)


@pytest.mark.parametrize("mean", [0.0, 3.0, 200.0])
def test_poisson_counts_have_their_mean(mean: float) -> None:
    source = random.Random("poisson")
    counts = [poisson(source, mean) for _ in range(2000)]
    assert sum(counts) / len(counts) == pytest.approx(mean, rel=0.05)


def test_pods_are_ready_after_their_start_and_the_unready_go_first() -> None:
    pods = Pods(2, 8.0)
    pods.scale(4, 10.0)
    assert (pods.replicas, pods.ready(17.9)) == (4, 2)
    pods.scale(3, 17.9)
    assert (pods.replicas, pods.ready(18.0)) == (3, 3)
    pods.scale(1, 20.0)
    assert (pods.replicas, pods.ready(20.0)) == (1, 1)


BOUNDS = Bounds(2, 20)


def drive(policy: Policy, seconds: float, **seen: float) -> list[tuple[float, int]]:
    """Changes of a policy that sees always the same; what it asks for is there at once."""
    pods, changes, now = int(seen.get("pods", 4)), [], seen.get("start", 0.0)
    end = now + seconds
    while now < end:
        desired = policy.decide(
            Seen(now, seen.get("in_flight", 0.0), seen.get("use", 0.0), pods, pods)
        )
        if desired != pods:
            changes.append((now, desired))
            pods = desired
        now += 0.5
    return changes


def test_cpu_hpa_multiplies_by_use_over_target_at_its_sync() -> None:
    assert drive(CpuHpa(BOUNDS, 0.6), 20, use=0.9) == [(15.0, 6)]


def test_cpu_hpa_cannot_see_more_than_all_of_the_limit() -> None:
    # Whatever waits: at full use it is 1 / 0.6 a sync.
    assert drive(CpuHpa(BOUNDS, 0.6), 20, use=1.0, in_flight=900.0) == [(15.0, 7)]


@pytest.mark.parametrize("use", [0.55, 0.6, 0.65])
def test_hpa_keeps_within_its_tolerance(use: float) -> None:
    assert drive(CpuHpa(BOUNDS, 0.6), 400, use=use) == []


def test_cpu_hpa_counts_pods_that_start_as_idle() -> None:
    policy = CpuHpa(BOUNDS, 0.6)
    for half in range(30):
        policy.decide(Seen(half / 2, 0.0, 0.9, 8, 4))
    # 1.5 on four of eight is 0.75 on eight: it crosses 1, so nothing is done.
    assert policy.decide(Seen(15.0, 0.0, 0.9, 8, 4)) == 8


def test_in_flight_hpa_grows_by_no_more_than_its_policies() -> None:
    changes = drive(InFlightHpa(BOUNDS, 2.0), 50, in_flight=100.0, pods=2)
    assert changes == [(15.0, 6), (30.0, 12), (45.0, 20)]


@pytest.mark.parametrize(
    ("bounds", "shrinks_at"), [(BOUNDS, 315.0), (Bounds(2, 20, down_window_seconds=60.0), 75.0)]
)
def test_hpa_shrinks_to_the_highest_recommendation_of_its_window(
    bounds: Bounds, shrinks_at: float
) -> None:
    policy = InFlightHpa(bounds, 2.0)
    assert drive(policy, 20, in_flight=16.0, pods=8) == []
    changes = drive(policy, 400, in_flight=6.0, pods=8, start=20.0)
    assert changes == [(shrinks_at, 3)]


def test_the_scale_down_window_is_everybodys(tmp_path: Path) -> None:
    demand = tmp_path / "calls.csv"
    rates = [60.0] * 30 + [300.0] * 60 + [60.0] * 200
    demand.write_text("\n".join(["calls_per_second", *map(str, rates)]))
    spent = {}
    for seconds in (60, 300):
        output = tmp_path / f"{seconds}.json"
        told = ["--demand", f"{demand}", "--scale-down-window", f"{seconds}", "--json", f"{output}"]
        assert command.main(told) == 0
        spent[seconds] = {name: one["pod_seconds"] for name, one in figures(output).items()}
    shorter = {name for name in spent[60] if spent[60][name] < spent[300][name]}
    # Knative's autoscaler has windows of its own.
    assert shorter == set(spent[60]) - {"Knative KPA"}


def test_kpa_panics_at_twice_what_is_ready_and_does_not_shrink_in_it() -> None:
    policy = Kpa(BOUNDS, 2.0)
    assert drive(policy, 62, in_flight=6.0, pods=3) == []
    grown = drive(policy, 6, in_flight=60.0, pods=3, start=62.0)[-1][1]
    assert grown >= 12
    assert drive(policy, 50, in_flight=2.0, pods=grown, start=68.0) == []


def test_kpa_shrinks_by_half_at_most_after_a_calm_window() -> None:
    policy = Kpa(BOUNDS, 2.0)
    assert drive(policy, 130, in_flight=2.0, pods=12)[0] == (60.0, 6)


def test_same_seed_gives_the_same_scorecard_and_the_same_arrivals_to_all() -> None:
    demand = Demand("short", tuple([60.0] * 60 + [200.0] * 120))

    def play(policy: Policy) -> tuple[int, int]:
        card = run(demand, policy, POD, 2, "seed")
        assert len(card.points) == demand.seconds
        return card.calls, card.calls_over_slo

    first, again = play(CpuHpa(BOUNDS, 0.6)), play(CpuHpa(BOUNDS, 0.6))
    assert first == again
    assert play(Kpa(BOUNDS, 2.0))[0] == first[0]


def figures(path: Path) -> dict[str, dict[str, float]]:
    document = json.loads(path.read_text())
    return {one["policy"]: one for one in document["scorecards"]}


def test_command_prints_the_scorecard_and_writes_figures_and_plot(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output, plot = tmp_path / "step.json", tmp_path / "step.svg"
    assert command.main(["step", "--json", str(output), "--svg", str(plot)]) == 0
    printed = capsys.readouterr().out
    found = figures(output)
    assert list(found) == [
        "HPA on CPU",
        "HPA on in-flight",
        "Knative KPA",
        "ServiceScaler",
        "ServiceScaler, 2 spares",
    ]
    assert all(name in printed for name in found)
    ours, cpu = found["ServiceScaler"], found["HPA on CPU"]
    assert ours["calls_over_slo"] < cpu["calls_over_slo"] / 3
    # Two where four are needed: their pods are started a second later than without spares.
    assert found["ServiceScaler, 2 spares"]["calls_failed"] < ours["calls_failed"] / 100
    ElementTree.fromstring(plot.read_text())


def test_steady_load_makes_no_flaps() -> None:
    demand = Demand("steady", tuple([150.0] * 1200))
    options = command._parser().parse_args([])
    per_pod = POD.knee() * options.utilisation
    ours = command.policies(POD, options, per_pod, BOUNDS)[3]
    assert run(demand, ours, POD, 4, "steady").flaps <= 2


def test_demand_that_cannot_be_read_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command.main(["cliff"]) == command.USAGE_EXIT
    assert command.main(["--demand", str(tmp_path / "none.csv")]) == command.USAGE_EXIT
    assert "cannot be read" in capsys.readouterr().err
