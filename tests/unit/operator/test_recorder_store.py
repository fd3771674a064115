"""Counting, forgetting, and surviving a restart."""

import json
from pathlib import Path
from typing import Any

import pytest

from hailstorm_operator.recorder import answers
from hailstorm_operator.recorder.gaps import MARGIN_SECONDS, RECORDER_ABSENT
from hailstorm_operator.recorder.journal import SEGMENTS, Journal
from hailstorm_operator.recorder.lines import Line
from hailstorm_operator.recorder.main import write_down
from hailstorm_operator.recorder.samples import MAX_A_SECOND, MAX_SAMPLES, Samples
from hailstorm_operator.recorder.store import Store
from hailstorm_operator.recorder.tallies import (
    MAX_KEYS,
    Key,
    Tallies,
    bound_ms,
    bucket_of,
    quantile_ms,
)
from unit.operator.access_logs import lines, messages

KEEP = 600
KEY = Key("calls", "public", "trip", "192.0.2.1:50051", "S/M", 0, "", "ok", False, False)


def captured_end() -> float:
    """When the captured calls had ended."""
    return max(line.ended for line in lines("public.calls"))


def filled(now: float | None = None) -> Store:
    """A store that has heard the captured messages as one Envoy's."""
    now = now or captured_end()
    store = Store(KEEP, now - 60)
    for log, message in messages():
        store.take(message, "edge-1", log, now)
    return store


def counts(store: Store, kind: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in store.tallies.rows(0, 2**40, kind):
        found[row.key.outcome] = found.get(row.key.outcome, 0) + row.count
    return found


def outcomes(of: list[Line]) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in of:
        found[line.outcome] = found.get(line.outcome, 0) + 1
    return found


@pytest.mark.parametrize("kind", ["calls", "attempts"])
def test_counts_are_those_of_the_lines_before_and_after_packing(kind: str) -> None:
    store = filled()
    assert counts(store, kind) == outcomes(lines(f"public.{kind}"))
    store.settle(captured_end())
    assert counts(store, kind) == outcomes(lines(f"public.{kind}"))


def test_late_line_is_added_to_its_packed_second() -> None:
    tallies = Tallies(KEEP)
    for _ in range(3):
        tallies.add(KEY, 100, 5)
        tallies.settle()
    (row,) = tallies.rows(100, 101)
    assert (row.count, row.buckets) == (3, {5: 3})


def test_rows_are_of_the_seconds_asked_for() -> None:
    tallies = Tallies(KEEP)
    for second in (99, 100, 101):
        tallies.add(KEY, second, 0)
    assert [row.count for row in tallies.rows(100, 101)] == [1]
    assert tallies.rows(102, 200) == []
    assert tallies.rows(0, 200, "attempts") == []
    assert tallies.rows(0, 200, "calls", "location") == []


def test_old_seconds_are_forgotten() -> None:
    tallies = Tallies(KEEP)
    tallies.add(KEY, 100, 0)
    tallies.settle()
    tallies.forget(100 + KEEP)
    assert tallies.rows(0, 200)
    tallies.forget(102 + KEEP)
    assert not tallies.rows(0, 200)


def test_strangers_keys_fold_and_lose_no_count() -> None:
    tallies = Tallies(KEEP)
    for number in range(MAX_KEYS + 50):
        tallies.add(KEY._replace(method=f"made-up/{number}"), 100, 0)
    assert len(tallies.keys()) <= MAX_KEYS + 1
    assert sum(row.count for row in tallies.rows(0, 200)) == MAX_KEYS + 50
    tallies.settle()
    tallies.forget(1000 + KEEP)
    tallies.add(KEY, 2000, 0)
    assert len(tallies.keys()) == 1


@pytest.mark.parametrize("milliseconds", [0.1, 1, 1.01, 7, 50, 999, 46_000])
def test_bucket_holds_its_duration_and_is_a_fifth_wide(milliseconds: float) -> None:
    bound = bound_ms(bucket_of(milliseconds / 1000))
    assert max(1.0, milliseconds) <= bound * 1.0005 <= max(1.0, milliseconds) * 1.2


def test_duration_beyond_all_buckets_is_in_the_last() -> None:
    assert bucket_of(3600) == 63
    assert bound_ms(63) == bound_ms(62)


def test_quantile_is_the_bound_of_its_bucket() -> None:
    buckets = {bucket_of(0.010): 98, bucket_of(0.500): 2}
    assert quantile_ms(buckets, 0.5) == bound_ms(bucket_of(0.010))
    assert quantile_ms(buckets, 0.99) == bound_ms(bucket_of(0.500))
    assert quantile_ms({}, 0.99) is None


def test_line_of_a_wrong_clock_counts_when_it_came() -> None:
    now = captured_end() + 3600
    store = filled(now)
    assert store.counts.misdated == store.counts.lines > 0
    assert {int(now)} == {
        second
        for second in range(int(now) - 5, int(now) + 5)
        if store.tallies.rows(second, second + 1)
    }


def sample(at: float, kind: str = "calls") -> dict[str, Any]:
    return {"at": at, "kind": kind}


def test_first_failures_of_a_second_are_kept_and_the_rest_is_told_by_the_count() -> None:
    samples = Samples(KEEP)
    for number in range(MAX_A_SECOND + 10):
        if samples.has_room("calls", 100):
            samples.add(sample(100 + number / 1000))
    assert len(samples.window(100, 101)) == MAX_A_SECOND
    assert samples.has_room("attempts", 100)
    assert samples.has_room("calls", 101)


def test_samples_are_bounded() -> None:
    samples = Samples(KEEP)
    for second in range(MAX_SAMPLES + 10):
        samples.add(sample(second))
    assert len(samples.window(0, 2**40)) == MAX_SAMPLES


def test_failures_without_a_sample_are_omitted_not_lost() -> None:
    store = filled()
    message = next(message for log, message in messages() if log == "public.attempts")
    for _ in range(100):
        store.take(message, "edge-1", "public.attempts", captured_end())
    answer = answers.failures(store, 0, 2**34, kind="attempts", cluster=None)
    assert answer["omitted"] > 0
    assert answer["total"] == answer["omitted"] + len(answer["failures"])
    assert answer["total"] == counts(store, "attempts")["failed"]
    assert sum(many["count"] for many in answer["unsampled"]) == answer["omitted"]
    sampled = {(one["at"][:19], one["address"]) for one in answer["failures"]}
    assert {(many["at"][:19], many["address"]) for many in answer["unsampled"]} <= sampled


def test_failures_that_all_have_a_sample_leave_none_over() -> None:
    answer = answers.failures(filled(), 0, 2**34, kind="attempts", cluster=None)
    assert answer["total"] > 0
    assert (answer["omitted"], answer["unsampled"]) == (0, [])


def write(folder: Path, store: Store, *times: float) -> None:
    """What a process does in these seconds, until it dies."""
    journal = Journal(folder, KEEP)
    for now in times:
        write_down(store, journal, now)
    journal.close()


def restarted(folder: Path, now: float) -> Store:
    store = Store(KEEP, now)
    store.restore(Journal(folder, KEEP).read(), now)
    return store


def test_restart_keeps_what_was_written_and_marks_the_time_away(tmp_path: Path) -> None:
    end = captured_end()
    store = filled()
    # A second writing adds nothing twice.
    write(tmp_path, store, end + 1, end + 2)
    again = restarted(tmp_path, end + 10)
    for kind in ("calls", "attempts"):
        assert counts(again, kind) == counts(store, kind)
    assert again.samples.window(0, 2**40) == store.samples.window(0, 2**40)
    (gap, *envoys) = again.gaps_in(end + 1, end + 10)
    assert (gap.reason, gap.end) == (RECORDER_ABSENT, end + 10 + MARGIN_SECONDS)
    assert gap.start == end + 2 - MARGIN_SECONDS
    # And who was there before is not taken for heard.
    assert [(one.envoy, one.end) for one in envoys] == [("edge-1", None)]
    again.presence.heard("edge-1", end + 11)
    assert not again.gaps_in(end + 13, end + 14)


def test_restart_of_a_restart_doubles_nothing(tmp_path: Path) -> None:
    end = captured_end()
    first = filled()
    write(tmp_path, first, end + 1)
    second = restarted(tmp_path, end + 5)
    write(tmp_path, second, end + 6)
    third = restarted(tmp_path, end + 9)
    assert counts(third, "calls") == counts(first, "calls")
    absences = [gap for gap in third.gaps_in(end, end + 9) if gap.reason == RECORDER_ABSENT]
    assert len(absences) == 2


def test_torn_line_costs_that_line(tmp_path: Path) -> None:
    end = captured_end()
    store = filled()
    write(tmp_path, store, end + 1)
    (path,) = tmp_path.glob("*.jsonl")
    with path.open("a") as file:
        file.write('{"at": 5, "cells": {"1')
    assert counts(restarted(tmp_path, end + 9), "calls") == counts(store, "calls")


def test_segments_follow_each_other_and_old_ones_go(tmp_path: Path) -> None:
    store, journal = Store(KEEP, 1000), Journal(tmp_path, KEEP)
    for now in range(1000, 1000 + 3 * KEEP, 20):
        store.tallies.add(KEY, now, 0)
        write_down(store, journal, now)
    journal.close()
    segments = sorted(tmp_path.glob("*.jsonl"))
    assert len(segments) == SEGMENTS
    # Each can be read without those before it.
    assert json.loads(segments[-1].read_text().splitlines()[0])["keys"]
    again = restarted(tmp_path, now)
    assert again.since <= now - KEEP + 20
    assert sum(row.count for row in again.tallies.rows(now - KEEP, now + 1)) == KEEP // 20 + 1


def test_disk_that_fails_costs_the_history_not_the_recording(tmp_path: Path) -> None:
    store, journal = Store(KEEP, 1000), Journal(tmp_path / "nowhere", KEEP)
    store.tallies.add(KEY, 1000, 0)
    write_down(store, journal, 1001)
    write_down(store, journal, 1002)
    assert journal.failures == 2
    assert store.tallies.rows(1000, 1001)


def test_time_before_the_recording_is_a_gap() -> None:
    store = Store(KEEP, 1000)
    assert [gap.reason for gap in store.gaps_in(900, 1100)] == ["NotKept"]
    assert not store.gaps_in(1000, 1100)
    # What was kept once and is no longer is one, too.
    store.settle(1000 + 2 * KEEP)
    assert store.gaps_in(1000, 1100)
    answer = answers.tallies(store, 900, 1100, kind=None, cluster=None, by_second=False)
    assert not answer["complete"]


def test_seconds_one_by_one_add_up_and_are_bounded() -> None:
    store = filled()
    end = int(captured_end()) + 1

    def ask(first: int, *, by_second: bool) -> Any:
        return answers.tallies(store, first, end, kind=None, cluster=None, by_second=by_second)

    single = [row for second in ask(end - 60, by_second=True)["seconds"] for row in second["rows"]]
    whole = ask(end - 60, by_second=False)["rows"]
    assert sum(row["count"] for row in single) == sum(row["count"] for row in whole) > 0
    store.since -= answers.MAX_SINGLE_SECONDS
    with pytest.raises(answers.QuestionError, match="ask for less"):
        ask(0, by_second=True)


@pytest.mark.parametrize("name", ["from", "to"])
def test_question_that_makes_no_sense_is_refused(name: str) -> None:
    with pytest.raises(answers.QuestionError, match=name):
        answers.parse_stretch({name: "yesterday"}, 1000, KEEP)


def test_question_takes_times_as_people_and_programs_write_them() -> None:
    wanted = (1_795_600_000, 1_795_600_012)
    for asked in (
        {"from": "1795600000.9", "to": "1795600011.1"},
        {"from": "2026-11-25T09:46:40.9Z", "to": "2026-11-25T10:46:51.1 01:00"},
    ):
        assert answers.parse_stretch(asked, 0, KEEP) == wanted
    with pytest.raises(answers.QuestionError, match="before"):
        answers.parse_stretch({"from": "20", "to": "10"}, 0, KEEP)
