"""
`hailstorm calibrate NAME`: load one pod of a Deployment until it is past its knee.

The pod is a copy that is in no Service, so users meet neither it nor the load. One
level of concurrency after another, some seconds each, bounded; then the knee, the
Universal Scalability Law through the levels, and both written into the
ServiceScaler of that Deployment, with the date and the image they hold for.

Exit codes: 0 written (or printed, with --dry-run), 1 no knee was found, 3 it could
not be measured, 64 the command line was wrong, 130 interrupted (and cleaned up).
"""

import argparse
import datetime as dt
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from hailstorm_drills.calibration import manifests
from hailstorm_drills.calibration.knee import KneeError, Level, find_knee, read_level
from hailstorm_drills.calibration.methods import Call, MethodError, choose_call
from hailstorm_drills.calibration.result import Result, images_of_template
from hailstorm_drills.calibration.usl import LEAST_LEVELS, FitError, fit_usl
from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.faults.base import FaultError, wait_for
from hailstorm_drills.images import images_of
from hailstorm_drills.lock import LockedError, locked
from hailstorm_drills.runner import SetupError
from hailstorm_operator import api

EX_NO_KNEE: Final = 1
EX_SETUP: Final = 3
EX_USAGE: Final = 64
EX_INTERRUPTED: Final = 130
# A factor of some 1.5 from one to the next, which is what a knee is found to.
LEVELS: Final = "1,2,3,4,6,8,12,16,24,32,48,64"
LEVEL_SECONDS: Final = 4.0
# Where the images of `make demo` are written down.
DEMO_VALUES: Final = Path(".hailstorm/run/hailstorm-images.yaml")
DESCRIPTORS: Final = Path("charts/hailstorm/files/hailstorm.pb")
LOAD_NAMESPACE: Final = "hailstorm-load"
# A pod whose image is on the node; services are ready within seconds.
POD_SECONDS: Final = 120.0
# Start and end of the load's pod, beside its levels.
LOAD_MARGIN_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 1.0


class CalibrateError(RuntimeError):
    """It could not be measured; the message says what is missing."""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="hailstorm calibrate", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("name", help="the Deployment; its ServiceScaler is looked up")
    parser.add_argument("--namespace", "-n", help="default: that of kubectl's context")
    parser.add_argument("--kubeconfig", type=Path, help="default: KUBECONFIG, or kubectl's own")
    parser.add_argument("--method", help="/package.Service/Method, a read (ours have a default)")
    parser.add_argument("--request", help="its request as JSON; needs --descriptors")
    parser.add_argument("--request-hex", help="its request, serialised")
    parser.add_argument("--descriptors", type=Path, help=f"default: {DESCRIPTORS}, where it is")
    parser.add_argument("--port", help="of the pod, by number or name (default: grpc)")
    parser.add_argument("--levels", default=LEVELS, help=f"calls in flight, rising ({LEVELS})")
    parser.add_argument("--level-seconds", type=float, default=LEVEL_SECONDS)
    parser.add_argument("--slo-ms", type=float, help="p99 (default: thrice a lone call's p99)")
    parser.add_argument("--values", action="append", help=f"with images.drills ({DEMO_VALUES})")
    parser.add_argument("--dry-run", action="store_true", help="measure and print, write nothing")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    options = make_parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        levels = parse_levels(options.levels)
        descriptors = options.descriptors or (DESCRIPTORS if DESCRIPTORS.exists() else None)
        call = choose_call(
            options.name, options.method, options.request, options.request_hex, descriptors
        )
        images, pull_policy = images_of(options.values or [str(DEMO_VALUES)], ("drills",))
    except (MethodError, SetupError, ValueError, OSError, yaml.YAMLError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return EX_USAGE
    try:
        return _calibrate(options, levels, call, images["drills"], pull_policy)
    except KeyboardInterrupt:
        print("interrupted; cleaned up, nothing was written", file=sys.stderr)
        return EX_INTERRUPTED
    except (KneeError, FitError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return EX_NO_KNEE
    except (
        CalibrateError,
        CommandError,
        FaultError,
        LockedError,
        manifests.TemplateError,
    ) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return EX_SETUP


def parse_levels(text: str) -> list[int]:
    """`1,2,4` as numbers. Raises ValueError unless they rise and are enough for a fit."""
    levels = [int(word) for word in text.split(",")]
    if levels != sorted(set(levels)) or levels[0] < 1:
        raise ValueError(f"--levels {text}: write rising whole numbers from 1 on")
    if len(levels) < LEAST_LEVELS:
        raise ValueError(f"--levels {text}: a fit needs {LEAST_LEVELS} levels or more")
    return levels


def find_scaler(scalers: Sequence[Mapping[str, Any]], deployment: str) -> str | None:
    """Name of the ServiceScaler of that Deployment. Raises CalibrateError when there are two."""
    names = [
        str(one["metadata"]["name"])
        for one in scalers
        if (one.get("spec") or {}).get("targetRef", {}).get("name") == deployment
    ]
    if len(names) > 1:
        raise CalibrateError(f"{' and '.join(names)} scale {deployment}; delete one of them")
    return names[0] if names else None


def read_levels(text: str) -> list[Level]:
    """The levels of the load's log. Raises CalibrateError when the log is cut."""
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            raise CalibrateError(f"the load says: {line[:200]}") from None
    if not lines or lines[-1]["kind"] != "end":
        raise CalibrateError("the load's log is cut; run it again")
    return [read_level(line) for line in lines if line["kind"] == "level"]


def conclude(
    deployment: Mapping[str, Any], method: str, levels: Sequence[Level], slo_ms: float | None
) -> Result:
    """Knee and fit of the levels. Raises KneeError and FitError."""
    knee = find_knee(levels, slo_ms)
    # What failed is no throughput of the pod's own.
    fit = fit_usl([(one.concurrency, one.throughput) for one in levels if one.throughput > 0])
    return Result(
        deployment=deployment["metadata"]["name"],
        images=images_of_template(deployment),
        method=method,
        at=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        knee=knee,
        fit=fit,
        levels=tuple(levels),
    )


def _calibrate(
    options: argparse.Namespace, levels: Sequence[int], call: Call, image: str, pull_policy: str
) -> int:
    kubeconfig = options.kubeconfig or Path(
        os.environ.get("KUBECONFIG", Path.home() / ".kube" / "config")
    )
    cluster = Cluster(kubeconfig.resolve())
    namespace = options.namespace or cluster.namespace()
    print(f"calibrate: {options.name} in the namespace {namespace}", flush=True)
    deployment = cluster.get(f"deployment/{options.name}", namespace)
    scaler = None
    if not options.dry_run:
        found = cluster.get(f"{api.SCALER_PLURAL}.{api.GROUP}", namespace)["items"]
        scaler = find_scaler(found, options.name)
        if scaler is None:
            raise CalibrateError(
                f"no ServiceScaler in {namespace} has targetRef.name {options.name}; "
                "write one first, or --dry-run"
            )
    port = manifests.port_of(deployment, options.port)
    seconds = len(levels) * options.level_seconds + LOAD_MARGIN_SECONDS
    with locked(cluster, LOAD_NAMESPACE, f"calibrate-{options.name}", seconds + POD_SECONDS * 2):
        text = _measure(cluster, deployment, port, options, call, (image, pull_policy), seconds)
    result = conclude(deployment, call.method, read_levels(text), options.slo_ms)
    print(result.render())
    if scaler is None:
        print("dry run: nothing was written")
        return 0
    cluster.kubectl(
        *("patch", f"{api.SCALER_PLURAL}.{api.GROUP}", scaler),
        *("--namespace", namespace, "--type", "merge"),
        *("--patch", json.dumps(result.patch())),
    )
    print(f"written: ServiceScaler {scaler}, targetInFlight {result.target_in_flight}")
    print("where a chart writes that field, put it into its values too")
    return 0


def _measure(
    cluster: Cluster,
    deployment: Mapping[str, Any],
    port: int,
    options: argparse.Namespace,
    call: Call,
    image: tuple[str, str],
    seconds: float,
) -> str:
    """Load the copy of a pod; the load's log. What was made is taken away again."""
    namespace = deployment["metadata"]["namespace"]
    name = manifests.pod_name(deployment["metadata"]["name"])
    try:
        _clean(cluster, namespace, name)
        cluster.apply(manifests.subject(deployment))
        uid = str(cluster.get(f"replicaset/{name}", namespace)["metadata"]["uid"])
        print(f"calibrate: a copy of a pod of {options.name}, in no Service", flush=True)
        address: list[str] = []
        wait_for(
            lambda: _pod_missing(cluster, namespace, deployment["metadata"]["name"], uid, address),
            POD_SECONDS,
            "the copy of the pod runs",
            sleep=lambda _: time.sleep(LOOK_SECONDS),
        )
        arguments = [
            *("--target", f"{address[0]}:{port}", "--method", call.method),
            *("--request-hex", call.request.hex(), "--levels", options.levels),
            *("--level-seconds", f"{options.level_seconds:g}"),
            *("--least-levels", str(LEAST_LEVELS)),
        ]
        if options.slo_ms:
            # Far enough past it to see that it is past; further only hurts the node.
            arguments += ["--stop-p99-ms", f"{options.slo_ms * 3:g}"]
        cluster.apply([manifests.load(LOAD_NAMESPACE, *image, arguments, int(seconds))])
        print(
            f"calibrate: {options.levels} in flight, {options.level_seconds:g} s each", flush=True
        )
        return _wait_load(cluster, seconds)
    finally:
        _clean(cluster, namespace, name)


def _pod_missing(
    cluster: Cluster, namespace: str, deployment: str, uid: str, address: list[str]
) -> str | None:
    """
    What keeps the pod of the ReplicaSet `uid` from being loaded; None, and its address, if nothing.

    The pod of a calibration before this one may still be there while it ends: it carries the
    same label, and would fail amid the levels.
    """
    label = f"{manifests.CALIBRATION_LABEL}={deployment}"
    for pod in cluster.get("pods", namespace, "--selector", label)["items"]:
        owners = [str(owner["uid"]) for owner in pod["metadata"].get("ownerReferences") or []]
        if uid not in owners or "deletionTimestamp" in pod["metadata"]:
            continue
        status = pod.get("status") or {}
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or []}
        if conditions.get("ContainersReady") == "True" and status.get("podIP"):
            address[:] = [str(status["podIP"])]
            return None
        return f"{pod['metadata']['name']} is {status.get('phase', 'new')}, not ready yet"
    return "there is no pod yet; its ReplicaSet's events say why"


def _wait_load(cluster: Cluster, seconds: float) -> str:
    end = time.monotonic() + seconds
    while True:
        found = cluster.get(f"pod/{manifests.LOAD}", LOAD_NAMESPACE)
        phase = (found.get("status") or {}).get("phase")
        if phase in ("Succeeded", "Failed") or time.monotonic() > end:
            break
        time.sleep(LOOK_SECONDS)
    text = cluster.kubectl("logs", manifests.LOAD, "--namespace", LOAD_NAMESPACE)
    if phase != "Succeeded":
        raise CalibrateError(f"the load is {phase}: {text.strip()[-400:] or 'without a word'}")
    return text


def _clean(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.kubectl(
        *("delete", "replicaset,networkpolicy", name, "--namespace", namespace),
        *("--ignore-not-found", "--timeout=60s"),
        timeout=90,
    )
    cluster.kubectl(
        *("delete", "pod", manifests.LOAD, "--namespace", LOAD_NAMESPACE),
        *("--ignore-not-found", "--timeout=60s"),
        timeout=90,
    )


if __name__ == "__main__":
    sys.exit(main())
