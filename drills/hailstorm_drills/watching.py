"""
What the cluster did, as it did it: watch events with the moment they arrived.

Status fields only know the last state and whole seconds; a drain that took
0.4 s is not in them. So events are kept as they come. A watch that broke is
started again, and the gap is kept too: what happened in it is not known.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final

from hailstorm_drills.cluster import Cluster

# Before a broken watch is started again.
RESTART_SECONDS: Final = 0.5
READ_BYTES: Final = 65_536


def decode_stream(read: Callable[[int], bytes]) -> Iterator[dict[str, Any]]:
    """JSON objects of a stream that has no separators to speak of."""
    decoder = json.JSONDecoder()
    text = ""
    pending = b""
    while chunk := read(READ_BYTES):
        pending += chunk
        # A multi-byte character may be cut by the end of a chunk.
        try:
            text += pending.decode()
            pending = b""
        except UnicodeDecodeError:
            continue
        while True:
            text = text.lstrip()
            if not text:
                break
            try:
                found, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break
            yield found
            text = text[end:]


@dataclass
class Watch:
    """`kubectl get --watch` of one kind in one namespace, on a thread of its own."""

    cluster: Cluster
    resource: str
    namespace: str
    clock: Callable[[], float] = time.time
    events: list[dict[str, Any]] = field(default_factory=list)
    _objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _process: Any = None

    def start(self) -> None:
        """Begin; the objects that exist come as ADDED."""
        self._thread = threading.Thread(
            target=self._run, name=f"watch {self.resource}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the child and the thread. Repeatable."""
        self._stopped.set()
        if self._process is not None:
            self._process.kill()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def objects(self) -> list[dict[str, Any]]:
        """The objects as last seen."""
        with self._lock:
            return list(self._objects.values())

    def seen(self) -> list[dict[str, Any]]:
        """All events so far: {at, type, object}, and {at, type: GAP}."""
        with self._lock:
            return list(self.events)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._process = self.cluster.start(
                *("get", self.resource, "--namespace", self.namespace),
                *("--watch", "--output-watch-events", "-o", "json"),
            )
            stdout: IO[bytes] = self._process.stdout
            for event in decode_stream(lambda n, out=stdout: out.read1(n)):  # type: ignore[misc]
                self._take(event)
            self._process.kill()
            self._process.communicate()
            if self._stopped.wait(RESTART_SECONDS):
                return
            with self._lock:
                self.events.append({"at": self.clock(), "type": "GAP"})

    def _take(self, event: dict[str, Any]) -> None:
        at = self.clock()
        thing = event["object"]
        thing.get("metadata", {}).pop("managedFields", None)
        name = thing.get("metadata", {}).get("name", "")
        with self._lock:
            self.events.append({"at": at, "type": event["type"], "object": thing})
            if event["type"] == "DELETED":
                self._objects.pop(name, None)
            elif event["type"] in ("ADDED", "MODIFIED"):
                self._objects[name] = thing
