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

{{/*
A selector of a component's pods and of its warm spares, which the operator gives
a label of their own while they wait; they hold the same connections. Takes {root, component}.
*/}}
{{- define "hailstorm.podsAndSpares" -}}
matchLabels:
  app.kubernetes.io/name: hailstorm
  app.kubernetes.io/instance: {{ .root.Release.Name }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [{{ .component }}, {{ .component }}-spare]}
{{- end }}
