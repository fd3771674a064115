"""What Envoy's own bytes are taken to say."""

from collections import Counter

import pytest

from hailstorm_operator.recorder.lines import parse_timeout, read_line
from hailstorm_operator.recorder.messages import FLAGS, Message
from unit.operator.access_logs import lines, messages

GET_TRIP = "hailstorm.trip.v1.TripService/GetTrip"
WATCH_TRIP = "hailstorm.trip.v1.TripService/WatchTrip"


def test_first_message_of_a_log_says_who_speaks() -> None:
    found = [message.identifier for _, message in messages() if message.HasField("identifier")]
    assert {one.log_name for one in found} == {"public.calls", "public.attempts", "pulse"}
    (node,) = {one.node.id for one in found}
    assert node.startswith("edge-")


def test_call_is_one_line_and_each_of_its_attempts_another() -> None:
    calls, attempts = lines("public.calls"), lines("public.attempts")
    # Envoy counts the attempts of a call; one that found no pod had none.
    tried = sum(
        call.entry.common_properties.upstream_request_attempt_count
        for call in calls
        if call.cluster and call.flag != "UH"
    )
    assert len(attempts) == tried


def test_every_attempt_names_its_pod_and_every_call_its_service() -> None:
    assert all(line.address.count(":") == 1 for line in lines("public.attempts"))
    assert all(line.cluster == "trip" for line in lines("public.attempts"))
    assert [line.method for line in lines("public.calls") if not line.cluster] == [""]


@pytest.mark.parametrize(
    ("outcome", "code", "flag", "least"),
    [
        ("ok", 0, "", 10),
        ("refused", 5, "", 2),
        ("shed", 8, "", 1),
        ("failed", 4, "", 1),
        # The caller's own deadline: it hung up, but not because it wanted to.
        ("failed", 4, "DR", 1),
        ("cancelled", 1, "DR", 2),
        ("failed", 14, "URX", 1),
        ("failed", 14, "UF", 1),
        ("failed", 14, "UH", 1),
    ],
)
def test_call_is_judged_by_status_flag_and_deadline(
    outcome: str, code: int, flag: str, least: int
) -> None:
    found = Counter((line.outcome, line.code, line.flag) for line in lines("public.calls"))
    assert found[outcome, code, flag] >= least
    assert found.total() == len(lines("public.calls"))


@pytest.mark.parametrize(
    ("outcome", "code", "flag"),
    [("failed", 14, "UC"), ("failed", 14, "UF"), ("cancelled", 1, ""), ("failed", 4, "")],
)
def test_attempt_without_a_status_is_judged_by_how_it_ended(
    outcome: str, code: int, flag: str
) -> None:
    found = {(line.outcome, line.code, line.flag) for line in lines("public.attempts")}
    assert (outcome, code, flag) in found


def test_stream_that_was_left_is_cancelled_on_both_sides() -> None:
    # Its headers were sent long ago, so Envoy says 200 and no status.
    for log in ("public.calls", "public.attempts"):
        assert sorted(line.outcome for line in lines(log) if line.is_stream) == ["cancelled", "ok"]


def test_edge_whose_routes_have_no_names_is_read_by_its_clusters() -> None:
    one = entry(200, grpc_status="0")
    one.common_properties.upstream_cluster = "orders"
    one.request.path = "/shop.v1.Orders/Get?x=1"
    line = read_line(one)
    assert (line.cluster, line.method, line.is_stream) == ("orders", "shop.v1.Orders/Get", False)


def test_streams_are_told_from_calls() -> None:
    for log in ("public.calls", "public.attempts"):
        assert {line.method for line in lines(log) if line.is_stream} == {WATCH_TRIP}
        assert GET_TRIP in {line.method for line in lines(log) if not line.is_stream}


def test_retried_call_is_marked_and_its_attempts_are_not() -> None:
    retried = [line for line in lines("public.calls") if line.is_retried]
    assert any(line.outcome == "ok" for line in retried)
    assert not any(line.is_retried for line in lines("public.attempts"))


def test_line_ends_when_its_call_did() -> None:
    for line in lines("public.calls"):
        started = line.entry.common_properties.start_time
        assert line.ended == pytest.approx(started.seconds + started.nanos / 1e9 + line.seconds)


def entry(status: int, *, flag: str = "", grpc_status: str | None = None, details: str = "x"):  # type: ignore[no-untyped-def]
    message = Message()
    one = message.http_logs.log_entry.add()
    one.response.response_code.value = status
    one.response.response_code_details = details
    if grpc_status is not None:
        one.response.response_trailers["grpc-status"] = grpc_status
    if flag:
        setattr(one.common_properties.response_flags, FLAGS[flag][0], True)
    return one


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (404, "refused"), (409, "refused"), (429, "shed"), (413, "shed"),
     (500, "failed"), (503, "failed"), (504, "failed"), (418, "failed")],
)  # fmt: skip
def test_json_call_is_judged_by_its_http_status(status: int, outcome: str) -> None:
    assert read_line(entry(status)).outcome == outcome


@pytest.mark.parametrize("text", ["", "99", "-1", "banana"])
def test_status_that_is_none_is_a_failure(text: str) -> None:
    line = read_line(entry(200, grpc_status=text or "17"))
    assert (line.outcome, line.code) == ("failed", 2)


def test_what_the_pod_did_explains_more_than_what_envoy_made_of_it() -> None:
    one = entry(200, grpc_status="14", flag="URX")
    one.common_properties.response_flags.upstream_connection_failure = True
    assert read_line(one).flag == "UF"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1000m", 1.0), ("2S", 2.0), ("3M", 180.0), ("1H", 3600.0), ("5u", 5e-6), ("x", None)],
)
def test_timeout_of_a_caller_is_read(text: str, seconds: float | None) -> None:
    assert parse_timeout(text) == (None if seconds is None else pytest.approx(seconds))
