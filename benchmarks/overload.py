"""
What an overloaded process still does in time: the location service past its knee.

Starts a real Redis and a real location process, finds the rate up to which its
callers are answered within 250 ms (the knee), and offers 0.5, 1, 2 and 3 times
as much in an open model. Once for each limit of calls in flight that a pod can be
given: one that stays (`fixed`), and one that follows how long calls wait
(`gradient`). Judged is what the chart ships; the other is shown beside it. Server
and generator have a core each; Redis shares the generator's, as it would be on
another machine. What others took of the server's core, and how late the generator
was, stands beside every figure: a run in which either is large says little.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from hailstorm_benchmarks.cpu import core_ticks, process_ticks
from hailstorm_benchmarks.documents import GOODPUT_ASKED, figures_of
from hailstorm_benchmarks.report import ROOT, conclude
from hailstorm_platform.service_process import SERVICES, ServiceProcess
from hailstorm_platform.store_processes import RedisServer
from open_model import MIX

SERVER_CORE: Final = 0
GENERATOR_CORE: Final = 1
MULTIPLES: Final = (0.5, 1.0, 2.0, 3.0)
DEADLINE_SECONDS: Final = 0.25
# The knee: this part of all calls is answered in time.
KNEE_PART: Final = 0.99
# Above it the generator's own lateness eats what a caller waits.
MAX_LAG_MS: Final = 25.0
FIRST_RATE: Final = 200.0
VALUES: Final = ROOT / "charts" / "hailstorm" / "values.yaml"


def shipped() -> tuple[str, int]:
    """`server.limit` and `server.maxPending` of the chart, which every pod gets."""
    server = yaml.safe_load(VALUES.read_text(encoding="utf-8"))["server"]
    return server["limit"], server["maxPending"]


class Bench:
    """One server process under one setting, and the loads offered to it."""

    def __init__(self, service: ServiceProcess, seed: int) -> None:
        self._service = service
        self._seed = seed

    def offer(self, rate: float, seconds: float) -> dict[str, Any]:
        """Offer `rate` calls a second; what the callers saw."""
        busy, everything = core_ticks(SERVER_CORE)
        own = process_ticks(self._service.pid)
        shed = self._shed()
        output = subprocess.run(
            (
                *(sys.executable, str(ROOT / "benchmarks" / "open_model.py")),
                *("--target", self._service.target, "--core", str(GENERATOR_CORE)),
                *("--rate", str(rate), "--seconds", str(seconds)),
                *("--deadline", str(DEADLINE_SECONDS), "--seed", str(self._seed)),
            ),
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SERVICES)},
            timeout=seconds + 60,
        ).stdout
        row: dict[str, Any] = json.loads(output)
        busy_after, everything_after = core_ticks(SERVER_CORE)
        own = process_ticks(self._service.pid) - own
        all_ticks = max(1, everything_after - everything)
        kinds = row["kinds"].values()
        offered = sum(kind["offered"] for kind in kinds)
        good = sum(kind["good"] for kind in kinds)
        row |= {
            "offered_per_second": round(offered / seconds, 1),
            "goodput_per_second": round(good / seconds, 1),
            "good_part": round(good / max(1, offered), 4),
            "shed": sum(kind["codes"].get("RESOURCE_EXHAUSTED", 0) for kind in kinds),
            # The server's own count; with the warm-up, so it is the larger one.
            "server_shed": self._shed() - shed,
            "server_core_taken_by_others": round(max(0, busy_after - busy - own) / all_ticks, 3),
        }
        return row

    def _shed(self) -> int:
        _, text = self._service.get("/metrics")
        prefix = "hailstorm_grpc_server_shed_total"
        return round(
            sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(prefix))
        )


@contextmanager
def bench(redis: RedisServer, limit: str, max_pending: int, seed: int) -> Iterator[Bench]:
    """A location process with that limit, alone on its core."""
    with tempfile.TemporaryDirectory(prefix="hailstorm-overload-") as folder:
        service = ServiceProcess(
            "location",
            {
                "HAILSTORM_REDIS_HOST": redis.host,
                "HAILSTORM_REDIS_PORT": str(redis.port),
                "HAILSTORM_REDIS_PASSWORD": redis.password,
                "HAILSTORM_SERVER_LIMIT": limit,
                "HAILSTORM_SERVER_MAX_PENDING": str(max_pending),
                "HAILSTORM_LOG_LEVEL": "warning",
            },
            Path(folder),
        )
        try:
            service.start()
            pin(service.pid, SERVER_CORE)
            service.wait_ready()
            pin(service.pid, SERVER_CORE)
            yield Bench(service, seed)
        finally:
            service.remove()


def pin(pid: int, core: int) -> None:
    """Keep a process, with all its threads, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def find_knee(target: Bench, seconds: float) -> float:
    """The greatest rate, within 5 %, at which callers are answered in time."""

    def holds(rate: float) -> bool:
        # Once more when it fails: the machine may have had its mind elsewhere.
        for _ in range(2):
            row = target.offer(rate, seconds)
            tell("knee", row)
            if row["good_part"] >= KNEE_PART:
                return True
        return False

    rate = FIRST_RATE
    if not holds(rate):
        raise SystemExit(f"{rate:.0f} calls a second are too many already; the machine is busy")
    while holds(rate * 1.4):
        rate *= 1.4
    low, high = rate, rate * 1.4
    while high / low > 1.05:
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def tell(name: str, row: dict[str, Any]) -> None:
    """One line for one load."""
    parts = " ".join(
        f"{kind}={figures['good'] / max(1, figures['offered']):.2f}"
        for kind, figures in row["kinds"].items()
    )
    print(
        f"{name:>16}  offered {row['offered_per_second']:7.1f}/s  "
        f"good {row['goodput_per_second']:7.1f}/s  shed {row['shed']:6d}  "
        f"p50 {row['p50_ms'] or 0:6.1f}  p99 {row['p99_ms'] or 0:6.1f} ms  {parts}  "
        f"(generator late p99 {row['generator_lag_p99_ms']} ms, others "
        f"{row['server_core_taken_by_others']:.0%})",
        flush=True,
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds of one setting at one load."""

    def median(values: list[float]) -> float | None:
        return round(statistics.median(values), 3) if values else None

    names = (
        "offered_per_second",
        "goodput_per_second",
        "shed",
        "p50_ms",
        "p99_ms",
        "generator_lag_p99_ms",
        "server_core_taken_by_others",
    )
    return {
        "rounds": len(rows),
        **{name: median([row[name] for row in rows if row[name] is not None]) for name in names},
        "good_part_by_kind": {
            kind.name: median(
                [
                    row["kinds"][kind.name]["good"] / max(1, row["kinds"][kind.name]["offered"])
                    for row in rows
                ]
            )
            for kind in MIX
        },
        "pushback_p50_ms_by_kind": {
            kind.name: median(
                [
                    row["kinds"][kind.name]["pushback_p50_ms"]
                    for row in rows
                    if row["kinds"][kind.name]["pushback_p50_ms"] is not None
                ]
            )
            for kind in MIX
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of one load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--knee", type=float, help="calls a second; found when left out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="write the figures there as JSON")
    arguments = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("server and generator need a core each; this machine has one")

    # `walled` is for servers that no Envoy stands before: gRPC's core cuts off
    # what exceeds its line, for a tenth of what a refusal by the process costs.
    # 24 calls wait less than the gradient tolerates, so the core cuts first.
    shipped_limit, shipped_pending = shipped()
    settings = {
        "fixed": ("fixed", shipped_pending),
        "gradient": ("gradient", shipped_pending),
        "gradient, walled": ("gradient", 24),
    }
    print(f"seed {arguments.seed}; mix {', '.join(f'{k.name} {k.share:.0%}' for k in MIX)}")
    redis = RedisServer()
    rows: dict[str, dict[float, list[dict[str, Any]]]] = {
        name: {multiple: [] for multiple in MULTIPLES} for name in settings
    }
    try:
        redis.start()
        os.sched_setaffinity(redis.pid, {GENERATOR_CORE})
        knee = arguments.knee
        if knee is None:
            with bench(redis, "fixed", shipped_pending, arguments.seed) as target:
                knee = find_knee(target, 2.0)
        print(f"knee: {knee:.0f} calls/s with {KNEE_PART:.0%} answered within "
              f"{DEADLINE_SECONDS * 1000:.0f} ms")  # fmt: skip
        for number in range(arguments.rounds):
            for name, (limit, max_pending) in settings.items():
                with bench(redis, limit, max_pending, arguments.seed + number) as target:
                    for multiple in MULTIPLES:
                        row = target.offer(multiple * knee, arguments.seconds)
                        rows[name][multiple].append(row)
                        tell(f"{name} {multiple}x", row)
    finally:
        redis.remove()

    figures = {
        name: {str(multiple): summary(found) for multiple, found in by_multiple.items()}
        for name, by_multiple in rows.items()
    }
    # Each setting against its own goodput at the knee, measured in the same rounds.
    kept = {
        name: round(
            by_multiple["3.0"]["goodput_per_second"] / by_multiple["1.0"]["goodput_per_second"], 3
        )
        for name, by_multiple in figures.items()
    }
    lags = [row["generator_lag_p99_ms"] for by in rows.values() for r in by.values() for row in r]
    result = {
        "command": f"python benchmarks/overload.py --seed {arguments.seed}",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "load_average": os.getloadavg()},
        "seed": arguments.seed,
        "deadline_ms": DEADLINE_SECONDS * 1000,
        "knee_per_second": round(knee, 1),
        "goodput_kept_at_3x": kept,
        "wanted": GOODPUT_ASKED.limit,
        "shipped": shipped_limit,
        "settings": figures,
        "generator_lag_p99_ms": max(lags),
        "max_generator_lag_ms": MAX_LAG_MS,
    }
    wanted = GOODPUT_ASKED.limit
    for name, part in kept.items():
        print(f"{name}: {part:.0%} of the knee's goodput at 3 times the knee (wanted {wanted:.0%})")
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return conclude(figures_of("overload", result, 0))


if __name__ == "__main__":
    sys.exit(main())
