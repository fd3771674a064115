"""
Debian packages for the host, and the mirror that its own apt uses.

The mirror is read from the host's sources because it is known to be reachable
from here, which no name written in this file would be.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.host import has_apt, is_root

_POLICY: Final = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True)
class Source:
    """One line, or one stanza, of apt's sources."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]


def parse_one_line(text: str) -> list[Source]:
    """`deb [options] uri suite component…`, the format of *.list."""
    found = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)", line.strip())
        if match:
            components = match[3].split("#")[0].split()
            found.append(Source(match[1], (match[2],), tuple(components)))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Stanzas of `Key: value` with continuation lines, the format of *.sources."""
    found = []
    # A comment may stand between the lines of a stanza; it ends none.
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1].isspace() and key:
                fields[key] += " " + line.strip()
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false", "off", "0"):
            continue
        suites = tuple(fields.get("suites", "").split())
        components = tuple(fields.get("components", "").split())
        found += [Source(uri, suites, components) for uri in fields.get("uris", "").split()]
    return found


def choose_mirror(sources: Iterable[Source], codename: str) -> str | None:
    """
    The mirror that holds all of Debian: it has suite `codename` with `main`.

    Mirrors of security updates and of other vendors have other suites.
    """
    for source in sources:
        http = source.uri.startswith(("http://", "https://"))
        if http and codename in source.suites and "main" in source.components:
            return source.uri.rstrip("/")
    return None


def debian_mirror(
    environment: Mapping[str, str] = os.environ,
    etc: Path = Path("/etc"),
) -> str:
    """The mirror to make images from; HAILSTORM_DEBIAN_MIRROR overrides."""
    override = environment.get("HAILSTORM_DEBIAN_MIRROR", "")
    if override:
        return override.rstrip("/")
    release = dict(
        line.partition("=")[::2]
        for line in (etc / "os-release").read_text().splitlines()
        if "=" in line
    )
    if release.get("ID", "").strip('"') == "debian":
        sources = [
            source
            for path in sorted((etc / "apt").glob("sources.list*/*.sources"))
            for source in parse_deb822(path.read_text())
        ]
        lists = [etc / "apt" / "sources.list", *sorted((etc / "apt").glob("sources.list.d/*.list"))]
        for path in lists:
            if path.is_file():
                sources += parse_one_line(path.read_text())
        mirror = choose_mirror(sources, release.get("VERSION_CODENAME", "").strip('"'))
        if mirror:
            return mirror
    raise PlatformError(
        "No container registry answers and this host's apt names no Debian mirror; "
        "set HAILSTORM_DEBIAN_MIRROR to one."
    )


def install(context: Context, packages: list[str], purpose: str) -> None:
    """
    Install Debian packages, without starting the services they bring.

    Raises one sentence where that is not possible. Safe to repeat.
    """
    wanted = " ".join(packages)
    if not has_apt():
        raise PlatformError(f"{purpose} needs {wanted}; install them, this host has no apt-get.")
    if not is_root():
        raise PlatformError(f"{purpose} needs `apt-get install {wanted}`; run that as root.")
    log = context.log(f"apt-{packages[0]}")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with context.report.step(f"apt-get install {wanted}"), _services_stay_off():
        context.runner.run(["apt-get", "update"], env=environment, log=log)
        context.runner.run(
            [
                *("apt-get", "install", "-y", "--no-install-recommends"),
                *("-o", "DPkg::Lock::Timeout=300", *packages),
            ],
            env=environment,
            log=log,
        )


@contextmanager
def _services_stay_off() -> Iterator[None]:
    # Packages start their services through invoke-rc.d, which asks this file.
    # A host that has one already has decided for itself.
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
