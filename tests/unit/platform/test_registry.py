"""Which way images come: a setting, a memory, or one probe."""

import pytest

from hailstorm_platform.context import Context
from hailstorm_platform.errors import PlatformError
from hailstorm_platform.registry import Source, decide_source, find_source, probe


def never() -> bool:
    raise AssertionError("the probe must not run")


@pytest.mark.parametrize(
    ("setting", "remembered", "expected"),
    [
        ("yes", "", Source.REGISTRY),
        ("no", "yes", Source.BUILT),
        ("auto", "yes", Source.REGISTRY),
        ("", "no", Source.BUILT),
    ],
)
def test_decision_needs_no_probe_when_it_was_set_or_remembered(
    setting: str, remembered: str, expected: Source
) -> None:
    assert decide_source(setting, remembered, never) is expected


def test_decision_follows_the_probe_when_nothing_is_known() -> None:
    assert decide_source("auto", "", lambda: True) is Source.REGISTRY
    assert decide_source("", "", lambda: False) is Source.BUILT


def test_decision_refuses_a_setting_it_does_not_know() -> None:
    with pytest.raises(PlatformError, match="HAILSTORM_REGISTRY='maybe'"):
        decide_source("maybe", "", never)


def test_probe_is_no_when_the_pull_fails(context, runner) -> None:
    runner.answer("pull", with_=1)
    assert probe(context) is False


def test_answer_is_kept_for_the_next_run(context: Context, runner) -> None:
    assert find_source(context, {}) is Source.REGISTRY
    runner.answer("pull", with_=1)
    assert find_source(context, {}) is Source.REGISTRY
    assert sum("pull" in call for call in runner.calls) == 1
