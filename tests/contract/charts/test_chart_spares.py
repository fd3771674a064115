"""What the chart says of warm spares, against what the operator makes of its Deployments."""

from typing import Any

import pytest

from contract.charts.chart_rendering import RenderError, pick, render
from hailstorm_operator import api
from hailstorm_operator.selectors import matches, selects
from hailstorm_operator.spare_service import counting_budgets, find_service
from hailstorm_operator.spare_template import spare_template

SERVICES = ("dispatch", "location", "trip")


class Spare:
    """A spare of one of our services, waiting and serving."""

    def __init__(self, service: str) -> None:
        self.objects = render("--set", "scaler.enabled=true")
        target = pick(self.objects, "Deployment", service)
        services = [one for one in self.objects if one["kind"] == "Service"]
        self.service = find_service(services, target["spec"]["template"]["metadata"]["labels"], "")
        selectors = [{"matchLabels": dict(self.service.selector)}]
        template = spare_template(target, selectors)
        self.idle: dict[str, str] = template["metadata"]["labels"]
        self.serving = {**self.idle, **self.service.selector}

    def budgets(self) -> list[dict[str, Any]]:
        return [one for one in self.objects if one["kind"] == "PodDisruptionBudget"]

    def policies(self, labels: dict[str, str]) -> set[str]:
        """NetworkPolicies that hold for pods with these labels."""
        return {
            one["metadata"]["name"]
            for one in self.objects
            if one["kind"] == "NetworkPolicy" and selects(one["spec"]["podSelector"], labels)
        }


@pytest.fixture(params=SERVICES)
def spare(request: pytest.FixtureRequest) -> Spare:
    return Spare(request.param)


def test_service_takes_a_spare_by_its_labels_alone(spare: Spare) -> None:
    assert not matches(spare.service.selector, spare.idle)
    assert matches(spare.service.selector, spare.serving)


def test_no_budget_ever_counts_a_spare(spare: Spare) -> None:
    assert len(spare.budgets()) >= len(SERVICES)
    assert counting_budgets(spare.budgets(), spare.idle) == []
    assert counting_budgets(spare.budgets(), spare.serving) == []


def test_spare_has_the_ways_of_its_service_while_it_waits(spare: Spare) -> None:
    assert spare.service.name in spare.policies(spare.idle)
    assert spare.policies(spare.idle) == spare.policies(spare.serving)


def test_scaler_asks_for_the_spares_of_the_values() -> None:
    objects = render("--set", "scaler.enabled=true,scaler.trip.spares=3")
    asked = pick(objects, "ServiceScaler", "trip")["spec"]["spares"]
    assert asked == {"count": 3, "service": "trip"}


def test_spares_of_trip_count_against_the_database() -> None:
    with pytest.raises(RenderError, match="trip may open"):
        render("--set", "scaler.enabled=true,scaler.trip.spares=20")


def test_edge_keeps_figures_for_each_pod() -> None:
    bootstrap = pick(render(), "ConfigMap", "edge")["data"]
    assert "per_endpoint_stats" in str(bootstrap)
    assert api.SPARE_OF_LABEL in str(pick(render(), "PodDisruptionBudget", "dispatch"))
