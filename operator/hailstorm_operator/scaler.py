"""
The loop of one ServiceScaler: ask the signal's sources, decide, write, tell.

The loop keeps nothing that a restart must not lose: the decider starts in panic
and so shrinks nothing until it has seen a stable window again. A tick that fails
is logged and the next one comes half a second later; nothing here ends the loop
but its cancellation.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import aiohttp

from hailstorm_operator import api, metrics, scaler_metrics, scaler_status
from hailstorm_operator.calibration import calibration_condition
from hailstorm_operator.cluster import Cluster, ClusterError, NotFoundError, UnreachableError
from hailstorm_operator.conditions import Condition
from hailstorm_operator.event_watch import EventWatch
from hailstorm_operator.explanations import explain
from hailstorm_operator.inventory import DeploymentView, EdgePod, Inventory
from hailstorm_operator.ownership import Ownership
from hailstorm_operator.recorder_client import RecorderClient
from hailstorm_operator.scaler_rules import (
    demand_of,
    late_pods,
    round_of,
    round_without_target,
    rules_of,
)
from hailstorm_operator.scaler_teller import ScalerTeller
from hailstorm_operator.scaling import Decision, decide_scale
from hailstorm_operator.scaling_inputs import Capacity, Inputs, first_memory
from hailstorm_operator.shrinking import Shrinking
from hailstorm_operator.signal_reader import SignalReader
from hailstorm_operator.signals import Reading
from hailstorm_operator.spares import Entry
from hailstorm_operator.specs import EdgeSignal, ScalerSpec
from hailstorm_operator.warm_spares import WarmSpares
from hailstorm_operator.windows import SignalWindows

logger = logging.getLogger(__name__)

# A watch shows our own write within milliseconds; five seconds is a lost event.
OWN_WRITE_SECONDS: Final = 5.0


class ScalerLoop:
    """One ServiceScaler at work. `run` until cancelled."""

    def __init__(
        self,
        body: Mapping[str, Any],
        spec: ScalerSpec,
        cluster: Cluster,
        inventory: Inventory,
        owners: Ownership,
        session: aiohttp.ClientSession,
        poll_seconds: float,
        recorder: RecorderClient | None = None,
    ) -> None:
        self.body = body
        self.spec = spec
        self.namespace: str = body["metadata"]["namespace"]
        self.name: str = body["metadata"]["name"]
        self._cluster = cluster
        self._inventory = inventory
        self._owners = owners
        self._poll_seconds = poll_seconds
        self._teller = ScalerTeller(body, cluster)
        self._signal = SignalReader(self.namespace, spec, cluster, inventory, session)
        loads = self._signal.pod_loads
        self._spares = WarmSpares(body, spec, cluster, inventory, loads, self._teller.post)
        target = (self.namespace, spec.target.name)
        self._shrinking = Shrinking(target, cluster, inventory.pods, loads)
        behavior = spec.behavior
        self._windows = SignalWindows(
            behavior.fast_window_seconds,
            behavior.stable_window_seconds,
            behavior.scale_down_window_seconds,
        )
        self._memory = first_memory(time.time())
        self._kept: Decision | None = None
        # What the watch may still show, what was written, and when.
        self._own_write: tuple[frozenset[int], int, float] | None = None
        edge = spec.signal.cluster if isinstance(spec.signal, EdgeSignal) else ""
        self._events = EventWatch(self._teller.status.get("scaleEvents") or [], recorder, edge)
        self._signal_seconds = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        labels = (self.namespace, self.name)
        try:
            await self._learn()
            while True:
                started = time.monotonic()
                try:
                    await self._tick()
                except ClusterError as error:
                    metrics.API_ERRORS.labels("scaler").inc()
                    logger.warning("scaler %s/%s: %s", *labels, error)
                except Exception:
                    logger.exception("scaler %s/%s", *labels)
                spent = time.monotonic() - started
                await asyncio.sleep(max(0.05, self._poll_seconds - spent))
        finally:
            scaler_metrics.forget(*labels)
            await self._spares.close()
            await self._events.close()
            await self._signal.close()

    def show_pod(self, pod: Mapping[str, Any], *, deleted: bool = False) -> None:
        """Take a watch event of a pod of the target."""
        self._events.show_pod(pod, deleted=deleted)

    def show_slice(self, service: str, endpoints: Iterable[EdgePod]) -> None:
        """Take a watch event of an EndpointSlice of a Service in this namespace."""
        if service == self._spares.facts.service:
            self._events.show_endpoints(endpoints)

    async def resync(self) -> None:
        """Read again what the loop rests on, since a watch can die without a sound."""
        key = (self.namespace, self.spec.target.name)
        try:
            deployment = await self._cluster.get_deployment(*key)
        except NotFoundError:
            self._inventory.deployments.pop(key, None)
            await self._signal.resync(None)
        else:
            self._inventory.show_deployment(deployment)
            await self._signal.resync(deployment)

    async def _learn(self) -> None:
        """Who serves beside the target; what is not found out now, the ticks find out."""
        try:
            view = await self._target()
            if view is not None:
                await self._spares.learn(is_stopped=view.replicas == 0)
        except ClusterError as error:
            logger.warning("scaler %s/%s: %s", self.namespace, self.name, error)

    async def _tick(self) -> None:
        started = time.monotonic()
        sources = await self._signal.ask()
        now = time.time()
        reading = self._signal.read(sources, now, self._spares.idle)
        self._signal_seconds = reading.age_seconds
        scaler_metrics.show_reading(self.namespace, self.name, reading)
        self._events.turn(now)
        if reading.in_flight is not None:
            self._windows.add(now, reading.in_flight + reading.shed_in_flight)
        view = await self._target()
        if view is None:
            await self._spares.turn(round_without_target(now))
            await self._tell_missing()
            return
        conflict = await self._owners.conflict(self.namespace, self.name, self.spec.target.name)
        decision = decide_scale(self._inputs(now, reading, view, conflict))
        is_shrinking = decision.action == "down" and self.spec.behavior.chooses_victims
        await self._shrinking.tidy(is_shrinking=is_shrinking)
        if is_shrinking and not await self._shrinking.prepare(view.replicas, decision.desired):
            # Nothing is written or remembered: the next tick decides anew.
            return
        await self._act(view, decision, started)
        if decision.scaled_by_other:
            text = f"{view.replicas_set_by} set {view.replicas} replicas; {explain(decision)}"
            await self._teller.post(api.REASON_SCALED_BY_OTHER, text)
        # Only now: a write that failed must be decided again.
        self._memory = decision.memory
        if decision.planned is not None:
            self._windows.plan(now, decision.planned)
        scaler_metrics.show_decision(self.namespace, self.name, decision)
        await self._tell(decision, reading, conflict)

    async def _target(self) -> DeploymentView | None:
        key = (self.namespace, self.spec.target.name)
        view = self._inventory.deployments.get(key)
        if view is None:
            try:
                self._inventory.show_deployment(await self._cluster.get_deployment(*key))
            except NotFoundError:
                return None
            view = self._inventory.deployments[key]
        if self._own_write is not None:
            before, after, at = self._own_write
            if view.replicas in before and time.monotonic() - at < OWN_WRITE_SECONDS:
                # The watch has not shown our own write yet; nobody scaled it back.
                return replace(view, replicas=after)
            self._own_write = None
        return view

    def _inputs(
        self,
        now: float,
        reading: Reading,
        view: DeploymentView,
        conflict: tuple[str, str] | None,
    ) -> Inputs:
        rules = rules_of(self.spec, self._events.startup_seconds)
        pods = self._inventory.pods.of((self.namespace, self.spec.target.name))
        overdue, stuck = late_pods(pods, now, rules)
        return Inputs(
            now=now,
            rules=rules,
            demand=demand_of(self._windows, reading, now),
            capacity=Capacity(
                replicas=view.replicas,
                ready=view.ready,
                # A release that a RolloutPolicy still watches may be undone: its pods stay.
                rollout_in_progress=view.rollout_in_progress or self._is_judged(view),
                conflict=conflict[0] if conflict else "",
                set_by=view.replicas_set_by,
                # Those that a smaller count has not taken away yet hold connections, too.
                spares=max(self.spec.spares.count, self._spares.asked_for),
                spares_serving=self._spares.in_service,
                spares_ready=self._spares.able,
                overdue=overdue,
                stuck=stuck,
            ),
            memory=self._memory,
        )

    def _is_judged(self, view: DeploymentView) -> bool:
        target = self.spec.target.name
        return bool(view.held_by) or self._inventory.is_judged(self.namespace, target)

    async def _act(self, view: DeploymentView, decision: Decision, started: float) -> None:
        """Scale the target and move spares at the same time; neither waits for the other."""
        round_ = round_of(decision, view, is_judged=self._is_judged(view))
        took = time.monotonic() - started

        def entered(entry: Entry) -> None:
            at, signal = decision.inputs.now, self._signal_seconds
            self._events.entered(at, view.replicas, entry, signal, took)
            # The watch may have been quicker than the answer to the label.
            service = self._spares.facts.service
            self._events.show_endpoints(self._inventory.edge_pods(self.namespace, service) or [])

        acts = [self._spares.turn(round_, entered)]
        if decision.action != "hold":
            acts.append(self._write_replicas(view, decision, started))
        for result in await asyncio.gather(*acts, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _write_replicas(
        self, view: DeploymentView, decision: Decision, started: float
    ) -> None:
        decided = time.monotonic()
        try:
            await self._cluster.set_replicas(
                self.namespace, self.spec.target.name, decision.desired
            )
        except UnreachableError:
            # It may have been applied, and a step down is not to be followed by the next
            # one before its window; nothing keeps a step up back.
            self._memory = replace(self._memory, last_change=decision.inputs.now)
            raise
        written = time.monotonic()
        # Of two writes in a row the watch may not have shown the first one yet.
        before = self._own_write[0] if self._own_write is not None else frozenset()
        self._own_write = (before | {view.replicas}, decision.desired, written)
        metrics.DECISION_SECONDS.observe(written - started)
        if decision.action == "up":
            self._events.written(
                decision.inputs.now,
                view.replicas,
                decision.desired,
                self._signal_seconds,
                decided - started,
                written - decided,
            )
            await self._teller.post(api.REASON_SCALED_UP, explain(decision))
            return
        self._shrinking.written()
        await self._teller.post(
            api.REASON_SCALED_DOWN, f"{explain(decision)}; {self._shrinking.told}"
        )

    async def _tell(
        self, decision: Decision, reading: Reading, conflict: tuple[str, str] | None
    ) -> None:
        generation = int(self.body["metadata"].get("generation", 0))
        status, conditions = scaler_status.describe(decision, reading, generation, conflict)
        conditions.append(self._calibration())
        history = list(self._teller.status.get("decisions") or [])
        # Compared with what was last kept: a state that came and went is no news.
        if scaler_status.is_news(decision, self._kept):
            history = scaler_status.keep(history, scaler_status.history_entry(decision))
            self._kept = decision
        status["decisions"] = history
        status["scaleEvents"] = self._events.describe()
        spares, more = self._spares.describe()
        conditions += more
        if spares is not None:
            status["spares"] = spares
        if decision.action != "hold":
            status["lastScaleTime"] = status["decisions"][-1]["at"]
        elif "lastScaleTime" in self._teller.status:
            status["lastScaleTime"] = self._teller.status["lastScaleTime"]
        await self._teller.tell(status, conditions)

    def _calibration(self) -> Condition:
        """Whether targetInFlight was measured at what the target runs now."""
        view = self._inventory.deployments.get((self.namespace, self.spec.target.name))
        return calibration_condition(
            self.body["metadata"].get("annotations") or {},
            dict(view.images) if view else {},
            self.spec.target_in_flight,
        )

    async def _tell_missing(self) -> None:
        text = f"there is no Deployment {self.spec.target.name} in namespace {self.namespace}"
        condition = Condition(api.CONDITION_ACTIVE, False, api.REASON_TARGET_MISSING, text)
        status = {key: value for key, value in self._teller.status.items() if key != "conditions"}
        spares, more = self._spares.describe()
        if spares is not None:
            status["spares"] = spares
        await self._teller.tell(status, [condition, *more])
