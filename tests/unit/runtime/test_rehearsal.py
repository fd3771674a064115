"""A release that is bad on purpose is exactly as bad as it was told to be."""

import asyncio
from typing import Any

import grpc
import pytest

from hailstorm.runtime.process import RehearsalSettings
from hailstorm.runtime.rehearsal import Rehearsal, RehearsedError, build_rehearsal
from hailstorm.runtime.settings import SettingsError, read_settings, variables


async def outcomes(clock: Any, pod: str, n: int = 2000, **settings: Any) -> list[bool]:
    """For each of `n` calls whether it was let through."""
    rehearsal = Rehearsal(RehearsalSettings(**settings), clock, pod)
    found = []
    for _ in range(n):
        try:
            await rehearsal.before()
            found.append(True)
        except RehearsedError:
            found.append(False)
    return found


def test_nothing_is_wrong_by_default(clock: Any) -> None:
    settings = read_settings(RehearsalSettings, {})
    assert not settings.is_on
    assert build_rehearsal(settings, clock, "pod") is None


async def test_share_of_calls_fails(clock: Any) -> None:
    found = await outcomes(clock, "pod", fail_share=0.05)
    # 100 are expected; five standard deviations, and the draw is a fixed one.
    assert 51 <= found.count(False) <= 149


@pytest.mark.parametrize(("share", "passed"), [(0.0, 2000), (1.0, 0)])
async def test_ends_of_the_share_are_none_and_all(clock: Any, share: float, passed: int) -> None:
    assert (await outcomes(clock, "pod", fail_share=share)).count(True) == passed


async def test_draw_is_repeated_by_the_same_pod_and_seed_alone(clock: Any) -> None:
    first = await outcomes(clock, "pod-a", fail_share=0.05, seed=7)
    assert await outcomes(clock, "pod-a", fail_share=0.05, seed=7) == first
    # Else all pods of a release would fail their third call, and 30 "identical"
    # releases would be one release 30 times.
    assert await outcomes(clock, "pod-b", fail_share=0.05, seed=7) != first
    assert await outcomes(clock, "pod-a", fail_share=0.05, seed=8) != first


async def test_delay_comes_before_the_call_is_served(clock: Any) -> None:
    rehearsal = Rehearsal(RehearsalSettings(delay_milliseconds=200), clock, "pod")
    task = asyncio.ensure_future(rehearsal.before())
    await clock.run(0.19)
    assert not task.done()
    await clock.run(0.02)
    await task


def test_users_feel_the_failure() -> None:
    # UNAVAILABLE the edge would try again on a good pod (edge.retries).
    assert RehearsedError.code is grpc.StatusCode.INTERNAL


def test_release_that_is_never_ready_spoils_no_call(clock: Any) -> None:
    settings = RehearsalSettings(never_ready=True)
    assert settings.is_on
    assert build_rehearsal(settings, clock, "pod") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HAILSTORM_FAIL_SHARE", "1.01"),
        ("HAILSTORM_FAIL_SHARE", "-0.1"),
        ("HAILSTORM_FAIL_SHARE", "nan"),
        ("HAILSTORM_DELAY_MILLISECONDS", "60001"),
        ("HAILSTORM_NEVER_READY", "yes"),
    ],
)
def test_nonsense_is_refused(name: str, value: str) -> None:
    assert name in {variable.name for variable in variables(RehearsalSettings)}
    with pytest.raises(SettingsError, match=name):
        read_settings(RehearsalSettings, {name: value})
