"""From a spec, the windows, a reading and the pods to what the decider takes. Pure."""

from collections.abc import Iterable

from hailstorm_operator import api
from hailstorm_operator.inventory import NO_DEPLOYMENT, DeploymentView
from hailstorm_operator.pod_views import PodView
from hailstorm_operator.scaling import Decision, patience, pods_for
from hailstorm_operator.scaling_inputs import Demand, Rules
from hailstorm_operator.signals import Reading
from hailstorm_operator.spares import Round
from hailstorm_operator.specs import ScalerSpec
from hailstorm_operator.timestamps import parse_time
from hailstorm_operator.windows import SignalWindows


def rules_of(spec: ScalerSpec, measured_startup_seconds: float) -> Rules:
    """What a spec asks for; the start-up time is its own, else the measured one."""
    behavior, budget = spec.behavior, spec.connection_budget
    startup = behavior.startup_seconds
    return Rules(
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
        in_flight_per_pod=spec.in_flight_per_pod,
        tolerance=behavior.tolerance,
        max_pods_in_creation=behavior.max_pods_in_creation,
        stable_window_seconds=behavior.stable_window_seconds,
        scale_down_window_seconds=behavior.scale_down_window_seconds,
        knee_per_pod=spec.target_in_flight,
        startup_seconds=measured_startup_seconds if startup is None else startup,
        connections_per_pod=budget.connections_per_pod if budget else 0,
        connections=budget.for_replicas if budget else 0,
        step_seconds=behavior.scale_down_step_seconds,
    )


def demand_of(windows: SignalWindows, reading: Reading, now: float) -> Demand:
    """The windows as of now; nothing at all where no source answers."""
    if reading.state == "stale":
        return Demand(None, None, windows.peak(now), "stale")
    return Demand(
        fast=windows.fast(now),
        stable=windows.stable(now),
        peak=windows.peak(now),
        state=reading.state,
        scatter=windows.scatter(now),
        slope=windows.slope(now),
        shed=reading.shed_in_flight,
        is_rising=windows.is_rising(now),
        looks=windows.looks(now),
    )


def late_pods(pods: Iterable[PodView], now: float, rules: Rules) -> tuple[int, int]:
    """How many pods are overdue, and how many of them stuck (`scaling.patience`)."""
    ages = [
        now - parse_time(pod.unready_since).timestamp()
        for pod in pods
        if pod.unready_since and not pod.leaving
    ]
    overdue, stuck = patience(rules)
    return sum(age >= overdue for age in ages), sum(age >= stuck for age in ages)


def round_of(decision: Decision, view: DeploymentView, *, is_judged: bool) -> Round:
    """What a decision about the target means for its spares."""
    demand, rules = decision.inputs.demand, decision.inputs.rules
    wanted = decision.wanted
    # Spares are for what is there now; what a slope will bring, new pods are for.
    present = pods_for(max(demand.fast or 0.0, demand.stable or 0.0), rules)
    if wanted is not None:
        wanted = min(wanted, present)
    if decision.clamp == api.CLAMP_TOLERANCE:
        wanted = decision.desired
    if decision.memory.lacking_since and demand.is_rising:
        # What the first look after a step sees is the least of it: half a second later the rest
        # of the spares came, amid the queue of that half (1.75 s after it, seen). Not once they
        # carry it, or every ripple would lend them all.
        wanted = max(wanted or 0, view.ready + decision.inputs.capacity.spares)
    return Round(
        now=decision.inputs.now,
        view=view,
        wanted=wanted,
        desired=decision.desired,
        is_signal_whole=demand.state == "fresh",
        is_panicking=decision.memory.panicking,
        is_conflicted=bool(decision.inputs.capacity.conflict),
        is_judged=is_judged,
        lasting=present,
    )


def round_without_target(now: float) -> Round:
    """What it means for the spares that the target is gone: they stand in for nobody."""
    return Round(
        now=now,
        view=NO_DEPLOYMENT,
        wanted=None,
        desired=0,
        is_signal_whole=False,
        is_panicking=False,
        is_conflicted=False,
        is_judged=False,
    )
