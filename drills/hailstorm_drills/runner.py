"""
Runs a drill: the phases in order, everything seen written down, all healed.

    baseline -> inject -> hold -> recover -> settle -> judge

Whatever goes wrong, an interrupt included, leaves the same way: the fault is
healed, the load is taken away, and what was seen so far is kept and judged.
A step that failed is a problem in the evidence and makes the verdict UNKNOWN.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from hailstorm_drills.cluster import Cluster, CommandError
from hailstorm_drills.collect import collectors, read_versions
from hailstorm_drills.evidence import Directory
from hailstorm_drills.faults.base import FaultError, guarded, slowly, wait_for
from hailstorm_drills.faults.helm_rollout import Release
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.health import edge_answers
from hailstorm_drills.load import Load, LoadError
from hailstorm_drills.machine import busy_cores, cpu_seconds, machine
from hailstorm_drills.phases import BASELINE, HOLD, INJECT, RECOVER, SETTLE, Interval, PhaseLog
from hailstorm_drills.plan import Parameters
from hailstorm_drills.progress import Progress
from hailstorm_drills.registry import Scenario
from hailstorm_drills.rollouts import unsettled
from hailstorm_drills.steady import EASE_SECONDS, PROBE_SECONDS, crowded, uneasy
from hailstorm_drills.watching import Watch

# A fresh release with stores on slow disks, images already on the nodes.
INSTALL_SECONDS: Final = 300.0
# Pods that only import Python and connect.
LOAD_START_SECONDS: Final = 120.0
# Load that was told to finish: its wind-down, deadlines, and closing.
LOAD_END_SECONDS: Final = 150.0
# Without load a scaler shrinks, a pod a step; each drains for some seconds.
SETTLED_SECONDS: Final = 120.0


class SetupError(RuntimeError):
    """The drill cannot begin: the cluster, the release or the load is not fit for it."""


class Runner:
    """One run of one scenario, into one directory."""

    def __init__(
        self,
        scenario: Scenario,
        parameters: Parameters,
        cluster: Cluster,
        load: Load,
        edge: str,
        directory: Directory,
        say: Callable[[str], None] = print,
    ) -> None:
        self._scenario, self._parameters = scenario, parameters
        self._cluster, self._load, self._edge = cluster, load, edge
        self._directory, self._say = directory, say
        self._pods = Watch(cluster, "pods", parameters.namespace)
        self._deployments = Watch(cluster, "deployments", parameters.namespace)
        self._progress = Progress(load, self._tell)
        p = parameters
        self._stage = Stage(
            p,
            cluster,
            self._pods,
            self._deployments,
            Release(cluster, p.release, p.namespace, p.chart),
            (*scenario.release_settings(p), *(scenario.twin_settings if p.is_twin else ())),
            say=self._tell,
            wait=self._progress.wait,
            watch_load=self._progress.watch,
        )
        if scenario.make_control is not None:
            self._stage.control = scenario.make_control(
                self._stage, load.spec.image, load.spec.pull_policy
            )
        self._phases = PhaseLog(time.time, lambda name: self._tell(f"== {name}"))
        self._problems: dict[str, str] = {}
        self._health: dict[str, str | None] = {}
        self._versions: dict[str, str] = {}
        self._busy: dict[str, float] = {}
        self._was_upgraded = False
        self._scale = 1.0
        self._started_at = time.time()

    def run(self) -> None:
        """
        Do it all and write the directory.

        Raises SetupError when the drill could not begin; otherwise every
        problem is in the evidence. KeyboardInterrupt passes after the healing.
        """
        try:
            self._prepare()
            with self._bearable_load():
                self._phases_under_load()
        finally:
            try:
                with self._step("heal the release"):
                    self._heal_release()
            finally:
                # Also when the healing is interrupted: what was seen is kept.
                self._pods.stop()
                self._deployments.stop()
                self._write()

    def _prepare(self) -> None:
        """Install, wait for health; nothing of this is the drill's fault yet."""
        try:
            self._sweep()
            self._tell(f"installing {self._parameters.release}")
            self._was_upgraded = True
            self._stage.release.upgrade(self._parameters.values, self._stage.settings)
            self._pods.start()
            self._deployments.start()
            wait_for(self._health_now, INSTALL_SECONDS, "the release is healthy")
        except (CommandError, FaultError) as error:
            raise SetupError(str(error)) from error
        self._health["before"] = None
        self._versions.update(read_versions(self._cluster, self._deployments.objects(), "from"))

    def _phases_under_load(self) -> None:
        p = self._parameters
        fault = self._scenario.make_fault(self._stage)
        with self._phase(BASELINE):
            self._progress.watch(p.baseline_seconds / self._scale)
            # A scaler may be adding a pod in this very moment; the fault wants a
            # system at rest, or nobody could tell what each of them did.
            with self._step("rest"):
                self._progress.wait(
                    self._unrest, SETTLED_SECONDS, "the release rests before the fault"
                )
            self._be_at_ease()
        with self._step("fault"), guarded(fault, p.healed_seconds, self._progress.wait) as guard:
            guard.set_up()
            with self._phase(INJECT):
                guard.inject()
                guard.wait_took_hold(p.took_hold_seconds)
            with self._phase(HOLD):
                guard.hold()
                guard.heal(p.healed_seconds)
        with self._phase(RECOVER):
            self._progress.watch(p.recover_seconds / self._scale)
        self._versions.update(read_versions(self._cluster, self._deployments.objects(), "to"))
        with self._phase(SETTLE):
            self._settle()

    def _settle(self) -> None:
        if self._stage.control is not None:
            self._directory.write("control.json", self._stage.control.finish())
        with self._step("load"):
            self._load.finish()
            wait_for(self._load_is_open, LOAD_END_SECONDS, "the load is over")
        with self._step("history"):
            self._load.fetch_history(self._directory.path / "history.jsonl.gz")
        with self._step("health"):
            self._health["after"] = self._health_after()
        state = self._directory.read("load.json", {})
        # Not of a heavier load that was tried before.
        baseline = self._phases.intervals.get(BASELINE)
        since = baseline.start if baseline else self._started_at
        intervals = self._phases.intervals
        span = Interval(intervals[BASELINE].start, intervals[RECOVER].end)
        for name, collect in collectors(self._cluster, self._parameters, state, since, span):
            with self._step(name):
                self._directory.write(f"{name}.json", collect())

    def _health_after(self) -> str | None:
        """None when all is well within a while: a scaler may still be taking pods away."""
        try:
            wait_for(self._health_now, SETTLED_SECONDS, "healthy after the drill")
        except FaultError as error:
            return str(error)
        return None

    def _heal_release(self) -> None:
        """What the drill or its twin set does not stay: the same version, as it should be."""
        if not self._stage.settings or not self._was_upgraded:
            return
        self._tell("healing the release")
        self._stage.release.upgrade(self._scenario.left_with(self._parameters))
        wait_for(self._health_now, INSTALL_SECONDS, "the healed release is healthy")

    @contextlib.contextmanager
    def _bearable_load(self) -> Iterator[None]:
        """The first of the plan's shares of the load under which users are well served."""
        why: str | None = None
        for scale in self._parameters.load_scales:
            if why is not None:
                self._tell(f"there is no steady state: {why}; trying {scale:g} of the load")
                try:
                    wait_for(self._health_now, SETTLED_SECONDS, "the release rests again")
                except FaultError as error:
                    raise SetupError(f"{error}, after a load that was too much") from error
            self._scale = scale
            self._load.scale(scale)
            with self._fresh_load():
                before = cpu_seconds()
                self._progress.watch(PROBE_SECONDS)
                why = self._uneasy() or self._crowded(busy_cores(before, cpu_seconds()))
                if why is None:
                    yield
            # Also when the load was lost on the way, which is in the evidence by now.
            if why is None:
                return
        raise SetupError(
            f"users are not well served even before the fault: {why} at {self._scale:g} of the "
            "load. Ask for less (--load-scale), give the machine to the drill alone, or raise "
            "--max-baseline-p99-ms if this is what your users are used to"
        )

    def _crowded(self, busy: float) -> str | None:
        p, cores = self._parameters, machine()["cores"]
        why = crowded(busy, cores, p.max_baseline_busy_share)
        if why is not None and self._scale == p.load_scales[-1]:
            self._tell(f"   {why}; less load than this is not tried, and users may feel it")
            return None
        return why

    def _be_at_ease(self) -> None:
        try:
            self._progress.wait(self._uneasy, EASE_SECONDS, "users are well served")
        except FaultError as error:
            raise SetupError(
                f"the fault was not injected, there was no steady state: {error}; "
                "ask for less load (--load-scale)"
            ) from error

    def _uneasy(self) -> str | None:
        p = self._parameters
        try:
            return uneasy(self._load.state(), p.max_baseline_p99_ms, p.max_baseline_failed_share)
        except LoadError as error:
            # One unanswered question is no end of the load; `Progress` counts them.
            return str(error)

    @contextlib.contextmanager
    def _fresh_load(self) -> Iterator[None]:
        try:
            self._tell("starting the load")
            self._load.start()
            wait_for(self._load.waiting_for, LOAD_START_SECONDS, "the load runs", sleep=slowly)
            state = self._load.state()
            if self._stage.control is not None:
                self._tell("starting the control")
                self._stage.control.start()
            self._tell(f"warming up until demand begins (run {state['run_id']})")
            time.sleep(max(0.0, state["demand_at"] - time.time()))
            yield
        except (LoadError, CommandError, FaultError) as error:
            if not self._phases.intervals:
                raise SetupError(str(error)) from error
            self._problems.setdefault("load", str(error))
        finally:
            with self._step("sweep"):
                self._sweep()

    def _sweep(self) -> None:
        if self._stage.control is not None:
            self._stage.control.sweep()
        self._load.sweep()

    def _load_is_open(self) -> str | None:
        time.sleep(1.0)
        state = self._load.state()
        self._directory.write("load.json", state)
        if state["state"] == "incomplete":
            raise FaultError(state["why"])
        return None if state["state"] == "complete" else f"the load is {state['state']}"

    def _unrest(self) -> str | None:
        return unsettled(self._deployments.objects(), self._pods.objects())

    def _health_now(self) -> str | None:
        return self._unrest() or edge_answers(self._edge)

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """A phase, and how much of the machine was at work in it."""
        with self._phases.phase(name):
            before = cpu_seconds()
            yield
            self._busy[name] = busy_cores(before, cpu_seconds())

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        """A step whose failure is a problem of the drill and does not end it."""
        try:
            yield
        except (CommandError, FaultError, LoadError) as error:
            self._problems[name] = str(error)
            self._tell(f"   PROBLEM {name}: {error}")
        except KeyboardInterrupt:
            self._problems["interrupt"] = f"interrupted during {name}"
            raise

    def _write(self) -> None:
        self._directory.write("pods.json", self._pods.seen())
        self._directory.write("deployments.json", self._deployments.seen())
        self._directory.write("marks.json", self._stage.marks.as_json())
        run: dict[str, Any] = {
            "started_at": self._started_at,
            "components": self._scenario.touched(self._parameters),
            "intervals": {n: [i.start, i.end] for n, i in self._phases.intervals.items()},
            "health": self._health,
            "problems": self._problems,
            "versions": self._versions,
            "machine": {
                **machine(),
                "load_scale": self._scale,
                **{f"busy_cores_{name}": busy for name, busy in self._busy.items()},
            },
        }
        self._directory.write("run.json", run)

    def _tell(self, text: str) -> None:
        self._say(f"{time.time() - self._started_at:6.1f} s  {text}")
