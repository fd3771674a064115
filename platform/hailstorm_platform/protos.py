"""
Stubs from protos: generated into `services/`, and checked for drift.

A proto's package is its folder and its Python import, so what protoc writes is
used as it is. Verifying generates into a temporary folder and compares, which
catches a stub edited by hand as well as a proto changed without `make protos`.
"""

import filecmp
import shutil
import tempfile
from pathlib import Path
from typing import Final

from hailstorm_platform import venv
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError

# Where the stubs go, and what Envoy's JSON transcoder reads.
STUBS_FOLDER: Final = "services"
DESCRIPTORS: Final = "charts/hailstorm/files/hailstorm.pb"
# No proto of ours imports these, but Envoy needs them to write the details of
# an error as JSON.
DETAILS: Final = ("google/rpc/error_details.proto", "google/rpc/status.proto")
_PLUGINS: Final = ("mypy", "mypy_grpc")


def sources(root: Path) -> list[str]:
    """Every proto, relative to `protos/`, in a fixed order."""
    folder = root / "protos"
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.proto"))
    if not found:
        raise PlatformError(f"{folder} holds no proto.")
    return found


def lay_out_imports(context: Context) -> Path:
    """
    Copy google/api's protos to where buf.yaml looks for them.

    buf would otherwise ask a schema registry. Safe to repeat.
    """
    target = context.paths.root / ".hailstorm" / "third_party" / "protos" / "google" / "api"
    origin = venv.site_packages(context) / "google" / "api"
    for name in ("annotations.proto", "http.proto"):
        if not (target / name).exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin / name, target / name)
    return target.parents[1]


def generate(context: Context, stubs: Path, descriptors: Path) -> None:
    """Write stubs and descriptors; existing files are overwritten."""
    python = venv.install(context)
    stubs.mkdir(parents=True, exist_ok=True)
    descriptors.parent.mkdir(parents=True, exist_ok=True)
    plugins = python.parent
    context.runner.run(
        [
            *(str(python), "-m", "grpc_tools.protoc"),
            f"--proto_path={context.paths.root / 'protos'}",
            f"--proto_path={venv.site_packages(context)}",
            *[f"--plugin=protoc-gen-{name}={plugins / f'protoc-gen-{name}'}" for name in _PLUGINS],
            *[f"--{name}_out={stubs}" for name in ("python", "grpc_python", *_PLUGINS)],
            *sources(context.paths.root),
        ]
    )
    context.runner.run(
        [
            *(str(python), "-m", "grpc_tools.protoc"),
            f"--proto_path={context.paths.root / 'protos'}",
            f"--proto_path={venv.site_packages(context)}",
            *(f"--descriptor_set_out={descriptors}", "--include_imports"),
            *sources(context.paths.root),
            *DETAILS,
        ]
    )


def generate_in_place(context: Context) -> None:
    """Regenerate what is committed, and remove stubs whose proto is gone."""
    root = context.paths.root
    with context.report.step("generate stubs from protos"):
        generate(context, root / STUBS_FOLDER, root / DESCRIPTORS)
        for path in stale(root / STUBS_FOLDER, sources(root)):
            path.unlink()


def is_stub(path: Path) -> bool:
    """Whether protoc or a plugin of it wrote this file."""
    return any(
        path.name.endswith(f"{kind}.py{i}") for kind in ("_pb2", "_pb2_grpc") for i in ("", "i")
    )


def stale(stubs: Path, protos: list[str]) -> list[Path]:
    """Stubs that no proto stands behind."""
    known = {proto.removesuffix(".proto") for proto in protos}
    return [
        path
        for path in sorted(stubs.rglob("*_pb2*.py*"))
        if is_stub(path) and str(path.relative_to(stubs)).partition("_pb2")[0] not in known
    ]


def drift(committed: Path, fresh: Path) -> list[str]:
    """Names of generated files that differ or are missing in `committed`."""
    return [
        str(path.relative_to(fresh))
        for path in sorted(fresh.rglob("*"))
        if path.is_file()
        and not (
            (committed / path.relative_to(fresh)).is_file()
            and filecmp.cmp(path, committed / path.relative_to(fresh), shallow=False)
        )
    ]


def verify(context: Context) -> None:
    """Raise when a committed stub is not what its proto generates."""
    root = context.paths.root
    with context.report.step("verify stubs"), tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(context, fresh / STUBS_FOLDER, fresh / DESCRIPTORS)
        wrong = drift(root, fresh)
        wrong += [str(path.relative_to(root)) for path in stale(root / STUBS_FOLDER, sources(root))]
    if wrong:
        raise PlatformError(f"Run `make protos` and commit: {', '.join(wrong)} not as generated.")
