"""Settings: a misspelt one ends the process with a sentence."""

import pytest

from hailstorm_operator.cluster import REQUEST_TIMEOUT_SECONDS
from hailstorm_operator.leadership import BEATS_TO_HOLD, BEATS_TO_LAPSE
from hailstorm_operator.settings import (
    LEAST_HEARTBEAT_SECONDS,
    Settings,
    SettingsError,
    read_settings,
)


def test_defaults_hold_without_variables() -> None:
    assert read_settings({"PATH": "/bin"}) == Settings()


def test_values_are_parsed_by_their_kind() -> None:
    settings = read_settings(
        {"HAILSTORM_OPERATOR_NAMESPACES": "a, b,", "HAILSTORM_OPERATOR_HISTORY_LIMIT": "7"}
    )
    assert (settings.namespaces, settings.history_limit) == (("a", "b"), 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HISTORY_LIMITS", "7"),
        ("HISTORY_LIMIT", "seven"),
        ("HISTORY_LIMIT", "1"),
        ("LOG_LEVEL", "loud"),
        ("POLL_MILLISECONDS", "10"),
        ("HEARTBEAT_SECONDS", "5"),
    ],
)
def test_mistake_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"HAILSTORM_OPERATOR_{name}"):
        read_settings({f"HAILSTORM_OPERATOR_{name}": value})


def test_shortest_heartbeat_outlasts_a_request() -> None:
    """Else a write of the former leader can arrive after the next one's first."""
    fence = LEAST_HEARTBEAT_SECONDS * (BEATS_TO_LAPSE - BEATS_TO_HOLD)
    assert fence > REQUEST_TIMEOUT_SECONDS
