"""
Decide again what a RolloutRecord says was decided, from the inputs that it keeps.

    kubectl get rr dispatch-7-1a2b3cg9 -o json | python3 -m hailstorm_operator.replay -

Takes files with a record or a list of records. Exit code: 0 when every decision
comes out the same and its hash holds, 1 when one does not, 2 when there was nothing
to replay: nothing to replay is not a pass.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hailstorm_operator.policy_status import decision_of, evidence_hash
from hailstorm_operator.rollouts import replay

SAME: Final = 0
DIFFERENT: Final = 1
NOTHING: Final = 2

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """One replayed decision; `problems` is empty when it came out the same."""

    record: str
    stage: str
    verdict: str
    rule: str
    problems: tuple[str, ...]


def replay_record(record: Json) -> Iterator[Result]:
    """Replay every decision of a record that has inputs; others were events, not judgements."""
    name = record["metadata"]["name"]
    block = (record.get("status") or {}).get("policy") or {}
    for entry in block.get("decisions") or []:
        if "inputs" not in entry:
            continue
        problems = []
        try:
            again, kept = replay(entry["inputs"]), decision_of(entry)
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"the inputs cannot be read: {error!r}")
        else:
            problems += [
                f"{field} was {getattr(kept, field)!r} and comes out as {getattr(again, field)!r}"
                for field in ("verdict", "action", "rule", "explanation")
                if getattr(kept, field) != getattr(again, field)
            ]
        if evidence_hash(entry) != entry.get("evidence"):
            problems.append("the evidence does not have the hash that was written with it")
        yield Result(name, entry["stage"], entry["verdict"], entry["rule"], tuple(problems))


def read_records(text: str) -> list[Json]:
    """Records of a JSON document: one, or the items of a list. Raises ValueError."""
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("neither a record nor a list of records")
    return list(document["items"]) if "items" in document else [document]


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay files; "-" is standard input."""
    parser = argparse.ArgumentParser(
        prog="hailstorm rollout replay", description="decide again what a record says was decided"
    )
    parser.add_argument("record", nargs="+", help='JSON of RolloutRecords; "-" reads them')
    files = parser.parse_args(arguments).record
    results: list[Result] = []
    for file in files:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
            records = read_records(text)
        except (OSError, ValueError) as error:
            print(f"{file}: {error}", file=sys.stderr)
            return NOTHING
        for record in records:
            results.extend(replay_record(record))
    for one in results:
        print(f"{one.record}  {one.stage:<6}  {one.verdict:<21}  {one.rule:<24}  "
              f"{'same' if not one.problems else '; '.join(one.problems)}")  # fmt: skip
    if not results:
        print("no decision with inputs: nothing was replayed", file=sys.stderr)
        return NOTHING
    return DIFFERENT if any(one.problems for one in results) else SAME


if __name__ == "__main__":
    sys.exit(main())
