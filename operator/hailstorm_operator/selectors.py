"""
Label selectors as Kubernetes reads them: matchLabels and matchExpressions.

Asked about labels that a pod does not have yet, which is why the API server
cannot answer.
"""

from collections.abc import Mapping
from typing import Any

Labels = Mapping[str, str]
Json = Mapping[str, Any]


def selects(selector: Json | None, labels: Labels) -> bool:
    """
    Whether a LabelSelector matches; an empty one matches everything, an absent one nothing.

    An operator that is not known counts as a match, since every caller asks in
    order to keep pods out of something.
    """
    if selector is None or not matches(selector.get("matchLabels") or {}, labels):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or [])


def matches(wanted: Labels, labels: Labels) -> bool:
    """Whether labels contain all of `wanted`, as the selector of a Service asks for them."""
    return all(labels.get(key) == value for key, value in wanted.items())


def _holds(expression: Json, labels: Labels) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return True
