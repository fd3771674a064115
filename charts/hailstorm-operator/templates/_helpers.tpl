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
# Scaler and recorder: watch Deployments, read one again when a watch was silent.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch]
# Scaler: the one thing that is ever written about a Deployment is its scale.
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get, patch]
# Recorder: ReplicaSets are the history of revisions.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
# Recorder: timelines of pods.
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
# Recorder: its own objects; deleted by retention alone.
- apiGroups: [hailstorm.dev]
  resources: [rolloutrecords]
  verbs: [get, list, create, patch, delete]
- apiGroups: [hailstorm.dev]
  resources: [rolloutrecords/status]
  verbs: [patch]
# Both: Events about ServiceScalers and Deployments.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
