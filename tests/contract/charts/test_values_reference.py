"""The page about the chart's values says what values.yaml says."""

import pytest

from contract.charts.chart_rendering import CHART, default_values
from contract.charts.values_reference import PAGE, MissingCommentError, page, rows


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run: python tests/contract/charts/values_reference.py"


def test_every_key_is_on_the_page() -> None:
    told = {row.path for row in rows((CHART / "values.yaml").read_text())}

    def walk(node: object, path: str) -> None:
        if path and path not in told:
            parent = path.rpartition(".")[0]
            # A key in braces stands on the line of the one that holds it.
            assert parent in told or "resources" in path or "upstreams" in path, path
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else key)

    walk(default_values(), "")


def test_key_without_a_comment_is_refused() -> None:
    with pytest.raises(MissingCommentError, match=r"edge\.replicas"):
        rows("# The edge.\nedge:\n  replicas: 2\n")
