{{/* What both listeners do with HTTP. Takes {root, public}. */}}
{{- define "hailstorm.envoy.connectionManager" -}}
{{- $edge := .root.Values.edge -}}
"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
stat_prefix: {{ ternary "public" "internal" .public }}
codec_type: AUTO
# Nobody's x-envoy-* request headers are believed, or a caller could set its own retries.
use_remote_address: {{ .public }}
internal_address_config: {unix_sockets: false, cidr_ranges: [{address_prefix: 255.255.255.255, prefix_len: 32}]}
# A caller's x-request-id is kept as it is, one without gets one; both see it in the answer.
generate_request_id: true
preserve_external_request_id: true
always_set_request_id_in_response: true
request_id_extension:
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig
    pack_trace_reason: false
normalize_path: true
merge_slashes: true
path_with_escaped_slashes_action: REJECT_REQUEST
server_header_transformation: PASS_THROUGH
# A caller that sends its request drop by drop.
request_headers_timeout: 5s
request_timeout: 30s
common_http_protocol_options:
  # Ends gracefully, so that callers look for new Envoys now and then.
  max_connection_duration: {{ $edge.limits.connectionSeconds }}s
  idle_timeout: 3600s
http2_protocol_options:
  max_concurrent_streams: {{ $edge.limits.concurrentStreams }}
  # 64 KiB a call, 1 MiB a connection: answers are small, and memory is streams x window.
  initial_stream_window_size: 65536
  initial_connection_window_size: 1048576
  # A caller that vanished is noticed, and its streams end.
  connection_keepalive: {interval: 30s, timeout: 10s}
# Half of what a final GOAWAY waits for after the first; the default of 5 s would outlast a drain.
drain_timeout: 1s
{{- $recorder := .root.Values.recorder }}
{{- if or $edge.accessLog.enabled $recorder.enabled }}
access_log:
  {{- if $edge.accessLog.enabled }}
  - {{- include "hailstorm.envoy.accessLog" . | nindent 4 }}
  {{- end }}
  {{- if $recorder.enabled }}
  # Every call, as its caller saw it end.
  - {{- include "hailstorm.envoy.recorderLog" (dict "root" .root "name" (printf "%s.calls" (ternary "public" "internal" .public))) | nindent 4 }}
  {{- end }}
{{- end }}
local_reply_config:
  mappers:
    {{- include "hailstorm.envoy.localReplies" . | nindent 4 }}
route_config:
  name: {{ ternary "public" "internal" .public }}
  validate_clusters: true
  {{- if .public }}
  # Services say by it what their calls are worth; outside everybody would say "critical".
  request_headers_to_remove: [x-hailstorm-priority]
  {{- end }}
  response_headers_to_add:
    # Which pod answered: drills put every failure to a pod by it.
    - header: {key: x-hailstorm-upstream, value: "%UPSTREAM_REMOTE_ADDRESS%"}
      append_action: OVERWRITE_IF_EXISTS_OR_ADD
  virtual_hosts:
    - {{- include "hailstorm.envoy.virtualHost" . | nindent 6 }}
http_filters:
  {{- if .public }}
  {{- if $edge.cors.allowedOrigins }}
  - name: envoy.filters.http.cors
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors
  {{- end }}
  - name: envoy.filters.http.grpc_web
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb
  - name: envoy.filters.http.grpc_json_transcoder
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder
      proto_descriptor: /etc/envoy/hailstorm.pb
      services:
        {{- range $name := include "hailstorm.upstreamNames" .root | splitList "|" }}
        {{- $upstream := get $edge.upstreams $name }}
        {{- if $upstream.json }}
        {{- range $service, $_ := $upstream.services }}
        - {{ $service }}
        {{- end }}
        {{- end }}
        {{- end }}
      # google.rpc.Status as the body of an error, with its details spelt out.
      convert_grpc_status: true
      request_validation_options: {reject_unknown_query_parameters: true}
      max_request_body_size: {{ $edge.limits.requestBytes | int64 }}
      print_options:
        # 0 and false are facts, too; a stream is a line a message.
        always_print_primitive_fields: true
        stream_newline_delimited: true
  {{- end }}
  # Holds a call back until it is whole, and refuses one that is too large;
  # no method streams from the caller, so nothing is delayed by it.
  - name: envoy.filters.http.buffer
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer
      max_request_bytes: {{ $edge.limits.requestBytes | int64 }}
  # Counts calls by their gRPC status: refused ones (grpc.8) are demand to the scaler.
  - name: envoy.filters.http.grpc_stats
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig
      stats_for_all_methods: false
  - name: envoy.filters.http.router
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
      {{- if $recorder.enabled }}
      # Every attempt, with the pod it went to: a call that was retried has several.
      upstream_log:
        - {{- include "hailstorm.envoy.recorderLog" (dict "root" .root "name" (printf "%s.attempts" (ternary "public" "internal" .public))) | nindent 10 }}
      {{- end }}
{{- end }}

{{/*
What Envoy itself answers, in the words of what is behind it: to JSON callers a
google.rpc.Status like that of any other error, to gRPC callers a status that
says "too large". Takes {root, public}.
*/}}
{{- define "hailstorm.envoy.localReplies" -}}
{{- $statusFilter := "{status_code_filter: {comparison: {op: EQ, value: {default_value: %d, runtime_key: unused}}}}" -}}
# A transcoded call looks like gRPC by now; its original path gives it away.
- filter:
    and_filter:
      filters:
        - {{ printf $statusFilter 413 }}
        - header_filter: {header: {name: content-type, string_match: {prefix: application/grpc}}}
        - header_filter: {header: {name: x-envoy-original-path, present_match: false}}
  headers_to_add:
    # gRPC's own mapping of 413 is UNKNOWN.
    - {header: {key: grpc-status, value: "8"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
{{- range $http, $code := dict "400" 3 "403" 7 "404" 5 "408" 4 "413" 8 "431" 3 "500" 13 "502" 14 "503" 14 "504" 4 }}
- filter:
    and_filter:
      filters:
        - {{ printf $statusFilter (int $http) }}
        - or_filter:
            filters:
              - header_filter: {header: {name: x-envoy-original-path, present_match: true}}
              - header_filter: {header: {name: content-type, string_match: {prefix: application/grpc}, invert_match: true, treat_missing_header_as_empty: true}}
  body_format_override:
    json_format: {code: {{ $code }}, message: "%LOCAL_REPLY_BODY%", details: []}
{{- end }}
{{- end }}

{{/* One line for each call that failed or was tried more than once. Takes {root, public}. */}}
{{- define "hailstorm.envoy.accessLog" -}}
name: envoy.access_loggers.stdout
filter:
  and_filter:
    filters:
      - or_filter:
          filters:
            # What is the caller's own fault (NOT_FOUND, ...) or was shed on purpose is counted by the services.
            - grpc_status_filter: {statuses: [CANCELED, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS]}
            - status_code_filter: {comparison: {op: GE, value: {default_value: 500, runtime_key: unused}}}
            - response_flag_filter: {flags: [UH, UF, UO, URX, LR, UR, UC, UPE, UMSDR, DPE, OM, DT]}
            # The router counts attempts in this request header.
            - header_filter:
                header: {name: x-envoy-attempt-count, range_match: {start: 2, end: 1000}}
      # A caller who hangs up, as every watcher does in the end, is no failure of
      # ours; without a status its call would count as UNKNOWN.
      - extension_filter:
          name: envoy.access_loggers.extension_filters.cel
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter
            expression: '!(response.code_details in ["http2.remote_reset", "downstream_remote_disconnect"])'
typed_config:
  "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
  log_format:
    json_format:
      ts: "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%"
      level: info
      logger: {{ ternary "edge.public" "edge.internal" .public }}
      message: call
      method: "%REQ(:PATH)%"
      original_path: "%REQ(X-ENVOY-ORIGINAL-PATH)%"
      status: "%RESPONSE_CODE%"
      grpc_status: "%GRPC_STATUS(CAMEL_STRING)%"
      flags: "%RESPONSE_FLAGS%"
      details: "%RESPONSE_CODE_DETAILS%"
      attempts: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"
      upstream: "%UPSTREAM_REMOTE_ADDRESS%"
      upstream_failure: "%UPSTREAM_TRANSPORT_FAILURE_REASON%"
      downstream: "%DOWNSTREAM_REMOTE_ADDRESS%"
      request_id: "%REQ(X-REQUEST-ID)%"
      duration_ms: "%DURATION%"
{{- end }}

{{/* A listener for calls. Takes {root, public, port}. */}}
{{- define "hailstorm.envoy.listener" -}}
name: {{ ternary "public" "internal" .public }}
address: {socket_address: {address: 0.0.0.0, port_value: {{ .port }}}}
# Bounds what a slow reader can make Envoy hold.
per_connection_buffer_limit_bytes: {{ .root.Values.edge.limits.requestBytes | int64 }}
filter_chains:
  - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          {{- include "hailstorm.envoy.connectionManager" . | nindent 10 }}
{{- end }}

{{/* Statistics and readiness for others; the admin port itself stays inside the pod. */}}
{{- define "hailstorm.envoy.statsListener" -}}
name: stats
address: {socket_address: {address: 0.0.0.0, port_value: 9902}}
# The operator's connections are not counted against the callers' limit.
ignore_global_conn_limit: true
filter_chains:
  - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: stats
          codec_type: AUTO
          internal_address_config: {unix_sockets: false}
          normalize_path: true
          path_with_escaped_slashes_action: REJECT_REQUEST
          {{- if .Values.recorder.enabled }}
          # The recorder asks once a second and waits for its own question to come
          # back on the log: only that proves that nothing is being lost.
          access_log:
            - {{- include "hailstorm.envoy.recorderLog" (dict "root" . "name" "pulse") | nindent 14 }}
              filter:
                header_filter: {header: {name: x-hailstorm-pulse, present_match: true}}
          {{- end }}
          route_config:
            name: stats
            virtual_hosts:
              - name: stats
                domains: ["*"]
                routes:
                  # GET only: what changes Envoy (quitquitquit, drain, runtime) is a POST.
                  - match: {path: /ready, headers: [{name: ":method", string_match: {exact: GET}}]}
                    route: {cluster: admin, timeout: 2s}
                  - match: {path: /stats, headers: [{name: ":method", string_match: {exact: GET}}]}
                    route: {cluster: admin, timeout: 2s}
                  - match: {path_separated_prefix: /stats, headers: [{name: ":method", string_match: {exact: GET}}]}
                    route: {cluster: admin, timeout: 2s}
                  - match: {prefix: /}
                    direct_response: {status: 404}
          http_filters:
            - name: envoy.filters.http.router
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                # Reading statistics should not make any.
                dynamic_stats: false
{{- end }}
