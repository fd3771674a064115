"""
Images, each tagged by a hash of what it was made from.

The tag is the cache: an image that exists under its tag is the right one. A
Dockerfile here uses no BuildKit feature, because the client of Debian's
docker.io carries no buildx.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.inputs import hash_of, hash_of_tree, locked


def exists(context: Context, tag: str) -> bool:
    """Whether the daemon has an image under this tag."""
    try:
        context.runner.run(["docker", "image", "inspect", "--format", "{{.Id}}", tag])
    except PlatformError:
        return False
    return True


def identity(context: Context, path: Path) -> str:
    """What a file put into an image is: its place in our cache, or its content."""
    try:
        # A cached result's folder carries the hash of what it was made from.
        return str(path.relative_to(context.paths.cache))
    except ValueError:
        return hash_of_tree(path)


def build(
    context: Context,
    repository: str,
    dockerfile: str,
    *,
    files: Mapping[str, Path] | None = None,
    arguments: Mapping[str, str] | None = None,
    version: str = "",
) -> str:
    """
    Build an image once and return its tag, `<repository>:[<version>-]<hash>`.

    `files` maps a path in the build context to a file or folder on this machine.
    Base images are to be named by hash tags, so that a new base is a new input.
    """
    files = dict(files or {})
    arguments = dict(arguments or {})
    parts = ["image", dockerfile]
    for name, path in sorted(files.items()):
        parts += [name, identity(context, path)]
    for name, value in sorted(arguments.items()):
        parts += [name, value]
    digest = hash_of(parts)
    tag = f"{repository}:{version}-{digest}" if version else f"{repository}:{digest}"
    with locked(context.paths.cache / ".locks" / f"image-{digest}"):
        if not exists(context, tag):
            with context.report.step(f"build image {tag}"):
                _build(context, tag, dockerfile, files, arguments)
    return tag


def _build(
    context: Context,
    tag: str,
    dockerfile: str,
    files: Mapping[str, Path],
    arguments: Mapping[str, str],
) -> None:
    name = tag.replace("/", "-").replace(":", "-")
    with tempfile.TemporaryDirectory(prefix="hailstorm-image-") as scratch:
        folder = Path(scratch)
        (folder / "Dockerfile").write_text(dockerfile)
        for target, source in files.items():
            place = folder / target
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, symlinks=True, copy_function=link_or_copy)
            else:
                link_or_copy(str(source), str(place))
        command = ["docker", "build", "--quiet", "--network", "host", "--tag", tag]
        for key, value in arguments.items():
            command += ["--build-arg", f"{key}={value}"]
        context.runner.run(
            [*command, str(folder)],
            env=build_environment(context),
            log=context.log(f"image-{name}"),
        )


def build_environment(context: Context) -> dict[str, str]:
    """Which builder: BuildKit where the client has it, else the one in the daemon."""
    try:
        context.runner.run(["docker", "buildx", "version"])
    except PlatformError:
        return {"DOCKER_BUILDKIT": "0"}
    return {}


def link_or_copy(source: str, target: str) -> str:
    """A second name for the same file where the disk allows it, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def tag_as(context: Context, source: str, target: str) -> None:
    """Give an image a second name. Safe to repeat."""
    context.runner.run(["docker", "tag", source, target])


def image_id(context: Context, tag: str) -> str:
    """The content address of an image, without its `sha256:`."""
    out = context.runner.run(["docker", "image", "inspect", "--format", "{{.Id}}", tag])
    return out.strip().removeprefix("sha256:")
