{{/*
How a call may be tried again. `all` also covers calls that may have run
already, and is only for methods where that does no harm. Takes {retries, all}.
*/}}
{{- define "hailstorm.envoy.retryPolicy" -}}
{{- if .all }}
retry_on: unavailable,cancelled,connect-failure,refused-stream,reset-before-request,reset
{{- else }}
# Only where the pod has surely not begun.
retry_on: connect-failure,refused-stream,reset-before-request
{{- end }}
num_retries: {{ .retries.attempts }}
retry_back_off:
  base_interval: {{ divf .retries.backoffBaseMilliseconds 1000 }}s
  max_interval: {{ divf .retries.backoffMaxMilliseconds 1000 }}s
# Always on another pod, as long as there is one.
retry_host_predicate:
  - name: envoy.retry_host_predicates.previous_hosts
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
host_selection_retry_max_attempts: {{ .retries.hostSelectionAttempts }}
{{- end }}

{{/*
The routes of one listener: a method each, and nothing else. Takes {root,
public}; public leaves out, and refuses, what only services may call.
*/}}
{{- define "hailstorm.envoy.routes" -}}
{{- range $name := include "hailstorm.upstreamNames" .root | splitList "|" }}
{{- range $service, $methods := (get $.root.Values.edge.upstreams $name).services }}
{{- range $method, $options := $methods }}
{{- include "hailstorm.envoy.route" (dict "root" $.root "public" $.public "upstream" $name "service" $service "method" $method "options" $options) }}
{{- end }}
{{- end }}
{{- end -}}
- match: {prefix: /}
  direct_response: {status: 404, body: {inline_string: "no such method or path"}}
{{- end }}

{{/* The route of one method. Takes {root, public, upstream, service, method, options}. */}}
{{- define "hailstorm.envoy.route" -}}
{{- $edge := .root.Values.edge -}}
{{- $options := .options -}}
{{- $deadline := $options.deadlineSeconds | default $edge.deadlines.defaultSeconds -}}
- match:
    path: /{{ .service }}/{{ .method }}
    # gRPC and gRPC-web (`grpc: {}` would know the first alone); JSON has its own paths.
    headers: [{name: content-type, string_match: {prefix: application/grpc}}]
  {{- if .root.Values.recorder.enabled }}
  {{- /* For the recorder: a call that found no pod has no cluster in its line, and how long a stream lasted says nothing about speed. */}}
  name: {{ .upstream }}/{{ ternary "stream" "call" (default false $options.stream) }}
  {{- end }}
  {{- if and .public (not (dig "public" true $options)) }}
  direct_response: {status: 403, body: {inline_string: "{{ .method }} is called by services only"}}
  {{- else }}
  route:
    cluster: {{ .upstream }}
    # Deadlines below take its place: their end is DEADLINE_EXCEEDED, its own would be UNAVAILABLE.
    timeout: 0s
    {{- if $options.stream }}
    idle_timeout: {{ $edge.deadlines.streamMaxSeconds }}s
    max_stream_duration:
      max_stream_duration: {{ $edge.deadlines.streamMaxSeconds }}s
      grpc_timeout_header_max: {{ $edge.deadlines.streamMaxSeconds }}s
    {{- else }}
    max_stream_duration:
      max_stream_duration: {{ $deadline }}s
      grpc_timeout_header_max: {{ $edge.deadlines.maxSeconds }}s
    {{- end }}
    {{- if $edge.retries.enabled }}
    {{- if eq (toString $options.retry) "never" }}
    {{- /* Without one of its own, a route has the policy of its host. */}}
    retry_policy: {num_retries: 0}
    {{- else if not $options.retry }}
    retry_policy:
      {{- include "hailstorm.envoy.retryPolicy" (dict "retries" $edge.retries "all" false) | nindent 6 }}
    {{- end }}
    {{- end }}
  {{- if not $options.stream }}
  request_headers_to_add:
    # Callers without a deadline get one that services can see and pass on.
    - header: {key: grpc-timeout, value: {{ mulf 1000 $deadline | int64 }}m}
      append_action: ADD_IF_ABSENT
  {{- end }}
  {{- end }}
{{ end }}

{{/* The virtual host of one listener. Takes {root, public}. */}}
{{- define "hailstorm.envoy.virtualHost" -}}
name: {{ ternary "public" "internal" .public }}
domains: ["*"]
# How often a call was tried: for the service (x-envoy-attempt-count) and for the caller.
include_request_attempt_count: true
include_attempt_count_in_response: true
{{- if and .public .root.Values.edge.cors.allowedOrigins }}
typed_per_filter_config:
  envoy.filters.http.cors:
    "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy
    allow_origin_string_match:
      {{- range .root.Values.edge.cors.allowedOrigins }}
      - exact: {{ . | quote }}
      {{- end }}
    allow_methods: GET, POST, OPTIONS
    allow_headers: content-type, x-grpc-web, x-user-agent, grpc-timeout, x-request-id
    expose_headers: grpc-status, grpc-message, grpc-status-details-bin, x-request-id, x-hailstorm-upstream, x-envoy-attempt-count
    max_age: "600"
{{- end }}
{{- if .root.Values.edge.retries.enabled }}
retry_policy:
  {{- include "hailstorm.envoy.retryPolicy" (dict "retries" .root.Values.edge.retries "all" true) | nindent 2 }}
{{- end }}
routes:
  {{- include "hailstorm.envoy.routes" . | nindent 2 }}
{{- end }}
