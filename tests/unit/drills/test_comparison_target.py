"""What a call costs the pod that is scaled, whatever the machine takes for it."""

import pytest

from hailstorm_drills.comparison.target import FIRST_OVERHEAD_MS, MEASURED_CALLS, Cost


class Machine:
    """Takes so much of a process's CPU time for a call, besides what the call burns."""

    def __init__(self, overhead_ms: float) -> None:
        self.overhead_ms = overhead_ms
        self.spent_ms = 0.0

    def process_time(self) -> float:
        return self.spent_ms / 1000

    def burns(self, milliseconds: float) -> None:
        self.spent_ms += milliseconds + self.overhead_ms


def spent_on(machine: Machine, cost: Cost, calls: int) -> float:
    """Milliseconds a call."""
    before = machine.spent_ms
    for _ in range(calls):
        cost.pay(machine.burns)
    return (machine.spent_ms - before) / calls


@pytest.mark.parametrize("overhead_ms", [0.2, FIRST_OVERHEAD_MS, 1.5, 2.6])
def test_a_call_costs_the_same_on_every_machine(overhead_ms):
    machine = Machine(overhead_ms)
    cost = Cost(2.6, machine.process_time)
    first = spent_on(machine, cost, MEASURED_CALLS)
    assert first == pytest.approx(2.6 - FIRST_OVERHEAD_MS + overhead_ms)
    spent_on(machine, cost, 10 * MEASURED_CALLS)
    assert spent_on(machine, cost, MEASURED_CALLS) == pytest.approx(2.6, rel=0.01)
    assert cost.overhead_ms == pytest.approx(overhead_ms, rel=0.01)


def test_a_machine_that_takes_more_than_the_cost_burns_nothing():
    machine = Machine(3.0)
    cost = Cost(2.6, machine.process_time)
    spent_on(machine, cost, 10 * MEASURED_CALLS)
    assert spent_on(machine, cost, MEASURED_CALLS) == pytest.approx(3.0)


def test_what_it_takes_is_followed_when_it_changes():
    machine = Machine(0.4)
    cost = Cost(2.6, machine.process_time)
    spent_on(machine, cost, 2 * MEASURED_CALLS)
    machine.overhead_ms = 1.2
    spent_on(machine, cost, 10 * MEASURED_CALLS)
    assert spent_on(machine, cost, MEASURED_CALLS) == pytest.approx(2.6, rel=0.01)
