"""
Asks every Envoy something harmless once a second; its log should tell of it.

The question is whether the Envoy is ready, which tells one that leaves from one
that was killed; beside it, for the counter of lines that the Envoy could not
send, which says of losses what no stream tells.
"""

import asyncio
import logging
import re
import socket
import time
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final

import aiohttp

from hailstorm_operator.recorder.presence import Answer
from hailstorm_operator.recorder.store import PULSE_HEADER, Store

logger = logging.getLogger(__name__)

PULSE_SECONDS: Final = 1.0
# Of both questions together: below the pulse, so that rounds do not overlap.
TIMEOUT_SECONDS: Final = 0.8
# 503 from the moment a drain begins. server.state would say the same, 5 s late.
_READY_PATH: Final = "/ready"
_DROPPED: Final = "access_logs.grpc_access_log.logs_dropped"
_DROPPED_PATH: Final = rf"/stats?filter=^{re.escape(_DROPPED)}$"


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
        for target, answer in zip(targets, answers, strict=True):
            if answer is None:
                continue
            answered.append(target)
            presence.answered(target, answer, self._asked.get(target, began), now)
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

    async def _ask(self, target: str) -> Answer | None:
        try:
            status, _ = await self._get(target, _READY_PATH, {PULSE_HEADER: target})
            _, text = await self._get(target, _DROPPED_PATH, {})
            return Answer(read_counter(text), is_draining=status == HTTPStatus.SERVICE_UNAVAILABLE)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            logger.debug("pulse of %s: %s", target, error)
            return None

    async def _get(self, target: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS / 2)
        url = f"http://{target}{path}"
        async with self._session.get(url, headers=headers, timeout=timeout) as response:
            return response.status, await response.text()


def read_counter(text: str) -> int:
    """Lines dropped so far, from an answer of /stats. Raises ValueError for one that is none."""
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if name == _DROPPED:
            return int(value)
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
