"""Which images a run uses: out of the same values files as the release."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from hailstorm_drills.runner import SetupError


def image_of(values: Sequence[str]) -> tuple[str, str]:
    """(image, pull policy) of the drills' own pods. Raises SetupError."""
    images, pull_policy = images_of(values, ("drills",))
    return images["drills"], pull_policy


def images_of(values: Sequence[str], names: Iterable[str]) -> tuple[dict[str, str], str]:
    """(image by name, pull policy) from values files; the later one wins. Raises SetupError."""
    blocks: dict[str, Any] = {}
    for file in values:
        try:
            found = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise SetupError(f"the values of --values {file} cannot be read: {error}") from error
        for name, block in (found.get("images") or {}).items():
            is_image = isinstance(block, dict)
            blocks[name] = {**blocks.get(name, {}), **block} if is_image else block
    images = {}
    registry = blocks.get("registry") or ""
    for name in names:
        block = blocks.get(name) or {}
        if not block.get("repository") or not block.get("tag"):
            raise SetupError(f"images.{name}.repository and tag are in none of {', '.join(values)}")
        place = f"{registry}/{block['repository']}" if registry else block["repository"]
        images[name] = f"{place}:{block['tag']}"
    return images, str(blocks.get("pullPolicy", "IfNotPresent"))
