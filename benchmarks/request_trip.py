"""
RequestTrip to matched, through the edge: how fast below the knee, how much of it beyond.

Drives the cluster of `make demo`, which must be up, with the load generator of
the drills as a process of its own: riders in an open model, who then live their
trip, drivers who report, riders who only look. The rate of riders grows until
fewer than 95 % have a driver within 250 ms: the knee. Judged are the p99 at half
of it, and how many still have one in time at three times of it. There two of three
wishes cannot be served, and phones tap again a second later: counted is the tap that brings
a driver within 250 ms, on a wish of which no tap was kept waiting for longer (refused at
once is not). How many had one from the first tap on stands beside it. An answer without a
driver is none; where they are more than a few, drivers ran out and nothing is judged.
How late the generator was stands beside every step.

p99 is of the machine as it is. Past the knee a generator that shares its cores is late
before the system refuses anything, so there the cluster's workers keep to one core and
the generator to the others, and the ServiceScalers hold the pods there are; the knee is then
found again. Where that cannot be (one core, another user's processes) they share on, and the
figures say so.
"""

import contextlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from hailstorm_benchmarks.cores import CoresError, divided
from hailstorm_benchmarks.docker import WORKER, DockerError, kind_nodes
from hailstorm_benchmarks.documents import unknown
from hailstorm_benchmarks.figures import Asked, Figure, Spread
from hailstorm_benchmarks.knee import NoKneeError, Step, find_knee, step_of
from hailstorm_benchmarks.report import arguments, finish, say
from hailstorm_benchmarks.scalers import ScalersError, held
from hailstorm_drills.cluster import Cluster
from hailstorm_loadtests.history import HistoryError, read_history
from hailstorm_platform.paths import find_paths

# Issue 4, "Figures to reach".
P99_ASKED: Final = Asked(250.0, is_floor=False)
GOODPUT_ASKED: Final = Asked(0.9)
P99_NAME: Final = "RequestTrip to matched, p99 at half the knee"
GOODPUT_NAME: Final = "RequestTrip to matched, goodput by the tap at 3x the knee"
METHOD: Final = "RequestTrip"
# The edge of `make demo`.
EDGE: Final = "127.0.0.1:18080"
# Riders a second: the first is what the drills use, the last what the profile allows.
FIRST_RATE: Final = 2.0
MOST_RATE: Final = 200.0
# Of the knee on all cores: where the search on one begins. It was a quarter once, when both
# workers shared one of two cores.
LEAST_SHARE: Final = 0.125
# Enough for a minute's riders at the knee that the capacity plan predicts.
DRIVERS: Final = 2_000
WARMUP_SECONDS: Final = 6.0
WIND_DOWN_SECONDS: Final = 5.0


class LoadError(Exception):
    """The generator did not do its work; the message has its last words."""


def offer(target: str, rate: float, seconds: float, seed: int) -> Step:
    """Offer `rate` riders a second for so long, and judge how they were answered."""
    profile: dict[str, Any] = {
        "trips_per_minute": round(rate * 60, 1),
        "duration_seconds": seconds,
        "warmup_seconds": WARMUP_SECONDS,
        "wind_down_seconds": WIND_DOWN_SECONDS,
        "drivers": DRIVERS,
        "positions_per_call": 100,
        "views_per_second": round(rate, 1),
        "seed": seed,
    }
    settings = [word for name, value in profile.items() for word in ("--set", f"{name}={value}")]
    with tempfile.TemporaryDirectory(prefix="hailstorm-knee-") as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "hailstorm_loadtests", "run"),
                *("--target", target, "--output", folder, *settings),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + 120,
        )
        if done.returncode != 0:
            raise LoadError(done.stderr.strip()[-500:])
        history = read_history(next(Path(folder).glob("*.jsonl.gz")))
    own = next(line for line in history.generator if line.get("kind") == "generator")
    step = step_of(history.calls, METHOD, own["demand_at"], seconds)
    say(
        f"{step.offered:.1f} riders/s: {step.good:.1f}/s in time, {step.goodput:.1f}/s by the tap,"
        f" p99 {step.p99_ms:.0f} ms,"
        f" generator {step.lag_p99_ms:.0f} ms late (p99), n {step.wishes},"
        f" answered {step.answered}, without a driver {dict(step.unmatched) or 0}"
    )
    return step


@contextlib.contextmanager
def apart(cluster: str) -> Iterator[tuple[bool, str]]:
    """Divide the cores between workers and generator where that can be; whether, and in words."""
    with contextlib.ExitStack() as stack:
        try:
            nodes = [node for node in kind_nodes(cluster) if node.role == WORKER]
            stack.enter_context(divided([node.container_id for node in nodes]))
            found = (True, "the workers have a core of their own")
        except (CoresError, DockerError) as error:
            found = (False, f"generator and cluster share the cores ({error})")
        yield found


@contextlib.contextmanager
def as_many_pods(cluster: Cluster) -> Iterator[str]:
    """No more replicas past the knee than at it, where that can be; in words whether."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(held(cluster))
            told = f"replicas held ({found})" if found else "there are no ServiceScalers"
        except ScalersError as error:
            told = f"the ServiceScalers are not held ({error})"
        yield told


def measure(
    target: str, cluster: str, runs: int, seconds: float, knee: float | None
) -> list[Figure]:
    """
    Find the knee, if it is not given, and go below it; find it again apart, and go beyond.

    Raises NoKneeError, LoadError, ValueError.
    """

    def search(first: float) -> float:
        return find_knee(lambda rate: offer(target, rate, seconds, seed=1), first, MOST_RATE)

    shared = knee or search(FIRST_RATE)
    say(f"knee: {shared:.1f} riders/s")
    below = [offer(target, shared / 2, seconds, seed=turn + 2) for turn in range(runs)]
    at, beyond = [], []
    paths = find_paths()
    reached = Cluster(paths.kubeconfig(cluster), str(paths.bin / "kubectl"))
    with apart(cluster) as (is_apart, placed), as_many_pods(reached) as pods:
        told = f"{placed}, {pods}"
        try:
            own = search(shared * LEAST_SHARE) if is_apart else shared
        except NoKneeError as error:
            # What was measured before stands.
            return [_p99_figure(shared, below), unknown(GOODPUT_NAME, f"{told}: {error}")]
        say(f"knee: {own:.1f} riders/s, {told}")
        for turn in range(runs):
            at.append(offer(target, own, seconds, seed=turn + 2))
            beyond.append(offer(target, own * 3, seconds, seed=turn + 2))
    return judge(shared, below, own, at, beyond, told)


def judge(
    knee: float,
    below: Sequence[Step],
    own_knee: float,
    at: Sequence[Step],
    beyond: Sequence[Step],
    placed: str,
) -> list[Figure]:
    """
    The figures of the steps at half a knee, and of those at another knee and at 3x.

    `placed` says on which cores the latter were. Each figure rests on its own steps: one of
    them in doubt makes it UNKNOWN, and no other.
    """
    goodput = Figure(
        name=GOODPUT_NAME,
        unit="trips/s",
        measured=Spread(tuple(step.goodput for step in beyond)),
        asked=GOODPUT_ASKED,
        asked_of_ratio=True,
        rival_name="at the knee",
        rival=Spread(tuple(step.goodput for step in at)),
        why=f"{_told(own_knee, (*at, *beyond), placed)}; {_by_first_tap(at, beyond)}",
    )
    why = _doubts(own_knee, **{"1x": at, "3x": beyond})
    return [_p99_figure(knee, below), unknown(goodput.name, why) if why else goodput]


def _p99_figure(knee: float, below: Sequence[Step]) -> Figure:
    """The figure of the steps at half the knee."""
    if why := _doubts(knee, half=below):
        return unknown(P99_NAME, why)
    return Figure(
        name=P99_NAME,
        unit="ms",
        measured=Spread(tuple(step.p99_ms for step in below)),
        asked=P99_ASKED,
        why=_told(knee, below, "generator and cluster share the cores"),
    )


def _doubts(knee: float, **steps: Sequence[Step]) -> str:
    """The last doubt of each sort of steps; empty when there is none."""
    found = {
        name: f"at {name} the knee of {knee:.1f} riders/s {step.doubt}"
        for name, some in steps.items()
        for step in some
        if step.doubt
    }
    return "; ".join(found.values())


def _told(knee: float, steps: Sequence[Step], placed: str) -> str:
    lag = max(step.lag_p99_ms for step in steps)
    alone = sum(sum(step.unmatched.values()) for step in steps)
    return (
        f"knee {knee:.1f} riders/s; generator up to {lag:.0f} ms late (p99);"
        f" {alone} of {sum(step.answered for step in steps)} answers without a driver; {placed}"
    )


def _by_first_tap(at: Sequence[Step], beyond: Sequence[Step]) -> str:
    rates = ["/".join(f"{step.good:.1f}" for step in steps) or "nothing" for steps in (at, beyond)]
    return f"from the first tap on {rates[1]} trips/s beyond and {rates[0]} at it"


def is_listening(target: str) -> bool:
    """Whether somebody takes connections there."""
    host, _, port = target.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except OSError:
        return False


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--target", default=EDGE, help=f"host:port of the edge ({EDGE})")
    parser.add_argument("--cluster", default="hailstorm", help="name of the kind cluster")
    parser.add_argument("--knee", type=float, help="riders a second; found when left out")
    parser.add_argument("--seconds", type=float, help="of each step")
    options = parser.parse_args()
    seconds = options.seconds or (8.0 if options.quick else 30.0)
    runs = options.runs or (1 if options.quick else 3)
    try:
        if not is_listening(options.target):
            raise LoadError(f"nobody listens on {options.target}; `make demo` brings it up")
        figures = measure(options.target, options.cluster, runs, seconds, options.knee)
    except (LoadError, NoKneeError, HistoryError, ValueError, subprocess.TimeoutExpired) as error:
        why = " ".join(str(error).split())
        figures = [
            unknown(P99_NAME, why),
            unknown(GOODPUT_NAME, why),
        ]
    return finish("request_trip", figures, options.output)


if __name__ == "__main__":
    sys.exit(main())
