"""Questions of one turn share a statement, and nobody hears what is not his."""

import asyncio
from collections.abc import Sequence

import pytest

from hailstorm.runtime.calls import Call, current_call, enter_call
from hailstorm.trip.repository.together import Together


class Store:
    """Doubles numbers; remembers what it was asked at once, and as which call."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.calls: list[Call | None] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        self.calls.append(current_call())
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [2 * number for number in numbers]


async def test_callers_of_one_turn_share_a_statement() -> None:
    store = Store()
    together = Together[int, int](store.ask)
    assert await asyncio.gather(*(together.ask(n) for n in range(5))) == [0, 2, 4, 6, 8]
    assert store.asked == [[0, 1, 2, 3, 4]]


async def test_a_lone_caller_asks_for_itself() -> None:
    store = Store()
    together = Together[int, int](store.ask)
    assert [await together.ask(1), await together.ask(2)] == [None, None]
    assert store.asked == []


async def test_those_who_come_while_others_are_asked_do_not_wait_for_their_answer() -> None:
    store = Store()
    store.gate.clear()
    together = Together[int, int](store.ask)
    first = [asyncio.create_task(together.ask(n)) for n in (1, 2)]
    await asyncio.sleep(0.01)
    second = [asyncio.create_task(together.ask(n)) for n in (3, 4)]
    await asyncio.sleep(0.01)
    assert store.asked == [[1, 2], [3, 4]]
    store.gate.set()
    assert await asyncio.gather(*first, *second) == [2, 4, 6, 8]


async def test_no_statement_holds_more_than_the_most() -> None:
    store = Store()
    together = Together[int, int](store.ask, most=2)
    assert await asyncio.gather(*(together.ask(n) for n in range(5))) == [0, 2, 4, 6, None]
    assert store.asked == [[0, 1], [2, 3]]


async def test_an_error_is_told_to_all_who_shared_it() -> None:
    store = Store()
    store.error = ValueError("the store is away")
    together = Together[int, int](store.ask)
    answers = await asyncio.gather(*(together.ask(n) for n in (1, 2)), return_exceptions=True)
    assert answers == [store.error, store.error]


async def test_a_statement_that_nobody_waits_for_is_cancelled() -> None:
    cancelled: list[list[int]] = []

    async def ask(numbers: Sequence[int]) -> list[int]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(list(numbers))
            raise
        return list(numbers)

    together = Together[int, int](ask)
    callers = [asyncio.create_task(together.ask(n)) for n in (1, 2)]
    await asyncio.sleep(0.01)
    callers[0].cancel()
    await asyncio.sleep(0.01)
    assert cancelled == []
    callers[1].cancel()
    await asyncio.sleep(0.01)
    assert cancelled == [[1, 2]]
    assert all(caller.cancelled() for caller in callers)


async def test_closing_leaves_nobody_waiting() -> None:
    store = Store()
    store.gate.clear()
    together = Together[int, int](store.ask)
    callers = [asyncio.create_task(together.ask(n)) for n in (1, 2)]
    await asyncio.sleep(0.01)
    await together.close()
    await asyncio.wait(callers, timeout=1)
    assert all(caller.cancelled() for caller in callers)


async def test_an_answer_too_few_leaves_nobody_waiting() -> None:
    async def ask(numbers: Sequence[int]) -> list[int]:
        return list(numbers)[1:]

    together = Together[int, int](ask)
    answers = await asyncio.gather(*(together.ask(n) for n in (1, 2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError, ValueError]


async def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    store = Store()
    store.gate.clear()
    together = Together[int, int](store.ask)
    early, late, *stay = (asyncio.create_task(together.ask(n)) for n in (1, 2, 3, 4))
    await asyncio.sleep(0)
    # Before the statement leaves, and while it is asked.
    early.cancel()
    await asyncio.sleep(0.01)
    late.cancel()
    await asyncio.sleep(0.01)
    store.gate.set()
    assert await asyncio.gather(*stay) == [6, 8]
    assert store.asked == [[2, 3, 4]]
    assert early.cancelled()
    assert late.cancelled()


@pytest.mark.parametrize(("deadlines", "expected"), [((5.0, 9.0, 7.0), [9.0]), ((5.0, None), [])])
async def test_a_statement_is_sent_as_its_most_patient_call(
    deadlines: tuple[float | None, ...], expected: list[float]
) -> None:
    store = Store()
    together = Together[int, int](store.ask)

    async def caller(number: int, deadline: float | None) -> int:
        enter_call(Call("/a.B/C", f"r-{number}", deadline))
        return await together.ask(number)

    await asyncio.gather(*(caller(n, deadline) for n, deadline in enumerate(deadlines)))
    assert [call.deadline for call in store.calls if call] == expected
    # Nobody's failure is logged as that of another.
    assert all(call.request_id == "" for call in store.calls if call)


async def test_work_of_no_call_waits_as_long_as_need_be() -> None:
    store = Store()
    together = Together[int, int](store.ask)

    async def caller() -> int:
        enter_call(Call("/a.B/C", "r-1", 5.0))
        return await together.ask(1)

    background = together.ask(2)
    assert await asyncio.gather(caller(), background) == [2, 4]
    assert store.calls == [None]
