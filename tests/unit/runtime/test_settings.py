"""Settings are read strictly, and all problems are told together."""

import enum
from dataclasses import FrozenInstanceError, dataclass

import pytest

from hailstorm.runtime.process import ProcessSettings
from hailstorm.runtime.settings import (
    Secret,
    SettingsError,
    group,
    read_settings,
    setting,
    settings_or_exit,
    variables,
)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Store:
    host: str = setting("redis", doc="Host.")
    port: int = setting(6379, doc="Port.", minimum=1, maximum=65535)
    wait_seconds: float = setting(0.5, doc="Seconds.", minimum=0)
    is_patient: bool = setting(True, doc="Whether.")
    colour: Colour = setting(Colour.RED, doc="Which.")
    password: Secret | None = setting(None, doc="Password.")


@dataclass(frozen=True)
class Settings:
    name: str = setting(doc="what the thing is called")
    store: Store = group(Store)


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_settings(Settings, environ)
    return caught.value.problems


def test_defaults_hold_where_nothing_is_set() -> None:
    settings = read_settings(Settings, {"HAILSTORM_NAME": "it", "PATH": "/bin"})
    assert settings == Settings(name="it", store=Store())


def test_every_type_is_read() -> None:
    settings = read_settings(
        Settings,
        {
            "HAILSTORM_NAME": "it",
            "HAILSTORM_STORE_HOST": "other",
            "HAILSTORM_STORE_PORT": "1",
            "HAILSTORM_STORE_WAIT_SECONDS": "2.25",
            "HAILSTORM_STORE_IS_PATIENT": "false",
            "HAILSTORM_STORE_COLOUR": "blue",
            "HAILSTORM_STORE_PASSWORD": "hush",
        },
    )
    assert settings.store == Store("other", 1, 2.25, False, Colour.BLUE, Secret("hush"))


def test_all_problems_are_told_together() -> None:
    found = problems(
        {
            "HAILSTORM_STORE_PORT": "70000",
            "HAILSTORM_STORE_WAIT_SECONDS": "-1",
            "HAILSTORM_STORE_IS_PATIENT": "yes",
            "HAILSTORM_STORE_COLOUR": "green",
            "HAILSTORM_STORE_PASSWORD": "",
            "HAILSTORM_STORE_HOST": " ",
            "HAILSTORM_STORE_PROT": "1",
            "HAILSTORM_ZZZ": "1",
        }
    )
    assert found == [
        "HAILSTORM_NAME is not set; give it: what the thing is called",
        "HAILSTORM_STORE_HOST is empty; give a value, or leave the variable out",
        "HAILSTORM_STORE_PORT is 70000; write between 1 and 65535",
        "HAILSTORM_STORE_WAIT_SECONDS is -1; write at least 0",
        "HAILSTORM_STORE_IS_PATIENT is 'yes'; write true or false",
        "HAILSTORM_STORE_COLOUR is 'green'; choose one of: red, blue",
        "HAILSTORM_STORE_PASSWORD is empty; give the secret, or leave the variable out",
        "HAILSTORM_STORE_PROT is not a setting of this process; did you mean HAILSTORM_STORE_PORT?",
        "HAILSTORM_ZZZ is not a setting of this process; remove it",
    ]


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "", "0x10", "1.5s"])
def test_float_refuses_what_is_no_finite_number(text: str) -> None:
    (problem,) = problems({"HAILSTORM_NAME": "it", "HAILSTORM_STORE_WAIT_SECONDS": text})
    assert problem.startswith("HAILSTORM_STORE_WAIT_SECONDS is ")


def test_secret_does_not_show_itself() -> None:
    environ = {"HAILSTORM_NAME": "it", "HAILSTORM_STORE_PASSWORD": "hush"}
    settings = read_settings(Settings, environ)
    assert settings.store.password == "hush"
    assert "hush" not in repr(settings)


def test_bad_settings_exit_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        settings_or_exit(Settings, {})
    assert caught.value.code == 2
    assert "HAILSTORM_NAME is not set" in capsys.readouterr().err


def test_settings_cannot_be_changed() -> None:
    settings = read_settings(ProcessSettings, {})
    with pytest.raises(FrozenInstanceError):
        settings.version = "other"  # type: ignore[misc]


def test_every_variable_says_what_it_is() -> None:
    listed = list(variables(ProcessSettings))
    assert {"HAILSTORM_VERSION", "HAILSTORM_SERVER_GRPC_PORT", "HAILSTORM_LOG_LEVEL"} <= {
        variable.name for variable in listed
    }
    assert all(len(variable.doc) > 10 for variable in listed)
