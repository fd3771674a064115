"""
Recordings of arms that were run before, and which of them may be used again.

One measured with other settings, other images, on another cluster or at another
commit is another measurement: it is passed over, and its reason told.
"""

import contextlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hailstorm_drills.cluster import Cluster
from hailstorm_drills.comparison import recording
from hailstorm_drills.comparison.recording import Origin, Recording
from hailstorm_drills.comparison.settings import ARMS, Settings

# Every cluster has it from its first second to its last.
OLDEST_NAMESPACE: Final = "kube-system"
ROOT: Final = Path(__file__).resolve().parents[3]
# Beyond what git takes for `status` in a cold checkout.
GIT_SECONDS: Final = 30.0


def find_origin(cluster: Cluster, root: Path = ROOT) -> Origin:
    """Which cluster this is, and what is checked out. Raises CommandError without a cluster."""
    words = ("get", "namespace", OLDEST_NAMESPACE, "-o", "jsonpath={.metadata.uid}")
    return Origin(cluster.kubectl(*words).strip(), commit_of(root))


def commit_of(root: Path) -> str:
    """
    The commit, with `+changes` where tracked files differ from it; "" without git.

    docs/ does not count: a comparison writes its own figures there, and runs none of it.
    """
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return f"{commit}+changes" if commit and changed else commit


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, timeout=GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def kept(
    folder: Path, settings: Settings, images: Mapping[str, str], origin: Origin | None
) -> tuple[dict[str, Recording], dict[str, str]]:
    """
    By arm: recordings that can be judged together, and why the others cannot.

    Without an origin (nothing is to be run) it is that of the newest. Raises ValueError
    for a file that is no recording.
    """
    found, refused = {}, {}
    for arm in ARMS:
        with contextlib.suppress(FileNotFoundError):
            text = (folder / settings.file_of(arm)).read_text(encoding="utf-8")
            document = json.loads(text)
            why = _other_run(document, settings.of_arm(arm), images)
            if why is None:
                found[arm] = recording.from_json(document)
            else:
                refused[arm] = why
    if origin is None and found:
        origin = max(found.values(), key=lambda one: one.load.start_at).origin
    for arm, one in list(found.items()):
        if one.origin != origin:
            is_elsewhere = origin is None or one.origin.cluster != origin.cluster
            refused[arm] = f"it is of another {'cluster' if is_elsewhere else 'commit'}"
            del found[arm]
    return found, refused


def _other_run(
    document: Mapping[str, Any], settings: Mapping[str, Any], images: Mapping[str, str]
) -> str | None:
    # What came out of a file has no tuples; neither must what it is compared with.
    if document["settings"] != json.loads(json.dumps(settings)):
        return "it had other settings"
    # Recordings of before had neither images nor origin.
    if document.get("images") != dict(images):
        return "it had other images"
    return None if "origin" in document else "it does not say of which cluster it is"


def keep(path: Path, seen: Recording) -> None:
    """Write a recording, whole or not at all."""
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(recording.as_json(seen)), encoding="utf-8")
    scratch.replace(path)
