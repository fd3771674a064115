"""
`kubectl hailstorm rollout NAME`: the record of a rollout, drawn for the terminal.

The cluster is asked through kubectl itself, which knows every kubeconfig there is.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.drawing import Look, draw_record
from hailstorm_operator.records import is_closed, newest_record

Json = dict[str, Any]
Kubectl = Callable[..., subprocess.CompletedProcess[str]]

FOUND: Final = 0
NOTHING: Final = 1
KUBECTL_SECONDS: Final = 30
WATCH_SECONDS: Final = 1.0
# Clears the screen and goes to its first line (ECMA-48).
CLEAR: Final = "\033[2J\033[H"


class PluginError(Exception):
    """What to tell the user instead of a drawing."""


def show_rollout(arguments: Sequence[str], kubectl: Kubectl | None = None) -> int:
    """Draw, print or watch a record. `kubectl` runs one; for tests."""
    options = _parse(arguments)
    ask = Records(options, kubectl or run_kubectl)
    try:
        while True:
            record = ask.record()
            if options.output == "json":
                print(json.dumps(record, indent=2))
                return FOUND
            lines = draw_record(record, terminal_look(), datetime.now(UTC))
            if options.watch and sys.stdout.isatty():
                print(CLEAR, end="")
            print("\n".join(lines), flush=True)
            if not options.watch or is_settled(record):
                return FOUND
            time.sleep(WATCH_SECONDS)
    except PluginError as error:
        print(error, file=sys.stderr)
        return NOTHING
    except KeyboardInterrupt:
        return FOUND


def is_settled(record: Json) -> bool:
    """Whether nothing is added to the record any more."""
    status = record.get("status") or {}
    labels = record["metadata"].get("labels") or {}
    return is_closed(status) and api.TRAFFIC_LABEL not in labels


def terminal_look() -> Look:
    """What standard output can show; NO_COLOR (no-color.org) is heeded."""
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    colour = colour and os.environ.get("TERM") != "dumb"
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    return Look(shutil.get_terminal_size().columns, colour, encoding.startswith("utf"))


def run_kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """kubectl as the user has it. Raises PluginError when there is none or it hangs."""
    try:
        return subprocess.run(
            ["kubectl", *arguments],
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise PluginError("there is no kubectl in the PATH") from None
    except subprocess.TimeoutExpired:
        raise PluginError(f"kubectl did not answer within {KUBECTL_SECONDS} s") from None


class Records:
    """The records of one Deployment, through kubectl."""

    def __init__(self, options: argparse.Namespace, kubectl: Kubectl) -> None:
        self._options = options
        self._kubectl = kubectl
        self._name = options.name.rpartition("/")[2]
        self._flags: list[str] = []
        for flag, value in (("--namespace", options.namespace), ("--context", options.context),
                            ("--kubeconfig", options.kubeconfig)):  # fmt: skip
            if value:
                self._flags += [flag, value]

    def record(self) -> Json:
        """The record that was asked for. Raises PluginError."""
        found = self._list()
        if self._options.record:
            wanted = [one for one in found if one["metadata"]["name"] == self._options.record]
            if not wanted:
                raise PluginError(
                    f"{self._name} has no record {self._options.record}; there are: "
                    + (", ".join(one["metadata"]["name"] for one in found) or "none")
                )
            return wanted[0]
        if not found:
            raise PluginError(self._why_none())
        # A Deployment that was made anew under its old name counts from one again.
        last = max(found, key=lambda one: str(one["metadata"].get("creationTimestamp", "")))
        return dict(newest_record(found, last["spec"]["targetRef"]["uid"]) or last)

    def _list(self) -> list[Json]:
        selector = f"{api.TARGET_LABEL}={self._name[:63]}"
        plural = f"{api.RECORD_PLURAL}.{api.GROUP}"
        done = self._kubectl("get", plural, "-l", selector, "-o", "json", *self._flags)
        if done.returncode != 0:
            if "the server doesn't have a resource type" in done.stderr:
                raise PluginError(
                    "this cluster has no RolloutRecords: install charts/hailstorm-operator"
                )
            raise PluginError(done.stderr.strip())
        found: list[Json] = json.loads(done.stdout)["items"]
        # The label is cut at 63 characters.
        return [one for one in found if one["spec"]["targetRef"]["name"] == self._name]

    def _why_none(self) -> str:
        done = self._kubectl("get", "deployment", self._name, "-o", "json", *self._flags)
        if done.returncode != 0:
            if "NotFound" in done.stderr:
                return f"no Deployment {self._name}, and no record of one, in this namespace"
            return str(done.stderr.strip())
        labels = json.loads(done.stdout)["metadata"].get("labels") or {}
        if labels.get(api.RECORD_LABEL) != api.RECORD_LABEL_VALUE:
            return (
                f"{self._name} is not recorded; "
                f"kubectl label deployment {self._name} {api.RECORD_LABEL}={api.RECORD_LABEL_VALUE}"
            )
        return f"{self._name} has no record yet; does the operator run?"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kubectl hailstorm rollout", description="draw the time line of a rollout"
    )
    parser.add_argument("name", help="the Deployment's name")
    parser.add_argument("-n", "--namespace", help="default: that of the kubeconfig")
    parser.add_argument("--context", help="default: that of the kubeconfig")
    parser.add_argument("--kubeconfig", help="default: as kubectl finds it")
    parser.add_argument("--record", help="a RolloutRecord's name; default: the newest")
    parser.add_argument("-o", "--output", choices=("drawing", "json"), default="drawing")
    parser.add_argument("-w", "--watch", action="store_true", help="until nothing changes any more")
    return parser.parse_args(arguments)
