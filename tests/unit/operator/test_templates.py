"""Identity of templates, and what a record shows of their differences."""

from typing import Any

import pytest

from hailstorm_operator import api
from hailstorm_operator.templates import (
    MAX_CHANGES,
    find_changes,
    image_changes,
    is_restart,
    print_changes,
    template_digest,
)
from unit.operator.objects import template


def test_digest_ignores_what_the_controller_adds() -> None:
    added: dict[str, Any] = template()
    added["metadata"]["labels"]["pod-template-hash"] = "abc"
    added["metadata"]["creationTimestamp"] = None
    assert template_digest(added) == template_digest(template())


def test_digest_tells_templates_apart() -> None:
    assert template_digest(template("one")) != template_digest(template("two"))


def test_change_is_named_by_container_and_variable() -> None:
    (change,) = find_changes(template("one"), template("two"))
    assert change.label == "spec.containers[main].env[VERSION].value"


def test_order_of_variables_is_no_change() -> None:
    one, two = template(), template()
    pair = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    one["spec"]["containers"][0]["env"] = pair
    two["spec"]["containers"][0]["env"] = pair[::-1]
    assert find_changes(one, two) == []


def test_value_of_a_variable_is_redacted_and_salted() -> None:
    changes = find_changes(template("one"), template("hunter2"))
    (first,) = print_changes(changes, "salt")
    (other,) = print_changes(changes, "pepper")
    assert "hunter2" not in str(first)
    assert first["from"] != first["to"]
    assert first["to"] != other["to"]


@pytest.mark.parametrize(
    ("argument", "hidden"), [("--password=hunter2", True), ("--port=80", False)]
)
def test_arguments_are_redacted_when_they_look_like_credentials(
    argument: str, hidden: bool
) -> None:
    after = template()
    after["spec"]["containers"][0]["args"] = [argument]
    (change,) = print_changes(find_changes(template(), after), "salt")
    assert change["to"].startswith("redacted:") == hidden


def test_name_of_a_secret_is_shown() -> None:
    after = template()
    after["spec"]["volumes"] = [{"name": "keys", "secret": {"secretName": "store-2"}}]
    printed = print_changes(find_changes(template(), after), "salt")
    assert "store-2" in {change.get("to") for change in printed}


def test_diff_is_bounded() -> None:
    after = template(**{f"note-{number}": "x" * 500 for number in range(40)})
    printed = print_changes(find_changes(template(), after), "salt")
    assert len(printed) == MAX_CHANGES
    assert len(printed[0]["to"]) <= 160


def test_images_show_from_and_to() -> None:
    assert image_changes(template(), template(image="app:2")) == [
        {"container": "main", "from": "app:1", "to": "app:2"}
    ]
    assert image_changes(None, template()) == [{"container": "main", "to": "app:1"}]


def test_restart_is_the_stamp_and_nothing_else() -> None:
    stamped = template(**{api.RESTARTED_AT_ANNOTATION: "now"})
    assert is_restart(find_changes(template(), stamped))
    both = template("two", **{api.RESTARTED_AT_ANNOTATION: "now"})
    assert not is_restart(find_changes(template(), both))
    assert not is_restart([])
