"""
Our own images: services, operator, drills.

Dependencies are unpacked on the host and copied in, so the build needs no
network, and lie in an image of their own, so that a change of code moves code
alone. A tag is `<version>-<hash of content>`; the same tree under another
version shares every layer but the last.
"""

import re
import shutil
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from hailstorm_platform import docker_images, venv
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.inputs import cached, hash_of, hash_of_tree

_SITE: Final = Path(__file__).parent / "files" / "site.Dockerfile"
TARGETS: Final = ("services", "operator", "drills")

# The generated stubs, and the packages they lie in; no service's code.
STUBS: Final = (
    "services/hailstorm/__init__.py",
    *(
        f"services/hailstorm/{package}/{part}"
        for package in ("dispatch", "location", "trip", "types")
        for part in ("__init__.py", "v1")
    ),
)
SOURCES: Final[dict[str, tuple[str, ...]]] = {
    "services": ("services/hailstorm",),
    "operator": ("operator/hailstorm_operator", *STUBS),
    # The drills name the operator's labels and kinds through its `api`.
    "drills": (
        "drills/hailstorm_drills",
        "loadtests/hailstorm_loadtests",
        "operator/hailstorm_operator",
        *STUBS,
    ),
}


def project_version(root: Path) -> str:
    """The version in pyproject.toml."""
    document = tomllib.loads((root / "pyproject.toml").read_text())
    return str(document["project"]["version"])


def next_version(version: str) -> str:
    """The version that a drill rolls to: the same tree, one patch later."""
    match = re.fullmatch(r"(\d+\.\d+\.)(\d+)", version)
    if match is None:
        raise PlatformError(f"version {version!r} in pyproject.toml is not of the form 1.2.3.")
    return f"{match[1]}{int(match[2]) + 1}"


def is_left_out(path: Path) -> bool:
    """Files that exist in a checkout but are no part of an image."""
    return "__pycache__" in path.parts or path.suffix == ".pyc"


def source_tree(context: Context, target: str) -> Path:
    """The packages of an image as one folder, `src/` of its build context."""
    sources = [context.paths.root / source for source in SOURCES[target]]
    for source in sources:
        if not source.exists():
            raise PlatformError(f"{source} is missing; image {target} is made from it.")
    digest = hash_of(
        part
        for source in sources
        for part in (
            str(source.relative_to(context.paths.root)),
            hash_of_tree(source, is_left_out),
        )
    )

    def make(folder: Path) -> None:
        for source in sources:
            # The first folder of a path is a home, not a package.
            place = folder / Path(*source.relative_to(context.paths.root).parts[1:])
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, place)

    return cached(context.paths, f"src-{target}", digest, make)


def build(context: Context, base: str, version: str) -> dict[str, str]:
    """Build every image of ours at `version`; returns target → tag."""

    def one(target: str) -> str:
        below = docker_images.build(
            context,
            f"hailstorm/{target}-site",
            _SITE.read_text(),
            files={"site": venv.image_site(context, target)},
            arguments={"BASE": base},
        )
        return docker_images.build(
            context,
            f"hailstorm/{target}",
            (context.paths.root / "Dockerfile").read_text(),
            files={"src": source_tree(context, target)},
            arguments={"BASE": below, "VERSION": version},
            version=version,
        )

    with ThreadPoolExecutor(max_workers=len(TARGETS)) as pool:
        return dict(zip(TARGETS, pool.map(one, TARGETS), strict=True))
