"""
Programs built from Go modules, by the toolchain of this machine.

The module proxy and its checksum database say what a version is, so a pinned
version is a pinned content. Results are cached by module, version, flags and
the toolchain's version.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hailstorm_platform import versions
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.inputs import cached, hash_of

# Without symbol tables and local paths: a third smaller, and the same bytes
# wherever they are built.
BUILD_FLAGS: Final = ("-trimpath", "-ldflags", "-s -w")
# Static programs, which run on an empty image as well.
BUILD_ENVIRONMENT: Final = {"CGO_ENABLED": "0"}


@dataclass(frozen=True)
class GoTool:
    """A program: `package` of `module` at `version`, called `name` once built."""

    name: str
    module: str
    version: str
    package: str


KIND: Final = GoTool("kind", "sigs.k8s.io/kind", versions.KIND, "sigs.k8s.io/kind")
HELM: Final = GoTool("helm", "helm.sh/helm/v3", versions.HELM, "helm.sh/helm/v3/cmd/helm")
BUF: Final = GoTool(
    "buf", "github.com/bufbuild/buf", versions.BUF, "github.com/bufbuild/buf/cmd/buf"
)
GHZ: Final = GoTool("ghz", "github.com/bojand/ghz", versions.GHZ, "github.com/bojand/ghz/cmd/ghz")
FORTIO: Final = GoTool("fortio", "fortio.org/fortio", versions.FORTIO, "fortio.org/fortio")
COREDNS: Final = GoTool(
    "coredns", "github.com/coredns/coredns", versions.COREDNS, "github.com/coredns/coredns"
)
ETCD: Final = GoTool(
    "etcd", "go.etcd.io/etcd/server/v3", versions.ETCD, "go.etcd.io/etcd/server/v3"
)
METRICS_SERVER: Final = GoTool(
    "metrics-server",
    "sigs.k8s.io/metrics-server",
    versions.METRICS_SERVER,
    "sigs.k8s.io/metrics-server/cmd/metrics-server",
)
LOCAL_PATH_PROVISIONER: Final = GoTool(
    "local-path-provisioner",
    "github.com/rancher/local-path-provisioner",
    versions.LOCAL_PATH_PROVISIONER,
    "github.com/rancher/local-path-provisioner",
)


def parse_go_version(text: str) -> tuple[int, int]:
    """`go version go1.26.8 linux/amd64` → (1, 26)."""
    match = re.search(r"go(\d+)\.(\d+)", text)
    if match is None:
        raise PlatformError(f"`go version` says {text!r}; install Go 1.24 or later.")
    return int(match[1]), int(match[2])


def go_version(context: Context) -> str:
    """The toolchain's version line; raises when Go is missing or too old."""
    needed = ".".join(map(str, versions.GO_MINIMUM))
    if shutil.which("go") is None:
        raise PlatformError(f"Go is not installed; install Go {needed} or later.")
    text = context.runner.run(["go", "version"]).strip()
    if parse_go_version(text) < versions.GO_MINIMUM:
        raise PlatformError(f"{text} is too old; install Go {needed} or later.")
    return text


def build(context: Context, tool: GoTool) -> Path:
    """The built program's path; builds it when the cache has none."""
    digest = hash_of(
        ["go-tool", tool.module, tool.version, tool.package, *BUILD_FLAGS, go_version(context)]
    )

    def make(folder: Path) -> None:
        with context.report.step(f"build {tool.name} {tool.version}"):
            # A module of our own: `go install module@version` refuses modules
            # with replace directives (etcd), and this way is the same for all.
            build_in_module(
                context,
                folder,
                requirement=f"module hailstorm.dev/tools/{tool.name}\n",
                commands=[
                    ["go", "get", f"{tool.package}@{tool.version}"],
                    ["go", "install", *BUILD_FLAGS, tool.package],
                ],
                log=tool.name,
            )
            (built,) = folder.iterdir()
            built.rename(folder / tool.name)

    return cached(context.paths, f"go-{tool.name}", digest, make) / tool.name


def build_in_module(
    context: Context,
    target: Path,
    *,
    requirement: str,
    commands: list[list[str]],
    log: str,
    sources: Mapping[str, str] | None = None,
) -> None:
    """Run Go commands inside a throw-away module; programs go to `target`."""
    environment = {**BUILD_ENVIRONMENT, "GOBIN": str(target)}
    path = context.log(f"go-{log}")
    with tempfile.TemporaryDirectory(prefix="hailstorm-go-") as scratch:
        Path(scratch, "go.mod").write_text(requirement)
        for name, text in (sources or {}).items():
            Path(scratch, name).write_text(text)
        for command in commands:
            # Tests and clusters run beside a build, and they have deadlines.
            context.runner.run(
                ["nice", "-n", "10", *command], cwd=Path(scratch), env=environment, log=path
            )


def module_directory(context: Context, module: str, version: str) -> Path:
    """Where the module cache keeps the source of a module; downloads it if needed."""
    out = context.runner.run(
        ["go", "mod", "download", "-json", f"{module}@{version}"], env=BUILD_ENVIRONMENT
    )
    match = re.search(r'"Dir":\s*"([^"]+)"', out)
    if match is None:
        raise PlatformError(f"Go names no folder for {module}@{version}: {out.strip()[:200]}")
    return Path(match[1])


def link(context: Context, program: Path, name: str | None = None) -> Path:
    """Make `.hailstorm/bin/<name>` point at a built program; safe to repeat."""
    context.paths.bin.mkdir(parents=True, exist_ok=True)
    path = context.paths.bin / (name or program.name)
    if path.is_symlink() and path.readlink() == program:
        return path
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(program)
    scratch.replace(path)
    return path
