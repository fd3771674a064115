"""A recorder that saw what a test says, and the record of the rollout it saw."""

from typing import Any

from hailstorm_operator.recorder import answers
from hailstorm_operator.recorder.lines import CODE_NAMES
from hailstorm_operator.recorder.store import Store
from hailstorm_operator.recorder.tallies import Key, bucket_of
from hailstorm_operator.timestamps import with_milliseconds
from hailstorm_operator.traffic import Evidence, describe_traffic, windows_of
from unit.operator.objects import at

OLD, NEW, OTHER = "192.0.2.1", "192.0.2.2", "192.0.2.9"


def line(name: str, address: str, **moments: float) -> dict[str, Any]:
    return {
        "name": name,
        "address": address,
        **{moment: with_milliseconds(at(seconds)) for moment, seconds in moments.items()},
    }


PODS = [
    line("app-old-a", OLD, created=-600, ready=-590, terminating=12, gone=18),
    line("app-new-a", NEW, created=1, ready=9),
]


def closed(outcome: str = "complete", **more: Any) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "startedAt": with_milliseconds(at(0)),
        "completedAt": with_milliseconds(at(20)),
        "pods": PODS,
        **more,
    }


class Traffic:
    """A recorder that saw what a test says, from long before."""

    def __init__(self) -> None:
        self.store = Store(1800, at(-900).timestamp())

    def see(
        self,
        seconds: float,
        address: str = OLD,
        *,
        kind: str = "calls",
        cluster: str = "app",
        code: int = 0,
        outcome: str = "ok",
        count: int = 1,
        took: float = 0.02,
        listener: str = "public",
        stream: bool = False,
        retried: bool = False,
        envoy: str = "edge-a",
        sampled: bool = True,
    ) -> None:
        """Count something that ended so long after the start."""
        moment = at(seconds).timestamp()
        where = f"{address}:50051" if address else ""
        key = Key(
            kind, listener, cluster, where, "S/Get", code, "", outcome, stream, retried
        )  # fmt: skip
        self.store.tallies.add(key, int(moment), bucket_of(took), count)
        for _ in range(count if outcome == "failed" and sampled else 0):
            self.store.samples.add(
                {
                    "at": moment,
                    "kind": kind,
                    "listener": listener,
                    "cluster": cluster,
                    "address": where,
                    "method": "S/Get",
                    "code": CODE_NAMES[code],
                    "flag": "UC",
                    "detail": "",
                    "durationMs": took * 1000,
                    "attempts": 0,
                    "requestId": "r-1",
                    "envoy": envoy,
                }
            )

    def describe(self, status: dict[str, Any] | None = None, *envoys: str) -> dict[str, Any]:
        """What the operator makes of it."""
        status = status or closed()
        windows = windows_of(status)
        evidence = {}
        for window in windows:
            stretch = (int(window.start.timestamp()), int(window.end.timestamp()))
            evidence[window.name] = Evidence(
                answers.tallies(self.store, *stretch, kind=None, cluster=None, by_second=False),
                answers.failures(self.store, *stretch, kind=None, cluster=None),
            )
        return describe_traffic(status, windows, evidence, envoys)
