"""The dispatch process: `python3 -m hailstorm.dispatch`."""

import os

from hailstorm.dispatch.matcher import Matcher
from hailstorm.dispatch.neighbours import Neighbours
from hailstorm.dispatch.servicer import PRIORITIES, SERVICE_NAME, DispatchServicer
from hailstorm.dispatch.settings import DispatchSettings
from hailstorm.dispatch.v1 import dispatch_pb2_grpc
from hailstorm.runtime.channels import edge_channel
from hailstorm.runtime.run import Process, serve
from hailstorm.runtime.settings import settings_or_exit


async def start(process: Process[DispatchSettings]) -> None:
    """Build the service; the edge is not asked for until the first call."""
    settings = process.settings
    channel = edge_channel(settings.edge.address)
    process.lifecycle.on_close("edge", channel.close)
    neighbours = Neighbours(channel, settings.dispatch, process.clock, process.registry)
    matcher = Matcher(settings.dispatch, neighbours, process.registry)
    process.register(
        dispatch_pb2_grpc.add_DispatchServiceServicer_to_server,
        DispatchServicer(matcher),
        SERVICE_NAME,
        PRIORITIES,
    )


if __name__ == "__main__":
    serve("dispatch", settings_or_exit(DispatchSettings, os.environ), start)
