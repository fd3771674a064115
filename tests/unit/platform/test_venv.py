"""Programs for people, beside the tools."""

import subprocess
import sys
import tomllib
from pathlib import Path

from hailstorm_platform import venv
from hailstorm_platform.context import Context

ROOT = Path(__file__).parents[3]


def test_programs_are_those_of_the_package() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, module in venv.PROGRAMS.items():
        assert scripts[name] == f"{module}:main"


def test_program_passes_words_and_exit_code_on(context: Context) -> None:
    venv._write_programs(context, Path(sys.executable))
    done = subprocess.run(
        [context.paths.bin / "kubectl-hailstorm", "no", "such command"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 64
    assert "hailstorm rollout show" in done.stderr
