"""Values that hold, and last good ones that hold on."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from hailstorm.runtime.flags.feed import CONFIG_MAP, FOLDER, Feed
from hailstorm.runtime.flags.live import LiveFlags

KINDS = {"surge": bool, "new-requests": bool, "geo-backend": ("ring", "geosearch")}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def flags(registry: CollectorRegistry) -> LiveFlags:
    return LiveFlags(KINDS, registry)


@pytest.fixture(autouse=True)
def _tells(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def metric(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_code_decides_while_nothing_is_said(flags: LiveFlags) -> None:
    assert flags.boolean("surge", True) is True
    assert flags.boolean("surge", False) is False
    assert flags.string("geo-backend", "ring") == "ring"


def test_value_holds_from_when_it_is_applied_to_when_it_is_gone(flags: LiveFlags) -> None:
    flags.apply({"surge": "false", "geo-backend": "geosearch"}, "folder")
    assert flags.boolean("surge", True) is False
    assert flags.string("geo-backend", "ring") == "geosearch"
    flags.apply({}, "folder")
    assert flags.boolean("surge", True) is True
    assert flags.string("geo-backend", "ring") == "ring"


def test_context_narrows_a_flag_down(flags: LiveFlags) -> None:
    text = '{"value": true, "rules": [{"cell": "8a2a", "value": false}]}'
    flags.apply({"new-requests": text}, "folder")
    assert flags.boolean("new-requests", True, cell="8a2a") is False
    assert flags.boolean("new-requests", True, cell="8b2b") is True
    assert flags.boolean("new-requests", True) is True


def test_text_that_cannot_be_used_replaces_nothing(
    flags: LiveFlags, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    flags.apply({"surge": "false", "geo-backend": "ring"}, "folder")
    for _ in range(3):
        # Others change meanwhile; the slip is told once all the same.
        flags.apply({"surge": "flase", "geo-backend": "geosearch"}, "folder")
        flags.apply({"surge": "flase", "geo-backend": "ring"}, "folder")
    assert flags.boolean("surge", True) is False
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ['flag surge is "flase"; write true or false; false holds on']
    assert metric(registry, "hailstorm_flags_refusals_total", reason="wrong_type") == 1
    assert metric(registry, "hailstorm_flags_refused", flag="surge", reason="wrong_type") == 1
    flags.apply({"surge": "true"}, "folder")
    assert flags.boolean("surge", False) is True
    assert metric(registry, "hailstorm_flags_refused", flag="surge", reason="wrong_type") is None


def test_text_that_cannot_be_used_from_the_start_leaves_it_to_the_code(flags: LiveFlags) -> None:
    flags.apply({"surge": "maybe"}, "folder")
    assert flags.boolean("surge", True) is True
    assert flags.boolean("surge", False) is False


def test_one_slip_does_not_hold_up_the_others(flags: LiveFlags) -> None:
    flags.apply({"surge": "{", "geo-backend": "geosearch"}, "folder")
    assert flags.string("geo-backend", "ring") == "geosearch"


def test_change_is_told_once_with_old_and_new(
    flags: LiveFlags, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[frozenset[str]] = []
    flags.on_change(heard.append)
    before = flags.revision
    for _ in range(2):
        flags.apply({"surge": "false"}, "folder")
    flags.apply({"surge": "true"}, "folder")
    told = [(record.getMessage(), record.__dict__["revision"]) for record in caplog.records]
    assert [text for text, _ in told] == [
        "flag surge: default -> false",
        "flag surge: false -> true",
    ]
    assert told[1][1] == flags.revision != before
    assert heard == [{"surge"}, {"surge"}]
    assert metric(registry, "hailstorm_flags_changes_total") == 2


def test_metrics_show_what_holds(flags: LiveFlags, registry: CollectorRegistry) -> None:
    first = flags.revision
    rules = '{"value": true, "rules": [{"cell": "a", "value": false}]}'
    flags.apply({"surge": "false", "new-requests": rules}, "folder")
    assert metric(registry, "hailstorm_flag", flag="surge", value="false") == 1
    assert metric(registry, "hailstorm_flag", flag="surge", value="default") is None
    assert metric(registry, "hailstorm_flag", flag="new-requests", value="rules") == 1
    assert metric(registry, "hailstorm_flag", flag="geo-backend", value="default") == 1
    assert metric(registry, "hailstorm_flags_revision", revision=flags.revision) == 1
    assert metric(registry, "hailstorm_flags_revision", revision=first) is None


def test_equal_texts_have_equal_revisions() -> None:
    pods = [LiveFlags(KINDS, CollectorRegistry()) for _ in range(2)]
    pods[0].apply({"surge": "true"}, "folder")
    assert pods[0].revision != pods[1].revision
    pods[1].apply({"surge": "true"}, "config_map")
    assert pods[0].revision == pods[1].revision


def test_name_nobody_reads_is_told_and_a_slip_is_called_one(
    flags: LiveFlags, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        flags.apply({"geo-bakcend": "ring", "batch-matching": "true"}, "folder")
        flags.apply({"geo-bakcend": "ring", "batch-matching": "false"}, "folder")
    told = [r.getMessage() for r in caplog.records if "->" not in r.getMessage()]
    assert told == [
        "flag batch-matching is not read here",
        "flag geo-bakcend is read by nobody here; did you mean geo-backend?",
    ]


def test_long_text_is_cut_in_the_log(flags: LiveFlags, caplog: pytest.LogCaptureFixture) -> None:
    rules = ",".join(f'{{"cell": "{i}", "value": false}}' for i in range(1000))
    flags.apply({"surge": f'{{"value": true, "rules": [{rules}]}}'}, "folder")
    assert all(len(record.getMessage()) < 500 for record in caplog.records)
    assert flags.boolean("surge", True, cell="999") is False


def test_folder_is_silent_once_the_cluster_has_spoken(
    flags: LiveFlags, registry: CollectorRegistry
) -> None:
    """The kubelet's copy is a minute old at times; it must not undo a flip."""
    feed = Feed(flags, registry)
    feed.take(FOLDER, {"surge": "true"})
    assert flags.boolean("surge", False) is True
    feed.take(CONFIG_MAP, {"surge": "false"})
    feed.take(FOLDER, {"surge": "true"})
    assert flags.boolean("surge", True) is False
    feed.lost(CONFIG_MAP, "gone")
    feed.take(FOLDER, {"surge": "true", "geo-backend": "geosearch"})
    assert flags.boolean("surge", True) is False
    assert flags.string("geo-backend", "ring") == "ring"


def test_lost_source_keeps_what_it_said_and_is_told_once(
    flags: LiveFlags, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    feed = Feed(flags, registry)
    feed.take(CONFIG_MAP, {"surge": "false"})
    for why in ("refused", "forbidden", "refused", "forbidden"):
        feed.lost(CONFIG_MAP, why)
    assert flags.boolean("surge", True) is False
    assert metric(registry, "hailstorm_flags_source_reachable", source=CONFIG_MAP) == 0
    feed.reached(CONFIG_MAP)
    assert metric(registry, "hailstorm_flags_source_reachable", source=CONFIG_MAP) == 1
    told = [r.getMessage() for r in caplog.records if "read" in r.getMessage()]
    assert told == [
        "flags cannot be read (refused); the values of before hold",
        "flags cannot be read (forbidden); the values of before hold",
        "flags can be read again",
    ]
