"""
The Deployment of the warm spares: a copy of the target's pod template.

A spare must run just as the target's pods do and yet be selected by nothing that
selects those: not by their Service, or it would serve; not by their disruption
budget, or idle pods would be counted as capacity; not by their Deployment. So
one label or a few get the value `<value>-spare`, as many as it takes. The spares'
own Deployment selects by a label that no one else uses and that never changes:
were it to select by one that is changed when a spare goes into service, its
ReplicaSet would let go of that pod and make another.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.selectors import selects
from hailstorm_operator.templates import template_digest

Json = Mapping[str, Any]
Labels = dict[str, str]

SUFFIX: Final = "-spare"
MAX_LABEL_LENGTH: Final = 63
# The label that tells components apart, where there is one; the others stay, so
# that whoever lists the pods of a release or an application still finds spares.
PREFERRED: Final = ("app.kubernetes.io/component", "app", "k8s-app", "app.kubernetes.io/name")
HOSTNAME: Final = "kubernetes.io/hostname"
SPREAD: Final = "ScheduleAnyway"


def spare_name(target: str) -> str:
    """Name of the Deployment of a target's spares."""
    return f"{target}{SUFFIX}"


def idle_labels(labels: Mapping[str, str], selectors: Iterable[Json]) -> Labels:
    """
    The labels of a template, changed until none of the LabelSelectors matches.

    A selector that asks for no value cannot be escaped from and is passed over.
    """
    idle = dict(labels)
    for selector in selectors:
        wanted = selector.get("matchLabels") or {}
        if wanted and selects(selector, idle):
            key = min(wanted, key=_rank)
            idle[key] = labels[key][: MAX_LABEL_LENGTH - len(SUFFIX)] + SUFFIX
    return idle


def spare_template(target: Json, selectors: Iterable[Json]) -> dict[str, Any]:
    """
    The pod template of the spares of a Deployment.

    `selectors` are LabelSelectors besides the Deployment's own that must not match.
    """
    template = target["spec"]["template"]
    metadata = dict(template.get("metadata") or {})
    labels = idle_labels(metadata.get("labels") or {}, [target["spec"]["selector"], *selectors])
    mark = {api.SPARE_OF_LABEL: target["metadata"]["name"]}
    spec = dict(template["spec"])
    # Two constraints of one kind on one topology are refused; its own counts no spare.
    others = [
        one
        for one in spec.get("topologySpreadConstraints") or []
        if (one["topologyKey"], one["whenUnsatisfiable"]) != (HOSTNAME, SPREAD)
    ]
    own = {
        "maxSkew": 1,
        "topologyKey": HOSTNAME,
        "whenUnsatisfiable": SPREAD,
        "labelSelector": {"matchLabels": mark},
        "matchLabelKeys": [api.POD_TEMPLATE_HASH_LABEL],
    }
    made: dict[str, Any] = {
        "metadata": {**metadata, "labels": {**labels, **mark}},
        "spec": {**spec, "topologySpreadConstraints": [*others, own]},
    }
    # On each pod, so that one can tell which template it runs.
    notes = {**(metadata.get("annotations") or {}), api.TEMPLATE_ANNOTATION: template_digest(made)}
    made["metadata"]["annotations"] = notes
    return made


def spare_deployment(
    target: Json, scaler: Json, replicas: int, template: Json, min_ready_seconds: int
) -> dict[str, Any]:
    """The Deployment of the spares, owned by the ServiceScaler and gone with it."""
    metadata = target["metadata"]
    mark = {api.SPARE_OF_LABEL: metadata["name"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": spare_name(metadata["name"]),
            "namespace": metadata["namespace"],
            "labels": {**mark, "app.kubernetes.io/managed-by": "hailstorm-operator"},
            "ownerReferences": [
                {
                    "apiVersion": api.API_VERSION,
                    "kind": api.SCALER_KIND,
                    "name": scaler["metadata"]["name"],
                    "uid": scaler["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": mark},
            "minReadySeconds": min_ready_seconds,
            # Idle pods need no successor before they go, and a surge would cost
            # memory and connections that the user has not counted.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            # Nobody rolls spares back; one old ReplicaSet is what a roll needs.
            "revisionHistoryLimit": 1,
            "template": template,
        },
    }


def template_of(deployment: Json) -> str:
    """Which template the spares' Deployment has: the digest that it was written with."""
    notes = deployment["spec"]["template"]["metadata"].get("annotations") or {}
    return str(notes.get(api.TEMPLATE_ANNOTATION, ""))


def is_owned_by(deployment: Json, scaler: Json) -> bool:
    """Whether a Deployment is the ServiceScaler's own."""
    uid = scaler["metadata"]["uid"]
    return any(
        owner.get("uid") == uid for owner in deployment["metadata"].get("ownerReferences") or []
    )


def _rank(key: str) -> tuple[int, str]:
    return (PREFERRED.index(key) if key in PREFERRED else len(PREFERRED), key)
