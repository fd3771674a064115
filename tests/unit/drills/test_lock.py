"""A lock counts while its holder may be at work, and not a moment longer."""

import pytest

from hailstorm_drills.lock import staleness

HOLDER = {"drill": "rolling-deploy", "host": "here", "pid": "41", "until": "1000"}


@pytest.mark.parametrize(
    ("changes", "now", "is_alive", "why"),
    [
        ({}, 999.0, True, None),
        ({}, 1001.0, True, "its time has run out"),
        ({}, 999.0, False, "its holder, process 41, is gone"),
        # Of another machine's processes nothing is known.
        ({"host": "there"}, 999.0, False, None),
        ({"host": "there"}, 1001.0, True, "its time has run out"),
        ({"until": "soon"}, 0.0, True, "it does not say whose it is"),
        ({"pid": ""}, 0.0, True, "it does not say whose it is"),
    ],
)
def test_lock_is_stale(
    changes: dict[str, str], now: float, is_alive: bool, why: str | None
) -> None:
    assert staleness({**HOLDER, **changes}, now, "here", lambda _: is_alive) == why
