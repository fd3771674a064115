"""OpenFeature's client gives the answers that ours gives."""

import threading
from collections.abc import Iterator

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from prometheus_client import CollectorRegistry

from hailstorm.runtime.flags.live import LiveFlags
from hailstorm.runtime.flags.provider import register


@pytest.fixture
def flags() -> LiveFlags:
    kinds = {"surge": bool, "geo-backend": ("ring", "geosearch")}
    return LiveFlags(kinds, CollectorRegistry())


@pytest.fixture
def client(flags: LiveFlags) -> Iterator[OpenFeatureClient]:
    register(flags)
    yield api.get_client()
    api.shutdown()


def test_both_ways_give_the_same_answers(flags: LiveFlags, client: OpenFeatureClient) -> None:
    rules = '{"value": true, "rules": [{"cell": "a", "value": false}]}'
    for texts in ({}, {"surge": "false", "geo-backend": "geosearch"}, {"surge": rules}):
        flags.apply(texts, "folder")
        for default in (True, False):
            for context in ({}, {"cell": "a"}, {"cell": "b"}):
                asked = client.get_boolean_value(
                    "surge", default, EvaluationContext(attributes=context)
                )
                assert asked is flags.boolean("surge", default, **context)
        assert client.get_string_value("geo-backend", "ring") == flags.string("geo-backend", "ring")


def test_details_say_why(flags: LiveFlags, client: OpenFeatureClient) -> None:
    assert client.get_boolean_details("surge", True).reason == Reason.DEFAULT
    flags.apply({"surge": "false"}, "folder")
    assert client.get_boolean_details("surge", True).reason == Reason.STATIC
    mistaken = client.get_string_details("surge", "ring")
    assert (mistaken.value, mistaken.error_code) == ("ring", ErrorCode.TYPE_MISMATCH)
    for details in (
        client.get_integer_details("surge", 1),
        client.get_float_details("surge", 1.0),
        client.get_object_details("surge", {"a": 1}),
    ):
        assert details.error_code == ErrorCode.TYPE_MISMATCH
    assert client.get_integer_details("other", 1).value == 1


def test_listeners_hear_of_changes(flags: LiveFlags, client: OpenFeatureClient) -> None:
    heard = threading.Event()
    names: list[list[str] | None] = []

    def listen(details: EventDetails) -> None:
        names.append(details.flags_changed)
        heard.set()

    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, listen)
    flags.apply({"surge": "false", "geo-backend": "ring"}, "folder")
    assert heard.wait(10)
    assert names == [["geo-backend", "surge"]]
