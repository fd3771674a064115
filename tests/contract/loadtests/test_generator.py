"""The generator as a process, against a city that keeps its promises or breaks one."""

import asyncio
import json
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from eventually import eventually
from hailstorm_loadtests.history import History, read_history


async def run(generator: Any, city: Any, output: Path, **changes: object) -> History:
    code, told = await generator(city, output, **changes)
    assert code == 0, told
    return read_history(output / "history.jsonl.gz")


async def test_trips_live_their_whole_life(generator: Any, city: Any, tmp_path: Path) -> None:
    history = await run(generator, city, tmp_path, cancel_share=0, watch_share=0.5)
    methods = Counter(call.method for call in history.calls)
    assert len(city.trips) == 20
    assert {versions[-1].state for versions in city.trips.values()} == {6}
    assert methods["ApproachPickup"] >= 20
    assert methods["CompleteTrip"] >= 20
    assert methods["GetTrip"] > 0
    assert methods["WatchTrip"] > 0
    assert {call.outcome for call in history.calls} == {"ok"}
    # Nothing was made up and nothing left out: the servers counted the same.
    assert len(history.calls) == city.calls
    upstreams = {call.upstream for call in history.calls}
    assert upstreams == {"10.0.0.7:50051"}
    (told,) = history.generator
    assert told["planned"] == told["started"]
    assert told["unfinished_trips"] == told["abandoned_greenlets"] == 0


async def test_cancelled_trips_end_cancelled(generator: Any, city: Any, tmp_path: Path) -> None:
    history = await run(generator, city, tmp_path, cancel_share=1)
    assert {versions[-1].state for versions in city.trips.values()} == {7}
    assert {c.state for c in history.calls if c.method == "CancelTrip"} == {"CANCELLED"}


async def test_doubled_tap_is_a_failure_when_answered_differently(
    generator: Any, city: Any, tmp_path: Path
) -> None:
    city.forgets_keys = True
    history = await run(generator, city, tmp_path, duplicate_share=1)
    failed = [call for call in history.calls if call.outcome == "fail"]
    assert len(failed) == 20
    assert all("the same key gave another trip_id" in (call.detail or "") for call in failed)


async def test_doubled_taps_are_sent_with_the_same_key(
    generator: Any, city: Any, tmp_path: Path
) -> None:
    history = await run(generator, city, tmp_path, duplicate_share=1, cancel_share=0)
    keys = Counter(call.key for call in history.calls if call.key)
    assert set(keys.values()) == {2}
    assert {call.outcome for call in history.calls} == {"ok"}


async def test_streams_go_on_where_they_were_when_a_server_drains(
    generator: Any, city: Any, tmp_path: Path
) -> None:
    city.resumes_streams = True
    history = await run(generator, city, tmp_path, watch_share=1, cancel_share=0)
    streams = [call for call in history.calls if call.method == "WatchTrip"]
    assert len(streams) > len(city.trips)
    assert {call.outcome for call in streams} == {"ok"}
    assert sum("changes=0" not in (call.detail or "") for call in streams) >= len(city.trips)


async def test_drivers_answer_their_offers(generator: Any, city: Any, tmp_path: Path) -> None:
    city.makes_offers = True
    shares = {"answers_offers": True, "silent_share": 0, "cancel_share": 0, "decline_share": 0.3}
    history = await run(generator, city, tmp_path, **shares, duplicate_share=0.2)
    assert {versions[-1].state for versions in city.trips.values()} == {6}
    assert set(city.answers_to_offers.values()) == {"yes", "no"}
    assert {call.outcome for call in history.calls} == {"ok"}
    accepts = {call.key for call in history.calls if call.method == "AcceptOffer"}
    assert len(accepts) == len(city.trips) == 20
    (stream,) = [call for call in history.calls if call.method == "WatchOffers"]
    assert f"offers={len(city.answers_to_offers)} " in (stream.detail or "")
    assert len(history.calls) == city.calls


async def test_offers_are_answered_once_when_their_stream_moves_on(
    generator: Any, city: Any, tmp_path: Path
) -> None:
    city.makes_offers = city.resumes_streams = True
    shares = {"answers_offers": True, "silent_share": 0, "decline_share": 0, "duplicate_share": 0}
    history = await run(generator, city, tmp_path, **shares, cancel_share=0)
    accepts = Counter(call.key for call in history.calls if call.method == "AcceptOffer")
    assert set(accepts.values()) == {1}
    assert sum(call.method == "WatchOffers" for call in history.calls) > 1
    assert {call.outcome for call in history.calls} == {"ok"}


async def test_offer_that_is_over_is_an_answer(generator: Any, city: Any, tmp_path: Path) -> None:
    city.makes_offers = city.refuses_accepts = True
    shares = {"answers_offers": True, "silent_share": 0, "decline_share": 0}
    history = await run(generator, city, tmp_path, **shares, wind_down_seconds=2)
    accepts = [call for call in history.calls if call.method == "AcceptOffer"]
    assert {(call.code, call.outcome) for call in accepts} == {("FAILED_PRECONDITION", "ok")}
    assert {call.detail for call in accepts} == {"the offer is over"}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(grpc.StatusCode.UNAVAILABLE, "fail"), (grpc.StatusCode.DEADLINE_EXCEEDED, "unknown")],
)
async def test_failed_calls_stay_in_the_history(
    generator: Any, city: Any, tmp_path: Path, status: grpc.StatusCode, outcome: str
) -> None:
    city.fails_views_with = status
    history = await run(generator, city, tmp_path)
    views = [call for call in history.calls if call.method == "NearbyDrivers"]
    assert len(views) > 50
    assert {(call.code, call.outcome) for call in views} == {(status.name, outcome)}
    assert {call.detail for call in views} == {"told to"}


async def test_late_pings_are_sent_and_refused(generator: Any, city: Any, tmp_path: Path) -> None:
    history = await run(generator, city, tmp_path, late_ping_share=1, drivers=20)
    pings = [call for call in history.calls if call.method == "ReportPositions"]
    # What is refused is as expected, so no line complains. Before a driver's
    # first ping there is no old one to send.
    assert len(pings) >= 10
    assert [call.detail for call in pings if call.detail] == []


@pytest.mark.timeout(90)
async def test_workers_share_a_run_and_lose_no_line(
    start_generator: Any, city: Any, tmp_path: Path
) -> None:
    ports = 45571, 45572
    settings = [
        word
        for setting in (
            "duration_seconds=4",
            "warmup_seconds=1",
            "wind_down_seconds=20",
            "trips_per_minute=300",
            "drivers=60",
            "time_lapse=1000",
            "cancel_share=0",
        )
        for word in ("--set", setting)
    ]
    master = await start_generator(
        "master",
        *("--target", f"127.0.0.1:{city.port}", "--workers", 2, "--output", tmp_path),
        *("--bind-port", ports[0], "--http-port", ports[1], "--http-host", "127.0.0.1"),
        *settings,
    )
    workers = [
        await start_generator("worker", "--master", f"127.0.0.1:{ports[0]}") for _ in range(2)
    ]
    base = f"http://127.0.0.1:{ports[1]}"

    def fetch(path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(base + path, method=method)
        with urllib.request.urlopen(request, timeout=5) as response:
            return bytes(response.read())

    async def ask(path: str, method: str = "GET") -> bytes:
        return await asyncio.to_thread(fetch, path, method)

    async def state() -> dict[str, Any]:
        return dict(json.loads(await ask("/state")))

    try:
        await eventually(state, 30, until=lambda s: s["state"] == "running")
        with pytest.raises(urllib.error.HTTPError, match="409"):
            await ask("/history")
        seen = await eventually(state, 50, until=lambda s: s["state"] == "complete")
        assert seen["is_complete"]
        assert seen["lines_received"] == seen["lines_declared"]
        path = tmp_path / "fetched.gz"
        path.write_bytes(await ask("/history"))
        history = read_history(path)
        assert len(history.calls) == city.calls == seen["calls"]
        assert [told["worker"] for told in history.generator] in ([0, 1], [1, 0])
        assert len(city.trips) == 20
        await ask("/quit", "POST")
        assert await asyncio.wait_for(master.wait(), 20) == 0
    finally:
        for child in (master, *workers):
            if child.returncode is None:
                child.kill()
            await child.communicate()


@pytest.mark.timeout(90)
async def test_worker_that_cannot_go_on_makes_the_run_incomplete(
    start_generator: Any, tmp_path: Path
) -> None:
    # A name that is well-formed and leads nowhere.
    master = await start_generator(
        "master",
        *("--target", "no-such-edge.nowhere.svc:8080", "--workers", 1, "--output", tmp_path),
        *("--bind-port", 45573, "--http-port", 45574, "--linger-seconds", 0),
    )
    worker = await start_generator("worker", "--master", "127.0.0.1:45573")
    try:
        _out, err = await asyncio.wait_for(master.communicate(), 60)
    finally:
        for child in (master, worker):
            if child.returncode is None:
                child.kill()
        await worker.communicate()
    assert master.returncode == 1
    assert b"does not resolve" in err


async def test_refused_target_ends_with_a_usage_error(start_generator: Any, tmp_path: Path) -> None:
    child = await start_generator("run", "--target", "example.org:443", "--output", tmp_path)
    out, err = await child.communicate()
    assert child.returncode == 64
    assert b"is refused" in err
    assert out == b""
