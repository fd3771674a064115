"""
The master's HTTP side: `/state`, `/history`, and two ways to end the run.

Locust's own web interface is not served: it can start load with other
settings, past the profile's bounds and the fence around targets.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gevent.pywsgi import WSGIServer

StartResponse = Callable[[str, list[tuple[str, str]]], Any]

CHUNK_BYTES = 65_536


class Console:
    """
    GET /state: JSON, at any time. GET /history: the closed book, gzip JSON lines;
    409 while it is open. POST /finish: no new riders. POST /quit: end the process.
    """

    def __init__(
        self,
        state: Callable[[], Mapping[str, Any]],
        history: Callable[[], Path | None],
        finish: Callable[[], None],
        quit_: Callable[[], None],
    ) -> None:
        self._state, self._history = state, history
        self._actions = {"/finish": finish, "/quit": quit_}

    def serve(self, host: str, port: int) -> WSGIServer:
        """Serve in the background; the result's `stop` ends it."""
        server = WSGIServer((host, port), self._application, log=None)
        server.start()
        return server

    def _application(self, environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method == "GET" and path == "/state":
            return _answer(start, "200 OK", self._state())
        if method == "GET" and path == "/history":
            book = self._history()
            if book is None:
                return _answer(start, "409 Conflict", {"error": "the run is not over"})
            start(
                "200 OK",
                [
                    ("Content-Type", "application/gzip"),
                    ("Content-Length", str(book.stat().st_size)),
                ],
            )
            return _chunks(book)
        if method == "POST" and path in self._actions:
            self._actions[path]()
            return _answer(start, "200 OK", {"done": path})
        return _answer(start, "404 Not Found", {"error": f"no {method} {path} here"})


def _chunks(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _answer(start: StartResponse, status: str, body: Mapping[str, Any]) -> Iterable[bytes]:
    text = json.dumps(body).encode()
    start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]
