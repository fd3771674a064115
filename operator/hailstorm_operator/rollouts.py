"""
Is the new release as good as the old one? A pure function of what was observed.

Three questions, in the order in which they hurt:

1. *Can it run?* CrashLoopBackOff, an image that cannot be pulled, a deadline that
   passed. No traffic is needed, and nobody is hurt: the old pods all serve.
2. *Does it fail more?* Of all failures of a second, the canary should have its
   share of the calls. The Bayes factor of `bayes` says when it has too many.
   Where only new pods have calls, they are compared with what the old template
   showed before. What this cannot see: a defect that both versions have; one that
   fails as a whole system without a pod that failed a call.
3. *Is it slower?* Second by second: is the median of the canary above what the
   others' median allows? A good release is above in fewer than half of the
   seconds. Whole seconds are counted and not calls, because the calls of one
   second share its hiccup and are no independent witnesses.

Abort when the evidence says so; promote when enough was seen without a gap, a release
that fails every call would have been told from the others by now, and nothing leans
the other way; else look on. When the hold is over and neither is
so, the verdict is insufficient_evidence, and the policy says what then.
**No data never promotes by itself.**
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from hailstorm_operator import api
from hailstorm_operator.bayes import Evidence, fewest_events
from hailstorm_operator.gate_inputs import GateRules, Inputs, inputs_from_json
from hailstorm_operator.observations import Second, Tally, median_ms, total

# Jeffreys: below 3 evidence is "barely worth mentioning". Above it a release that
# is not aborted yet is not promoted either; it is looked at for longer.
LEANING: Final = 3.0
# A median of fewer calls than this jumps by itself; seconds are joined until both
# sides have so many.
BLOCK_CALLS: Final = 10
# A canary pulled the wrong way once may be pulled right at the kubelet's second
# try, 10 s later; these reasons do not mend by themselves and are final at once.
FINAL_TROUBLES: Final = frozenset({"CrashLoopBackOff", "InvalidImageName"})
PATIENCE_TROUBLES: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
TROUBLE_PATIENCE_SECONDS: Final = 10.0
# What a registry says about an image that is not there; asking again is no use.
FINAL_DETAILS: Final = ("not found", "manifest unknown", "denied", "unauthorized")
# After the roll there is nothing to compare with but the past, and the past was
# another time of day. Only a rate that is twice what the past can be believed
# to have had (99.5 % upper bound) counts against the release.
PAST_FACTOR: Final = 2.0
PAST_Z: Final = 2.576
# Without a failure in the past its bound nears zero, and a single failure would
# decide; a rate below one in a thousand is not undone by looking back.
PAST_FLOOR: Final = 0.001
# A rate that was low enough makes one failure decide. By this weight it takes two seconds:
# BF is 2/3 / sqrt(limit) after one, 21 at the floor, and 1/2 / limit after two.
LEAST_OF_A_SECOND: Final = 0.5
# The rule of three: 0 of n seen, at most 3/n with 95 % confidence.
RULE_OF_THREE: Final = 3.0

Action = Literal["wait", "promote", "rollback", "hold", "finish"]


@dataclass(frozen=True)
class Decision:
    """
    What to do and why. `verdict` is empty while there is none.

    `rule` names what decided, `explanation` is a sentence for people, `figures`
    are the numbers behind it.
    """

    verdict: str
    action: Action
    rule: str
    explanation: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Seen:
    """The inputs, added up."""

    failures: Evidence
    past: Evidence | None
    past_limit: float
    slow: Evidence
    canary: Tally
    others: Tally
    canary_median: float | None
    others_median: float | None
    clean_seconds: int
    clean_calls: int
    gaps: int
    is_comparable: bool


def decide_rollout(inputs: Inputs) -> Decision:
    """Judge a rollout. Pure; may be asked at any time and as often as one likes."""
    blocked = _find_blocker(inputs)
    if blocked is not None:
        return blocked
    if inputs.canary_since is None:
        waited = inputs.now - inputs.started_at
        return _wait("WaitingForCanary", f"no new pod is ready after {waited:.0f} s")
    seen = _add_up(inputs)
    worse = _find_worse(inputs, seen)
    if worse is not None:
        return worse
    return _end_watch(inputs, seen) if inputs.stage == "watch" else _end_hold(inputs, seen)


def replay(recorded: Mapping[str, Any]) -> Decision:
    """Decide again from inputs kept as JSON. Raises KeyError, TypeError or ValueError."""
    return decide_rollout(inputs_from_json(recorded))


def _find_blocker(inputs: Inputs) -> Decision | None:
    """Grounds that need no traffic."""
    for trouble in inputs.troubles:
        age = inputs.now - trouble.since
        lasting = trouble.reason in FINAL_TROUBLES or (
            trouble.reason in PATIENCE_TROUBLES
            and (
                age >= TROUBLE_PATIENCE_SECONDS
                or any(word in trouble.detail.lower() for word in FINAL_DETAILS)
            )
        )
        if lasting:
            detail = f": {trouble.detail}" if trouble.detail else ""
            return _abort(trouble.reason, f"{trouble.pod} cannot run, {trouble.reason}{detail}", {})
    if inputs.missed_deadline:
        return _abort(api.REASON_DEADLINE, inputs.missed_deadline, {})
    waited = inputs.now - inputs.started_at
    limit = inputs.rules.ready_deadline_seconds
    if inputs.canary_since is None and waited >= limit:
        why = "; ".join(f"{one.pod}: {one.reason}" for one in inputs.troubles[:3])
        text = f"no new pod became ready within {limit:.0f} s" + (f" ({why})" if why else "")
        return _abort(api.REASON_DEADLINE, text, {})
    return None


def _find_worse(inputs: Inputs, seen: _Seen) -> Decision | None:
    """Grounds that traffic gives: failures first, because they hurt more."""
    alpha, figures = inputs.rules.alpha, _figures(inputs, seen)
    failures, slow = seen.failures, seen.slow
    if failures.reaches(alpha):
        share = failures.expected / failures.total
        text = (
            f"{seen.canary.failed} of {seen.canary.failed + seen.others.failed} failures "
            "fell on the new pods, "
            f"which had {share:.0%} of the calls (BF {failures.factor:.0f} >= {1 / alpha:.0f})"
        )
        return _abort(api.RULE_FAILURES, text, figures)
    if seen.past is not None and seen.past.reaches(alpha):
        text = (
            f"{seen.past.on_suspect:.0f} of {seen.past.total:.0f} calls failed "
            f"{'since every pod is new' if inputs.stage == 'watch' else 'on new pods alone'}; "
            f"before it was at most {seen.past_limit / PAST_FACTOR:.2%} "
            f"(BF {seen.past.factor:.0f} >= {1 / alpha:.0f})"
        )
        return _abort(api.RULE_PAST, text, figures)
    if inputs.stage == "canary" and slow.reaches(alpha) and _knows_latency(inputs.rules, seen):
        text = (
            f"the new pods' median was {_ms(seen.canary_median)}, "
            f"the others' {_ms(seen.others_median)}: too slow in {slow.on_suspect:.0f} "
            f"of {slow.total:.0f} looks (BF {slow.factor:.0f})"
        )
        return _abort(api.RULE_SLOW, text, figures)
    return None


def _end_hold(inputs: Inputs, seen: _Seen) -> Decision:
    """Promote, look on, or say that the evidence does not suffice."""
    assert inputs.canary_since is not None  # decide_rollout has looked.
    rules, figures = inputs.rules, _figures(inputs, seen)
    held = inputs.now - inputs.canary_since
    lacking, rule = _find_lack(inputs, seen)
    if not lacking and held >= rules.hold_min_seconds:
        return Decision(
            api.VERDICT_PROMOTED,
            "promote",
            api.RULE_ENOUGH,
            f"{_failed(seen.canary)} on the new pods, {_failed(seen.others)} on the others, "
            f"in {seen.clean_seconds} s without a gap",
            figures,
        )
    # Without a source of traffic waiting longer would teach nothing.
    patience = rules.hold_max_seconds if rules.has_traffic_source else rules.hold_min_seconds
    if held < patience:
        return _wait("Looking", lacking or f"{rules.hold_min_seconds - held:.0f} s to go", figures)
    then = rules.on_insufficient_evidence
    return Decision(
        api.VERDICT_INSUFFICIENT,
        then,
        rule,
        f"{lacking}; the policy says {then}",
        figures,
    )


def _find_lack(inputs: Inputs, seen: _Seen) -> tuple[str, str]:
    """What is missing for a promotion, as a sentence and a rule; empty when nothing is."""
    rules = inputs.rules
    if not rules.has_traffic_source:
        return "the policy names no source of traffic", api.RULE_NO_SOURCE
    if inputs.no_data:
        return f"no tallies: {inputs.no_data}", api.RULE_NO_DATA
    if seen.clean_seconds < rules.hold_min_seconds:
        text = (
            f"{seen.clean_seconds} s in a row were observed without a gap, "
            f"{rules.hold_min_seconds:.0f} are wanted"
        )
        return text, api.RULE_GAP if seen.gaps else api.RULE_NO_DATA
    if seen.clean_calls < rules.min_calls:
        return (
            f"{seen.clean_calls} calls reached the new pods, {rules.min_calls} are wanted",
            api.RULE_FEW_CALLS,
        )
    if not seen.is_comparable:
        text = "neither the others nor the time before had calls enough to compare with"
        return text, api.RULE_UNCOMPARED
    if rules.latency is not None and not _knows_latency(rules, seen):
        least = fewest_events(0.5, rules.alpha)
        text = f"{seen.slow.total:.0f} looks at the latency, {least} are wanted"
        return text, api.RULE_FEW_CALLS
    leaning = [(seen.failures, "failures"), (seen.slow, "latency")]
    if seen.past is not None:
        leaning.append((seen.past, "failures since before"))
    for evidence, what in leaning:
        if evidence.leans_to_suspect and evidence.factor >= LEANING:
            text = f"{what} lean against the new pods (BF {evidence.factor:.1f}) and do not decide"
            return text, api.RULE_UNDECIDED
    return "", ""


def _end_watch(inputs: Inputs, seen: _Seen) -> Decision:
    figures = _figures(inputs, seen)
    if inputs.arrived_at is None:
        return _wait("Rolling", "the remaining pods are being replaced", figures)
    watched = inputs.now - inputs.arrived_at
    if watched < inputs.rules.watch_seconds:
        text = f"{inputs.rules.watch_seconds - watched:.0f} s of the watch to go"
        return _wait("Watching", text, figures)
    # The promotion stands on the hold; a watch without data takes nothing from it,
    # but it must not read like one that saw something.
    text = f"{_failed(seen.canary)} on the new pods since the promotion"
    if inputs.no_data or seen.gaps:
        text += f"; {inputs.no_data or f'{seen.gaps} s are not known'}"
    return Decision(api.VERDICT_PROMOTED, "finish", api.RULE_WATCHED, text, figures)


def _add_up(inputs: Inputs) -> _Seen:
    alpha = inputs.rules.alpha
    failures, slow = Evidence(), Evidence()
    past, past_limit = _look_back(inputs)
    clean_seconds = clean_calls = gaps = 0
    # What a release that fails every call would have shown since the last gap.
    worst, worst_past = Evidence(), Evidence()
    block, warm = Second(0), []
    # A watch begins with nothing: what was good in the hold must not outweigh what
    # turns bad later.
    since = inputs.promoted_at if inputs.stage == "watch" else None
    looked_at = [one for one in inputs.seconds if since is None or one.at >= since]
    for one in looked_at:
        if one.gap:
            # What came before a gap still testifies against; for a promotion the
            # count starts anew.
            clean_seconds = clean_calls = 0
            worst, worst_past = Evidence(), Evidence()
            gaps += 1
            continue
        clean_seconds += 1
        clean_calls += one.canary.calls
        together = one.canary.calls + one.others.calls
        if together:
            share = one.canary.calls / together
            failed = one.canary.failed + one.others.failed
            # Failures of one second may have one cause, a reset connection or a
            # hiccup of one node: no second decides alone.
            most = max(1, fewest_events(round(share, 2), alpha) - 1)
            failures.add(one.canary.failed, failed, share, most)
            worst.add(one.canary.calls, one.canary.calls + one.others.failed, share, most)
        if past is not None and not one.others.calls:
            calls = one.canary.calls
            worst_past.add(calls, calls, past_limit, _most_of_a_second(past_limit, alpha))
        if inputs.rules.latency is None or _is_cold(inputs, one):
            continue
        warm.append(one)
        block = Second(one.at, block.canary + one.canary, block.others + one.others)
        fewest = min(sum(block.canary.histogram), sum(block.others.histogram))
        if fewest >= BLOCK_CALLS:
            slow.add(int(_is_slow(block, inputs)), 1, 0.5)
            block = Second(0)
    return _Seen(
        failures=failures,
        past=past,
        past_limit=past_limit,
        slow=slow,
        canary=total(one.canary for one in looked_at),
        others=total(one.others for one in looked_at),
        canary_median=median_ms(total(one.canary for one in warm).histogram, inputs.edges),
        others_median=median_ms(total(one.others for one in warm).histogram, inputs.edges),
        clean_seconds=clean_seconds,
        clean_calls=clean_calls,
        gaps=gaps,
        is_comparable=(inputs.decider < 2 or worst.reaches(alpha) or worst_past.reaches(alpha)),
    )


def _most_of_a_second(limit: float, alpha: float) -> float:
    """How many failures of one second of new pods alone count: too few to decide."""
    return max(LEAST_OF_A_SECOND, fewest_events(limit, alpha) - 1)


def _look_back(inputs: Inputs) -> tuple[Evidence | None, float]:
    """Failures while nothing old served, against what the old template showed before."""
    is_watch = inputs.stage == "watch"
    if not is_watch and inputs.decider < 2:
        return None, 0.0
    old = total(
        [
            *(one.others for one in inputs.seconds),
            *(one.canary + one.others for one in inputs.before),
        ]
    )
    alone = [one for one in inputs.seconds if not one.gap and not one.others.calls]
    if not old.calls or not alone:
        return None, 0.0
    limit = max(PAST_FLOOR, PAST_FACTOR * _upper_bound(old.failed, old.calls))
    # With nothing beside it one second's hiccup looks like a bad release. In a watch the
    # first of them is looked at after a whole hold that was good.
    most = None if is_watch else _most_of_a_second(limit, inputs.rules.alpha)
    evidence = Evidence()
    for one in alone:
        evidence.add(one.canary.failed, one.canary.calls, limit, most)
    return evidence, limit


def _upper_bound(failed: int, calls: int) -> float:
    """Wilson's upper bound of a share."""
    share, z2 = failed / calls, PAST_Z**2
    centre = share + z2 / (2 * calls)
    spread = PAST_Z * math.sqrt(share * (1 - share) / calls + z2 / (4 * calls**2))
    return min(0.5, (centre + spread) / (1 + z2 / calls))


def _is_cold(inputs: Inputs, second: Second) -> bool:
    latency, since = inputs.rules.latency, inputs.canary_since
    return latency is None or since is None or second.at < since + latency.cold_start_seconds


def _is_slow(block: Second, inputs: Inputs) -> bool:
    latency = inputs.rules.latency
    ours = median_ms(block.canary.histogram, inputs.edges)
    theirs = median_ms(block.others.histogram, inputs.edges)
    if latency is None or ours is None or theirs is None:
        return False
    return ours > max(theirs * latency.max_ratio, theirs + latency.max_delta_ms)


def _knows_latency(rules: GateRules, seen: _Seen) -> bool:
    """Whether there were as many looks as an all-slow canary would need to be caught."""
    if rules.latency is None:
        return True
    enough = seen.slow.total >= fewest_events(0.5, rules.alpha)
    return enough and seen.canary.calls >= rules.latency.min_calls


def _figures(inputs: Inputs, seen: _Seen) -> dict[str, Any]:
    """Numbers of a decision, for the record. Attempts, not calls of users."""
    failures = seen.failures
    figures: dict[str, Any] = {
        "canaryCalls": seen.canary.calls,
        "canaryFailed": seen.canary.failed,
        "canaryShed": seen.canary.shed,
        "othersCalls": seen.others.calls,
        "othersFailed": seen.others.failed,
        "canaryShare": _rounded(
            seen.canary.calls / max(1, seen.canary.calls + seen.others.calls), 4
        ),
        "expectedCanaryFailed": _rounded(
            failures.expected / failures.total * (seen.canary.failed + seen.others.failed)
            if failures.total
            else 0.0,
            2,
        ),
        "bayesFactor": _rounded(failures.factor, 3),
        "decidesAt": _rounded(1 / inputs.rules.alpha, 3),
        "cleanSeconds": seen.clean_seconds,
        "gapSeconds": seen.gaps,
    }
    since = inputs.promoted_at if inputs.stage == "watch" else None
    first = next(
        (
            one.at
            for one in inputs.seconds
            if one.canary.failed and (since is None or one.at >= since)
        ),
        None,
    )
    if first is not None:
        figures["firstFailureAt"] = first
        figures["secondsSinceFirstFailure"] = _rounded(inputs.now - first, 3)
    if inputs.rules.latency is not None:
        figures |= {
            "canaryMedianMs": _rounded(seen.canary_median, 1),
            "othersMedianMs": _rounded(seen.others_median, 1),
            "slowLooks": int(seen.slow.on_suspect),
            "looks": int(seen.slow.total),
            "latencyBayesFactor": _rounded(seen.slow.factor, 3),
        }
    if seen.past is not None:
        figures |= {
            "callsAlone": int(seen.past.total),
            "failedAlone": int(seen.past.on_suspect),
            "pastLimit": _rounded(seen.past_limit, 6),
            "pastBayesFactor": _rounded(seen.past.factor, 3),
        }
    return {name: value for name, value in figures.items() if value is not None}


def _failed(tally: Tally) -> str:
    if not tally.calls:
        return "no call"
    if not tally.failed:
        bound = min(1.0, RULE_OF_THREE / tally.calls)
        return f"0 of {tally.calls} calls failed (at most {bound:.2%})"
    return f"{tally.failed} of {tally.calls} calls failed"


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} ms"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _wait(rule: str, explanation: str, figures: Mapping[str, Any] | None = None) -> Decision:
    return Decision("", "wait", rule, explanation, figures or {})


def _abort(rule: str, explanation: str, figures: Mapping[str, Any]) -> Decision:
    return Decision(api.VERDICT_ABORTED, "rollback", rule, explanation, figures)
