"""A context whose commands are recorded instead of run."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from hailstorm_platform.context import Context
from hailstorm_platform.errors import CommandError
from hailstorm_platform.paths import Paths
from hailstorm_platform.report import Report


class FakeRunner:
    """Answers by the first rule whose words all occur in the command."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.rules: list[tuple[tuple[str, ...], str | int | Callable[[], str]]] = []

    def answer(self, *words: str, with_: str | int | Callable[[], str]) -> None:
        """A text is the command's output, a number the exit code of its failure."""
        self.rules.append((words, with_))

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: Path | str | None = None,
        timeout: float | None = None,
        log: Path | None = None,
    ) -> str:
        self.calls.append(tuple(arguments))
        for words, answer in self.rules:
            if all(word in arguments for word in words):
                if isinstance(answer, int):
                    raise CommandError(arguments, answer, "no such thing")
                return answer() if callable(answer) else answer
        return ""

    def called(self, *words: str) -> bool:
        """Whether a command with all these words was run."""
        return any(all(word in call for word in words) for call in self.calls)


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def context(tmp_path: Path, runner: FakeRunner, output: io.StringIO) -> Context:
    paths = Paths(root=tmp_path / "root", home=tmp_path / "home")
    paths.root.mkdir()
    paths.create()
    return Context(paths, runner, Report(output))
