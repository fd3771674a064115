"""
The virtual environment, and wheels for the images.

Every dependency is installed from a lock with hashes. `uv` does the installing:
it also resolves for the Python of the images, which the host need not have.
"""

import shutil
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from hailstorm_platform import apt, host, versions
from hailstorm_platform.context import Context
from hailstorm_platform.inputs import cached, hash_of, locked

_FILES: Final = Path(__file__).parent / "files"
# Folders whose packages the environment can import, as an editable install
# would arrange it; written by us, because hatchling is then not needed.
SOURCE_FOLDERS: Final = (
    *("services", "operator", "drills", "loadtests", "platform", "benchmarks"),
)
# As under [project.scripts] of pyproject.toml; a test compares them.
PROGRAMS: Final = {
    "hailstorm": "hailstorm_operator.console",
    "kubectl-hailstorm": "hailstorm_operator.plugin",
}
LOCKS: Final = ("services", "operator", "drills", "dev")


def uv_program(context: Context) -> Path:
    """The path of uv; installed from PyPI by hash when not there."""
    lock = _FILES / "uv.lock"
    digest = hash_of(["uv", lock.read_text(), sys.version])

    def make(folder: Path) -> None:
        if find_spec("ensurepip") is None:
            # Debian ships the module without the wheels it needs.
            apt.install(context, ["python3-venv"], "a virtual environment")
        with context.report.step(f"install uv {versions.UV}"), tempfile.TemporaryDirectory() as t:
            log = context.log("uv")
            # A venv cannot be moved, but the program inside it can.
            context.runner.run([sys.executable, "-m", "venv", t], log=log)
            context.runner.run(
                [
                    *(f"{t}/bin/python", "-m", "pip", "install", "--quiet", "--require-hashes"),
                    *("--no-deps", "-r", str(lock)),
                ],
                log=log,
            )
            shutil.move(f"{t}/bin/uv", folder / "uv")

    return cached(context.paths, "uv", digest, make) / "uv"


def wheel_arguments() -> list[str]:
    """Arguments that make uv choose wheels for the images, not for the host."""
    return [
        f"--python-version={versions.IMAGE_PYTHON}",
        f"--python-platform={host.wheel_platform()}-{versions.MANYLINUX}",
        "--only-binary=:all:",
    ]


def uv_environment(context: Context) -> dict[str, str]:
    """uv's own cache, inside ours."""
    return {"UV_CACHE_DIR": str(context.paths.cache / "uv")}


def install(context: Context) -> Path:
    """
    Make the virtual environment match `requirements/dev.lock`; return its Python.

    Packages that the lock does not name are removed. Safe to repeat: nothing is
    done when the lock, the Python and this checkout are those of the last time.
    """
    lock = context.paths.root / "requirements" / "dev.lock"
    python = context.paths.venv_python
    stamp = context.paths.venv / ".hailstorm-inputs"
    digest = hash_of(
        ["venv", lock.read_text(), sys.version, str(context.paths.root), *SOURCE_FOLDERS]
    )
    with locked(context.paths.home / "venv.lock"):
        _write_programs(context, python)
        if python.exists() and stamp.exists() and stamp.read_text() == digest:
            return python
        uv = str(uv_program(context))
        with context.report.step("install dependencies into .hailstorm/venv"):
            log = context.log("venv")
            environment = uv_environment(context)
            if not python.exists():
                context.runner.run(
                    [uv, "venv", "--clear", "--python", sys.executable, str(context.paths.venv)],
                    env=environment,
                    log=log,
                )
            stamp.unlink(missing_ok=True)
            context.runner.run(
                [uv, "pip", "sync", "--python", str(python), "--require-hashes", str(lock)],
                env=environment,
                log=log,
            )
            _make_sources_importable(context)
            stamp.write_text(digest)
    return python


def site_packages(context: Context) -> Path:
    """The folder of the virtual environment that packages are installed into."""
    variables = {"base": str(context.paths.venv), "platbase": str(context.paths.venv)}
    return Path(sysconfig.get_path("purelib", "venv", vars=variables))


def _make_sources_importable(context: Context) -> None:
    lines = [str(context.paths.root / folder) for folder in SOURCE_FOLDERS]
    (site_packages(context) / "hailstorm.pth").write_text("\n".join(lines) + "\n")


def _write_programs(context: Context, python: Path) -> None:
    """
    Put what pyproject.toml calls its scripts for people where README's PATH finds it.

    kubectl takes `kubectl-hailstorm` for its own command `hailstorm`.
    """
    for name, module in PROGRAMS.items():
        program = context.paths.bin / name
        text = f'#!/bin/sh\nexec "{python}" -c "import sys; from {module} import main; '
        text += 'sys.exit(main())" "$@"\n'
        if not program.exists() or program.read_text() != text:
            program.write_text(text)
            program.chmod(0o755)


def image_site(context: Context, target: str) -> Path:
    """The dependencies of an image, as a folder to copy into it."""
    lock = context.paths.root / "requirements" / f"{target}.lock"
    arguments = wheel_arguments()
    digest = hash_of(["site", lock.read_text(), *arguments])

    def make(folder: Path) -> None:
        with context.report.step(f"download the wheels of image {target}"):
            context.runner.run(
                [
                    *(str(uv_program(context)), "pip", "install", "--quiet", *arguments),
                    *("--require-hashes", "--target", str(folder), "-r", str(lock)),
                ],
                env=uv_environment(context),
                log=context.log(f"site-{target}"),
            )
            # uv's mark for its own lock, and programs that no image starts.
            (folder / ".lock").unlink(missing_ok=True)
            shutil.rmtree(folder / "bin", ignore_errors=True)

    return cached(context.paths, f"site-{target}", digest, make)


def lock_requirements(context: Context) -> None:
    """Resolve pyproject.toml's extras anew into `requirements/*.lock`."""
    uv = str(uv_program(context))
    for extra in LOCKS:
        with context.report.step(f"lock requirements/{extra}.lock"):
            context.runner.run(
                [
                    *(uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
                    *("--no-emit-index-url", "--no-emit-find-links", "--no-emit-package=hailstorm"),
                    *("--python-version", ".".join(map(str, versions.PYTHON_MINIMUM))),
                    *("--custom-compile-command", "make lock", f"--extra={extra}"),
                    *("--output-file", f"requirements/{extra}.lock", "pyproject.toml"),
                ],
                cwd=context.paths.root,
                env=uv_environment(context),
                log=context.log(f"lock-{extra}"),
            )
