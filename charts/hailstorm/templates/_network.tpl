{{/* A rule to the edge's inner listener. */}}
{{- define "hailstorm.egressToEdge" -}}
# The other services, through the edge.
- to:
    - podSelector: {matchLabels: {app.kubernetes.io/component: edge}}
  ports: [{port: internal}]
{{- end }}

{{/*
A rule to a store: the chart's own, or any address on the external one's port,
since a policy knows no host names. Takes {root, store, port}.
*/}}
{{- define "hailstorm.egressToStore" -}}
{{- $external := (index .root.Values .store).external -}}
{{- if $external.host -}}
# {{ .store }}, outside this chart.
- to:
    - ipBlock: {cidr: 0.0.0.0/0}
  ports: [{port: {{ $external.port }}}]
{{- else -}}
# {{ .store }}.
- to:
    - podSelector: {matchLabels: {app.kubernetes.io/component: {{ .store }}}}
  ports: [{port: {{ .port }}}]
{{- end }}
{{- end }}
