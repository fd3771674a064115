"""
Locust's master and workers around the engine.

Locust brings what it is good at: workers that find their master, messages,
heartbeats, one user a worker, statistics. When calls happen is the engine's
business, since Locust's own users wait for their answers and so send less when
the system is slow.

    worker                      master
    hello            ------>    (until all are there)
                     <------    assignment {profile, run, part, start}
    history {n}      ------>    book
                     <------    history_ack {n}
    heading          <----->    heading        drivers of other workers
                     <------    finish         no new riders
    trouble {why}    ------>    (this worker cannot go on: the run is incomplete)
    declare {lines}  ------>    (until acknowledged, then all is here or is not)
                     <------    declare_ack
"""

import dataclasses
import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import gevent
from gevent.event import AsyncResult, Event
from locust import User, task
from locust.env import Environment

from hailstorm_loadtests.arrivals import make_schedule
from hailstorm_loadtests.calls import now
from hailstorm_loadtests.city import Place, read_pickups
from hailstorm_loadtests.console import Console
from hailstorm_loadtests.delivery import Outbox
from hailstorm_loadtests.drivers import Heading
from hailstorm_loadtests.engine import Assignment, Engine
from hailstorm_loadtests.fence import assert_private, parse_target
from hailstorm_loadtests.history import Call
from hailstorm_loadtests.ledger import Ledger
from hailstorm_loadtests.profile import Profile, from_mapping

log = logging.getLogger(__name__)

# Workers in the same cluster connect within seconds; pulling nothing, a pod
# starts within ten. Beyond this something is broken, and waiting hides it.
WORKERS_TIMEOUT_SECONDS: Final = 120.0
# From the assignment to the first call: every worker lays out the schedule.
HEAD_START_SECONDS: Final = 4.0
# A batch of lines this often: seldom enough to cost nothing, often enough
# that the state shown is fresh.
SEND_SECONDS: Final = 0.5
# After the last possible call: deadlines, resends, the last batches.
CLOSING_SECONDS: Final = 45.0


def _only_message(listener: Callable[[Any], Any]) -> Callable[..., None]:
    """Locust hands over its environment as well, by name."""

    def listen(**named: Any) -> None:
        listener(named["msg"])

    return listen


class Worker:
    """The worker's side of the conversation above."""

    def __init__(self, host: str, port: int, pickups: Path | None) -> None:
        self._pickups = pickups
        self._outbox = Outbox()
        self._assigned: AsyncResult = AsyncResult()
        self._declared = Event()
        self._engine: Engine | None = None
        self._environment = Environment(user_classes=[OpenModelUser])
        self._environment.hailstorm_worker = self  # type: ignore[attr-defined]
        self._runner = self._environment.create_worker_runner(host, port)
        for name, listener in (
            ("assignment", self._on_assignment),
            ("history_ack", lambda msg: self._outbox.acknowledge(msg.data["sequence"])),
            ("heading", self._on_heading),
            ("finish", lambda _: self._engine and self._engine.finish()),
            ("declare_ack", lambda _: self._declared.set()),
        ):
            self._runner.register_message(name, _only_message(listener))

    def run(self) -> None:
        """Say hello until assigned; return when the master says quit."""
        while not self._assigned.ready():
            self._runner.send_message("hello")
            self._assigned.wait(timeout=1.0)
        self._runner.greenlet.join()

    def generate(self) -> None:
        """What the one user of this worker does; returns when everything is delivered."""
        try:
            self._generate()
        except Exception as error:
            # Locust would start the share a second time and call it a retry.
            log.exception("this worker cannot go on")
            self._runner.send_message("trouble", {"why": f"{type(error).__name__}: {error}"})

    def _generate(self) -> None:
        profile, assignment = self._assigned.get()
        # The fence once more, here, where the name is looked up.
        assert_private(parse_target(assignment.target))
        schedule = make_schedule(profile, read_pickups(self._pickups))
        self._engine = Engine(profile, schedule, assignment, self._record, self._announce)
        delivering = gevent.spawn(self._deliver)
        self._outbox.add(self._engine.run())
        while not self._outbox.is_empty():
            gevent.sleep(SEND_SECONDS)
        while not self._declared.wait(timeout=SEND_SECONDS):
            self._runner.send_message("declare", {"lines": self._outbox.line_count})
        delivering.kill()

    def _on_assignment(self, msg: Any) -> None:
        if not self._assigned.ready():
            self._assigned.set(
                (from_mapping(msg.data["profile"]), Assignment(**msg.data["assignment"]))
            )

    def _on_heading(self, msg: Any) -> None:
        if self._engine is not None:
            place = Place(*msg.data["target"]) if msg.data["target"] else None
            self._engine.head(Heading(msg.data["driver_id"], msg.data["is_busy"], place))

    def _announce(self, heading: Heading) -> None:
        target = heading.target
        self._runner.send_message(
            "heading",
            {
                "driver_id": heading.driver_id,
                "is_busy": heading.is_busy,
                "target": (target.latitude, target.longitude) if target else None,
            },
        )

    def _record(self, call: Call) -> None:
        self._outbox.add(call.line())
        self._environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type="grpc",
            name=call.method,
            response_time=call.latency_seconds * 1000,
            response_length=0,
            exception=None if call.outcome == "ok" else RuntimeError(call.code),
            context={},
        )

    def _deliver(self) -> None:
        while True:
            for batch in self._outbox.due(now()):
                self._runner.send_message(
                    "history", {"sequence": batch.sequence, "lines": batch.lines}
                )
            gevent.sleep(SEND_SECONDS)


class OpenModelUser(User):
    """The one user of a worker: it runs the worker's share of the schedule."""

    @task
    def generate(self) -> None:
        """Run the share once, then wait to be stopped."""
        worker: Worker = self.environment.hailstorm_worker
        worker.generate()
        Event().wait()


class Master:
    """The master's side: assigns parts, keeps the book, answers over HTTP."""

    def __init__(
        self, profile: Profile, target: str, workers: int, bind_port: int, directory: Path
    ) -> None:
        self._profile, self._target, self._workers = profile, target, workers
        self._run_id = uuid.uuid4().hex[:8]
        self.ledger = Ledger(directory, workers)
        self._hello: dict[str, None] = {}
        self._trouble: list[str] = []
        self._all_here, self._quit = Event(), Event()
        self._environment = Environment(user_classes=[OpenModelUser])
        self._runner = self._environment.create_master_runner("*", bind_port)
        for name, listener in (
            ("hello", self._on_hello),
            ("history", self._on_history),
            ("heading", lambda msg: self._runner.send_message("heading", msg.data)),
            ("declare", self._on_declare),
            ("trouble", lambda msg: self._trouble.append(f"{msg.node_id}: {msg.data['why']}")),
        ):
            self._runner.register_message(name, _only_message(listener))
        self.console = Console(self.state, self._book, self._finish, self._quit.set)

    def run(self, linger_seconds: float) -> bool:
        """Run to the end and linger for readers; True when the history is complete."""
        if not self._all_here.wait(timeout=WORKERS_TIMEOUT_SECONDS):
            self.ledger.close(
                "incomplete",
                f"{len(self._hello)} of {self._workers} workers came "
                f"within {WORKERS_TIMEOUT_SECONDS:.0f} s",
            )
        else:
            self._assign()
            self._keep()
        log.info("state: %s", self.state())
        self._quit.wait(timeout=linger_seconds)
        self._runner.quit()
        return self.ledger.state == "complete"

    def state(self) -> dict[str, Any]:
        """The book's state, with what the run was asked for."""
        return {
            **self.ledger.state_at(now()),
            "run_id": self._run_id,
            "workers_here": len(self._hello),
            "target": self._target,
            # What the profile comes to by its own arithmetic, at multiplier 1.
            "calls_per_second": round(self._profile.calls_per_second(), 1),
            "profile": dataclasses.asdict(self._profile),
        }

    def _assign(self) -> None:
        ledger = self.ledger
        ledger.started_at = now() + HEAD_START_SECONDS
        ledger.demand_at = ledger.started_at + self._profile.warmup_seconds
        ledger.ends_at = ledger.started_at + self._profile.total_seconds()
        for index, worker in enumerate(self._hello):
            assignment = Assignment(
                self._run_id, index, self._workers, ledger.started_at, self._target
            )
            data = {
                "profile": dataclasses.asdict(self._profile),
                "assignment": dataclasses.asdict(assignment),
            }
            self._runner.send_message("assignment", data, client_id=worker)
        self._runner.start(self._workers, spawn_rate=self._workers)
        ledger.state = "running"

    def _keep(self) -> None:
        """Wait for every line; give up when the run must long be over."""
        assert self.ledger.ends_at is not None
        while not self.ledger.is_complete:
            if now() > self.ledger.ends_at + CLOSING_SECONDS:
                self.ledger.close("incomplete", "workers did not deliver all lines in time")
                return
            if self._trouble:
                self.ledger.close("incomplete", "; ".join(self._trouble))
                return
            gone = self._workers - self._runner.worker_count
            if gone > 0:
                self.ledger.close("incomplete", f"{gone} of {self._workers} workers went missing")
                return
            gevent.sleep(SEND_SECONDS / 2)
        self.ledger.close("complete")

    def _on_hello(self, msg: Any) -> None:
        if len(self._hello) < self._workers:
            self._hello[msg.node_id] = None
        if len(self._hello) == self._workers:
            self._all_here.set()

    def _on_history(self, msg: Any) -> None:
        if self.ledger.state in ("waiting", "running", "finishing"):
            self.ledger.accept(msg.node_id, msg.data["sequence"], msg.data["lines"])
        self._runner.send_message(
            "history_ack", {"sequence": msg.data["sequence"]}, client_id=msg.node_id
        )

    def _on_declare(self, msg: Any) -> None:
        self.ledger.declare(msg.node_id, msg.data["lines"])
        self._runner.send_message("declare_ack", client_id=msg.node_id)

    def _finish(self) -> None:
        if self.ledger.state == "running":
            self.ledger.state = "finishing"
            self._runner.send_message("finish")

    def _book(self) -> Path | None:
        return self.ledger.path if self.ledger.state in ("complete", "incomplete") else None
