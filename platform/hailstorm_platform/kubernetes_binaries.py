"""
Kubernetes itself, built from its Go modules.

`k8s.io/kubernetes` is not meant to be imported: its staging modules are replaced
by folders that only its own checkout has. A module of our own replaces each of
them by the release that Kubernetes publishes beside it.
"""

import re
from pathlib import Path
from typing import Final

from hailstorm_platform import versions
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.go_tools import build_in_module, go_version, module_directory
from hailstorm_platform.inputs import cached, hash_of

MODULE: Final = "k8s.io/kubernetes"
PROGRAMS: Final = (
    "kubeadm",
    "kubelet",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubectl",
)


def render_go_mod(kubernetes_go_mod: str, version: str) -> str:
    """
    A go.mod that requires Kubernetes and replaces its staging modules.

    `kubernetes_go_mod` is the text of Kubernetes' own go.mod, which lists them.
    """
    staging = sorted(set(re.findall(r"=> \./staging/src/(\S+)", kubernetes_go_mod)))
    go = re.search(r"^go (\S+)", kubernetes_go_mod, re.MULTILINE)
    if not staging or go is None:
        raise PlatformError(f"the go.mod of Kubernetes {version} names no staging modules.")
    staged = "v0." + version.removeprefix("v1.")
    replaced = "".join(f"\t{module} => {module} {staged}\n" for module in staging)
    return (
        f"module hailstorm.dev/tools/kubernetes\n\ngo {go[1]}\n\n"
        f"require {MODULE} {version}\n\nreplace (\n{replaced})\n"
    )


def render_tools_go() -> str:
    """A Go file that makes `go mod tidy` keep what the programs need."""
    imports = "".join(f'\t_ "{MODULE}/cmd/{name}"\n' for name in PROGRAMS)
    return f"//go:build tools\n\npackage tools\n\nimport (\n{imports})\n"


def link_flags(version: str) -> str:
    """The linker flags by which `kubelet --version` and kubeadm know themselves."""
    major, minor, _ = version.removeprefix("v").split(".")
    flags = ["-s", "-w"]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        flags += ["-X", f"{package}.gitVersion={version}"]
        flags += ["-X", f"{package}.gitMajor={major}", "-X", f"{package}.gitMinor={minor}"]
    return " ".join(flags)


def build(context: Context) -> Path:
    """The folder with every program of Kubernetes; builds them when not cached."""
    version = versions.KUBERNETES
    flags = link_flags(version)
    digest = hash_of(["kubernetes", version, flags, *PROGRAMS, go_version(context)])

    def make(folder: Path) -> None:
        with context.report.step(f"build Kubernetes {version} (5 to 9 minutes on two cores)"):
            source = module_directory(context, MODULE, version)
            build_in_module(
                context,
                folder,
                requirement=render_go_mod((source / "go.mod").read_text(), version),
                sources={"tools.go": render_tools_go()},
                commands=[
                    ["go", "mod", "tidy"],
                    [
                        *("go", "install", "-trimpath", "-ldflags", flags),
                        *[f"{MODULE}/cmd/{name}" for name in PROGRAMS],
                    ],
                ],
                log="kubernetes",
            )

    return cached(context.paths, "kubernetes", digest, make)
