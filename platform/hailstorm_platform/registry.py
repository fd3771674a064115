"""
Is there a container registry? One honest probe decides how images are made.

The probe pulls one tiny image. Its answer holds until `make down`, so that a
registry that comes and goes does not change images below a running cluster;
HAILSTORM_REGISTRY=yes|no overrides it.
"""

import os
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError, PlatformError

# 13 kB, and on the same registry as everything that would be pulled.
PROBE_IMAGE: Final = "hello-world:latest"
# A working registry answers within a few seconds even on a slow line (a guess);
# a firewall that drops packets never does.
PROBE_SECONDS: Final = 25.0


class Source(Enum):
    """How images come to be."""

    REGISTRY = "pulled from a registry"
    BUILT = "built here, from Debian packages and Go modules"


def decide_source(setting: str, remembered: str, probe: Callable[[], bool]) -> Source:
    """The setting, else what an earlier run found, else what the probe says."""
    if setting not in ("", "auto", "yes", "no"):
        raise PlatformError(f"HAILSTORM_REGISTRY={setting!r} is not one of auto, yes, no.")
    if setting in ("yes", "no"):
        return Source.REGISTRY if setting == "yes" else Source.BUILT
    if remembered in ("yes", "no"):
        return Source.REGISTRY if remembered == "yes" else Source.BUILT
    return Source.REGISTRY if probe() else Source.BUILT


def probe(context: Context) -> bool:
    """Whether the daemon can pull one tiny image."""
    try:
        context.runner.run(["docker", "pull", "--quiet", PROBE_IMAGE], timeout=PROBE_SECONDS)
    except CommandError as error:
        reason = error.tail.strip().splitlines()[-1:] or ["no answer"]
        context.report.say(f"registry: none in reach ({reason[0].strip()[:120]})")
        return False
    return True


def find_source(context: Context, environment: Mapping[str, str] = os.environ) -> Source:
    """Decide, remember and say how images are made."""
    memory = context.paths.run / "registry"
    remembered = memory.read_text().strip() if memory.exists() else ""
    source = decide_source(
        environment.get("HAILSTORM_REGISTRY", ""), remembered, lambda: probe(context)
    )
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text("yes\n" if source is Source.REGISTRY else "no\n")
    context.report.say(f"images: {source.value}")
    return source
