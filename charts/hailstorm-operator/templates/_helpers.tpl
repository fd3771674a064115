{{- define "hailstorm-operator.selectorLabels" -}}
app.kubernetes.io/name: hailstorm-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "hailstorm-operator.recorderSelectorLabels" -}}
app.kubernetes.io/name: hailstorm-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: recorder
{{- end }}

{{- define "hailstorm-operator.recorderLabels" -}}
{{ include "hailstorm-operator.recorderSelectorLabels" . }}
app.kubernetes.io/part-of: hailstorm
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "hailstorm-operator.labels" -}}
{{ include "hailstorm-operator.selectorLabels" . }}
app.kubernetes.io/part-of: hailstorm
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "hailstorm-operator.image" -}}
{{- $image := .Values.images.operator -}}
{{- with .Values.images.registry }}{{ . }}/{{ end }}{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What the operator may do in the namespaces it watches. */}}
{{- define "hailstorm-operator.rules" -}}
# All: watch Deployments, read one again when a watch was silent.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch]
# Gate: hold a canary, let it go, put the earlier template back. Only where a
# RolloutPolicy in mode enforce names the Deployment.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [patch]
# Scaler: the Deployment of warm spares, which goes with its ServiceScaler; the rule
# above keeps it in step.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [create]
# Scaler: labels put a spare into the Service and take it out, an annotation says
# which pod is to go first. Nothing but metadata of a running pod can be patched.
- apiGroups: [""]
  resources: [pods]
  verbs: [patch]
# Scaler: the Service that spares go into, and the budgets that must not count them.
- apiGroups: [""]
  resources: [services]
  verbs: [list]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list]
# Gate: say that a rollout has failed before it is taken back, or `kubectl rollout
# status` would call the rollback a success.
- apiGroups: [apps]
  resources: [deployments/status]
  verbs: [patch]
# Scaler: without a RolloutPolicy nothing but its scale is written about a Deployment.
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get, patch]
# Ledger and gate: ReplicaSets are the history of revisions, and what is rolled back to.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
# Ledger and gate: timelines of pods, and which of them are new. Leadership: whether the
# pod that led is gone.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Scaler: addresses of the edge's Envoys.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# Scaler: an HPA on the same target is a conflict to be named.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
# Scaler: its own objects, and what it says about them.
- apiGroups: [hailstorm.dev]
  resources: [servicescalers]
  verbs: [get, list, watch]
- apiGroups: [hailstorm.dev]
  resources: [servicescalers/status]
  verbs: [patch]
# Ledger and gate: records, and the verdict in each; deleted by retention alone.
- apiGroups: [hailstorm.dev]
  resources: [rolloutrecords]
  verbs: [get, list, create, patch, delete]
- apiGroups: [hailstorm.dev]
  resources: [rolloutrecords/status]
  verbs: [patch]
# Gate: its own objects, and what it says about them.
- apiGroups: [hailstorm.dev]
  resources: [rolloutpolicies]
  verbs: [get, list, watch]
- apiGroups: [hailstorm.dev]
  resources: [rolloutpolicies/status]
  verbs: [patch]
# All: Events about ServiceScalers and Deployments.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
