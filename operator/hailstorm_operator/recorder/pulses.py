"""
Asks every Envoy something harmless once a second; its log should tell of it.

The question is for the counter of lines that an Envoy could not send, which says
of losses what no stream tells.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Final

import aiohttp

from hailstorm_operator.recorder.store import PULSE_HEADER, Store

logger = logging.getLogger(__name__)

PULSE_SECONDS: Final = 1.0
# Below the pulse, so that rounds do not overlap.
TIMEOUT_SECONDS: Final = 0.8
_PATH: Final = r"/stats?filter=^access_logs\.grpc_access_log\.logs_dropped$"
_COUNTER: Final = "access_logs.grpc_access_log.logs_dropped:"


class Pulses:
    """A round of questions at a time. No error of the network leaves it."""

    def __init__(self, edges: Sequence[str], store: Store, session: aiohttp.ClientSession) -> None:
        self._edges = edges
        self._store = store
        self._session = session
        self._expected: set[str] = set()
        self._asked: dict[str, float] = {}

    async def run(self) -> None:
        """A round every second, for ever."""
        while True:
            began = time.time()
            await self.round()
            await asyncio.sleep(max(0.0, began + PULSE_SECONDS - time.time()))

    async def round(self) -> None:
        """Look up the Envoys, ask each, and let presence judge."""
        began = time.time()
        presence = self._store.presence
        if not self._edges:
            presence.review(None, (), began, time.time())
            return
        await self._resolve()
        targets = sorted(self._expected | presence.targets())
        answers = await asyncio.gather(*(self._ask(target) for target in targets))
        now = time.time()
        answered = []
        for target, dropped in zip(targets, answers, strict=True):
            if dropped is None:
                continue
            answered.append(target)
            presence.dropped(target, dropped, self._asked.get(target, began), now)
            self._asked[target] = began
        self._asked = {target: at for target, at in self._asked.items() if target in targets}
        presence.review(self._expected, answered, began, now)

    async def _resolve(self) -> None:
        found: set[str] = set()
        for edge in self._edges:
            host, _, port = edge.rpartition(":")
            addresses = await _look_up(host, int(port))
            if addresses is None:
                # No answer says nothing; who was there is taken to be there still.
                return
            found |= {f"{address}:{port}" for address in addresses}
        self._expected = found

    async def _ask(self, target: str) -> int | None:
        """The Envoy's counter of lost lines, None without an answer."""
        try:
            async with self._session.get(
                f"http://{target}{_PATH}",
                headers={PULSE_HEADER: target},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            ) as response:
                response.raise_for_status()
                return _counter(await response.text())
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            logger.debug("pulse of %s: %s", target, error)
            return None


def _counter(text: str) -> int:
    for line in text.splitlines():
        if line.startswith(_COUNTER):
            return int(line.removeprefix(_COUNTER))
    # Envoy makes the counter with its first line of log.
    return 0


async def _look_up(host: str, port: int) -> Iterable[str] | None:
    """Addresses behind a name: none when there is no such name, None when nobody says."""
    loop = asyncio.get_running_loop()
    try:
        found = await asyncio.wait_for(
            loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_STREAM),
            TIMEOUT_SECONDS,
        )
    except socket.gaierror as error:
        return () if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else None
    except (TimeoutError, OSError):
        return None
    return {str(address[0]) for *_, address in found}
