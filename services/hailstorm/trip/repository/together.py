"""
What callers ask in one turn of the event loop is asked of Postgres at once.

A statement costs its caller two system calls and the loop a turn, which is most of
what a change of a trip costs this process. Alone, a caller waits for nobody: it asks
for itself in the next turn. Under load, answers come in together, and so do the
questions that follow from them; the busier the process, the more of them share a
statement. Nothing waits for a timer.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from hailstorm.runtime.calls import Call, current_call, enter_call

# Of a hundred, each waits for all the others' rows; of sixteen, a sixteenth of the cost
# of asking is left.
MOST: Final = 16

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Together(Generic[Question, Answer]):
    """
    Asks the questions of several callers in one statement. Safe for any number of callers.

    A statement may take as long as its most patient caller has. When all of its callers
    are cancelled, so is it.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer | None]]],
        most: int = MOST,
    ) -> None:
        """
        `ask` answers from two to `most` questions, in their order.

        None is for one that has to be asked alone. What it raises is every caller's.
        """
        self._ask = ask
        self._most = most
        self._asked: list[_Asked[Question, Answer]] = []
        self._at_work: set[asyncio.Task[None]] = set()

    async def ask(self, question: Question) -> Answer | None:
        """
        The answer, or None: the caller has to ask alone, as nobody else asks now.

        Raises what asking raises.
        """
        loop = asyncio.get_running_loop()
        if not self._asked:
            # On behalf of no call: the turn may bring those of others.
            loop.call_soon(self._leave, context=contextvars.Context())
        call = current_call()
        asked = _Asked(question, call.deadline if call else None, loop.create_future())
        self._asked.append(asked)
        try:
            return await asked.answer
        except asyncio.CancelledError:
            asked.give_up()
            raise

    async def close(self) -> None:
        """Cancel what is being asked; its callers are cancelled too."""
        for task in tuple(self._at_work):
            task.cancel()

    def _leave(self) -> None:
        waiting, self._asked = [asked for asked in self._asked if not asked.answer.done()], []
        for first in range(0, len(waiting), self._most):
            batch = waiting[first : first + self._most]
            if len(batch) == 1:
                batch[0].answer.set_result(None)
                continue
            task = asyncio.create_task(self._run(batch), context=contextvars.Context())
            for asked in batch:
                asked.batch, asked.task = batch, task
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def _run(self, batch: "list[_Asked[Question, Answer]]") -> None:
        deadlines = [asked.deadline for asked in batch if asked.deadline is not None]
        if len(deadlines) == len(batch):
            enter_call(Call("", "", max(deadlines)))
        try:
            answers = await self._ask([asked.question for asked in batch])
            answered = list(zip(batch, answers, strict=True))
        except Exception as error:
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        except BaseException:
            for asked in batch:
                asked.answer.cancel()
            raise
        for asked, answer in answered:
            if not asked.answer.done():
                asked.answer.set_result(answer)


class _Asked(Generic[Question, Answer]):
    """A question, until when its caller waits, and where its answer goes."""

    __slots__ = ("answer", "batch", "deadline", "question", "task")

    def __init__(
        self, question: Question, deadline: float | None, answer: "asyncio.Future[Answer | None]"
    ) -> None:
        self.question, self.deadline, self.answer = question, deadline, answer
        self.batch: list[_Asked[Question, Answer]] = []
        self.task: asyncio.Task[None] | None = None

    def give_up(self) -> None:
        """The caller has left: a statement that nobody waits for is not worth its place."""
        if self.task is not None and all(asked.answer.done() for asked in self.batch):
            self.task.cancel()
