"""
Keep a record of each ending for `test_replay`, which replays them for ever after.

    PYTHONPATH=tests python tests/unit/operator/keep_records.py

A change of the decider that makes one of them come out otherwise is a change of
what was promised to somebody. What is there stays, by whichever rules it was decided;
new rules add an ending of their own.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from hailstorm_operator.observations import Tally
from unit.operator.test_gate import Story, failing

FIXTURES = Path(__file__).parent / "records"


async def tell(ending: str) -> dict[str, Any]:
    """The record of a rollout that ends so."""
    spec: dict[str, Any] = {}
    if ending == "aborted-slow":
        spec["latency"] = {"coldStartSeconds": 5}
    story = Story(**spec)
    world = story.world
    await story.run(20)
    new = world.roll(ending)
    if ending.startswith("aborted-failures"):
        world.behaviour = failing(new, 0.1)
    if ending == "aborted-image":
        world.broken.add(new)
    if ending == "aborted-in-the-watch":
        world.behaviour = lambda of, at: Tally(30, 2 if world.versions() == {new} else 0)
    if ending == "aborted-slow":
        slow = (*([0] * 32), 30)
        world.behaviour = lambda of, at: Tally(30, 0, 0, slow if of == new else (*([0] * 19), 30))
    if ending == "insufficient-evidence":
        world.no_data = lambda now: "the recorder does not answer"
    await story.run(90)
    (record,) = [one for one in world.records if one["spec"]["templateHash"] == new]
    return record


def main() -> None:
    """Write every fixture that is not there yet."""
    FIXTURES.mkdir(exist_ok=True)
    for ending in (
        "promoted",
        "aborted-failures",
        "aborted-image",
        "aborted-in-the-watch",
        "aborted-slow",
        "insufficient-evidence",
        "promoted-by-rules-2",
        "aborted-failures-by-rules-2",
    ):
        if (FIXTURES / f"{ending}.json").exists():
            continue
        record = asyncio.run(tell(ending))
        text = json.dumps(record, separators=(",", ":"), sort_keys=True)
        (FIXTURES / f"{ending}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
