"""
An API server as far as a watch of one ConfigMap sees it: TLS, a token, an endless answer.

What it says, byte for byte, was recorded from kube-apiserver 1.34; the real one
is asked in tests/cluster. Here it can be made to refuse, to stall and to break off.
"""

import asyncio
import json
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any, Final

_HEAD: Final = (
    "HTTP/1.1 {status}\r\nAudit-Id: 1\r\nCache-Control: no-cache, private\r\n"
    "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def make_certificate(folder: Path) -> None:
    """A self-signed certificate for 127.0.0.1: ca.crt and key.pem in `folder`."""
    program = shutil.which("openssl")
    if program is None:
        raise RuntimeError("no openssl; install the package openssl")
    subprocess.run(
        (
            *(program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=kube-apiserver"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.crt")),
        ),
        check=True,
        capture_output=True,
    )


class ApiServer:
    """
    One ConfigMap called flags, and who watches it.

    Attributes:
        data: the ConfigMap's; None when there is none. Change it with `put`.
        status: what a request is answered with.
        is_stuck: true accepts connections and says nothing more.
        chunk_bytes: the largest chunk; small ones split events anywhere.
        requests: the heads of all requests so far.
    """

    def __init__(self, credentials: Path) -> None:
        self.credentials = credentials
        self.data: dict[str, str] | None = {}
        self.status = "200 OK"
        self.is_stuck = False
        self.chunk_bytes = 1 << 20
        self.requests: list[str] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def watchers(self) -> int:
        return len(self._writers)

    async def start(self) -> None:
        """Listen; on the port of before, if there was one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.credentials / "ca.crt", self.credentials / "key.pem")
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and break off every watch."""
        if self._server is not None:
            self._server.close()
            self.break_off()
            await self._server.wait_closed()
            self._server = None

    def break_off(self) -> None:
        """End every connection without a word."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def put(self, data: dict[str, str] | None) -> None:
        """Change the ConfigMap, or delete it; every watcher is told."""
        kind = "DELETED" if data is None else "ADDED" if self.data is None else "MODIFIED"
        told = self.data if data is None else data
        self.data = data
        self.send(kind, {"kind": "ConfigMap", "metadata": {"name": "flags"}, "data": told})

    def send(self, kind: str, subject: dict[str, Any]) -> None:
        """An event for every watcher."""
        for writer in self._writers:
            self._event(writer, kind, subject)

    def end_watches(self) -> None:
        """End every watch as one ends whose time is over."""
        for writer in self._writers:
            writer.write(b"0\r\n\r\n")
        self._writers.clear()

    def _event(self, writer: asyncio.StreamWriter, kind: str, subject: dict[str, Any]) -> None:
        line = json.dumps({"type": kind, "object": subject}).encode() + b"\n"
        for start in range(0, len(line), self.chunk_bytes):
            chunk = line[start : start + self.chunk_bytes]
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            if not self.is_stuck:
                writer.write(_HEAD.format(status=self.status).encode())
                if self.status.startswith("200") and self.data is not None:
                    subject = {"metadata": {"name": "flags"}, "data": self.data}
                    # The real one leaves `data` out when it is empty.
                    if not self.data:
                        del subject["data"]
                    self._event(writer, "ADDED", subject)
            self._writers.add(writer)
            await reader.read()
        except (OSError, EOFError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
