"""
The images that everything else is made from: Debian, and Debian with Python.

With a registry the Python base is the official image. Without one, Debian comes
from the mirror that the host's own apt uses, by debootstrap.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from hailstorm_platform import apt, docker_images, host, versions
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.inputs import hash_of, locked
from hailstorm_platform.registry import Source

# One line, so that every image installs packages in the same way. The lists
# are dropped: they are stale the next day and weigh 20 MB.
INSTALL: Final = (
    "apt-get update && DEBIAN_FRONTEND=noninteractive "
    "apt-get install -y --no-install-recommends {packages} "
    "&& apt-get clean && rm -rf /var/lib/apt/lists/*"
)
_PYTHON: Final = "FROM {base}\nRUN " + INSTALL.format(packages="python3 tzdata") + "\n"


def debian(context: Context) -> str:
    """The tag of a minimal Debian, made by debootstrap."""
    mirror = apt.debian_mirror()
    digest = hash_of(["debootstrap", versions.DEBIAN_SUITE, "minbase", "ca-certificates"])
    tag = f"hailstorm/debian:{versions.DEBIAN_SUITE}-{digest}"
    with locked(context.paths.cache / ".locks" / f"image-{digest}"):
        if docker_images.exists(context, tag):
            return tag
        if not host.is_root():
            raise PlatformError("Building images without a registry needs root: debootstrap does.")
        if shutil.which("debootstrap") is None:
            apt.install(
                context,
                ["debootstrap", "debian-archive-keyring"],
                "building images without a registry",
            )
        with context.report.step(f"debootstrap {versions.DEBIAN_SUITE}"):
            _debootstrap(context, mirror, tag)
    return tag


def _debootstrap(context: Context, mirror: str, tag: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hailstorm-debian-") as scratch:
        root, archive = Path(scratch, "root"), Path(scratch, "root.tar")
        log = context.log("debootstrap")
        context.runner.run(
            [
                *("debootstrap", "--variant=minbase", "--include=ca-certificates"),
                *(versions.DEBIAN_SUITE, str(root), mirror),
            ],
            log=log,
        )
        # Packages as downloaded are of no use in an image.
        shutil.rmtree(root / "var" / "cache" / "apt" / "archives", ignore_errors=True)
        shutil.rmtree(root / "var" / "lib" / "apt" / "lists", ignore_errors=True)
        context.runner.run(["tar", "-C", str(root), "-cf", str(archive), "."], log=log)
        context.runner.run(["docker", "import", str(archive), tag], log=log)


def python(context: Context, source: Source) -> str:
    """The tag of an image with the Python that the services run on."""
    if source is Source.REGISTRY:
        official = f"python:{versions.IMAGE_PYTHON}-slim"
        return pulled(context, official, "hailstorm/base-python", versions.IMAGE_PYTHON)
    return docker_images.build(
        context,
        "hailstorm/base-python",
        _PYTHON.format(base=debian(context)),
        version=versions.IMAGE_PYTHON,
    )


def pulled(context: Context, official: str, repository: str, version: str) -> str:
    """
    Pull an official image once and give it our name and its own content's hash.

    What was pulled before is kept: a tag that moved must not change images
    below a running cluster. `make clean` fetches anew.
    """
    if not docker_images.exists(context, official):
        with context.report.step(f"docker pull {official}"):
            context.runner.run(["docker", "pull", "--quiet", official])
    digest = docker_images.image_id(context, official)[:12]
    tag = f"{repository}:{version}-{digest}"
    docker_images.tag_as(context, official, tag)
    return tag
