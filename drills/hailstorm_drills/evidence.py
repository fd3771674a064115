"""
Everything that a drill saw, in one directory, and the way back from there.

The directory is the drill's memory: the runner writes it, judging only reads
it. What could not be had is None with a reason, so that a checker without data
says UNKNOWN and names what was missing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hailstorm_drills.edge_log import EdgeLine
from hailstorm_drills.marks import Mark, read_marks
from hailstorm_drills.phases import Interval, fault_interval
from hailstorm_drills.plan import Parameters, parameters_from_json
from hailstorm_drills.pods import PodLife, read_lives
from hailstorm_drills.replicas import Count, read_replicas
from hailstorm_loadtests.history import History, HistoryError, read_history


@dataclass(frozen=True)
class Evidence:
    """What checkers judge by."""

    parameters: Parameters
    # Components that the fault was for.
    components: tuple[str, ...]
    intervals: Mapping[str, Interval]
    history: History | None = None
    lives: Sequence[PodLife] = ()
    edge_lines: Sequence[EdgeLine] = ()
    facts: Mapping[str, Any] | None = None
    records: Sequence[Mapping[str, Any]] | None = None
    # The master's last words.
    load: Mapping[str, Any] | None = None
    # What health was before and after: {before: text|None, after: ...}; None is healthy.
    health: Mapping[str, str | None] = field(default_factory=dict)
    # What went wrong in the drill itself, by step.
    problems: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, float] = field(default_factory=dict)
    started_at: float = 0.0
    # What the drill did, one by one.
    marks: Sequence[Mark] = ()
    # What the control arm saw: {offered, ...} or {problem}; None without one.
    control: Mapping[str, Any] | None = None
    # What the recorder saw of attempts; None when it could not be asked.
    recorder: Mapping[str, Any] | None = None
    # What was asked of each Deployment, by name, in the order of time.
    replicas: Mapping[str, Sequence[Count]] = field(default_factory=dict)

    @property
    def fault(self) -> Interval | None:
        """From the injection to the moment all was healed."""
        return fault_interval(self.intervals)


class Directory:
    """One drill's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: Any) -> None:
        """Write a JSON file."""
        text = json.dumps(content, indent=1, sort_keys=False, default=str)
        (self.path / name).write_text(text + "\n", encoding="utf-8")

    def read(self, name: str, default: Any = None) -> Any:
        """Read a JSON file; `default` when there is none."""
        file = self.path / name
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else default

    def load(self) -> Evidence:
        """Read everything back; what is damaged or missing becomes a problem, never a zero."""
        run = self.read("run.json", {})
        plan = self.read("plan.json")
        problems = dict(run.get("problems", {}))
        history = None
        try:
            history = read_history(self.path / "history.jsonl.gz")
        except HistoryError as error:
            problems.setdefault("history", str(error))
        return Evidence(
            parameters=parameters_from_json(plan["parameters"]),
            components=tuple(run.get("components", ())),
            intervals={
                name: Interval(start, end)
                for name, (start, end) in run.get("intervals", {}).items()
            },
            history=history,
            lives=read_lives(self.read("pods.json", [])),
            edge_lines=[EdgeLine(**line) for line in self.read("edge-log.json", [])],
            facts=self.read("facts.json"),
            records=self.read("records.json"),
            load=self.read("load.json"),
            health=run.get("health", {}),
            problems=problems,
            versions=run.get("versions", {}),
            machine=run.get("machine", {}),
            started_at=run.get("started_at", 0.0),
            marks=read_marks(self.read("marks.json", [])),
            control=self.read("control.json"),
            recorder=self.read("recorder.json"),
            replicas=read_replicas(self.read("deployments.json", [])),
        )
