"""Label selectors as Kubernetes reads them."""

from typing import Any

import pytest

from hailstorm_operator.selectors import matches, selects

LABELS = {"app": "a", "tier": "web"}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "a"}}, True),
        ({"matchLabels": {"app": "b"}}, False),
        ({"matchLabels": {"zone": "x"}}, False),
        (expression("app", "In", "a", "b"), True),
        (expression("app", "In", "b"), False),
        (expression("app", "NotIn", "b"), True),
        (expression("app", "NotIn", "a"), False),
        (expression("tier", "Exists"), True),
        (expression("zone", "Exists"), False),
        (expression("zone", "DoesNotExist"), True),
        (expression("app", "DoesNotExist"), False),
        (expression("app", "SomethingNew"), True),
        ({"matchLabels": {"app": "a"}, **expression("tier", "DoesNotExist")}, False),
    ],
)
def test_selector_selects(selector: dict[str, Any], expected: bool) -> None:
    assert selects(selector, LABELS) is expected


def test_service_selector_needs_every_label() -> None:
    assert matches({"app": "a"}, LABELS)
    assert not matches({"app": "a", "zone": "x"}, LABELS)
