"""One leader at a time: who takes the Lease when, who stops writing when, who never may."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from hailstorm_operator.cluster import (
    Cluster,
    ClusterError,
    ConflictError,
    NotFoundError,
    NotLeadingError,
    UnreachableError,
)
from hailstorm_operator.http_server import describe_readiness
from hailstorm_operator.leadership import (
    Leadership,
    LostError,
    is_proven_gone,
    own_identity,
)
from hailstorm_operator.pulse import Pulse

BEAT = 15.0
LAPSE, HOLD = 45.0, 30.0
FIRST, SECOND = "hailstorm-operator-a-1", "hailstorm-operator-a-2"


class Server:
    """The API server's Lease and pods, by its rules; and a monotonic clock for each process."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lease: dict[str, Any] | None = None
        self.pods = [FIRST, SECOND]
        self.phases: dict[str, str] = {}
        self.away = False
        self.forbidden = False
        self.meddle: Any = None

    def _ask(self) -> None:
        if self.away:
            raise UnreachableError("no answer")
        if self.forbidden:
            raise ClusterError("403 forbidden", 403)

    async def get_lease(self, namespace: str, name: str) -> dict[str, Any]:
        self._ask()
        if self.lease is None:
            raise NotFoundError(name, 404)
        spec, version = dict(self.lease["spec"]), self.lease["version"]
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        return {"metadata": {"resourceVersion": str(version)}, "spec": spec}

    async def create_lease(self, namespace: str, name: str, spec: dict[str, Any]) -> None:
        self._ask()
        if self.lease is not None:
            raise ConflictError(name, 409)
        self.lease = {"spec": dict(spec), "version": 1}

    async def patch_lease(
        self, namespace: str, name: str, spec: dict[str, Any], version: str
    ) -> None:
        self._ask()
        if self.lease is None:
            raise NotFoundError(name, 404)
        if str(self.lease["version"]) != version:
            raise ConflictError(name, 409)
        self.lease["spec"] |= spec
        self.lease["version"] += 1

    async def list_pods(self, namespace: str, selector: dict[str, str]) -> list[dict[str, Any]]:
        self._ask()
        return [
            {"metadata": {"name": name}, "status": {"phase": self.phases.get(name, "Running")}}
            for name in self.pods
        ]

    def candidate(self, me: str, skew: float = 0.0) -> Leadership:
        server: Any = self
        return Leadership(server, "system", BEAT, me, clock=lambda: self.now + skew)


@pytest.fixture
def server() -> Server:
    return Server()


async def test_first_one_leads_and_may_write(server: Server) -> None:
    first = server.candidate(FIRST)
    assert not first.may_write()
    await first.acquire()
    assert first.may_write()
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == FIRST
    assert server.lease["spec"]["leaseDurationSeconds"] == LAPSE


async def test_second_one_waits_as_long_as_the_first_renews(server: Server) -> None:
    first, second = server.candidate(FIRST), server.candidate(SECOND)
    await first.acquire()
    for _ in range(20):
        server.now += BEAT
        await first.renew()
        assert not await second.attempt()
        assert (first.may_write(), second.may_write()) == (True, False)
    assert second.waits_for == FIRST


async def test_second_one_takes_over_at_once_after_a_release(server: Server) -> None:
    first, second = server.candidate(FIRST), server.candidate(SECOND)
    await first.acquire()
    await first.release()
    assert not first.may_write()
    assert await second.attempt()
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 1


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
async def test_lease_lapses_by_the_candidates_own_clock_alone(server: Server, skew: float) -> None:
    """A leader that hangs: its pod is there, and nothing is renewed."""
    first, second = server.candidate(FIRST), server.candidate(SECOND, skew)
    await first.acquire()
    server.now += 1000
    # However old the stamp looks: it has only just been seen.
    assert not await second.attempt()
    server.now += LAPSE - 1
    assert not await second.attempt()
    assert not first.may_write()
    server.now += 1
    assert await second.attempt()


async def test_leader_stops_writing_before_anybody_may_take_over(server: Server) -> None:
    first, second = server.candidate(FIRST), server.candidate(SECOND)
    await first.acquire()
    await second.attempt()
    for _ in range(int(LAPSE) + 1):
        server.now += 1
        taken = await second.attempt()
        assert not (first.may_write() and taken)
    assert second.may_write()


async def test_lease_that_somebody_labels_still_lapses(server: Server) -> None:
    first, second = server.candidate(FIRST), server.candidate(SECOND)
    await first.acquire()
    await second.attempt()
    assert server.lease is not None
    server.now += LAPSE
    server.lease["version"] += 1
    assert await second.attempt()


@pytest.mark.parametrize("how", ["deleted", "Failed", "Succeeded"])
async def test_holder_whose_pod_has_ended_is_not_waited_for(server: Server, how: str) -> None:
    first, second = server.candidate(FIRST), server.candidate(SECOND)
    await first.acquire()
    assert not await second.attempt()
    if how == "deleted":
        server.pods.remove(FIRST)
    else:
        server.phases[FIRST] = how
    assert await second.attempt()


async def test_container_that_restarts_in_its_pod_goes_on_at_once(server: Server) -> None:
    await server.candidate(FIRST).acquire()
    again = server.candidate(FIRST)
    assert await again.attempt()
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 0


@pytest.mark.parametrize(
    ("holder", "me", "gone"),
    [
        (FIRST, SECOND, True),
        # A process outside the cluster has no pod, and cannot tell about others' either.
        ("outside/laptop/1", SECOND, False),
        (FIRST, "outside/laptop/1", False),
        # Not one of ours.
        ("somebody", SECOND, False),
    ],
)
def test_only_pods_are_proven_gone_and_only_by_pods(holder: str, me: str, gone: bool) -> None:
    assert is_proven_gone(holder, me, [{"metadata": {"name": SECOND}}]) is gone


def test_identity_is_the_pods_name_only_inside_a_cluster() -> None:
    inside = {"HOSTNAME": FIRST, "KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    assert own_identity(inside) == FIRST
    assert own_identity({"HOSTNAME": FIRST}).startswith(f"outside/{FIRST}/")


async def test_api_server_that_is_away_fences_and_the_same_one_goes_on(server: Server) -> None:
    first = server.candidate(FIRST)
    await first.acquire()
    server.away = True
    for _ in range(int(HOLD)):
        server.now += 1
        with pytest.raises(UnreachableError):
            await first.renew()
    assert not first.may_write()
    server.away = False
    await first.renew()
    assert first.may_write()


async def test_failed_renewal_is_repeated_soon_and_not_a_beat_later(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = server.candidate(FIRST)
    await first.acquire()
    server.away = True
    server.now += BEAT

    async def nap(seconds: float) -> None:
        server.now += seconds
        server.away = server.now < 1000 + HOLD - 2

    monkeypatch.setattr("hailstorm_operator.leadership.asyncio.sleep", nap)
    await first.renew_at_last()
    assert server.now < 1000 + HOLD
    assert first.may_write()


@pytest.mark.parametrize("when", ["before it is read", "between reading and writing"])
async def test_leader_whose_lease_was_deleted_ends_and_its_successor_makes_it_anew(
    server: Server, when: str
) -> None:
    """A deleted Lease once left the only operator asking for it for ever, and writing nothing."""
    first = server.candidate(FIRST)
    await first.acquire()

    def delete() -> None:
        server.lease = None

    if when == "before it is read":
        delete()
    else:
        server.meddle = delete
    with pytest.raises(LostError, match="deleted"):
        await first.renew_at_last()
    # It ends; whatever it still has under way writes nothing and makes no Lease.
    await first.release()
    assert (first.may_write(), server.lease) == (False, None)
    again = server.candidate(FIRST)
    await again.acquire()
    assert again.may_write()


async def test_fenced_leader_does_not_count_as_leading(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leading() -> float | None:
        return REGISTRY.get_sample_value("hailstorm_operator_leading")

    first = server.candidate(FIRST)
    await first.acquire()
    assert leading() == 1
    server.away = True
    seen = []

    async def nap(seconds: float) -> None:
        seen.append((leading(), first.may_write()))
        server.now += HOLD
        server.away = len(seen) < 2

    monkeypatch.setattr("hailstorm_operator.leadership.asyncio.sleep", nap)
    await first.renew_at_last()
    assert seen == [(1, True), (0, False)]
    assert leading() == 1


async def test_leader_that_was_overtaken_never_writes_again(server: Server) -> None:
    first, second = server.candidate(FIRST), server.candidate(SECOND)
    await first.acquire()
    await second.attempt()
    server.now += LAPSE
    assert await second.attempt()
    with pytest.raises(LostError, match=SECOND):
        await first.renew()
    # And does not take from the other what it releases.
    await first.release()
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == SECOND
    assert (first.may_write(), second.may_write()) == (False, True)


async def test_of_two_that_take_it_at_once_one_is_refused(server: Server) -> None:
    first, second = server.candidate(FIRST), server.candidate(SECOND)
    await first.acquire()
    await first.release()

    def overtake() -> None:
        assert server.lease is not None
        server.lease["spec"]["holderIdentity"] = "hailstorm-operator-a-3"
        server.lease["version"] += 1

    server.pods.append("hailstorm-operator-a-3")
    server.meddle = overtake
    with pytest.raises(ConflictError):
        await second.attempt()
    assert not await second.attempt()


async def test_missing_rights_are_waited_out_and_said(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = server.candidate(FIRST)
    server.forbidden = True
    naps = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 1:
            assert describe_readiness(Pulse(BEAT), first) == (
                False, "cannot ask who leads: 403 forbidden",
            )  # fmt: skip
        server.forbidden = len(naps) < 3

    monkeypatch.setattr("hailstorm_operator.leadership.asyncio.sleep", nap)
    await first.acquire()
    assert len(naps) == 3
    assert [one.message for one in caplog.records if one.levelname == "WARNING"] == [
        "the Lease hailstorm-operator: 403 forbidden"
    ]


async def test_readiness_says_who_leads(server: Server) -> None:
    first, second = server.candidate(FIRST), server.candidate(SECOND)
    pulse = Pulse(BEAT)
    await first.acquire()
    await second.attempt()
    assert describe_readiness(pulse, second) == (True, f"standing by: {FIRST} leads")
    assert describe_readiness(pulse, first)[0] is False
    pulse.stamp_seen()
    assert describe_readiness(pulse, first) == (True, "ok")
    server.now += HOLD
    assert "does not write" in describe_readiness(pulse, first)[1]


class Transport:
    """A client that counts what is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def param_serialize(self, method: str, path: str, **_: Any) -> tuple[str, str]:
        return method, path

    async def call_api(self, method: str, path: str, **_: Any) -> Any:
        self.sent.append(f"{method} {path}")

        class Response:
            status = 200

            async def read(self) -> bytes:
                return b"{}"

        return Response()


async def test_loser_writes_nothing_but_may_read_and_take_the_lease() -> None:
    transport = Transport()
    cluster = Cluster(transport)
    cluster.may_write = lambda: False
    record: dict[str, Any] = {"metadata": {"name": "app", "namespace": "place"}}
    about = {**record, "apiVersion": "apps/v1", "kind": "Deployment"}
    for write in (
        cluster.create_record("place", record),
        cluster.set_record_status("place", "app", {}, "1"),
        cluster.label_record("place", "app", {}),
        cluster.delete_record("place", "app"),
        cluster.note_policy("place", "app", {}),
        cluster.patch_deployment("place", "app", {}),
        cluster.set_deployment_status("place", "app", {}),
        cluster.set_policy_status("place", "app", {}),
        cluster.set_scaler_status("place", "app", {}),
        cluster.set_replicas("place", "app", 3),
        cluster.post_event(about, "Reason", "text"),
    ):
        with pytest.raises(NotLeadingError):
            await write
    assert transport.sent == []
    await cluster.get_deployment("place", "app")
    await cluster.patch_lease("place", "hailstorm-operator", {}, "1")
    assert len(transport.sent) == 2
