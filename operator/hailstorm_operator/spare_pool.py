"""
Keeps the Deployment of the warm spares in step with its target.

Level-triggered: it reads what there is and writes what differs, and may be asked
as often as one likes. The spares' template follows the target's only when the
target's own rollout has arrived and nobody judges it any more: a template that is
taken back must not have reached the spares, which are what stands in for it. A
spare in service is never rolled or removed by a change of the count; it has to
come out first.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.cluster import Cluster, ClusterError, NotFoundError
from hailstorm_operator.holds import held_by, merge_patch
from hailstorm_operator.inventory import view_deployment
from hailstorm_operator.selectors import selects
from hailstorm_operator.spare_service import (
    ServiceProblem,
    counting_budgets,
    find_service,
    services_of,
)
from hailstorm_operator.spare_template import (
    is_owned_by,
    spare_deployment,
    spare_name,
    spare_template,
    template_of,
)
from hailstorm_operator.specs import SparesSpec

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

WAITING_TEXT: Final = "spares follow once the target's rollout is over and no policy holds it"


@dataclass(frozen=True)
class PoolFacts:
    """
    What the pool rests on, as of the last look.

    `service` and `selector` are the Service's; `idle` are the labels that differ
    while a spare is in the pool, None for one that it does not have then; `template`
    is the digest that spares should have; `budgets` would count a serving spare.
    """

    service: str = ""
    selector: Mapping[str, str] = field(default_factory=dict)
    idle: Mapping[str, str | None] = field(default_factory=dict)
    template: str = ""
    is_in_step: bool = False
    budgets: tuple[str, ...] = ()
    problem: tuple[str, str] | None = None


class SparePool:
    """The spares' Deployment of one ServiceScaler."""

    def __init__(self, scaler: Json, target: str, spec: SparesSpec, cluster: Cluster) -> None:
        self.facts = PoolFacts()
        self.is_foreign = False
        self._scaler = scaler
        self._namespace: str = scaler["metadata"]["namespace"]
        self._target = target
        self._spec = spec
        self._cluster = cluster

    async def sync(self, *, is_free: bool, is_stopped: bool) -> None:
        """
        Look, and bring the Deployment in step. Repeatable. Raises ClusterError.

        `is_free` says that no spare serves and nobody judges the target: only then
        are spares rolled or made fewer. `is_stopped`: there should be none,
        as there should without a target.
        """
        count = 0 if is_stopped else self._spec.count
        found = await self._find()
        self.is_foreign = found is not None and not is_owned_by(found, self._scaler)
        if found is not None and self.is_foreign:
            text = (
                f"Deployment {found['metadata']['name']} is not this ServiceScaler's; delete or "
                "rename it"
            )
            self.facts = replace(self.facts, problem=(api.REASON_SPARE_NAME_TAKEN, text))
            return
        if self._spec.count == 0 and (found is None or is_free):
            self.facts = PoolFacts()
            if found is not None:
                await self._patch(found, {}, 0)
            return
        # Of a count that became 0 the facts are needed for as long as one serves: by them it is
        # seen, and labelled out.
        try:
            target = await self._cluster.get_deployment(self._namespace, self._target)
        except NotFoundError:
            # Nothing to be a copy of. Those in service are labelled out by what is known.
            if found is not None:
                await self._patch(found, {}, 0)
            return
        try:
            template, facts = await self._plan(target, found)
        except ServiceProblem as problem:
            # Spares that serve go on; what is known of the Service is still good for them.
            self.facts = replace(self.facts, problem=(problem.reason, str(problem)))
            return
        self.facts = facts
        is_settled = is_free and settled(target)
        if found is None:
            if count and settled(target):
                await self._create(target, count, template)
            return
        is_outdated = template_of(found) != template_of({"spec": {"template": template}})
        change: dict[str, Any] = {}
        if is_outdated and is_settled:
            change = {"template": merge_patch(found["spec"]["template"], template)}
        replicas = int(found["spec"].get("replicas", 1))
        # Making the pool smaller takes any pod; one in service is not to be hit.
        wanted = count if count > replicas or is_free or is_stopped else replicas
        await self._patch(found, change, wanted)

    async def _find(self) -> dict[str, Any] | None:
        try:
            return await self._cluster.get_deployment(self._namespace, spare_name(self._target))
        except NotFoundError:
            return None

    async def _plan(self, target: Json, found: Json | None) -> tuple[dict[str, Any], PoolFacts]:
        """The template that spares should have now, and the facts that follow. No write."""
        labels = target["spec"]["template"]["metadata"].get("labels") or {}
        services = await self._cluster.list_services(self._namespace)
        service = find_service(services, labels, self._spec.service)
        budgets = await self._cluster.list_budgets(self._namespace)
        selectors = [
            # Not of the one they serve behind alone: idle, they are behind none.
            {"matchLabels": dict(one.selector)}
            for one in services_of(services, labels)
        ] + [
            one["spec"]["selector"]
            for one in budgets
            if selects(one["spec"].get("selector"), labels)
        ]
        template = spare_template(target, selectors)
        idle = template["metadata"]["labels"]
        if found is not None and not settled(target):
            # The target is on its way to a template that may not stay.
            present = template_of(found)
        else:
            present = template_of({"spec": {"template": template}})
        return template, PoolFacts(
            service=service.name,
            selector=service.selector,
            idle={key: idle.get(key) for key in service.selector},
            template=present,
            is_in_step=found is not None
            and template_of(found) == template_of({"spec": {"template": template}}),
            budgets=tuple(counting_budgets(budgets, {**idle, **service.selector})),
        )

    async def _create(self, target: Json, count: int, template: dict[str, Any]) -> None:
        seconds = int(target["spec"].get("minReadySeconds") or 0)
        body = spare_deployment(target, self._scaler, count, template, seconds)
        await self._cluster.create_deployment(self._namespace, body)
        logger.info("made %s/%s", self._namespace, body["metadata"]["name"])

    async def _patch(self, found: Json, change: dict[str, Any], replicas: int) -> None:
        if replicas != int(found["spec"].get("replicas", 1)):
            change = {**change, "replicas": replicas}
        if not change:
            return
        metadata = found["metadata"]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": change}
        await self._cluster.patch_deployment(self._namespace, metadata["name"], patch)
        logger.info("changed %s of %s/%s", ", ".join(change), self._namespace, metadata["name"])


def settled(target: Json) -> bool:
    """Whether a Deployment's rollout has arrived and nobody holds it."""
    status = target.get("status") or {}
    is_seen = int(status.get("observedGeneration", 0)) >= int(target["metadata"]["generation"])
    is_paused = bool(target["spec"].get("paused"))
    is_rolling = view_deployment(target).rollout_in_progress
    return is_seen and not is_paused and not is_rolling and held_by(target) == ""


def refused(error: ClusterError) -> tuple[str, str]:
    """Reason and message for a pool that the API server does not let us look after."""
    return api.REASON_SPARES_UNKNOWN, str(error)[:300]
