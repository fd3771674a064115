"""
Asks the recorder, which is another process: docs/reference/recorder.md.

It may be away, and nothing that the operator must do waits for it.
"""

from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from hailstorm_operator.timestamps import whole_seconds
from hailstorm_operator.traffic import Evidence, Window

# The answer for half an hour takes the recorder some tens of milliseconds.
TIMEOUT_SECONDS: Final = 5.0

Json = dict[str, Any]


class RecorderError(Exception):
    """No answer, or one that makes no sense. Asking again may help."""


class RecorderClient:
    """Questions to one recorder. Methods raise RecorderError."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url.rstrip("/")

    async def evidence(self, window: Window) -> Evidence:
        """Counts and failures of a stretch of time."""
        stretch = {"from": whole_seconds(window.start), "to": whole_seconds(window.end)}
        # In this order: a failure counted in between is one without a sample, never
        # a sample that was not counted.
        failures = await self._get("/failures", stretch)
        return Evidence(await self._get("/tallies", stretch), failures)

    async def seconds(self, cluster: str, first: int, last: int) -> list[Json]:
        """Attempts by second and address, from `first` to before `last` (epoch seconds)."""
        parameters = {
            "kind": "attempts",
            "cluster": cluster,
            "by": "second",
            "from": str(first),
            "to": str(last),
        }
        found = await self._get("/tallies", parameters)
        seconds = found.get("seconds")
        if not isinstance(seconds, list):
            raise RecorderError("GET /tallies: an answer without seconds")
        return seconds

    async def envoys(self) -> list[str]:
        """Names of the Envoys that report."""
        found = await self._get("/gaps", {})
        return [str(one["name"]) for one in found["envoys"] if one["name"]]

    async def _get(self, path: str, parameters: Mapping[str, str]) -> Json:
        try:
            async with self._session.get(
                f"{self._url}{path}",
                params=parameters,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            ) as response:
                response.raise_for_status()
                found: Json = await response.json()
                return found
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise RecorderError(f"GET {path}: {error!r}") from error
