"""
What a gate remembers of its target, in the status of its RolloutPolicy.

It outlives the operator: the next one goes on from it. It is about one Deployment
object, by uid: one that takes the name later is another, and nothing of this holds.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

Json = Mapping[str, Any]
Stage = Literal["Surging", "Holding", "Releasing", "Watching", "RollingBack", "Held", "Passing"]

# Templates that came and went without being promoted; going back to one is no rollback
# to something good. More than the ReplicaSets that Kubernetes keeps.
MAX_UNPROVEN: Final = 20


@dataclass(frozen=True)
class Template:
    """A pod template by its identity, and the revision it had."""

    digest: str
    revision: int


@dataclass(frozen=True)
class Rollout:
    """
    One attempt, as far as the gate has come. Times are epoch seconds.

    `addresses` are those that pods of the new template have or had: a pod that is
    gone must not count for the others. `min_ready_before` is what our hold has to put
    back and `min_ready_held` what it has set, since a user's undo takes the notes of
    both off the Deployment. `paused` says that a user's own pause stands, `resumed_at`
    when the last one ended.
    """

    stage: Stage
    digest: str
    revision: int
    kind: str
    started_at: float
    canary_since: float | None = None
    arrived_at: float | None = None
    decided_at: float | None = None
    verdict: str = ""
    action: str = ""
    rule: str = ""
    explanation: str = ""
    addresses: tuple[str, ...] = ()
    trouble_since: tuple[tuple[str, float], ...] = ()
    min_ready_before: int | None = None
    min_ready_held: int | None = None
    paused: bool = False
    resumed_at: float | None = None

    def counted_from(self, now: float) -> float:
        """
        Since when its deadline runs, in epoch seconds: since a user's pause ended, if any.

        While the pause stands no time passes, as for Kubernetes' own deadline.
        """
        if self.paused:
            return now
        return self.started_at if self.resumed_at is None else self.resumed_at


@dataclass(frozen=True)
class Memory:
    """
    What outlives the operator, in the policy's status.

    `target_uid` is the Deployment object that all of it is about; "" before the first look.
    """

    stable: Template | None = None
    unproven: tuple[str, ...] = ()
    rollout: Rollout | None = None
    target_uid: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values for the status; absent parts are null, so that a merge clears them."""
        rollout = asdict(self.rollout) if self.rollout else None
        if rollout is not None:
            rollout["addresses"] = list(rollout["addresses"])
            rollout["trouble_since"] = [list(one) for one in rollout["trouble_since"]]
        return {
            "stable": asdict(self.stable) if self.stable else None,
            "unproven": list(self.unproven),
            "rollout": rollout,
            "target_uid": self.target_uid,
        }

    def having(self, **changes: Any) -> "Memory":
        """The same with other fields of its rollout. Only for one that has a rollout."""
        assert self.rollout is not None  # The caller has one in hand.
        return replace(self, rollout=replace(self.rollout, **changes))

    def settled(self, rollout: Rollout) -> "Memory":
        """Its rollout over, and the template of it the stable one."""
        return replace(
            self,
            stable=Template(rollout.digest, rollout.revision),
            unproven=tuple(one for one in self.unproven if one != rollout.digest),
            rollout=None,
        )

    def dropped(self, rollout: Rollout) -> "Memory":
        """Its rollout over, and the template of it not to be trusted when it returns."""
        unproven = [one for one in self.unproven if one != rollout.digest]
        return replace(
            self, rollout=None, unproven=tuple([*unproven, rollout.digest][-MAX_UNPROVEN:])
        )


def memory_from_json(status: Json) -> Memory:
    """The memory that a policy's status holds; an empty one for a new policy."""
    stable, rollout = status.get("stable"), status.get("rollout")
    return Memory(
        stable=Template(**stable) if stable else None,
        unproven=tuple(status.get("unproven") or ()),
        rollout=_rollout_from_json(rollout) if rollout else None,
        target_uid=str(status.get("target_uid") or ""),
    )


def _rollout_from_json(rollout: Json) -> Rollout:
    values = dict(rollout)
    values["addresses"] = tuple(values.get("addresses") or ())
    values["trouble_since"] = tuple(
        (str(pod), float(since)) for pod, since in values.get("trouble_since") or ()
    )
    return Rollout(**values)
