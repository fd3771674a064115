"""
Many servers as one: a Redis Cluster, whose slots say who holds which key.

redis-py has a client for it, which does not fit here: its pipelines run commands
again that may have run, wait a quarter of a second before they do, and forget to
look for new masters when they may not repeat; our time-outs, breaker and single
retry would have to fight it. What is needed is small, since all keys of a
command lie in one slot: group by server, ask each as a lone one is asked, and
follow MOVED, ASK and TRYAGAIN, all of which say that the command has not run.

The map of slots is only a hint: whoever is asked in vain says who it is. When a
server does not answer, the others are asked for a new map in the background,
and callers are told UNAVAILABLE meanwhile, as for a lone server. A server's
breaker is its own, so one that is dead costs the others' keys nothing.
"""

import asyncio
import contextlib
import contextvars
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, TryAgainError

from hailstorm.location.commands import Command, StoreUnavailableError
from hailstorm.runtime.clock import Clock
from hailstorm.runtime.errors import ServiceError

# How often a command is sent on. A slot that moves while its script is not known
# takes four: MOVED, ASK, the script, ASK again.
MAX_ROUNDS: Final = 5
# Some keys of a command are here and some there while their slot moves: it is asked
# again after this. A guess; the edge's first retry comes after as long.
TRY_AGAIN_SECONDS: Final = 0.02
# Pause between two looks for a new map; each costs one healthy server 0.1 ms, and a
# failover takes a second or more.
LOOK_AGAIN_SECONDS: Final = 0.25

_ASKING: Final = Command(("ASKING",))
_SLOTS: Final = Command(("CLUSTER", "SLOTS"))

_log = logging.getLogger(__name__)

Address = tuple[str, int]


class Server(Protocol):
    """One of the servers; its pipeline leaves MOVED, ASK and TRYAGAIN in their places."""

    @property
    def is_away(self) -> bool:
        """Whether it did not answer when last asked."""

    async def read(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands that change nothing. Raises StoreUnavailableError."""

    async def write(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands once. Raises StoreUnavailableError."""

    async def close(self) -> None:
        """Close all connections."""


class Cluster:
    """The servers of one Redis Cluster; has the methods of one server."""

    def __init__(
        self,
        seed: Address,
        new_server: Callable[[Address], Server],
        on_servers: Callable[[Collection[Address]], None],
        clock: Clock,
    ) -> None:
        self._seed = seed
        self._new_server = new_server
        self._on_servers = on_servers
        self._clock = clock
        self._servers: dict[Address, Server] = {}
        self._owners: list[Address | None] = []
        self._looking: asyncio.Task[None] | None = None

    async def read(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands that change nothing. Raises StoreUnavailableError."""
        return await self._run(commands, is_write=False)

    async def write(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands once. Raises StoreUnavailableError, after which they may have run."""
        return await self._run(commands, is_write=True)

    async def close(self) -> None:
        """Close all connections."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        for server in self._servers.values():
            await server.close()

    async def _run(self, commands: Sequence[Command], is_write: bool) -> list[Any]:
        if not self._owners:
            await self._look()
        results: list[Any] = [None] * len(commands)
        # By server: places in `commands`, each with whether the server must be told
        # that it is asked for a slot on its way to it.
        todo: dict[Address, list[tuple[int, bool]]] = defaultdict(list)
        for place, command in enumerate(commands):
            todo[self._owner(command)].append((place, False))
        for _ in range(MAX_ROUNDS):
            answers = await self._ask(commands, todo, is_write)
            todo = defaultdict(list)
            is_between = False
            for address, place, answer in answers:
                if isinstance(answer, MovedError):
                    owner = (answer.host or address[0], int(answer.port))
                    self._owners[answer.slot_id] = owner
                    self._look_soon()
                    todo[owner].append((place, False))
                elif isinstance(answer, AskError):
                    todo[answer.host or address[0], int(answer.port)].append((place, True))
                elif isinstance(answer, TryAgainError):
                    # Who holds it says anew where the keys are.
                    is_between = True
                    todo[self._owner(commands[place])].append((place, False))
                else:
                    results[place] = answer
            if not todo:
                return results
            if is_between:
                await self._clock.sleep(TRY_AGAIN_SECONDS)
        raise StoreUnavailableError("the position store's slots keep moving")

    async def _ask(
        self,
        commands: Sequence[Command],
        todo: dict[Address, list[tuple[int, bool]]],
        is_write: bool,
    ) -> list[tuple[Address, int, Any]]:
        """Ask each server for its share, at the same time. Raises what the first to fail raised."""
        shares = list(todo.items())
        asks = [self._ask_one(commands, address, share, is_write) for address, share in shares]
        if len(asks) == 1:
            answers: list[Any] = [await asks[0]]
        else:
            # Those that answer are let finish, or their writes would be half done.
            answers = await asyncio.gather(*asks, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [
            (address, place, result)
            for (address, share), answer in zip(shares, answers, strict=True)
            for (place, _), result in zip(share, answer, strict=True)
        ]

    async def _ask_one(
        self,
        commands: Sequence[Command],
        address: Address,
        share: Sequence[tuple[int, bool]],
        is_write: bool,
    ) -> list[Any]:
        asked: list[Command] = []
        places = []
        for place, is_asking in share:
            if is_asking:
                asked.append(_ASKING)
            places.append(len(asked))
            asked.append(commands[place])
        server = self._server(address)
        try:
            results = await (server.write(asked) if is_write else server.read(asked))
        except StoreUnavailableError:
            self._look_soon()
            raise
        return [results[place] for place in places]

    def _owner(self, command: Command) -> Address:
        owner = self._owners[key_slot(command.key.encode())]
        if owner is None:
            self._look_soon()
            raise StoreUnavailableError("nobody holds these positions")
        return owner

    def _server(self, address: Address) -> Server:
        server = self._servers.get(address)
        if server is None:
            server = self._servers[address] = self._new_server(address)
        return server

    def _look_soon(self) -> None:
        """Look for a new map in the background, unless somebody does already."""
        if self._looking is None or self._looking.done():
            # Without the caller's deadline: it is not for this caller alone.
            self._looking = asyncio.create_task(
                self._look_once(), name="redis-cluster-map", context=contextvars.Context()
            )

    async def _look_once(self) -> None:
        # The servers have told of it themselves; the next caller looks again.
        with contextlib.suppress(ServiceError):
            await self._look()
        await self._clock.sleep(LOOK_AGAIN_SECONDS)

    async def _look(self) -> None:
        """Learn who holds which slot. Raises StoreUnavailableError when nobody knows."""
        known = sorted(self._servers, key=lambda address: self._servers[address].is_away)
        for address in dict.fromkeys((*known, self._seed)):
            try:
                (slots,) = await self._server(address).read([_SLOTS])
            except StoreUnavailableError:
                continue
            await self._take(owners_of(slots, address[0]))
            return
        raise StoreUnavailableError("the position store cannot be reached")

    async def _take(self, owners: list[Address | None]) -> None:
        if owners != self._owners:
            _log.info("redis cluster has new owners of slots")
        self._owners = owners
        left = {owner for owner in owners if owner is not None}
        self._on_servers(left)
        # One that answers and holds nothing may be about to get its first slots.
        gone = [a for a, server in self._servers.items() if a not in left and server.is_away]
        for server in [self._servers.pop(address) for address in gone]:
            await server.close()


def owners_of(slots: Sequence[Any], asked_host: str) -> list[Address | None]:
    """
    Who holds each slot, from the answer to CLUSTER SLOTS.

    A server that does not know its own address says nothing: it is the one asked.
    """
    owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, master, *_ in slots:
        host, port = (master[0] or b"").decode(), int(master[1])
        owners[first : last + 1] = [(host or asked_host, port)] * (last + 1 - first)
    return owners
