"""
How a rollout is held, let go and taken back: patches of a Deployment, nothing else.

There are two ways to hold, and neither is free:

*minReadySeconds*: the new pod is ready and serves, but is not *available* yet, so
the controller waits by itself. `rollout status` and `helm --wait` wait with it,
`rollout undo` works, and if the operator dies the rollout goes on when the time is
over. It must stay below the progress deadline.

*paused* (`spec.paused`) stops the deployment controller for as long as it stands.
But kubectl refuses `rollout undo` and `rollout restart` of a paused Deployment,
Helm 3's `--wait` takes a paused one for ready and returns, and a hold that nobody
lifts lasts for ever: right where a person is to decide.

Every patch carries the resourceVersion that was read: whoever wrote in between
wins, and the operator looks again. Merging a patch twice changes nothing.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from hailstorm_operator import api
from hailstorm_operator.policy_specs import DEFAULT_PROGRESS_SECONDS, HOLD_MIN_READY

Json = Mapping[str, Any]
Patch = dict[str, Any]
# none: nobody holds it. ours: held for this attempt. stale: held for an earlier one.
# lifted: our mark without its hold, or without the mark: somebody let it go.
# users: paused without our mark; that is somebody's own pause.
State = Literal["none", "ours", "stale", "lifted", "users"]

# The operator is to decide before Kubernetes lets go by itself.
MIN_READY_SLACK_SECONDS: Final = 30
OWN_CAUSE: Final = "rolled back to revision "
# An annotation may be longer; a table of the history may not.
MAX_CAUSE_LENGTH: Final = 500


def hold_state(deployment: Json, policy: str, digest: str) -> State:
    """Who holds a Deployment, seen from one attempt of one policy."""
    notes = annotations(deployment)
    mark, paused = notes.get(api.HELD_ANNOTATION), bool(deployment["spec"].get("paused"))
    if mark is None:
        # Somebody took the mark off and left the field: their word to let go.
        return "lifted" if api.MIN_READY_ANNOTATION in notes else "users" if paused else "none"
    if api.MIN_READY_ANNOTATION not in notes and not paused:
        return "lifted"
    return "ours" if mark == _mark(policy, digest) else "stale"


def held_by(deployment: Json) -> str:
    """Name of the policy that holds a Deployment; "" when none does."""
    return annotations(deployment).get(api.HELD_ANNOTATION, "").split("/")[0]


def is_held_by_min_ready(deployment: Json) -> bool:
    """Whether the hold is minReadySeconds, which needs no surged pod first."""
    return api.MIN_READY_ANNOTATION in annotations(deployment)


def is_paused_by_user(deployment: Json) -> bool:
    """
    Whether spec.paused is somebody's own, and not our hold.

    Ours is one kind or the other, so a pause beside the note of our minReadySeconds
    is a user's.
    """
    notes = annotations(deployment)
    is_ours = api.HELD_ANNOTATION in notes and api.MIN_READY_ANNOTATION not in notes
    return bool(deployment["spec"].get("paused")) and not is_ours


def hold_patch(deployment: Json, policy: str, digest: str, by: str, seconds: float) -> Patch:
    """Hold for at least `seconds` after the new pod is ready, or until it is lifted."""
    notes: dict[str, str | None] = {api.HELD_ANNOTATION: _mark(policy, digest)}
    before = min_ready_before(deployment)
    if by != HOLD_MIN_READY:
        # Coming from the other way of holding, its field goes back in the same patch.
        spec: Patch = {"paused": True}
        if before is not None:
            spec["minReadySeconds"] = before
            notes |= {api.MIN_READY_ANNOTATION: None, api.MIN_READY_HELD_ANNOTATION: None}
        return _patch(deployment, spec, notes)
    held = min_ready_seconds(deployment, seconds)
    notes[api.MIN_READY_ANNOTATION] = str(_min_ready(deployment) if before is None else before)
    notes[api.MIN_READY_HELD_ANNOTATION] = str(held)
    return _patch(deployment, {"minReadySeconds": held}, notes)


def min_ready_seconds(deployment: Json, seconds: float) -> int:
    """minReadySeconds that outlasts a hold; the API wants it below the progress deadline."""
    deadline = progress_seconds(deployment)
    return min(int(seconds) + MIN_READY_SLACK_SECONDS, deadline - 1)


def is_short_held(deployment: Json, seconds: float) -> bool:
    """Whether the field of our hold is not what it has to be: an apply, or a new length."""
    is_ours = is_held_by_min_ready(deployment)
    return is_ours and _min_ready(deployment) != min_ready_seconds(deployment, seconds)


def min_ready_before(deployment: Json) -> int | None:
    """
    What its owner wants minReadySeconds to be after our hold; None without one.

    That is the value before the hold, or the one that stands there when it is not the
    one that we have set. What we would set now says nothing: the policy's hold and the
    Deployment's deadline may have changed since.
    """
    notes = annotations(deployment)
    before, held = notes.get(api.MIN_READY_ANNOTATION), min_ready_held(deployment)
    if before is None:
        return None
    present = _min_ready(deployment)
    return int(before) if held in (None, present) else present


def min_ready_held(deployment: Json) -> int | None:
    """What our hold has last set minReadySeconds to; None without one."""
    held = annotations(deployment).get(api.MIN_READY_HELD_ANNOTATION)
    return None if held is None else int(held)


def has_lost_its_marks(
    deployment: Json, seconds: float, before: int | None, held: int | None
) -> bool:
    """
    Whether our minReadySeconds stands there and nothing says any more that it is ours.

    `kubectl rollout undo` puts the annotations of the old ReplicaSet in the place of
    the Deployment's, and leaves every field but the template as it is. `before` and
    `held` are what is remembered of the notes.
    """
    notes = annotations(deployment)
    present = _min_ready(deployment)
    is_marked = api.MIN_READY_ANNOTATION in notes or api.HELD_ANNOTATION in notes
    is_ours = present in (held, min_ready_seconds(deployment, seconds)) and present != before
    return not is_marked and is_ours


def restore_patch(deployment: Json, before: int) -> Patch:
    """Put minReadySeconds back to what it was, where the note of it is gone."""
    return _patch(deployment, {"minReadySeconds": before}, {})


def release_patch(deployment: Json) -> Patch:
    """Let a Deployment go on from our hold; a user's own pause stays as it is."""
    spec, notes = _release(deployment)
    if has_own_cause(deployment):
        # Its ReplicaSet has a copy, which is what the history shows.
        notes[api.CHANGE_CAUSE_ANNOTATION] = None
    return _patch(deployment, spec, notes)


def rollback_patch(deployment: Json, template: Json, cause: str) -> Patch:
    """
    The earlier template back, hold and pause off, in one patch: there is no half of it.

    A user's own pause goes too: under it the pods taken back would serve on.
    """
    spec, notes = _release(deployment)
    if deployment["spec"].get("paused"):
        spec["paused"] = None
    spec["template"] = merge_patch(deployment["spec"]["template"], plain_template(template))
    return _patch(deployment, spec, {**notes, api.CHANGE_CAUSE_ANNOTATION: cause})


def rollback_cause(revision: int, reason: str) -> str:
    """What `kubectl rollout history` shows of a rollback."""
    return f"{OWN_CAUSE}{revision} by {reason}"[:MAX_CAUSE_LENGTH]


def has_own_cause(deployment: Json) -> bool:
    """Whether the cause of our rollback still stands, to be taken for the next release's."""
    return annotations(deployment).get(api.CHANGE_CAUSE_ANNOTATION, "").startswith(OWN_CAUSE)


def failed_status_patch(deployment: Json, message: str, at: str) -> Patch:
    """
    Say in the Deployment's own status that its rollout has failed.

    `kubectl rollout status` and whoever reads conditions know one word for that,
    ProgressDeadlineExceeded, and would otherwise report the rollback as success.
    The message says what it was. The deployment controller leaves the condition
    until the next rollout makes progress, which the rollback does.
    """
    conditions = [
        dict(one)
        for one in (deployment.get("status") or {}).get("conditions") or []
        if one["type"] != "Progressing"
    ]
    failed = {
        "type": "Progressing",
        "status": "False",
        "reason": api.REASON_DEADLINE,
        "message": message,
        "lastUpdateTime": at,
        "lastTransitionTime": at,
    }
    return {
        "metadata": {"resourceVersion": deployment["metadata"]["resourceVersion"]},
        "status": {"conditions": [*conditions, failed]},
    }


def progress_seconds(deployment: Json) -> int:
    """The Deployment's own progress deadline."""
    return int(deployment["spec"].get("progressDeadlineSeconds") or DEFAULT_PROGRESS_SECONDS)


def merge_patch(before: Json, after: Json) -> Patch:
    """The JSON merge patch (RFC 7386) that makes `after` of `before`; lists go whole."""
    patch: Patch = {key: None for key in before if key not in after}
    for key, wanted in after.items():
        present = before.get(key)
        if isinstance(wanted, Mapping) and isinstance(present, Mapping):
            inner = merge_patch(present, wanted)
            if inner:
                patch[key] = inner
        elif wanted != present:
            patch[key] = wanted
    return patch


def plain_template(template: Json) -> Patch:
    """A ReplicaSet's template without the label that its controller added."""
    metadata = dict(template.get("metadata") or {})
    labels = dict(metadata.get("labels") or {})
    labels.pop(api.POD_TEMPLATE_HASH_LABEL, None)
    return {**template, "metadata": {**metadata, "labels": labels}}


def annotations(deployment: Json) -> dict[str, str]:
    """Annotations of an object, which may have none."""
    return dict(deployment["metadata"].get("annotations") or {})


def _min_ready(deployment: Json) -> int:
    return int(deployment["spec"].get("minReadySeconds") or 0)


def _release(deployment: Json) -> tuple[Patch, dict[str, str | None]]:
    notes = annotations(deployment)
    before = min_ready_before(deployment)
    released: dict[str, str | None] = {
        key: None
        for key in (
            api.HELD_ANNOTATION,
            api.MIN_READY_ANNOTATION,
            api.MIN_READY_HELD_ANNOTATION,
        )
        if key in notes
    }
    if before is not None:
        return {"minReadySeconds": before}, released
    if api.HELD_ANNOTATION in notes and deployment["spec"].get("paused"):
        return {"paused": None}, released
    return {}, released


def _patch(deployment: Json, spec: Patch, notes: Mapping[str, str | None]) -> Patch:
    return {
        "metadata": {
            "resourceVersion": deployment["metadata"]["resourceVersion"],
            **({"annotations": dict(notes)} if notes else {}),
        },
        **({"spec": spec} if spec else {}),
    }


def _mark(policy: str, digest: str) -> str:
    return f"{policy}/{digest}"
