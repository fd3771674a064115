"""
The Envoys in front of a comparison's target.

Two of its own, with the settings of the product's edge that matter to a pod that
comes and goes (`charts/hailstorm/templates/_envoy_clusters.tpl`), so that the
demo's edge is neither loaded nor rolled for it.
"""

from typing import Any

from hailstorm_drills.comparison.names import EDGE, EDGE_PORT, NAMESPACE, STATS_PORT, TARGET
from hailstorm_drills.comparison.target import PORT

Manifest = dict[str, Any]


def envoy_config() -> Manifest:
    """Bootstrap of an Envoy with one cluster, `target`, found by DNS each half second."""
    http = "type.googleapis.com/envoy.extensions"
    retries = {
        "retry_on": "unavailable,cancelled,connect-failure,refused-stream,"
        "reset-before-request,reset",
        "num_retries": 4,
        "retry_back_off": {"base_interval": "0.02s", "max_interval": "0.2s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": f"{http}.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 8,
    }
    manager = {
        "@type": f"{http}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": EDGE,
        "codec_type": "HTTP2",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            # The caller's deadline ends a call.
                            "route": {"cluster": TARGET, "timeout": "0s", "retry_policy": retries},
                        }
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{http}.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "admin": {"address": _address("0.0.0.0", STATS_PORT)},
        "static_resources": {
            "listeners": [
                {
                    "name": "calls",
                    "address": _address("0.0.0.0", EDGE_PORT),
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": manager,
                                }
                            ]
                        }
                    ],
                }
            ],
            "clusters": [_envoy_cluster()],
        },
    }


def _envoy_cluster() -> Manifest:
    most = 10_000
    return {
        "name": TARGET,
        "cluster_type": {
            "name": "envoy.clusters.dns",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
                "dns_refresh_rate": "0.5s",
                "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "0.5s"},
                "respect_dns_ttl": False,
                "dns_lookup_family": "V4_ONLY",
                "typed_dns_resolver_config": {
                    "name": "envoy.network.dns_resolver.cares",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.network"
                        ".dns_resolver.cares.v3.CaresDnsResolverConfig",
                        "dns_resolver_options": {"no_default_search_domain": True},
                    },
                },
            },
        },
        "connect_timeout": "0.5s",
        "lb_policy": "LEAST_REQUEST",
        "ignore_health_on_host_removal": True,
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "health_checks": [
            {
                # Long, so that a pod that is merely slow stays in: a scaler that is late is
                # to be seen in its calls, and not by pods that are taken out on top of it.
                "timeout": "10s",
                "interval": "0.5s",
                "no_traffic_interval": "0.5s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "grpc_health_check": {"service_name": "lb"},
            }
        ],
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 1,
            "enforcing_consecutive_local_origin_failure": 100,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_consecutive_5xx": 0,
            "interval": "0.5s",
            "base_ejection_time": "2s",
            "max_ejection_time": "2s",
            "max_ejection_percent": 50,
        },
        # Nothing is shed here: every call that a scaler is late for is to be seen.
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_requests": most,
                    "max_pending_requests": most,
                    "retry_budget": {
                        "budget_percent": {"value": 20},
                        "min_retry_concurrency": 10,
                    },
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/"
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": TARGET,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {
                                "address": _address(f"{TARGET}.{NAMESPACE}.svc.cluster.local", PORT)
                            }
                        }
                    ]
                }
            ],
        },
    }


def _address(host: str, port: int) -> Manifest:
    return {"socket_address": {"address": host, "port_value": port}}
