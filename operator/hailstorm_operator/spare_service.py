"""
The Service that spares are labelled into, and the budgets that must not count them.

A Service is found as Kubernetes itself relates one to pods: by its selector.
Several with one and the same selector are one as far as labels go (a headless
Service beside its ClusterIP twin); several with different ones leave the choice
to the user.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hailstorm_operator import api
from hailstorm_operator.selectors import matches, selects

Json = Mapping[str, Any]


class ServiceProblem(Exception):
    """There is no one Service to label spares into. `reason` is a word of `api`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class ServiceView:
    """A Service by its name, and the labels that put a pod behind it."""

    name: str
    selector: Mapping[str, str]


def find_service(services: Iterable[Json], labels: Mapping[str, str], name: str) -> ServiceView:
    """
    The Service of pods with these labels, or the named one. Raises ServiceProblem.

    `name` is "" where the spec names none.
    """
    services = list(services)
    found = services_of(services, labels)
    if name:
        return _named(services, found, name)
    names = ", ".join(sorted(one.name for one in found))
    if not found:
        raise ServiceProblem(
            api.REASON_NO_SERVICE,
            "no Service selects the target's pods; name one in spec.spares.service",
        )
    if any(one.selector != found[0].selector for one in found):
        raise ServiceProblem(
            api.REASON_SEVERAL_SERVICES,
            f"several Services select the target's pods ({names}); name one of them in "
            "spec.spares.service",
        )
    return found[0]


def services_of(services: Iterable[Json], labels: Mapping[str, str]) -> Sequence[ServiceView]:
    """Every Service that selects pods with these labels; one without a selector selects none."""
    views = [
        ServiceView(one["metadata"]["name"], dict(one["spec"].get("selector") or {}))
        for one in services
    ]
    return [one for one in views if one.selector and matches(one.selector, labels)]


def counting_budgets(budgets: Iterable[Json], labels: Mapping[str, str]) -> Sequence[str]:
    """Names of the PodDisruptionBudgets that select pods with these labels."""
    return sorted(
        one["metadata"]["name"] for one in budgets if selects(one["spec"].get("selector"), labels)
    )


def _named(services: Iterable[Json], found: Iterable[ServiceView], name: str) -> ServiceView:
    for one in found:
        if one.name == name:
            return one
    if any(one["metadata"]["name"] == name for one in services):
        raise ServiceProblem(
            api.REASON_NO_SERVICE,
            f"Service {name} does not select the target's pods; name one that does in "
            "spec.spares.service",
        )
    raise ServiceProblem(
        api.REASON_NO_SERVICE,
        f"there is no Service {name}; name one that selects the target's pods in "
        "spec.spares.service",
    )
