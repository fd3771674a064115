"""
Pod templates: their identity, and what changed between two of them.

A record must show what a release changed without becoming the place where its
secrets lie in the open: values of environment variables, and whatever looks
like a credential, appear as a short hash that tells only "changed" from "same".
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hailstorm_operator import api

# Enough to tell the templates of one Deployment apart; it is part of a name.
DIGEST_LENGTH: Final = 10
# A release that changes more than this is better read in its own repository.
MAX_CHANGES: Final = 20
MAX_VALUE_LENGTH: Final = 160
# Eight digits tell values apart and are too few to look a value up by.
REDACTED_LENGTH: Final = 8
SENSITIVE: Final = re.compile(r"passw|secret|token|credential|api-?_?key|private", re.IGNORECASE)
# They name the thing that holds a secret, not the secret.
REFERENCES: Final = ("secretKeyRef", "secretRef", "secretName", "imagePullSecrets", "secret")

Path = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """One value of a template that differs. None stands for absent."""

    path: Path
    before: Any
    after: Any

    @property
    def label(self) -> str:
        """The path as a reader writes it: spec.containers[app].image."""
        return ".".join(self.path).replace(".[", "[")


def template_digest(template: Mapping[str, Any]) -> str:
    """
    Identity of a pod template, equal for a Deployment and its ReplicaSet.

    The deployment controller adds the hash label to the ReplicaSet's copy, and
    that label is all in which the two differ.
    """
    text = json.dumps(_plain(template), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def find_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every value in which two templates differ, in the order of their paths."""
    old, new = dict(_leaves(_plain(before))), dict(_leaves(_plain(after)))
    return [
        Change(path, old.get(path), new.get(path))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def is_restart(changes: list[Change]) -> bool:
    """Whether the stamp of `kubectl rollout restart` is all that changed."""
    stamp = ("metadata", "annotations", api.RESTARTED_AT_ANNOTATION)
    return bool(changes) and all(change.path == stamp for change in changes)


def print_changes(changes: list[Change], salt: str) -> list[dict[str, Any]]:
    """Changes as a record shows them: bounded, and redacted with the salt."""
    return [
        {
            "path": change.label,
            **_printed("from", change.before, change.path, salt),
            **_printed("to", change.after, change.path, salt),
        }
        for change in changes[:MAX_CHANGES]
    ]


def image_changes(
    before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Images of every container that is new or changed: container, from (if any), to."""
    old = _images(before or {})
    return [
        {"container": name, **({"from": old[name]} if name in old else {}), "to": image}
        for name, image in _images(after).items()
        if old.get(name) != image
    ]


def _images(template: Mapping[str, Any]) -> dict[str, str]:
    spec = template.get("spec") or {}
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return {str(one["name"]): str(one.get("image", "")) for one in containers}


def _plain(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(template.get("metadata") or {})
    metadata.pop("creationTimestamp", None)
    labels = dict(metadata.get("labels") or {})
    labels.pop(api.POD_TEMPLATE_HASH_LABEL, None)
    metadata["labels"] = labels
    return {"metadata": metadata, "spec": template.get("spec") or {}}


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list) and all(
        isinstance(one, Mapping) and "name" in one for one in value
    ):
        # Containers, variables and volumes are known by name; their order says nothing.
        for one in value:
            rest = {key: inner for key, inner in one.items() if key != "name"}
            # A leaf of its own, or an element that has nothing but a name is lost.
            yield (*path, f"[{one['name']}]"), "present"
            yield from _leaves(rest, (*path, f"[{one['name']}]"))
    else:
        yield path, value


def _printed(side: str, value: Any, path: Path, salt: str) -> dict[str, str]:
    if value is None:
        return {}
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if _is_sensitive(path, text):
        # The salt keeps equal secrets of two Deployments from showing as equal.
        digest = hashlib.sha256(f"{salt}\0{text}".encode()).hexdigest()[:REDACTED_LENGTH]
        return {side: f"redacted:{digest}"}
    return {side: text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 1] + "…"}


def _is_sensitive(path: Path, text: str) -> bool:
    if any(part in REFERENCES for part in path):
        return False
    if "env" in path and path[-1] == "value":
        return True
    if path[-1] in ("args", "command"):
        return bool(SENSITIVE.search(text))
    return bool(SENSITIVE.search(path[-1]))
