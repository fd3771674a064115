"""What runs on the demo's cluster: how it is called, and which exit codes are verdicts."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from hailstorm_drills.__main__ import make_parser
from hailstorm_platform import charts, cluster, demo, stack, venv
from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError

IMAGES = (Path("images.yaml"), Path("images-next.yaml"))


class Attended:
    """Commands that a reader watches; each ends with the same code."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.words: list[str] = []

    def attend(self, words: Sequence[str], cwd: Path) -> int:
        self.words = list(words)
        return self.code


@pytest.fixture(autouse=True)
def cluster_that_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venv, "install", lambda _: None)
    monkeypatch.setattr(stack, "cluster_with_images", lambda *_: None)
    monkeypatch.setattr(stack, "load_both_versions", lambda *_: IMAGES)
    monkeypatch.setattr(stack, "reach", lambda *_: nullcontext())
    monkeypatch.setattr(charts, "install", lambda *_: None)


def test_a_drain_test_is_called_as_the_drills_take_it(context: Context) -> None:
    commands = Attended(2)
    assert demo.drain_test(context, commands, ["--component", "location"]) == 2  # type: ignore[arg-type]
    assert commands.words[:3] == [str(context.paths.venv_python), "-m", "hailstorm_drills"]
    options = make_parser().parse_args(commands.words[3:])
    assert (options.command, options.component) == ("drain-test", "location")
    assert options.values == ["images.yaml", str(charts.demo_values(context))]
    assert options.kubeconfig == context.paths.kubeconfig(cluster.DEMO.name)


def test_a_drill_is_called_as_the_drills_take_it(context: Context) -> None:
    commands = Attended(1)
    assert demo.run(context, commands, ["kill-pod", "--twin"]) == 1  # type: ignore[arg-type]
    options = make_parser().parse_args(commands.words[3:])
    assert (options.command, options.drill, options.twin) == ("run", "kill-pod", True)
    assert options.next_values == ["images-next.yaml", str(charts.demo_values(context))]


@pytest.mark.parametrize("code", [3, 64, 70])
def test_what_is_no_verdict_is_an_error(context: Context, code: int) -> None:
    with pytest.raises(PlatformError, match=f"drain-test ended with exit code {code}"):
        demo.drain_test(context, Attended(code), [])  # type: ignore[arg-type]
