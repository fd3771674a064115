"""
The warm spares of one ServiceScaler at work: look, decide, label, tell.

What serves is read from the pods' own labels each time, so an operator that comes
back goes on where the one before it stopped; while there is none, spares idle or
go on serving. Nothing here may hold up the scaling of the target: the pool is
looked after beside it, and a label that is refused is tried again later.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from hailstorm_operator import api, metrics, spare_status
from hailstorm_operator.cluster import Cluster, ClusterError
from hailstorm_operator.conditions import Condition
from hailstorm_operator.inventory import Inventory
from hailstorm_operator.pod_views import PodView
from hailstorm_operator.selectors import matches
from hailstorm_operator.shrinking import Loads
from hailstorm_operator.spare_pool import PoolFacts, SparePool, refused
from hailstorm_operator.spare_template import spare_name
from hailstorm_operator.spares import (
    Entry,
    Round,
    Spare,
    SpareDecision,
    SpareInputs,
    SpareMemory,
    choose_leaving,
    decide_spares,
)
from hailstorm_operator.specs import ScalerSpec
from hailstorm_operator.timestamps import with_milliseconds

logger = logging.getLogger(__name__)

# Services and budgets change seldom and are not watched.
LOOK_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 2.0
# Five small answers; a demand cannot wait much longer for the first decision.
LEARN_SECONDS: Final = 2.0
# Whoever has to change something is about to look whether it helped.
PROBLEM_SECONDS: Final = 5.0

Post = Callable[..., Awaitable[None]]
Entered = Callable[[Entry], None]


class WarmSpares:
    """Spares of one ServiceScaler. `turn` every tick, `close` at the end."""

    def __init__(
        self,
        scaler: Mapping[str, Any],
        spec: ScalerSpec,
        cluster: Cluster,
        inventory: Inventory,
        loads: Loads,
        post: Post,
    ) -> None:
        self._namespace: str = scaler["metadata"]["namespace"]
        self._name: str = scaler["metadata"]["name"]
        self._spec = spec
        self._key = (self._namespace, spare_name(spec.target.name))
        self._cluster = cluster
        self._inventory = inventory
        self._loads = loads
        self._post = post
        self._pool = SparePool(scaler, spec.target.name, spec.spares, cluster)
        self._memory = SpareMemory()
        told = (scaler.get("status") or {}).get("spares") or {}
        self._moves: list[dict[str, Any]] = list(told.get("moves") or [])
        self._was_told = bool(told)
        self._error: tuple[str, str] | None = None
        self._refusal = ""
        self._is_stopped = False
        self._looking: asyncio.Task[None] | None = None
        self._looked_at: tuple[Any, ...] = ()
        self._look_at = 0.0
        self._move_at = 0.0

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything to do: spares asked for, or left over from before."""
        if self._spec.spares.count > 0:
            return True
        return self._key in self._inventory.deployments and not self._pool.is_foreign

    @property
    def in_service(self) -> int:
        """Ready spares that serve now, by their labels."""
        return sum(one.serving and one.ready for one in self._spares())

    @property
    def able(self) -> int:
        """Spares that serve, or could at once: ready, and of the target's template or in use."""
        return sum(one.ready and (one.serving or one.in_step) for one in self._spares())

    @property
    def asked_for(self) -> int:
        """How many spares there are to be now: more than the spec says while those still serve."""
        pool = self._inventory.deployments.get(self._key)
        return 0 if pool is None or self._pool.is_foreign else pool.replicas

    @property
    def idle(self) -> frozenset[str]:
        """Names of the spares that wait; empty until the Service they serve behind is known."""
        # Before that one cannot tell, and a silent one in service is to be missed.
        known = bool(self.facts.selector)
        return frozenset(one.name for one in self._spares() if known and not one.serving)

    @property
    def facts(self) -> PoolFacts:
        """What the pool rests on."""
        return self._pool.facts

    async def learn(self, *, is_stopped: bool) -> None:
        """
        Look who serves, before anything is decided; not for longer than LEARN_SECONDS.

        An operator that came back took two pods for all there were, while four spares
        served beside them: it was in panic, and started four at once.
        """
        if self.is_wanted:
            self._looking = asyncio.create_task(
                self._look(is_free=False, is_stopped=is_stopped), name=f"spares {self._key}"
            )
            await asyncio.wait({self._looking}, timeout=LEARN_SECONDS)

    async def turn(self, round_: Round, entered: Entered | None = None) -> None:
        """
        Move spares as the demand asks for, and keep the pool. Never raises ClusterError.

        `entered` is told at once who went into the Service.
        """
        if not self.is_wanted:
            return
        self._is_stopped = round_.view.replicas == 0
        self._keep_pool(round_)
        self._measure()
        if not self.facts.selector or time.monotonic() < self._move_at:
            return
        decision = decide_spares(
            SpareInputs(
                now=round_.now,
                wanted=round_.wanted,
                lasting=round_.lasting,
                desired=round_.desired,
                ready=round_.view.ready,
                available=round_.view.available,
                stable_window_seconds=self._spec.behavior.stable_window_seconds,
                spares=tuple(self._spares()),
                memory=self._memory,
                is_signal_whole=round_.is_signal_whole,
                is_rolling=round_.view.rollout_in_progress or round_.is_judged,
                is_panicking=round_.is_panicking,
                is_conflicted=round_.is_conflicted,
                is_stopped=self._is_stopped,
            )
        )
        self._memory = decision.memory
        if decision.enter:
            await self._move(decision.enter, "service", decision.why, {}, entered)
        elif decision.leave:
            await self._let_go(decision)
        else:
            # What was refused is not asked for any more.
            self._refusal = ""

    async def close(self) -> None:
        """End what runs beside the turns. Spares stay as they are."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _measure(self) -> None:
        serving = self.in_service
        ready = sum(one.ready for one in self._spares())
        for place, count in (("service", serving), ("pool", ready - serving)):
            metrics.SPARES.labels(self._namespace, self._name, place).set(count)

    def describe(self) -> tuple[dict[str, Any] | None, list[Condition]]:
        """The status block (None where there never were spares) and its condition."""
        if self._spec.spares.count == 0 and not self._was_told:
            return None, []
        self._was_told = True
        return spare_status.describe(
            count=0 if self._is_stopped else self._spec.spares.count,
            spares=self._spares(),
            facts=self.facts,
            moves=self._moves,
            error=self._error,
            refusal=self._refusal,
        )

    def _spares(self) -> list[Spare]:
        facts = self.facts
        return [
            Spare(
                name=pod.name,
                ready=pod.ready,
                serving=bool(facts.selector) and matches(facts.selector, pod.labels),
                in_step=pod.template == facts.template,
            )
            for pod in self._pods()
        ]

    def _pods(self) -> list[PodView]:
        target = self._spec.target.name
        return [
            pod
            for pod in self._inventory.pods.of(self._key)
            if not pod.leaving and pod.labels.get(api.SPARE_OF_LABEL) == target
        ]

    def _keep_pool(self, round_: Round) -> None:
        """Look after the pool in a task of its own when something has changed, and now and then."""
        if self._looking is not None and not self._looking.done():
            return
        serves = any(one.serving for one in self._spares())
        is_free = not (serves or round_.is_panicking or round_.is_judged)
        view, spare = round_.view, self._inventory.deployments.get(self._key)
        state = (
            view.generation,
            view.rollout_in_progress,
            view.held_by,
            spare.generation if spare else 0,
            is_free,
            self._is_stopped,
        )
        if state == self._looked_at and time.monotonic() < self._look_at:
            return
        if self._error is not None and time.monotonic() < self._look_at:
            return
        self._looked_at = state
        self._looking = asyncio.create_task(
            self._look(is_free=is_free, is_stopped=self._is_stopped), name=f"spares {self._key}"
        )

    async def _look(self, *, is_free: bool, is_stopped: bool) -> None:
        try:
            mark = {api.SPARE_OF_LABEL: self._spec.target.name}
            listed = await self._cluster.list_pods(self._namespace, mark)
            self._inventory.pods.replace(self._key, listed)
            await self._pool.sync(is_free=is_free, is_stopped=is_stopped)
            self._error = None
            pause = PROBLEM_SECONDS if self.facts.problem else LOOK_SECONDS
            self._look_at = time.monotonic() + pause
        except ClusterError as error:
            metrics.API_ERRORS.labels("spares").inc()
            logger.warning("spares %s/%s: %s", *self._key, error)
            self._error = refused(error)
            self._look_at = time.monotonic() + RETRY_SECONDS
        except Exception as error:
            logger.exception("spares %s/%s", *self._key)
            # A defect of ours; without a word the spares would just not be there.
            self._error = (api.REASON_SPARES_UNKNOWN, f"{type(error).__name__}: {error}"[:300])
            self._look_at = time.monotonic() + RETRY_SECONDS

    async def _let_go(self, decision: SpareDecision) -> None:
        """The least busy leave the Service; the edge lets their calls end where they are."""
        loads: Mapping[str, float] = {}
        addresses = {pod.name: pod.address for pod in self._pods() if pod.address}
        if decision.leave < len(decision.among):
            with contextlib.suppress(ClusterError):
                loads = await self._loads([addresses[one.name] for one in decision.among])
        among = [replace(one, load=loads.get(addresses[one.name])) for one in decision.among]
        calls = {one.name: one.load for one in among if one.load is not None}
        await self._move(choose_leaving(among, decision.leave), "pool", decision.why, calls)

    async def _move(
        self,
        names: tuple[str, ...],
        to: str,
        why: str,
        calls: Mapping[str, float],
        entered: Entered | None = None,
    ) -> None:
        facts = self.facts
        labels = dict(facts.selector) if to == "service" else dict(facts.idle)
        patch = {"metadata": {"labels": labels}}
        answers = await asyncio.gather(
            *(self._cluster.patch_pod(self._namespace, name, patch) for name in names),
            return_exceptions=True,
        )
        at, moved = with_milliseconds(datetime.now(UTC)), []
        self._refusal = ""
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, ClusterError):
                metrics.API_ERRORS.labels("spares").inc()
                logger.warning("label %s/%s: %s", self._namespace, name, answer)
                # A pod that is gone is no refusal; the watch is about to say so.
                self._refusal = "" if answer.status == 404 else str(answer)[:300]
                self._move_at = time.monotonic() + RETRY_SECONDS
            elif isinstance(answer, BaseException):
                raise answer
            else:
                # Our own write, before the watch tells of it: nobody is moved twice.
                self._inventory.pods.show(answer)
                moved.append(name)
        if not moved:
            return
        if entered is not None:
            # Before anything else is awaited: the Service may have them any moment now.
            addresses = {pod.name: pod.address for pod in self._pods()}
            entered(Entry(at, {name: addresses.get(name, "") for name in moved}))
        self._moves = spare_status.keep(
            self._moves,
            [
                {"at": at, "pod": name, "to": to, "why": why}
                | ({"inFlight": calls[name]} if name in calls else {})
                for name in moved
            ],
        )
        metrics.SPARE_MOVES.labels(self._namespace, self._name, to).inc(len(moved))
        reason = api.REASON_SPARES_IN if to == "service" else api.REASON_SPARES_OUT
        side = "into" if to == "service" else "out of"
        text = f"{len(moved)} {side} Service {facts.service} ({why}): {', '.join(moved)}"
        await self._post(reason, text)
