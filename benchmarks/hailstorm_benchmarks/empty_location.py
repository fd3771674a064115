"""
A location process whose ReportPositions does nothing: the limit of the real one.

Same runtime, same proto, same interceptor; the request is parsed, and that is
all. What the real process takes beyond it is its own work.
"""

import os
from typing import Any

from hailstorm.location.v1 import location_pb2, location_pb2_grpc
from hailstorm.runtime.process import ProcessSettings
from hailstorm.runtime.run import Process, serve
from hailstorm.runtime.settings import settings_or_exit


class _Servicer(location_pb2_grpc.LocationServiceServicer):
    async def ReportPositions(self, request: Any, _context: Any) -> Any:
        return location_pb2.ReportPositionsResponse(accepted_count=len(request.positions))


async def _start(process: Process[ProcessSettings]) -> None:
    process.register(
        location_pb2_grpc.add_LocationServiceServicer_to_server,
        _Servicer(),  # type: ignore[abstract]
        "hailstorm.location.v1.LocationService",
    )


if __name__ == "__main__":
    serve("location", settings_or_exit(ProcessSettings, os.environ), _start)
