"""
What the ReplicaSets of a Deployment say about its revisions.

They are the only history that Kubernetes itself keeps: each holds a template,
the revision it has now, and the numbers it had before it was rolled back to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hailstorm_operator import api
from hailstorm_operator.templates import template_digest

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Revision:
    """One ReplicaSet, as far as it is history."""

    number: int
    former: tuple[int, ...]
    digest: str
    pod_template_hash: str
    created: str
    template: Json
    cause: str = ""


def read_revision(replica_set: Json) -> Revision:
    """Read a ReplicaSet. One without a revision (not yet stamped) counts as 0."""
    metadata = replica_set["metadata"]
    annotations = metadata.get("annotations") or {}
    labels = metadata.get("labels") or {}
    history = annotations.get(api.REVISION_HISTORY_ANNOTATION, "")
    template = replica_set["spec"]["template"]
    return Revision(
        number=int(annotations.get(api.REVISION_ANNOTATION, "0")),
        former=tuple(int(number) for number in history.split(",") if number),
        digest=template_digest(template),
        pod_template_hash=labels.get(api.POD_TEMPLATE_HASH_LABEL, ""),
        created=metadata.get("creationTimestamp", ""),
        template=template,
        cause=annotations.get(api.CHANGE_CAUSE_ANNOTATION, ""),
    )


def owned_revisions(replica_sets: Iterable[Json], owner_uid: str) -> list[Revision]:
    """Revisions of one Deployment, oldest number first."""
    owned = [
        read_revision(one)
        for one in replica_sets
        if any(
            owner.get("uid") == owner_uid for owner in one["metadata"].get("ownerReferences") or []
        )
    ]
    return sorted(owned, key=lambda revision: revision.number)
