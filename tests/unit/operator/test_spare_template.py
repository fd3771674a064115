"""The spares' Deployment: a copy that nothing selects which selects the target's pods."""

from typing import Any

from hailstorm_operator import api
from hailstorm_operator.selectors import selects
from hailstorm_operator.spare_template import (
    HOSTNAME,
    MAX_LABEL_LENGTH,
    idle_labels,
    is_owned_by,
    spare_deployment,
    spare_template,
    template_of,
)
from unit.operator.objects import deployment, template

SCALER = {"metadata": {"name": "scaler", "namespace": "place", "uid": "uid-s"}}
STANDARD = {
    "app.kubernetes.io/name": "shop",
    "app.kubernetes.io/instance": "blue",
    "app.kubernetes.io/component": "cart",
    "version": "7",
}


def by(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


def test_one_label_changes_where_one_is_enough() -> None:
    wanted = {key: STANDARD[key] for key in list(STANDARD)[:3]}
    idle = idle_labels(STANDARD, [{"matchLabels": wanted}, {"matchLabels": wanted}])
    assert idle == {**STANDARD, "app.kubernetes.io/component": "cart-spare"}


def test_every_selector_is_escaped_from() -> None:
    labels = {"app": "a", "team": "t", "zone": "z"}
    selectors = [by(app="a"), by(team="t"), by(zone="z", app="a")]
    idle = idle_labels(labels, selectors)
    assert idle == {"app": "a-spare", "team": "t-spare", "zone": "z"}
    assert not any(selects(one, idle) for one in selectors)


def test_selector_that_does_not_match_anyway_changes_nothing() -> None:
    assert idle_labels({"app": "a"}, [by(app="b"), {}]) == {"app": "a"}


def test_long_value_stays_a_valid_label() -> None:
    idle = idle_labels({"app": "a" * MAX_LABEL_LENGTH}, [by(app="a" * MAX_LABEL_LENGTH)])
    assert len(idle["app"]) == MAX_LABEL_LENGTH
    assert idle["app"].endswith("-spare")


def test_template_is_the_targets_but_for_labels_and_spreading() -> None:
    target = deployment(template("two", checksum="abc"))
    made = spare_template(target, [])
    assert made["spec"]["containers"] == target["spec"]["template"]["spec"]["containers"]
    assert made["metadata"]["labels"] == {"app": "app-spare", api.SPARE_OF_LABEL: "app"}
    assert made["metadata"]["annotations"]["checksum"] == "abc"
    assert not selects(target["spec"]["selector"], made["metadata"]["labels"])
    (spread,) = made["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == by(**{api.SPARE_OF_LABEL: "app"})


def test_constraint_that_would_be_doubled_is_replaced_and_others_stay() -> None:
    def constraint(key: str, policy: str) -> dict[str, Any]:
        return {"topologyKey": key, "whenUnsatisfiable": policy, "maxSkew": 2}

    target = deployment()
    target["spec"]["template"]["spec"]["topologySpreadConstraints"] = [
        constraint(HOSTNAME, "ScheduleAnyway"),
        constraint("zone", "DoNotSchedule"),
    ]
    found = spare_template(target, [])["spec"]["topologySpreadConstraints"]
    assert [(one["topologyKey"], one["maxSkew"]) for one in found] == [("zone", 2), (HOSTNAME, 1)]
    assert len(target["spec"]["template"]["spec"]["topologySpreadConstraints"]) == 2


def test_digest_tells_templates_apart_and_is_on_the_pods() -> None:
    one, again = (spare_template(deployment(template("one")), []) for _ in range(2))
    two = spare_template(deployment(template("two")), [])
    digests = [template_of({"spec": {"template": made}}) for made in (one, again, two)]
    assert digests[0] == digests[1] != digests[2]


def test_deployment_is_owned_and_selects_by_what_never_changes() -> None:
    target = deployment()
    made = spare_deployment(target, SCALER, 2, spare_template(target, []), 5)
    assert made["metadata"]["name"] == "app-spare"
    assert made["spec"]["selector"] == by(**{api.SPARE_OF_LABEL: "app"})
    assert made["spec"]["minReadySeconds"] == 5
    assert is_owned_by(made, SCALER)
    assert not is_owned_by(target, SCALER)
    assert api.RECORD_LABEL not in made["metadata"]["labels"]
