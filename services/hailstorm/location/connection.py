"""
One connection to Redis: commands go out in one piece, their answers come back in one list.

redis-py's asyncio connection takes some ten awaits and a dozen objects for each
command, and a batch of a hundred positions is twenty commands. What is left of
redis-py are its exceptions, which say what each of Redis' own words means. Packing
and parsing are hiredis', in C.

    open ──ask──► asked ──all answers──► open
                    └──error, cancellation, cut──► closed

Whoever leaves before the last answer closes the connection, so that no answer
is ever taken for another one's.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

import hiredis
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError, InvalidResponse

from hailstorm.location.commands import Command

# What `Reader.gets` says while an answer is not complete; no answer is this object.
_NOTHING: Final = object()


class Connection(asyncio.Protocol):
    """One TCP connection; asked by one caller at a time."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_NOTHING,
        )
        self._transport: asyncio.Transport | None = None
        self._answers: list[Any] = []
        self._wanted = 0
        self._asked: asyncio.Future[list[Any]] | None = None

    @classmethod
    async def open(cls, host: str, port: int, password: str | None) -> "Connection":
        """Connect and sign in. Raises OSError, and redis-py's ConnectionError with its kinds."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        if password is not None:
            (answer,) = await connection.ask([Command(("AUTH", password))])
            if isinstance(answer, Exception):
                connection.close()
                raise answer
        return connection

    @property
    def is_open(self) -> bool:
        """Whether it may be asked; False also when Redis has hung up meanwhile."""
        return self._transport is not None

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """
        Run at least one command; an answer that is an error stands in its place.

        Raises ConnectionError when the connection ends first; some may have run.
        """
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        self._answers, self._wanted = [], len(commands)
        self._asked = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(b"".join([pack(command.words) for command in commands]))
            return await self._asked
        except BaseException:
            self.close()
            raise
        finally:
            self._asked = None

    def close(self) -> None:
        """Hang up at once; whoever still waits is told so."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    # As asyncio.Protocol has it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclasses of asyncio's, though they do the same.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        reader, answers = self._reader, self._answers
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not _NOTHING:
                answers.append(answer)
        except Exception as error:
            self._fail(error)
            return
        if self._asked is None or len(answers) > self._wanted:
            self._fail(InvalidResponse("more answers than commands"))
        elif len(answers) == self._wanted and not self._asked.done():
            self._asked.set_result(answers)

    def eof_received(self) -> None:
        # `connection_lost` comes a turn of the loop later; who takes the connection
        # in between would write to nobody.
        self._fail(ConnectionError("redis has closed the connection"))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionError("redis has closed the connection"))

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(error)


def pack(words: Sequence[str | int | float]) -> bytes:
    """A command as it goes over the wire."""
    packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
    return packed
