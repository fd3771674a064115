"""
The chart's environment and the settings of the services: one set of words.

A process refuses a HAILSTORM_ variable that it does not know, so a chart that
sets one gives a pod that never starts.
"""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from contract.charts.chart_rendering import CHART, ci_values, environment, render
from hailstorm.dispatch.settings import DispatchSettings
from hailstorm.location.settings import LocationSettings
from hailstorm.runtime.lifecycle import Lifecycle
from hailstorm.runtime.process import (
    LifecycleSettings,
    LogSettings,
    RehearsalSettings,
    ServerSettings,
)
from hailstorm.runtime.settings import read_settings, variables
from hailstorm.trip.settings import TripSettings

SETTINGS: dict[str, type[Any]] = {
    "dispatch": DispatchSettings,
    "location": LocationSettings,
    "trip": TripSettings,
}
SHARED: dict[str, type[Any]] = {
    "server": ServerSettings,
    "lifecycle": LifecycleSettings,
    "log": LogSettings,
}


def resolved(service: str, *arguments: str) -> dict[str, str]:
    """The environment as the process sees it; a Secret's value is not empty."""
    found = environment(render(*arguments), service)
    return {name: v if isinstance(v, str) else "from-a-secret" for name, v in found.items()}


@pytest.mark.parametrize("service", SETTINGS)
@pytest.mark.parametrize("case", ["default", "external-stores", "policy", "scaler", "twin"])
def test_process_accepts_its_environment(service: str, case: str) -> None:
    settings = read_settings(SETTINGS[service], resolved(service, "--values", ci_values(case)))
    assert settings.lifecycle.drain_enabled is (case != "twin")


@pytest.mark.parametrize("service", SETTINGS)
def test_process_is_told_what_it_cannot_guess(service: str) -> None:
    needed = {
        v.name
        for v in variables(SETTINGS[service])
        if v.name.endswith(("_HOST", "_PASSWORD", "_KEY", "EDGE_ADDRESS"))
        and "SERVER" not in v.name
    }
    assert needed <= resolved(service).keys()


@pytest.mark.parametrize("group", SHARED)
def test_schema_knows_the_words_of_a_shared_group(group: str) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = {v.name.lower() for v in variables(SHARED[group], "")}
    # Where to listen is the pod's address in a chart, whatever else it may be.
    assert _in_settings(schema["properties"][group]["properties"]) == known - {"host"}


def test_schema_knows_the_words_and_bounds_of_a_rehearsal() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    words = schema["definitions"]["rehearsal"]["properties"]
    known = {v.name.lower(): v for v in variables(RehearsalSettings, "")}
    assert _in_settings(words) == known.keys()
    for word, said in words.items():
        variable = known[next(iter(_in_settings([word])))]
        assert (said.get("minimum"), said.get("maximum")) == (variable.minimum, variable.maximum)


@pytest.mark.parametrize("service", SETTINGS)
def test_rehearsal_reaches_the_process_it_is_for_and_no_other(service: str) -> None:
    arguments = [
        *("--set-json", f"{service}.rehearsal.failShare=0.05"),
        *("--set", f"{service}.rehearsal.delayMilliseconds=200"),
        *("--set", f"{service}.rehearsal.neverReady=true,{service}.rehearsal.seed=9"),
    ]
    for name, kind in SETTINGS.items():
        settings = read_settings(kind, resolved(name, *arguments)).rehearsal
        expected = RehearsalSettings(0.05, 200, never_ready=True, seed=9)
        assert settings == (expected if name == service else RehearsalSettings())


@pytest.mark.parametrize("service", SETTINGS)
def test_pods_hear_of_no_rehearsal_unless_it_is_on(service: str) -> None:
    # Else the words alone would roll every pod, and stand in every environment.
    env = resolved(service, "--set", f"{service}.rehearsal.seed=9")
    assert not [name for name in env if "REHEARSAL" in name]


@pytest.mark.parametrize("service", SETTINGS)
def test_own_setting_reaches_the_process(service: str) -> None:
    own = {
        "dispatch": ("dispatch.callSeconds", "call_seconds"),
        "location": ("location.maxSpeedMps", "max_speed_mps"),
        "trip": ("trip.offerSeconds", "offer_seconds"),
    }[service]
    argument = f"{service}.settings.{own[0]}=1.5"
    settings = read_settings(SETTINGS[service], resolved(service, "--set", argument))
    assert getattr(getattr(settings, service), own[1]) == 1.5


def test_large_numbers_stay_numbers() -> None:
    # Helm reads them as floats, whose own way of writing is 1.048576e+06.
    env = resolved("trip", "--set", "server.maxMessageBytes=1048576")
    assert env["HAILSTORM_SERVER_MAX_MESSAGE_BYTES"] == "1048576"


@pytest.mark.parametrize("service", SETTINGS)
def test_kubernetes_waits_longer_than_the_process_takes(service: str) -> None:
    manifests = render()
    settings = read_settings(SETTINGS[service], resolved(service))
    lifecycle = Lifecycle(settings.lifecycle, clock=None, traffic=None)  # type: ignore[arg-type]
    # The most that any service registers: pools, a channel, a poller.
    for number in range(3):
        lifecycle.on_close(f"closer {number}", _nothing)
    (grace,) = [
        m["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for m in manifests
        if m["kind"] == "Deployment" and m["metadata"]["name"] == service
    ]
    assert lifecycle.budget_seconds <= grace


async def _nothing() -> None:
    return None


def _in_settings(words: Iterable[str]) -> set[str]:
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in word) for word in words}
