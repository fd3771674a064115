"""
The same requests through the chart's own edge, as gRPC and as JSON.

A thousand of each service: what Envoy adds is its own parsing, its transcoding
and its own answers, and none of them may be worse than a service's.
"""

import asyncio
import json
import os
import random
import re
import urllib.parse
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor

from contract.charts.edge_process import Edge, Pod, start_edge
from integration.fuzz.gunner import Gunner
from integration.fuzz.services import SERVICES, start_services
from integration.fuzz.shots import Fuzzer, methods_of
from integration.processes import ServiceProcess
from integration.stores import Database, RedisServer

pytestmark = pytest.mark.timeout(120)

SEED = int(os.environ.get("HAILSTORM_TEST_SEEDS", "1").split()[0])
SHOTS = 1000
JSON_SHOTS = 300
# Values that no proto field takes, whatever its type.
WRONG_JSON = (None, {}, [], [[]], {"a": 1}, "x" * 2000, "NaN", "-Infinity", 1e400, -1, 2**70, True)


@pytest.fixture
async def edge(
    new_service: Callable[[str, dict[str, str]], ServiceProcess],
    database: Database,
    redis: RedisServer,
    tmp_path: Path,
) -> AsyncIterator[Edge]:
    """The three services on real stores, behind the edge."""
    async with start_services(new_service, database, redis) as processes:
        pods: dict[str, Any] = {}
        for name, process in processes.items():
            process.start()
            pods[name] = [Pod(process.grpc_port, process, tmp_path / f"{name}.log")]  # type: ignore[arg-type]
        for process in processes.values():
            process.wait_ready()
        started = await asyncio.to_thread(start_edge, tmp_path, pods)
        yield started
        started.end()


async def test_edge_makes_no_call_worse(edge: Edge) -> None:
    for name, service in SERVICES.items():
        fuzzer = Fuzzer(SEED, service)
        gunner = Gunner(f"127.0.0.1:{edge.public}", fuzzer)
        await gunner.fire(fuzzer.shots(SHOTS))
        by_code: Counter[str] = Counter()
        for (_, code), count in gunner.codes.items():
            by_code[code] += count
        print(f"seed {SEED}: {name} {dict(by_code)}")
        assert gunner.complaints == []
        assert by_code["OK"] > 0
    assert edge.process.poll() is None


async def test_edge_answers_bad_json_with_a_status_in_json(edge: Edge) -> None:
    rng = random.Random(SEED)
    statuses: Counter[int] = Counter()
    complaints = []
    for service in SERVICES.values():
        fuzzer = Fuzzer(SEED, service)
        makers = {m.path: m for m in methods_of(service)}
        served = [
            m
            for m in service.methods
            if m.GetOptions().HasExtension(annotations_pb2.http) and not m.server_streaming
        ]
        for _ in range(JSON_SHOTS):
            method = rng.choice(served)
            request = fuzzer.plausible(makers[f"/{service.full_name}/{method.name}"])
            verb, path, body = as_http(method, request, rng)
            status, headers, answer = await asyncio.to_thread(edge.http, verb, path, body)
            statuses[status] += 1
            # 501 is a method that is not served yet.
            if status >= 500 and status != 501:
                complaints.append(f"{verb} {path[:200]}: {status} {answer[:200]!r}\n{body!r:.400}")
            elif status >= 400 and "code" not in json.loads(answer):
                complaints.append(f"{verb} {path[:200]}: {answer[:200]!r} is no status")
            assert headers["content-type"].startswith("application/json")
    print(f"seed {SEED}: {dict(statuses)}")
    assert complaints == []
    assert statuses[200] > 0
    assert edge.process.poll() is None


def as_http(
    method: MethodDescriptor, request: Any, rng: random.Random
) -> tuple[str, str, bytes | None]:
    """The request by its http annotation, hurt in its path, its query or its body."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    verb = "GET" if rule.get else "POST"
    fields = json_format.MessageToDict(request, preserving_proto_field_name=True)

    def segment(match: re.Match[str]) -> str:
        value = str(fields.pop(match[1], ""))
        if rng.random() < 0.15:
            value = rng.choice(("", "%", "..", "a/b", "\0", "ü", "x" * 3000, "a b"))
        return urllib.parse.quote(value, safe="" if rng.random() < 0.8 else "/%")

    path = re.sub(r"\{(\w+)\}", segment, rule.get or rule.post)
    if fields and rng.random() < 0.5:
        fields[rng.choice([*fields, "no_such_field"])] = rng.choice(WRONG_JSON)
    if verb == "GET":
        simple = {k: v for k, v in fields.items() if not isinstance(v, dict | list)}
        query = urllib.parse.urlencode(simple)
        return verb, f"{path}?{query}" if query else path, None
    body = json.dumps(fields).encode()
    if rng.random() < 0.2:
        body = bytearray(body)
        body[rng.randrange(len(body))] = rng.randrange(256)
    return verb, path, bytes(body)
