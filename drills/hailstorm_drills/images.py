"""Which image the drills' own pods run."""

from pathlib import Path
from typing import Any

import yaml

from hailstorm_drills.runner import SetupError


def image_of(values: tuple[str, ...]) -> tuple[str, str]:
    """(image, pull policy) of the drills, from the same values as the release."""
    images: dict[str, Any] = {}
    for file in values:
        found = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
        for name, block in (found.get("images") or {}).items():
            if isinstance(block, dict):
                images.setdefault(name, {}).update(block)
            else:
                images[name] = block
    drills = images.get("drills", {})
    if not drills.get("repository") or not drills.get("tag"):
        raise SetupError(f"images.drills.repository and tag are in none of {', '.join(values)}")
    registry = images.get("registry") or ""
    repository = f"{registry}/{drills['repository']}" if registry else drills["repository"]
    return f"{repository}:{drills['tag']}", images.get("pullPolicy", "IfNotPresent")
