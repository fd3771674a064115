"""Which Service spares go into, and which budgets would count them."""

from typing import Any

import pytest

from hailstorm_operator import api
from hailstorm_operator.spare_service import ServiceProblem, counting_budgets, find_service

LABELS = {"app": "a", "tier": "web"}


def service(name: str, **selector: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"selector": selector}}


def test_service_is_found_by_its_selector() -> None:
    services = [service("other", app="b"), service("mine", app="a"), service("none")]
    found = find_service(services, LABELS, "")
    assert (found.name, found.selector) == ("mine", {"app": "a"})


def test_services_of_one_selector_are_one() -> None:
    services = [service("mine", app="a"), service("mine-headless", app="a")]
    assert find_service(services, LABELS, "").selector == {"app": "a"}


def test_named_service_is_taken() -> None:
    services = [service("one", app="a"), service("two", tier="web")]
    assert find_service(services, LABELS, "two").name == "two"


@pytest.mark.parametrize(
    ("services", "name", "reason", "advice"),
    [
        ([], "", api.REASON_NO_SERVICE, "name one in spec.spares.service"),
        ([service("x", app="b")], "", api.REASON_NO_SERVICE, "no Service selects"),
        (
            [service("one", app="a"), service("two", tier="web")],
            "",
            api.REASON_SEVERAL_SERVICES,
            "(one, two)",
        ),
        ([], "gone", api.REASON_NO_SERVICE, "there is no Service gone"),
        ([service("x", app="b")], "x", api.REASON_NO_SERVICE, "does not select"),
        ([service("x")], "x", api.REASON_NO_SERVICE, "does not select"),
    ],
)
def test_choice_that_is_the_users_is_said(
    services: list[dict[str, Any]], name: str, reason: str, advice: str
) -> None:
    with pytest.raises(ServiceProblem, match="spares\\.service") as caught:
        find_service(services, LABELS, name)
    assert caught.value.reason == reason
    assert advice in str(caught.value)


def test_budget_counts_unless_it_leaves_spares_out() -> None:
    leaves_out = {"key": api.SPARE_OF_LABEL, "operator": "DoesNotExist"}
    budgets = [
        {"metadata": {"name": "plain"}, "spec": {"selector": {"matchLabels": {"app": "a"}}}},
        {
            "metadata": {"name": "careful"},
            "spec": {"selector": {"matchLabels": {"app": "a"}, "matchExpressions": [leaves_out]}},
        },
    ]
    assert counting_budgets(budgets, {**LABELS, api.SPARE_OF_LABEL: "app"}) == ["plain"]
