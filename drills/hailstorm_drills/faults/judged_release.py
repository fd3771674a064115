"""
A release that the gate has to judge: good, or bad on purpose.

It is handed over as an engineer would do it, by `helm upgrade`. A bad one that the
policy does not take back in time the drill takes back itself, and says so in the
mark: users must not go on paying because a gate sleeps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hailstorm_drills.faults.base import FaultError
from hailstorm_drills.faults.stage import Stage
from hailstorm_drills.gate_runs import BAD, IDENTICAL, find_record, verdict_of
from hailstorm_drills.pods import HASH_LABEL
from hailstorm_drills.rollouts import component_of, hashes, incomplete, is_ready, unsettled
from hailstorm_drills.watching import Watch
from hailstorm_operator import api

# More releases than a drill puts before the gate.
SEEDS_A_SECOND: Final = 100


@dataclass
class JudgedRelease:
    """The fault; one release of one component."""

    stage: Stage
    component: str
    # `key=value` for `helm --set` that make this release what it is.
    settings: Sequence[str]
    # BAD or IDENTICAL.
    kind: str = BAD
    # Whether its first pod becomes ready.
    serves: bool = True
    # Whether the next thing waits until it has rolled to the end. Identical ones come
    # back to back: each is held for its judgement, and what follows it says nothing.
    settles: bool = True
    # What the release before was made with, to go back to by hand.
    back: Sequence[str] = ()
    _before: set[str] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)
    _records: Watch | None = None
    _was_injected: bool = False
    _is_decided: bool = False

    def set_up(self) -> None:
        """Note the templates that serve and the records that there are."""
        pods = list(self.stage.pods.objects())
        self._before = hashes(pods, self.component)
        if not self._before:
            raise FaultError(f"no pods of {self.component}")
        resource = f"{api.RECORD_PLURAL}.{api.GROUP}"
        namespace = self.stage.parameters.namespace
        found = self.stage.cluster.get(resource, namespace)["items"]
        self._known = {record["metadata"]["name"] for record in found}
        self._records = Watch(self.stage.cluster, resource, namespace)
        self._records.start()

    def inject(self) -> None:
        """`helm upgrade` to the same version with the settings that make it what it is."""
        self._note(before=sorted(self._before), kind=self.kind)
        self._was_injected = True
        p = self.stage.parameters
        self.stage.release.upgrade(p.values, (*self.stage.settings, *self.settings))

    def took_hold(self) -> str | None:
        """A pod of a new template: ready, or running where it never becomes ready."""
        fresh = [pod for pod in self._own() if self._is_fresh(pod)]
        if self._is_taken_back() is None and self._verdict():
            # Caught so soon that the look at its pod came too late.
            return None
        if not fresh:
            return f"no new pod of {self.component}"
        if self.serves and not any(map(is_ready, fresh)):
            return f"no new pod of {self.component} is ready"
        if not self.serves and not any(map(_is_running, fresh)):
            return f"no new pod of {self.component} runs"
        return None

    def hold(self) -> None:
        """Until the gate has judged, or had `fault_seconds` for it; never raises for that."""
        bound = self.stage.parameters.fault_seconds
        probe = self._is_taken_back if self.kind == BAD else self._is_judged
        try:
            self.stage.wait(probe, bound, f"the gate judges {self.component}")
            is_in_time = True
        except FaultError as error:
            self.stage.say(f"   {error}")
            is_in_time = False
        self._is_decided = True
        self._note(**self._verdict(), taken_back=self.kind == BAD and is_in_time)

    def recover(self) -> None:
        """Take a bad one back that nobody took back."""
        if self._was_injected and self.kind == BAD and self._is_taken_back() is not None:
            self.stage.say("   taking the release back by hand")
            settings = (*self.stage.settings, *self.back)
            self.stage.release.upgrade(self.stage.parameters.values, settings)

    def healed(self) -> str | None:
        """Settled, and after a bad one on the templates from before."""
        if not self.settles:
            return None if self._is_decided else self._is_judged()
        missing = unsettled(self.stage.deployments.objects(), self.stage.pods.objects())
        return missing or (self._is_taken_back() if self.kind == BAD else None)

    def clean_up(self) -> None:
        """End the watch; the template is what recovering left."""
        if self._records is not None:
            self._records.stop()

    def _own(self) -> list[dict[str, Any]]:
        return [pod for pod in self.stage.pods.objects() if component_of(pod) == self.component]

    def _is_fresh(self, pod: dict[str, Any]) -> bool:
        return pod["metadata"]["labels"].get(HASH_LABEL) not in self._before

    def _is_taken_back(self) -> str | None:
        """None once only templates from before are wanted and run; else what is missing."""
        left = [
            pod["metadata"]["name"]
            for pod in self._own()
            if self._is_fresh(pod) and not pod["metadata"].get("deletionTimestamp")
        ]
        if left:
            return f"{', '.join(left)} {'is' if len(left) == 1 else 'are'} of the new template"
        own: Iterable[dict[str, Any]] = (
            one for one in self.stage.deployments.objects() if component_of(one) == self.component
        )
        return next((told for told in map(incomplete, own) if told), None)

    def _is_judged(self) -> str | None:
        return None if self._verdict() else f"no verdict on {self.component} yet"

    def _verdict(self) -> dict[str, Any]:
        if self._records is None:
            return {}
        record = find_record(self._records.objects(), self.component, self._known)
        return verdict_of(record) if record else {}

    def _note(self, **figures: Any) -> None:
        self.stage.marks.found[-1].figures.update(figures)


def _is_running(pod: dict[str, Any]) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return any("running" in one.get("state", {}) for one in statuses)


def first_seed(stage: Stage) -> int:
    """
    A seed that no earlier run has used; the n-th release adds n.

    A template that was there before is a rollback, which a gate lets pass, as long as
    its ReplicaSet is kept. Which calls fail depends on the pods' names besides, so
    the drill's own seed could not repeat them anyway.
    """
    return int(stage.marks.clock()) * SEEDS_A_SECOND


def rehearsal(component: str, seed: int, **values: Any) -> tuple[str, ...]:
    """`helm --set` of a rehearsal; values are JSON."""
    words = {**values, "seed": seed}
    return tuple(f"{component}.rehearsal.{name}={value}" for name, value in words.items())


__all__ = ["BAD", "IDENTICAL", "JudgedRelease", "first_seed", "rehearsal"]
