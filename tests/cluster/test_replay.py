"""
Every verdict that the tests produced is decided again, from its record alone.

Runs last, by its name: the records of the namespaces that came and went before are
kept as the API server gave them back. So a field that its schema prunes is missed here.
"""

import json
import subprocess
import sys
from typing import Any

from cluster.conftest import Cluster

REPLAY = "import sys; from hailstorm_operator.console import main; sys.exit(main())"


def test_every_decision_of_every_record_comes_out_the_same(
    operator: Cluster, kept_records: list[dict[str, Any]]
) -> None:
    live = operator.get("rolloutrecords", "--all-namespaces")["items"]
    found = {one["metadata"]["uid"]: one for one in [*kept_records, *live]}
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, "rollout", "replay", "-"],
        input=json.dumps({"items": list(found.values())}),
        capture_output=True,
        text=True,
        check=False,
    )
    # 2, when no record has a decision with inputs: then nothing was proven.
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert len(done.stdout.splitlines()) > 0
