{{/* One upstream of the edge. Takes {root, name, upstream}. */}}
{{- define "hailstorm.envoy.cluster" -}}
{{- $edge := .root.Values.edge -}}
{{- $u := .upstream -}}
{{- $limits := mergeOverwrite (deepCopy $edge.circuitBreakers) ($u.limits | default dict) -}}
name: {{ .name }}
# An address for each pod behind the headless Service.
cluster_type:
  name: envoy.clusters.dns
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
    dns_refresh_rate: {{ divf $edge.discovery.refreshMilliseconds 1000 }}s
    # Also after a failed look-up: a Service without pods has no record.
    dns_failure_refresh_rate: {base_interval: {{ divf $edge.discovery.refreshMilliseconds 1000 }}s, max_interval: {{ divf $edge.discovery.refreshMilliseconds 1000 }}s}
    # CoreDNS says 30 s; a pod that has gone must not stay that long.
    respect_dns_ttl: false
    dns_lookup_family: V4_ONLY
    typed_dns_resolver_config:
      name: envoy.network.dns_resolver.cares
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        # Names below are full: one query a look-up, not one for each search domain.
        dns_resolver_options: {no_default_search_domain: true}
connect_timeout: 0.5s
lb_policy: LEAST_REQUEST
# A pod that left DNS gets nothing more, though its checks still pass: drained pods and spares.
ignore_health_on_host_removal: true
common_lb_config:
  # Never send to unhealthy pods because most are unhealthy: half of them drain in a roll.
  healthy_panic_threshold: {value: 0}
  # What checks find reaches the worker at once; by default it waits up to 1 s to be merged.
  update_merge_window: 0s
# Calls in flight on each pod: the operator takes the least busy when some are to go.
track_cluster_stats: {per_endpoint_stats: true}
per_connection_buffer_limit_bytes: {{ $edge.limits.requestBytes | int64 }}
health_checks:
  - timeout: {{ divf $edge.healthCheck.timeoutMilliseconds 1000 }}s
    interval: {{ divf $edge.healthCheck.intervalMilliseconds 1000 }}s
    # Without calls, and for a pod just found, as often.
    no_traffic_interval: {{ divf $edge.healthCheck.intervalMilliseconds 1000 }}s
    unhealthy_threshold: 1
    healthy_threshold: 1
    {{- /* Without a name the server is asked for as a whole. */}}
    grpc_health_check: { {{- with $u.healthName }}service_name: {{ . }}{{ end -}} }
outlier_detection:
  split_external_local_origin_errors: true
  # A dead pod resets or refuses, which is local; one failure is enough, since
  # LEAST_REQUEST prefers a host that is never busy.
  consecutive_local_origin_failure: 1
  enforcing_consecutive_local_origin_failure: 100
  # A pod that answers UNAVAILABLE is alive. When a store is away all of them
  # do, and were half of them out for it, a pod that dies then could not be.
  enforcing_consecutive_gateway_failure: 0
  enforcing_consecutive_5xx: 0
  # Shares of successes need many pods and many calls to mean anything.
  enforcing_success_rate: 0
  enforcing_local_origin_success_rate: 0
  interval: 0.5s
  base_ejection_time: {{ $edge.outlierDetection.ejectionSeconds }}s
  # Without it a second ejection would last twice as long, a third three times.
  max_ejection_time: {{ $edge.outlierDetection.ejectionSeconds }}s
  max_ejection_percent: {{ $edge.outlierDetection.maxEjectionPercent }}
circuit_breakers:
  thresholds:
    - priority: DEFAULT
      max_connections: {{ $limits.maxConnections }}
      max_pending_requests: {{ $limits.maxPendingRequests }}
      max_requests: {{ $limits.maxRequests }}
      retry_budget:
        budget_percent: {value: {{ $edge.retries.budgetPercent }}}
        min_retry_concurrency: {{ $edge.retries.budgetMinConcurrency }}
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config:
      http2_protocol_options:
        initial_stream_window_size: 65536
        initial_connection_window_size: 1048576
        {{- if $u.pings }}
        connection_keepalive:
          interval: {{ $edge.keepalive.intervalSeconds }}s
          timeout: {{ $edge.keepalive.timeoutSeconds }}s
        {{- end }}
load_assignment:
  cluster_name: {{ .name }}
  endpoints:
    - lb_endpoints:
        - endpoint:
            address:
              socket_address:
                address: {{ include "hailstorm.serviceHost" (dict "root" .root "service" ($u.service | default .name) "namespace" $u.namespace) }}
                port_value: {{ $u.port }}
{{- end }}
