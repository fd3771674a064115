"""
The edge's in-flight as an external metric, for the strongest rival: an HPA on it.

An aggregated API, `external.metrics.k8s.io/v1beta1`, over TLS. It asks every
Envoy twice a second and gives the mean of 2 s, as our operator does, so that the
rival's signal is as fresh and as calm as ours and what differs is the scaler: a
single look at a few calls in flight is chance, and an HPA never takes back in time
what it adds by chance. No answer is an error and not a
zero: the HPA then holds. A test rig and no product: the certificate is its own
(the APIService says `insecureSkipTLSVerify`), and whoever reaches it may read.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

GROUP: Final = "external.metrics.k8s.io"
GROUP_VERSION: Final = f"{GROUP}/v1beta1"
METRIC: Final = "in_flight"
PORT: Final = 6443
POLL_SECONDS: Final = 0.5
# As our operator; on a crowded machine an answer may take more than half a second.
ASK_SECONDS: Final = 1.5
# As our operator: four polls without an answer are an outage.
MAX_AGE_SECONDS: Final = 2.0
# As our operator's fast window.
MEAN_SECONDS: Final = 2.0


def parse_active(text: str, cluster: str) -> float:
    """The figure in an answer of GET /stats. Raises ValueError when it is not in there."""
    name = f"cluster.{cluster}.upstream_rq_active"
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        if key == name:
            return float(value)
    raise ValueError(f"no {name}")


def read_edge(service: str, port: int, cluster: str) -> float:
    """Calls in flight, summed over every Envoy. Raises OSError or ValueError if one is silent."""
    found = socket.getaddrinfo(service, port, socket.AF_INET, socket.SOCK_STREAM)
    addresses = sorted({str(entry[4][0]) for entry in found})
    # At the same time: one that is slow makes the others' figures no older.
    with ThreadPoolExecutor(max_workers=len(addresses)) as pool:
        return sum(pool.map(lambda address: _ask(address, port, cluster), addresses))


def _ask(address: str, port: int, cluster: str) -> float:
    stat = urllib.parse.quote(f"^cluster\\.{cluster}\\.upstream_rq_active$")
    url = f"http://{address}:{port}/stats?filter={stat}"
    with urllib.request.urlopen(url, timeout=ASK_SECONDS) as answer:
        return parse_active(answer.read().decode(), cluster)


class Signal:
    """The mean of the last sums, and when the newest was read (epoch seconds)."""

    def __init__(self, read: Callable[[], float], clock: Callable[[], float] = time.time) -> None:
        self._read, self._clock = read, clock
        self._seen: deque[tuple[float, float]] = deque()

    def poll(self) -> None:
        """Ask once; a failure leaves the last sums to grow old."""
        try:
            self._seen.append((self._read(), self._clock()))
            while self._seen[0][1] <= self._seen[-1][1] - MEAN_SECONDS:
                self._seen.popleft()
        except (OSError, ValueError) as error:
            print(f"edge: {error}", file=sys.stderr, flush=True)

    def fresh(self) -> tuple[float, float] | None:
        """(mean, newest read at); None when there is none or it is too old."""
        # A copy: the thread that polls may add one meanwhile.
        seen = tuple(self._seen)
        if not seen or self._clock() - seen[-1][1] > MAX_AGE_SECONDS:
            return None
        return sum(value for value, _ in seen) / len(seen), seen[-1][1]

    def run(self) -> None:
        """Poll for ever."""
        while True:
            started = time.monotonic()
            self.poll()
            time.sleep(max(0.05, POLL_SECONDS - (time.monotonic() - started)))


def answer(path: str, signal: Signal, labels: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Status and body of a GET: discovery, or the metric of any namespace."""
    parts = [part for part in path.partition("?")[0].split("/") if part]
    if parts == ["apis"]:
        return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group()]}
    if parts == ["apis", GROUP]:
        return 200, {"kind": "APIGroup", "apiVersion": "v1", **_group()}
    if parts == ["apis", *GROUP_VERSION.split("/")]:
        return 200, _resources()
    match parts:
        case ["apis", group, version, "namespaces", _, name] if (
            f"{group}/{version}" == GROUP_VERSION and name == METRIC
        ):
            return _values(signal, labels)
    return 404, _failure(404, "NotFound", f"there is no {path}")


def _group() -> dict[str, Any]:
    version = {"groupVersion": GROUP_VERSION, "version": GROUP_VERSION.split("/")[1]}
    return {"name": GROUP, "versions": [version], "preferredVersion": version}


def _resources() -> dict[str, Any]:
    resource = {
        "name": METRIC,
        "singularName": "",
        "namespaced": True,
        "kind": "ExternalMetricValueList",
        "verbs": ["get"],
    }
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": GROUP_VERSION,
        "resources": [resource],
    }


def _values(signal: Signal, labels: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    found = signal.fresh()
    if found is None:
        return 503, _failure(503, "ServiceUnavailable", "an Envoy has not answered for 2 s")
    value, at = found
    item = {
        "metricName": METRIC,
        "metricLabels": dict(labels),
        "timestamp": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        # A quantity in thousandths, exact for whole calls.
        "value": f"{round(value * 1000)}m",
    }
    return 200, {
        "kind": "ExternalMetricValueList",
        "apiVersion": GROUP_VERSION,
        "metadata": {},
        "items": [item],
    }


def _failure(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate signed with itself, for this pod's life."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=in-flight-adapter", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


def main() -> None:
    """Serve until killed; settings come from the environment."""
    cluster, service = os.environ["EDGE_CLUSTER"], os.environ["EDGE_SERVICE"]
    port = int(os.environ["EDGE_PORT"])
    signal = Signal(lambda: read_edge(service, port, cluster))
    threading.Thread(target=signal.run, name="poll", daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = answer(self.path, signal, {"cluster": cluster})
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the API server asks every few seconds."""

    server = ThreadingHTTPServer(("0.0.0.0", PORT), Handler)
    server.daemon_threads = True
    key, certificate = make_certificate(Path(os.environ.get("CERTIFICATE_FOLDER", "/tmp")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # The handshake belongs to the handler's thread: one slow client must not keep others out.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.serve_forever()


if __name__ == "__main__":
    main()
