"""
Channels to other services, with the arguments that lost no call when measured.

A wrong or missing argument shows only when something breaks: gRPC's defaults
look for new addresses every 30 s, wait up to 120 s before connecting again, and
need 20 s to notice a frozen peer.
"""

import json
from typing import Any, Final

import grpc

_ARGUMENTS: Final = (
    # The default floor of 30 s turned a clean roll into an 18 s outage.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # The default answered 28 s after a 90 s outage had ended; this one, 1 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A frozen peer is noticed by the ping's own time-out only; keepalive_timeout
    # alone does nothing (grpc/grpc#39239). Not below the server's minimum.
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 1000),
    ("grpc.http2.ping_timeout_ms", 1000),
    ("grpc.http2.max_pings_without_data", 0),
)


def edge_channel(address: str) -> Any:
    """
    A channel to the edge's internal listener, for calls to other services.

    Calls are spread over all Envoys. There is no retry here: Envoy retries, on
    another pod and within a budget, and two layers of retries multiply.
    """
    return _channel(address, {"loadBalancingConfig": [{"round_robin": {}}]})


def direct_channel(address: str, health_name: str = "lb") -> Any:
    """
    A channel to a service's pods without the edge, for `dns:///` addresses.

    The client watches the health of `health_name` and leaves a draining pod by
    itself, as Envoy would. Also without retries.
    """
    return _channel(
        address,
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "healthCheckConfig": {"serviceName": health_name},
        },
    )


def _channel(address: str, service_config: dict[str, Any]) -> Any:
    options = (("grpc.service_config", json.dumps(service_config)), *_ARGUMENTS)
    return grpc.aio.insecure_channel(address, options=options)
