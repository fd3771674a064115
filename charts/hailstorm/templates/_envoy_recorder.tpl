{{/*
One access log to the recorder, over gRPC. Envoy gathers lines and sends them
now and then, waits for no answer, and drops what nobody takes: whatever
becomes of the recorder, no call notices. Takes {root, name}; the name says
what a line stands for (<listener>.calls, <listener>.attempts, pulse).
*/}}
{{- define "hailstorm.envoy.recorderLog" -}}
{{- $recorder := .root.Values.recorder -}}
name: envoy.access_loggers.http_grpc
typed_config:
  "@type": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig
  common_config:
    log_name: {{ .name }}
    transport_api_version: V3
    grpc_service:
      envoy_grpc: {cluster_name: recorder}
    buffer_flush_interval: {{ divf $recorder.flushMilliseconds 1000 }}s
    # Sent earlier when this much has gathered: 64 KiB are about 200 lines.
    buffer_size_bytes: 65536
  {{- if eq .name "pulse" }}
  # Whom the recorder asked: the address it knows this Envoy by.
  additional_request_headers_to_log: [x-hailstorm-pulse]
  {{- else }}
  # A caller that hung up at its own deadline is a failure, earlier it is its own wish.
  additional_request_headers_to_log: [grpc-timeout]
  # An answer without a message carries its status in the headers.
  additional_response_headers_to_log: [grpc-status]
  additional_response_trailers_to_log: [grpc-status]
  {{- end }}
{{- end }}

{{/* Where the recorder is. Takes the root. */}}
{{- define "hailstorm.envoy.recorderCluster" -}}
name: recorder
cluster_type:
  name: envoy.clusters.dns
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
    # A Service's own address: it changes only when the Service is made anew.
    dns_refresh_rate: 5s
    dns_failure_refresh_rate: {base_interval: 5s, max_interval: 5s}
    respect_dns_ttl: false
    dns_lookup_family: V4_ONLY
    typed_dns_resolver_config:
      name: envoy.network.dns_resolver.cares
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        dns_resolver_options: {no_default_search_domain: true}
# The edge starts whether or not there is a recorder.
wait_for_warm_on_init: false
connect_timeout: 0.5s
# What a recorder that does not read can make Envoy hold; the rest is dropped, and counted.
per_connection_buffer_limit_bytes: 1048576
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config:
      http2_protocol_options:
        # A recorder that vanished is noticed, and looked for again.
        connection_keepalive: {interval: 2s, timeout: 2s}
load_assignment:
  cluster_name: recorder
  endpoints:
    - lb_endpoints:
        - endpoint:
            address:
              socket_address:
                address: {{ .Values.recorder.host | default (printf "hailstorm-recorder.%s.svc.%s" .Values.networkPolicy.operatorNamespace .Values.clusterDomain) }}
                port_value: {{ .Values.recorder.port }}
{{- end }}
