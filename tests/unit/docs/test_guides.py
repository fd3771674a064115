"""What a guide says to type can be typed: programs, targets, files, requests."""

import itertools
import re
import shlex
from pathlib import Path

import pytest

from hailstorm_drills.__main__ import make_parser as drills_parser
from hailstorm_drills.calibration.__main__ import make_parser as calibrate_parser
from hailstorm_drills.comparison.__main__ import make_parser as compare_parser
from hailstorm_loadtests.profile import Profile, from_mapping
from hailstorm_platform import cli, cluster, stack, venv
from hailstorm_platform.context import Context
from hailstorm_platform.paths import Paths
from hailstorm_platform.report import Report

ROOT = Path(__file__).parents[3]
PAGES = [*sorted((ROOT / "docs" / "guides").glob("*.md")), ROOT / "README.md"]
PATHS = Paths(ROOT, Path(".hailstorm"))


def commands_of(page: Path) -> list[list[str]]:
    """The words of each line in a page's `sh` blocks, comments left out."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        # Quotes that span lines belong to shells and JSON, which are not asked about here.
        if line.startswith(("make ", "python ", "hailstorm ", "helm ")):
            found.append(shlex.split(line, comments=True))
    return found


def commands(*start: str) -> list[list[str]]:
    """What follows these words, wherever a page has them."""
    every = [words for page in PAGES for words in commands_of(page)]
    return [words[len(start) :] for words in every if words[: len(start)] == list(start)]


def parsed_by(parser, words: list[str]) -> bool:
    try:
        parser.parse_args(words)
    except SystemExit:
        return False
    return True


def test_drills_are_called_as_they_are_called() -> None:
    typed = commands("python", "-m", "hailstorm_drills")
    assert {words[0] for words in typed} >= {"list", "plan", "run", "drain-test"}
    # A directory in capitals stands for the reader's own.
    assert [words for words in typed if not parsed_by(drills_parser(), words)] == []


def test_calibrations_and_comparisons_are_called_as_they_are_called() -> None:
    typed = commands("hailstorm", "calibrate")
    assert ["fortio", "-n", "fortio", "--method", "/fgrpc.PingServer/Ping"] in typed
    assert [words for words in typed if not parsed_by(calibrate_parser(), words)] == []
    given = ["--kubeconfig", "k", "--values", "v", "--output", "o"]
    for words in commands("make", "compare"):
        own = shlex.split(words[0].removeprefix("COMPARE=")) if words else []
        assert parsed_by(compare_parser(), given + own), words


def test_every_target_that_is_typed_is_in_the_makefile() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    assert {words[0] for words in commands("make")} - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_make_leaves_behind_are_named_as_they_are(page: Path) -> None:
    context = Context(PATHS, None, Report(None))  # type: ignore[arg-type]
    there = {
        PATHS.kubeconfig(cluster.DEMO.name),
        PATHS.image_values(cluster.DEMO.name),
        stack.next_values_path(context, cluster.DEMO),
        PATHS.reports,
        PATHS.bin,
        PATHS.venv,
        *(PATHS.bin / name for name in venv.PROGRAMS),
        PATHS.venv / "bin",
        PATHS.home,
        PATHS.run,
    }
    named = re.findall(r"\.hailstorm/[\w./-]*\w", page.read_text(encoding="utf-8"))
    strangers = [
        name
        for name in named
        if Path(name) not in there and PATHS.reports not in Path(name).parents
    ]
    assert strangers == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_values_that_are_typed_are_files(page: Path) -> None:
    # What lies there is asked for above.
    made = str(PATHS.run)
    for words in commands_of(page):
        for option, file in itertools.pairwise(words):
            if option in ("--values", "--next-values"):
                assert str(Path(file).parent) == made or (ROOT / file).is_file(), file


def test_an_upgrade_keeps_what_the_release_was_given() -> None:
    """The images are values: an upgrade without them asks for pods that nobody can pull."""
    keeping = {"--reuse-values", "--reset-then-reuse-values"}
    upgrades = [
        words for page in PAGES for words in commands_of(page) if words[:2] == ["helm", "upgrade"]
    ]
    assert upgrades
    assert [words for words in upgrades if not keeping & set(words)] == []


def test_a_rehearsal_is_taken_back_by_a_whole_command_and_has_a_load() -> None:
    typed = commands_of(ROOT / "docs" / "guides" / "roll-out-safely.md")
    helm = [words for words in typed if words[0] == "helm"]
    assert [words[-1] for words in helm] == [
        "location.rehearsal.failShare=0.05",
        "location.rehearsal.failShare=0",
    ]
    (load,) = (words for words in typed if words[:3] == ["python", "-m", "hailstorm_loadtests"])
    assert f"127.0.0.1:{cluster.DEMO.edge_port}" in load
    assert "duration_seconds=300" in load
    from_mapping({"duration_seconds": 300}, Profile())


def test_requests_typed_by_hand_are_ones_that_envoy_answers() -> None:
    """It answers HTTP/1.0 with 426, and one that stays open until somebody ends it."""
    requests = [
        request
        for page in PAGES
        for request in re.findall(r'printf "(GET [^"]*)"', page.read_text(encoding="utf-8"))
    ]
    assert requests
    for request in requests:
        first, *headers = request.split("\\r\\n")
        assert first.endswith(" HTTP/1.1")
        assert headers[-2:] == ["", ""]
        assert {header.partition(":")[0] for header in headers[:-2]} == {"Host", "Connection"}


def test_a_drain_test_takes_its_own_options() -> None:
    options = cli.parser().parse_args(["drain-test", "--", "--component", "location"])
    assert options.arguments == ["--component", "location"]
