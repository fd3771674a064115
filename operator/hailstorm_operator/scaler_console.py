"""
`hailstorm scaler explain|replay`: a ServiceScaler's own account of itself.

    hailstorm scaler explain dispatch --namespace hailstorm
    kubectl get svs dispatch -o json | hailstorm scaler replay -

Takes the name of an object, which kubectl reads, or files of its JSON. Explain
says in sentences why there are as many pods as there are. Replay decides each kept
decision again from its inputs; its exit code is 0 when all come out the same, 1
when one does not, 2 when there was nothing to replay: that is not a pass.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.explanations import explain, tell, tell_event
from hailstorm_operator.scaling import replay
from hailstorm_operator.scaling_inputs import DECIDER_VERSION

SAME: Final = 0
DIFFERENT: Final = 1
NOTHING: Final = 2
# An API server that is slower than that is not there.
KUBECTL_SECONDS: Final = 30.0
# Compared field by field, so that a difference can be named.
FIELDS: Final = ("desired", "action", "wanted", "planned", "clamp", "scaled_by_other")

Json = Mapping[str, Any]


class ObjectError(Exception):
    """An object that cannot be read; the message says why."""


@dataclass(frozen=True)
class Result:
    """One replayed decision. `problems` is empty when it came out the same."""

    scaler: str
    at: str
    clamp: str
    change: str
    problems: tuple[str, ...]


def explain_main(arguments: Sequence[str] | None = None) -> int:
    """Print why there are as many pods as there are."""
    try:
        scalers = _read(
            _parser("explain", "say why there are as many pods as there are"), arguments
        )
    except ObjectError as error:
        print(error, file=sys.stderr)
        return NOTHING
    for number, scaler in enumerate(scalers):
        if number:
            print()
        for line in explain_scaler(scaler):
            print(line)
    return SAME if scalers else NOTHING


def replay_main(arguments: Sequence[str] | None = None) -> int:
    """Decide every kept decision again."""
    try:
        scalers = _read(_parser("replay", "decide each kept decision again"), arguments)
    except ObjectError as error:
        print(error, file=sys.stderr)
        return NOTHING
    results = [result for scaler in scalers for result in replay_scaler(scaler)]
    for one in results:
        outcome = "; ".join(one.problems) or "same"
        print(f"{one.scaler}  {one.at}  {one.change:<8}  {one.clamp:<26}  {outcome}")
    if not results:
        print("no decision with inputs: nothing was replayed", file=sys.stderr)
        return NOTHING
    return DIFFERENT if any(one.problems for one in results) else SAME


def explain_scaler(scaler: Json) -> list[str]:
    """Sentences about one object."""
    name = scaler["metadata"]["name"]
    status = scaler.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["type"] == api.CONDITION_ACTIVE and condition["status"] != "True":
            inactive = [f"{name} does not scale ({condition['reason']}): {condition['message']}."]
            break
    else:
        inactive = []
    latest = status.get("latest")
    if not latest:
        return [*inactive, f"{name} has not decided anything yet."]
    rules = latest.get("decider", 1)
    if rules != DECIDER_VERSION:
        # Decided again by others it might come out as what it never was.
        text = latest.get("explanation", "without an explanation")
        told = f"{name} was decided by rules {rules}, and these are {DECIDER_VERSION}: {text}."
        return [*inactive, told, f"As of {latest.get('at', 'an unknown time')}."]
    signal = status.get("signal") or {}
    try:
        decision = replay(latest)
    except (KeyError, TypeError, ValueError) as error:
        return [*inactive, f"{name} was decided by another version of the operator: {error!r}."]
    said = tell(name, decision, signal.get("kind", "edge"), signal.get("missing") or [])
    changes = [one for one in status.get("decisions") or [] if one["action"] != "hold"]
    last = [f"The last change: {one['explanation']} ({one['at']})." for one in changes[-1:]]
    events = [tell_event(one) for one in (status.get("scaleEvents") or [])[-1:]]
    return [*inactive, *said, *last, *events, f"As of {latest['at']}."]


def replay_scaler(scaler: Json) -> Iterator[Result]:
    """Decide again what an object has kept; `latest` is one of them."""
    name = scaler["metadata"]["name"]
    status = scaler.get("status") or {}
    latest = [status["latest"]] if status.get("latest") else []
    for entry in [*(status.get("decisions") or []), *latest]:
        if "inputs" not in entry:
            continue
        before = (entry["inputs"].get("capacity") or {}).get("replicas", "?")
        change = f"{before} → {entry.get('desired', '?')}"
        problems = tuple(_differences(entry))
        yield Result(name, entry.get("at", "?"), entry.get("clamp", "?"), change, problems)


def _differences(entry: Json) -> Iterator[str]:
    if entry.get("decider") != DECIDER_VERSION:
        yield f"decided by rules {entry.get('decider', 1)}, these are {DECIDER_VERSION}"
        return
    try:
        again = replay(entry)
    except (KeyError, TypeError, ValueError) as error:
        yield f"the inputs cannot be read: {error!r}"
        return
    made = {field: getattr(again, field) for field in FIELDS} | {"memory": asdict(again.memory)}
    # A merge patch leaves out what is null.
    kept = {field: entry.get(field) for field in FIELDS}
    kept["memory"] = {"replicas": None, **entry["memory"]}
    for field, value in made.items():
        if kept[field] != value:
            yield f"{field} was {kept[field]!r} and comes out as {value!r}"
    if entry.get("explanation") != explain(again):
        yield f"the explanation comes out as {explain(again)!r}"


def _parser(verb: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"hailstorm scaler {verb}", description=description)
    parser.add_argument(
        "scaler", nargs="+", help='name of a ServiceScaler, a file of its JSON, or "-" for stdin'
    )
    parser.add_argument("--namespace", "-n", help="kubectl's own by default")
    return parser


def _read(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> list[Json]:
    options = parser.parse_args(arguments)
    found: list[Json] = []
    for word in options.scaler:
        try:
            if word == "-":
                text = sys.stdin.read()
            elif word.endswith(".json"):
                text = Path(word).read_text(encoding="utf-8")
            else:
                text = _kubectl(word, options.namespace)
            document = json.loads(text)
            if not isinstance(document, dict):
                raise ValueError("neither an object nor a list of objects")
            found += document.get("items", [document])
        except (OSError, ValueError, TypeError) as error:
            raise ObjectError(f"{word}: {error}") from error
    return found


def _kubectl(name: str, namespace: str | None) -> str:
    place = ["--namespace", namespace] if namespace else []
    command = ["kubectl", "get", f"{api.SCALER_PLURAL}.{api.GROUP}", name, *place, "-o", "json"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=KUBECTL_SECONDS, check=True
        )
    except FileNotFoundError as error:
        raise ObjectError('kubectl is not on the PATH; pipe the JSON in and write "-"') from error
    except subprocess.CalledProcessError as error:
        raise ObjectError(error.stderr.strip()) from error
    except subprocess.TimeoutExpired as error:
        raise ObjectError(f"kubectl has not answered within {KUBECTL_SECONDS:g} s") from error
    return done.stdout
