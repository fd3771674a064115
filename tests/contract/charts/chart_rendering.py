"""
Renders charts/hailstorm as Helm does, for tests to look at.

Everything goes through the real helm: a chart that only a test's own reading of
it can render is no chart.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "hailstorm"
NAMESPACE = "hailstorm"

Manifest = dict[str, Any]


class RenderError(Exception):
    """Helm refused; the text is what it said."""


def find_tool(name: str) -> str:
    """Find a program of the platform; AssertionError with the cure when there is none."""
    home = Path(os.environ.get("HAILSTORM_HOME", ROOT / ".hailstorm"))
    # Envoy is unpacked for its image alone, so there is no link to it in bin/.
    unpacked = sorted((home / "cache").glob(f"{name}-*/{name}"), key=lambda p: p.stat().st_mtime)
    candidates = [home / "bin" / name, *reversed(unpacked)]
    found = next((str(path) for path in candidates if path.is_file()), shutil.which(name))
    assert found, f"{name} is neither under {home.name}/ nor in PATH; run `make images`"
    return found


def helm(*arguments: str) -> str:
    """Run helm; RenderError with its words when it fails."""
    done = subprocess.run(
        [find_tool("helm"), *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode != 0:
        raise RenderError(done.stderr + done.stdout)
    return done.stdout


@cache
def render_text(*arguments: str) -> str:
    """The manifests as one text; `arguments` are helm's, for instance "--set", "a=b"."""
    return helm("template", "hailstorm", str(CHART), "--namespace", NAMESPACE, *arguments)


def render(*arguments: str) -> list[Manifest]:
    """The manifests as objects."""
    return [one for one in yaml.safe_load_all(render_text(*arguments)) if one]


def ci_values(name: str) -> str:
    """The path of ci/<name>-values.yaml."""
    return str(CHART / "ci" / f"{name}-values.yaml")


def pick(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one object of this kind and name."""
    (one,) = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name]
    return one


def pod_specs(manifests: list[Manifest]) -> dict[str, Any]:
    """The pod spec of every workload, by "Kind/name"."""
    return {
        f"{m['kind']}/{m['metadata']['name']}": m["spec"]["template"]["spec"]
        for m in manifests
        if m["kind"] in ("Deployment", "StatefulSet", "Job")
    }


def environment(manifests: list[Manifest], deployment: str) -> dict[str, Any]:
    """The environment of a Deployment's only container; a reference stays an object."""
    (container,) = pick(manifests, "Deployment", deployment)["spec"]["template"]["spec"][
        "containers"
    ]
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


def default_values() -> dict[str, Any]:
    """values.yaml as it is."""
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return values
