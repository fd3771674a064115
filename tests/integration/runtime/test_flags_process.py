"""A real process whose behaviour a flip changes: location, and where it writes positions."""

import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from eventually import eventually
from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from integration.processes import ServiceProcess
from integration.runtime.api_server import ApiServer, make_certificate
from integration.stores import RedisServer
from ready_channel import ready_channel

NewService = Callable[[str, dict[str, str]], ServiceProcess]
# What flags promise.
FLIP_SECONDS = 5


class Location:
    """A location process, and whether its pings go to the index for GEOSEARCH."""

    def __init__(self, process: ServiceProcess, redis: RedisServer) -> None:
        self.process = process
        self._redis = redis

    async def writes_geo(self) -> bool:
        """Whether a ping that comes now is written there."""
        self._redis.command("FLUSHALL")
        request = location_pb2.ReportPositionsRequest(city_id="nyc")
        position = request.positions.add(
            driver_id="driver-1", sequence=time.time_ns(), availability=1
        )
        position.point.latitude, position.point.longitude = 40.75, -73.98
        position.observed_at.GetCurrentTime()
        async with ready_channel(self.process.target) as channel:
            stub = location_pb2_grpc.LocationServiceStub(channel)
            assert (await stub.ReportPositions(request, timeout=10)).accepted_count == 1
        return self._redis.command("KEYS", "*:geo") == b"*1"

    def metric(self, line: str) -> bool:
        return line in self.process.get("/metrics")[1].splitlines()

    def told(self, level: str) -> list[str]:
        return [line["message"] for line in self.process.log_lines() if line["level"] == level]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "flags"
    folder.mkdir()
    return folder


@pytest.fixture
def new_location(new_service: NewService, redis: RedisServer) -> Callable[..., Location]:
    def make(**flags: str) -> Location:
        settings = {
            "HAILSTORM_REDIS_HOST": redis.host,
            "HAILSTORM_REDIS_PORT": str(redis.port),
            "HAILSTORM_REDIS_PASSWORD": redis.password,
            # The tests share the machine; the point here is not the store.
            "HAILSTORM_REDIS_TIMEOUT_SECONDS": "5",
            "HAILSTORM_REDIS_TOTAL_SECONDS": "5",
            "HAILSTORM_LIFECYCLE_PROPAGATION_SECONDS": "0",
            **{f"HAILSTORM_FLAGS_{name.upper()}": value for name, value in flags.items()},
        }
        process = new_service("location", settings)
        process.start_and_wait()
        return Location(process, redis)

    return make


async def test_flip_of_a_file_changes_what_the_process_does(
    new_location: Callable[..., Location], folder: Path
) -> None:
    location = new_location(folder=str(folder))
    assert not await location.writes_geo()
    (folder / "geo-backend").write_text("geosearch\n")
    await eventually(location.writes_geo, FLIP_SECONDS)
    assert location.metric('hailstorm_flag{flag="geo-backend",value="geosearch"} 1.0')
    # A slip of the pen, and then a lost folder, change nothing.
    (folder / "geo-backend").write_text("geosaerch")
    await eventually(lambda: location.told("error"), FLIP_SECONDS)
    assert location.told("error") == [
        'flag geo-backend is "geosaerch"; write one of: ring, geosearch; geosearch holds on'
    ]
    shutil.move(folder, folder.with_name("away"))
    lost = 'hailstorm_flags_source_reachable{source="folder"} 0.0'
    await eventually(lambda: location.metric(lost), FLIP_SECONDS)
    assert await location.writes_geo()
    # Flags know no state of the lifecycle: neither outage nor slip touches readiness.
    assert location.process.readiness() == (200, "SERVING\n")
    location.process.signal(15)
    assert location.process.wait() == 0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    make_certificate(credentials)
    (credentials / "namespace").write_text("hailstorm")
    (credentials / "token").write_text("a-token")
    server = ApiServer(credentials)
    await server.start()
    yield server
    await server.stop()


async def test_watched_config_map_wins_over_the_mounted_copy(
    new_location: Callable[..., Location], server: ApiServer, folder: Path
) -> None:
    server.data = {"geo-backend": "ring"}
    (folder / "geo-backend").write_text("geosearch")
    sources = {
        "config_map": "flags",
        "api_server": server.address,
        "credentials": str(server.credentials),
        "folder": str(folder),
    }
    location = new_location(**sources)
    ring = 'hailstorm_flag{flag="geo-backend",value="ring"} 1.0'
    await eventually(lambda: location.metric(ring), FLIP_SECONDS)
    server.put({"geo-backend": "geosearch"})
    await eventually(location.writes_geo, FLIP_SECONDS)
    # Away: what it said holds on, and a process that starts begins with the copy.
    await server.stop()
    lost = 'hailstorm_flags_source_reachable{source="config_map"} 0.0'
    await eventually(lambda: location.metric(lost), FLIP_SECONDS)
    assert await location.writes_geo()
    another = new_location(**sources)
    words = another.told("info")
    assert words.index("flag geo-backend: default -> geosearch") < words.index("now SERVING")
    assert another.metric('hailstorm_location_index{index="geosearch",use="read"} 1.0')
    assert await another.writes_geo()
