"""
What started a rollout: what kind it is, who changed the template, and what in it.

The kind is read from the ReplicaSets and not from anybody's word. A template
that equals an earlier revision's is a rollback, whether it came from `kubectl
rollout undo`, from `helm rollback` or from an old manifest applied again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from hailstorm_operator import api
from hailstorm_operator.replicasets import Revision
from hailstorm_operator.templates import (
    Change,
    find_changes,
    image_changes,
    is_restart,
    print_changes,
    template_digest,
)
from hailstorm_operator.timestamps import parse_time

Json = Mapping[str, Any]

# Whole-second stamps, a little clock skew and the way of a watch event.
SAME_WRITE: Final = timedelta(seconds=3)


@dataclass(frozen=True)
class Attempt:
    """One rollout of one template, as it can be told from the API at its start."""

    revision: int
    digest: str
    generation: int
    kind: str
    rollback_of: int | None
    rollback_to: int | None
    previous: Revision | None
    current: Revision | None
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Writer:
    """The field manager of a write, and the API's stamp of it."""

    manager: str
    stamp: str


def identify_attempt(deployment: Json, revisions: list[Revision]) -> Attempt:
    """
    Tell which attempt the Deployment's template stands for.

    Works before the deployment controller has acted, where the number that the
    revision is going to have is one above all others, and after.
    """
    template = deployment["spec"]["template"]
    digest = template_digest(template)
    revisions = _known_then(deployment, digest, revisions)
    own = next((one for one in revisions if one.digest == digest), None)
    others = [one for one in revisions if one.digest != digest]
    previous = others[-1] if others else None
    newest_other = previous.number if previous else 0
    rollback_to: int | None = None
    if own is not None and own.number > newest_other:
        number = own.number
        rollback_to = own.former[-1] if own.former else None
    else:
        number = max(newest_other, own.number if own else 0) + 1
        rollback_to = own.number if own and own.number else None
    changes = find_changes(previous.template, template) if previous else []
    if rollback_to is not None and previous is not None:
        kind = api.TRIGGER_ROLLBACK
    elif number == 1 and previous is None:
        kind = api.TRIGGER_INITIAL
    elif is_restart(changes):
        kind = api.TRIGGER_RESTART
    else:
        kind = api.TRIGGER_ROLLOUT
    is_rollback = kind == api.TRIGGER_ROLLBACK
    return Attempt(
        revision=number,
        digest=digest,
        generation=int(deployment["metadata"].get("generation", 0)),
        kind=kind,
        rollback_of=newest_other if is_rollback else None,
        rollback_to=rollback_to if is_rollback else None,
        previous=previous,
        current=own,
        changes=tuple(changes),
    )


def missed_revisions(after: int, revisions: list[Revision], current_digest: str) -> list[Revision]:
    """Revisions above `after` that came and went while nobody watched."""
    return [one for one in revisions if one.number > after and one.digest != current_digest]


def describe_trigger(deployment: Json, attempt: Attempt, at: datetime | None) -> dict[str, Any]:
    """
    The `trigger` block of a record. Fields that nothing tells are left out.

    `at` is when a watch saw the change, None when it was found later.
    """
    metadata = deployment["metadata"]
    cause = (metadata.get("annotations") or {}).get(api.CHANGE_CAUSE_ANNOTATION)
    writer = find_writer(metadata.get("managedFields") or [], attempt.changes, at)
    if attempt.previous and attempt.previous.cause == cause:
        # Nobody wrote it for this attempt; it has only been left standing.
        cause = None
    previous = attempt.previous.template if attempt.previous else None
    changes = list(attempt.changes)
    described = {
        "kind": attempt.kind,
        "manager": writer.manager if writer else None,
        "cause": cause,
        "rollbackOf": attempt.rollback_of,
        "rollbackTo": attempt.rollback_to,
        "images": image_changes(previous, deployment["spec"]["template"]),
        "templateDiff": print_changes(changes, salt=str(metadata["uid"])),
        "templateDiffTotal": len(changes),
    }
    return {name: value for name, value in described.items() if value not in (None, [])}


def find_writer(
    managed_fields: Iterable[Json], changes: Iterable[Change], at: datetime | None
) -> Writer | None:
    """
    Who wrote the template and when, or None when the API does not say.

    A write takes over the fields it changes, so whoever owns a changed field is
    the one. Fields that were only removed have no owner; then it is whoever wrote
    the template at that very time, if anybody did.
    """
    changes = tuple(changes)
    best: tuple[tuple[int, str], Writer] | None = None
    for entry in managed_fields:
        template = _descend(entry.get("fieldsV1") or {}, ("spec", "template"))
        if template is None or entry.get("subresource"):
            continue
        writer = Writer(str(entry.get("manager", "")), str(entry.get("time", "")))
        owned = sum(_descend(template, change.path) is not None for change in changes)
        if changes and not owned and not is_near(writer.stamp, at):
            continue
        rank = (owned, writer.stamp)
        if best is None or rank >= best[0]:
            best = (rank, writer)
    return best[1] if best else None


def is_near(stamped: str, at: datetime | None) -> bool:
    """Whether a stamp and a watch event can be about the same write."""
    return bool(stamped and at and abs(parse_time(stamped) - at) < SAME_WRITE)


def _known_then(deployment: Json, digest: str, revisions: list[Revision]) -> list[Revision]:
    """
    Without the revisions that are newer than this object of the Deployment.

    Of two templates in quick succession the first is looked at when the second
    may have its ReplicaSet already, and would pass for a rollback from it.
    """
    metadata = deployment["metadata"]
    stamped = (metadata.get("annotations") or {}).get(api.REVISION_ANNOTATION)
    if stamped is None:
        # Nothing was there before the controller acted for the first time.
        is_new = metadata.get("generation") == 1
        return [one for one in revisions if not is_new or one.digest == digest]
    newest = int(stamped)
    if not any(one.digest == digest and one.number == newest for one in revisions):
        # The controller has not acted on this template: its revision is the next.
        newest += 1
    return [one for one in revisions if one.number <= newest]


def _descend(fields: Json, path: Iterable[str]) -> Json | None:
    """Follow a path into a managedFields tree; None when the path is not owned."""
    here: Json = fields
    for part in path:
        found: Json | None
        if part.startswith("["):
            found = next((inner for key, inner in here.items() if _named(key, part[1:-1])), None)
        else:
            found = here.get(f"f:{part}")
        if found is None:
            return None
        here = found
    return here


def _named(key: str, name: str) -> bool:
    if not key.startswith("k:"):
        return False
    return bool(json.loads(key[2:]).get("name") == name)
