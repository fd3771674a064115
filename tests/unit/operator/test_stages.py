"""Where a rollout begins, which no story of a whole one shows."""

from dataclasses import replace

from hailstorm_operator import api
from hailstorm_operator.gate_memory import Memory, Template
from hailstorm_operator.stages import Facts, Step, next_step

STABLE = Template("one", 1)
# Revision 2 has been there for days, and one of its pods is on a node that is drained.
FACTS = Facts(
    target_uid="uid",
    digest="two",
    revision=2,
    kind=api.TRIGGER_ROLLOUT,
    replicas=4,
    surged=4,
    arrived=False,
    hold="none",
    previous=STABLE,
    through=True,
)


def step(memory: Memory, facts: Facts = FACTS) -> Step:
    return next_step(replace(memory, target_uid="uid"), facts, 1000.0, enforce=True, early=False)


def test_policy_that_is_new_takes_what_is_there_for_stable_though_a_pod_is_away() -> None:
    found = step(Memory())
    assert (found.kind, found.memory.stable, found.memory.rollout) == (
        "remember",
        Template("two", 2),
        None,
    )
    # One that rolls just now is judged against the one before.
    rolling = step(Memory(), replace(FACTS, through=False))
    assert rolling.memory.stable == STABLE
    assert rolling.memory.rollout is not None
    assert rolling.memory.rollout.stage == "Surging"


def test_what_rolled_while_nobody_looked_is_not_held_though_a_pod_is_away() -> None:
    rollout = step(Memory(stable=STABLE)).memory.rollout
    assert rollout is not None
    assert rollout.stage == "Passing"
    # Of one that was taken back Kubernetes may mean the time before.
    again = step(Memory(stable=STABLE, unproven=("two",))).memory.rollout
    assert again is not None
    assert again.stage == "Surging"
