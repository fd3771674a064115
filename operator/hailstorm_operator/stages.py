"""
The stages of a rollout under a RolloutPolicy, and the step that comes next.

    (no rollout)
        │ a new template
        ├──────── a rollback to what once was promoted, or it ───► Passing ──┐
        ▼         has arrived already: there is nothing to hold              │
     Surging ── the hold is on ──► Holding ── resumed by a user ─► Passing ──┤ arrived:
        │ cannot run                 │ judge, twice a second                 │ it is the
        │                            ├─ promoted ───────► Releasing          │ stable one
        │                            │   (or the policy      │ hold off      │
        │                            │    says promote)      ▼               │
        │                            │                    Watching ──────────┤
        │                            │                       │ worse than    │
        ▼                            ▼ aborted               ▼ the past      ▼
     RollingBack ◄───────────────────┴───────────────────────┘        (no rollout)
        │ the stable template back and the hold off, in one patch            ▲
        └────────────────────────────────────────────────────────────────────┘
    insufficient_evidence with "hold": Held, until a user resumes or changes it.
    A newer template at any stage: superseded, and the newer one begins above.
    While a user's own pause stands only a release found bad is not left alone.

A verdict is written, to the record and to the policy's status, before the step that
it asks for is made. Every step looks at the Deployment first and may be repeated;
the stage alone says what is still to do. So an operator that dies anywhere leaves
either an unwritten verdict, which the next one finds again from the same tallies,
or a written one, which the next one carries out.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

from hailstorm_operator import api
from hailstorm_operator.gate_memory import Memory, Rollout, Stage, Template
from hailstorm_operator.holds import State
from hailstorm_operator.rollouts import Decision

StepKind = Literal[
    "rest", "remember", "supersede", "hold", "release", "restore", "rollback", "judge"
]

# Pods that one rollout of a large Deployment may make, with their restarts elsewhere.
MAX_ADDRESSES: Final = 300


@dataclass(frozen=True)
class Facts:
    """
    A Deployment as the gate has just read it.

    `replicas` are those it is to have, `surged` counts pods of its template, `arrived`
    says that every replica is one of them and available, `through` that they were once,
    `previous` is the newest other revision. `paused_by_user` says that spec.paused is not our hold.
    """

    target_uid: str
    digest: str
    revision: int
    kind: str
    replicas: int
    surged: int
    arrived: bool
    hold: State
    previous: Template | None
    short_held: bool = False
    by_min_ready: bool = False
    min_ready_before: int | None = None
    min_ready_held: int | None = None
    paused_by_user: bool = False
    has_lost_its_marks: bool = False
    has_own_cause: bool = False
    through: bool = False


@dataclass(frozen=True)
class Step:
    """What to do next, and what to remember once it is done."""

    kind: StepKind
    memory: Memory


def next_step(memory: Memory, facts: Facts, now: float, *, enforce: bool, early: bool) -> Step:
    """
    The next step. `early` says that the hold may be put on before a pod has surged.

    Pure, and true to the memory: asked again with the same facts it gives the same.
    """
    if memory.target_uid != facts.target_uid:
        # Deleted and made anew, or the policy names another one: nothing known holds.
        kept = Memory() if memory.target_uid else memory
        return Step("remember", replace(kept, target_uid=facts.target_uid))
    rollout = memory.rollout
    if rollout is None:
        return _begin(memory, facts, now)
    if rollout.min_ready_before is not None and facts.has_lost_its_marks:
        # Before anything else: the pods of a user's undo wait as long as it stands.
        return Step("restore", memory)
    if rollout.digest != facts.digest:
        return _left(memory, rollout, facts)
    if rollout.paused != facts.paused_by_user:
        resumed_at = now if rollout.paused else rollout.resumed_at
        paused = facts.paused_by_user
        return Step("remember", memory.having(paused=paused, resumed_at=resumed_at))
    if rollout.stage == "Surging":
        return _surge(memory, facts, enforce=enforce, early=early)
    if rollout.stage == "Holding":
        return _hold(memory, facts, now, enforce=enforce)
    if rollout.stage == "Held":
        return _held(memory, facts)
    if rollout.stage == "Releasing":
        if facts.hold in ("ours", "stale", "lifted"):
            return Step("release", memory)
        # A value of minReadySeconds from now on is a user's, whatever it is.
        return Step(
            "remember",
            memory.having(stage="Watching", min_ready_before=None, min_ready_held=None),
        )
    if rollout.stage == "RollingBack":
        return Step("rollback", memory)
    if rollout.stage == "Passing":
        if facts.hold in ("ours", "stale", "lifted"):
            return Step("release", memory)
        return _settle_when_arrived(memory, facts)
    if facts.arrived and rollout.arrived_at is None:
        return Step("remember", memory.having(arrived_at=now))
    return Step("judge", memory)


def after_decision(memory: Memory, decision: Decision, now: float, *, enforce: bool) -> Memory:
    """What to remember of a decision that has a verdict, before anything is done about it."""
    rollout = memory.rollout
    assert rollout is not None  # Only a rollout is judged.
    if decision.action == "finish":
        # The end of the watch confirms the promotion, it is not a new one.
        return memory.settled(rollout)
    stage: Stage = "Passing"
    if decision.action == "promote":
        stage = "Releasing"
    elif enforce and decision.action == "rollback":
        stage = "RollingBack" if memory.stable else "Held"
    elif enforce and decision.action == "hold":
        stage = "Held"
    return memory.having(
        stage=stage,
        decided_at=now,
        verdict=decision.verdict,
        action=decision.action,
        rule=decision.rule,
        explanation=decision.explanation,
    )


def must_wait(facts: Facts, decision: Decision) -> bool:
    """
    Whether a decision waits until a user lets go of their own pause.

    All do but one: a release found bad hurts for as long as its pods serve.
    """
    return facts.paused_by_user and decision.verdict != api.VERDICT_ABORTED


def after_refusal(memory: Memory) -> Memory:
    """What to remember when the policy may not gate its target any more."""
    rollout = memory.rollout
    return memory if rollout is None else _overtaken(memory, rollout)


def after_rollback(memory: Memory) -> Memory:
    """The stable template is back; this one is not to be trusted when it returns."""
    assert memory.rollout is not None  # Only a rollout is rolled back.
    return memory.dropped(memory.rollout)


def superseded_decision(newer: int) -> Decision:
    """The verdict on an attempt that a newer template has overtaken."""
    return Decision(
        api.VERDICT_SUPERSEDED,
        "finish",
        api.RULE_NEWER,
        f"revision {newer} took its place before there was a verdict",
    )


def _begin(memory: Memory, facts: Facts, now: float) -> Step:
    if facts.hold in ("ours", "stale", "lifted"):
        # Left from an attempt that is over, or from an undo in its midst.
        return Step("release", memory)
    stable = memory.stable
    if stable is None:
        if facts.arrived or facts.through:
            # One of its replicas may be away just now; that makes it no release to judge.
            return Step("remember", replace(memory, stable=_here(facts)))
        if facts.previous is None:
            # The very first release: there is nothing to compare with or go back to.
            return Step("rest", memory)
        memory = replace(memory, stable=facts.previous)
    elif stable.digest == facts.digest:
        # Once the rollback has arrived, its cause must not pass for the next release's.
        return Step("release" if facts.has_own_cause and facts.arrived else "rest", memory)
    # Whoever rolls back is in a hurry; a template that was never promoted has to
    # go through the gate all the same.
    trusted = facts.kind == api.TRIGGER_ROLLBACK and facts.digest not in memory.unproven
    # What rolled while no operator looked has nothing left to hold or to compare with. Of one that
    # was taken back before, Kubernetes may still mean that time.
    was_through = facts.through and facts.digest not in memory.unproven
    rollout = Rollout(
        stage="Passing" if trusted or facts.arrived or was_through else "Surging",
        digest=facts.digest,
        revision=facts.revision,
        kind=facts.kind,
        started_at=now,
    )
    return Step("remember", replace(memory, rollout=rollout))


def _left(memory: Memory, rollout: Rollout, facts: Facts) -> Step:
    """The Deployment has another template than the attempt."""
    if rollout.stage == "Watching" and facts.kind == api.TRIGGER_ROLLBACK:
        return Step("remember", memory.dropped(rollout))
    is_judged = rollout.verdict or rollout.stage == "Passing"
    return Step("remember" if is_judged else "supersede", _overtaken(memory, rollout))


def _overtaken(memory: Memory, rollout: Rollout) -> Memory:
    """What is left of an attempt that ended before it was through."""
    if rollout.stage == "Watching":
        # Promoted it was; what the watch would have said nobody will know.
        return memory.settled(rollout)
    if rollout.stage == "Passing" and not rollout.verdict:
        return replace(memory, rollout=None)
    return memory.dropped(rollout)


def _surge(memory: Memory, facts: Facts, *, enforce: bool, early: bool) -> Step:
    if facts.arrived and enforce:
        # Through before the hold was on.
        return Step("remember", memory.having(stage="Passing"))
    if facts.paused_by_user and facts.hold != "ours":
        return Step("rest", memory)
    if _has_no_canary(facts):
        return Step("remember", memory.having(stage="Passing"))
    if facts.hold == "stale" and not early:
        # Paused for an earlier attempt: nothing surges until that is off.
        return Step("release", memory)
    if facts.hold == "ours" or not enforce:
        return Step("remember", _noted(memory, facts).having(stage="Holding"))
    if early or facts.surged:
        return Step("hold", memory)
    return Step("judge", memory)


def _hold(memory: Memory, facts: Facts, now: float, *, enforce: bool) -> Step:
    if _has_no_canary(facts):
        return Step("remember", memory.having(stage="Passing"))
    if not enforce:
        return Step("release" if facts.hold in ("ours", "stale") else "judge", memory)
    if facts.hold == "ours":
        if facts.short_held:
            return Step("hold", memory)
        noted = _noted(memory, facts)
        return Step("judge" if noted == memory else "remember", noted)
    if facts.hold == "stale":
        return Step("hold", memory)
    resumed = Decision(
        api.VERDICT_INSUFFICIENT,
        "promote",
        api.RULE_RESUMED,
        "a user let the rollout go on before there was a verdict",
    )
    after = after_decision(memory, resumed, now, enforce=enforce)
    return Step("remember", after.having(stage="Passing"))


def _held(memory: Memory, facts: Facts) -> Step:
    if facts.hold in ("lifted", "none"):
        return Step("remember", memory.having(stage="Passing"))
    # For as long as a person needs, not for as long as a field lasts.
    return Step("hold" if facts.by_min_ready else "rest", memory)


def _settle_when_arrived(memory: Memory, facts: Facts) -> Step:
    rollout = memory.rollout
    assert rollout is not None  # Only a rollout passes.
    if not facts.arrived:
        return Step("rest", memory)
    return Step("remember", memory.settled(rollout))


def _has_no_canary(facts: Facts) -> bool:
    """Whether there is no new pod to look at and none to wait for."""
    return facts.replicas == 0 and facts.surged == 0


def _noted(memory: Memory, facts: Facts) -> Memory:
    """With what our hold has set and has to put back: an undo takes the notes of it away."""
    return memory.having(
        min_ready_before=facts.min_ready_before, min_ready_held=facts.min_ready_held
    )


def _here(facts: Facts) -> Template:
    return Template(facts.digest, facts.revision)
