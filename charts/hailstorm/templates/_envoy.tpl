{{/* Envoy's whole bootstrap. docs/reference/edge.md says why each setting is there. */}}
{{- define "hailstorm.envoy.bootstrap" -}}
admin:
  # Inside the pod only; port 9902 lets a part of it out.
  address: {socket_address: {address: 127.0.0.1, port_value: 9901}}
application_log_config:
  log_format:
    json_format: {ts: "%Y-%m-%dT%H:%M:%S.%fZ", level: "%l", logger: "envoy.%n", message: "%j"}
# Statistics cost memory and time for each one: what nobody reads is not kept.
stats_config:
  stats_matcher:
    inclusion_list:
      patterns:
        - safe_regex: {regex: 'cluster\.({{ include "hailstorm.upstreamNames" . }})\.(upstream_rq_(active|pending_active|total|time|completed|[2345]xx|retry.*|rx_reset|tx_reset|timeout|per_try_timeout|pending_overflow|max_duration_reached|cancelled)|upstream_cx_(active|total|connect_fail|destroy_with_active_rq|overflow)|membership_(total|healthy|degraded|excluded|change)|health_check\.(attempt|success|failure|network_failure|healthy)|outlier_detection\.(ejections_active|ejections_enforced_total|ejections_enforced_consecutive_local_origin_failure|ejections_overflow)|update_(attempt|success|failure|empty)|lb_healthy_panic|circuit_breakers\.default\..*|grpc\.8)'}
        - safe_regex: {regex: 'http\.(public|internal)\.(downstream_rq_(active|total|completed|[12345]xx|time|rx_reset|tx_reset|max_duration_reached|overload_close)|downstream_cx_(active|total|drain_close|destroy_remote_active_rq|destroy_local_active_rq)|no_route)'}
        - safe_regex: {regex: 'server\.(live|state|uptime|memory_allocated|memory_physical_size|total_connections|watchdog_miss)'}
        - safe_regex: {regex: 'overload\..*\.(active|scale_percent|pressure)'}
        {{- if .Values.recorder.enabled }}
        # What the recorder did not take in time: it asks, and marks a gap.
        - safe_regex: {regex: 'access_logs\.grpc_access_log\.logs_(written|dropped)'}
        {{- end }}
overload_manager:
  refresh_interval: 0.5s
  resource_monitors:
    - name: envoy.resource_monitors.global_downstream_max_connections
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
        max_active_downstream_connections: {{ .Values.edge.limits.connections }}
    - name: envoy.resource_monitors.fixed_heap
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig
        max_heap_size_bytes: {{ include "hailstorm.envoy.heapBytes" . }}
  actions:
    # Memory is given back first; new calls are refused before the kernel kills those in flight.
    - name: envoy.overload_actions.shrink_heap
      triggers: [{name: envoy.resource_monitors.fixed_heap, threshold: {value: 0.85}}]
    - name: envoy.overload_actions.stop_accepting_requests
      triggers: [{name: envoy.resource_monitors.fixed_heap, threshold: {value: 0.95}}]
static_resources:
  listeners:
    - {{- include "hailstorm.envoy.listener" (dict "root" . "public" true "port" 8080) | nindent 6 }}
    - {{- include "hailstorm.envoy.listener" (dict "root" . "public" false "port" 8090) | nindent 6 }}
    - {{- include "hailstorm.envoy.statsListener" . | nindent 6 }}
  clusters:
    {{- range $name := include "hailstorm.upstreamNames" . | splitList "|" }}
    - {{- include "hailstorm.envoy.cluster" (dict "root" $ "name" $name "upstream" (get $.Values.edge.upstreams $name)) | nindent 6 }}
    {{- end }}
    {{- if .Values.recorder.enabled }}
    - {{- include "hailstorm.envoy.recorderCluster" . | nindent 6 }}
    {{- end }}
    - name: admin
      type: STATIC
      connect_timeout: 0.5s
      load_assignment:
        cluster_name: admin
        endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}}]}]
{{- end }}

{{/*
"dispatch|location|trip", as a regular expression wants them. Whoever takes an
upstream out again sets it to null, and Helm keeps that null. Takes the root.
*/}}
{{- define "hailstorm.upstreamNames" -}}
{{- $names := list -}}
{{- range $name, $upstream := .Values.edge.upstreams }}{{ if $upstream }}{{ $names = append $names $name }}{{ end }}{{ end -}}
{{ join "|" $names }}
{{- end }}

{{/* Nine tenths of the container's memory limit, in bytes. */}}
{{- define "hailstorm.envoy.heapBytes" -}}
{{- $limit := .Values.edge.resources.limits.memory | toString -}}
{{- $number := regexFind "^[0-9]+" $limit | int64 -}}
{{- $units := dict "Mi" 1048576 "Gi" 1073741824 "M" 1000000 "G" 1000000000 -}}
{{- $unit := regexFind "[A-Za-z]+$" $limit -}}
{{- if not (hasKey $units $unit) }}{{ fail (printf "edge.resources.limits.memory is %q: write it in Mi, Gi, M or G, Envoy's own limit is derived from it" $limit) }}{{ end -}}
{{ div (mul $number (get $units $unit | int64) 9) 10 }}
{{- end }}
