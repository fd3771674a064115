{{/* Labels that select: they never change while a release lives. Takes {root, component}. */}}
{{- define "hailstorm.selectorLabels" -}}
app.kubernetes.io/name: hailstorm
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of an object. Takes {root, component}. */}}
{{- define "hailstorm.labels" -}}
{{ include "hailstorm.selectorLabels" . }}
app.kubernetes.io/part-of: hailstorm
app.kubernetes.io/version: {{ include "hailstorm.version" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
{{- end }}

{{/*
Labels of a pod template: without the chart's version and the tool, or a new
chart would roll pods that it changes nothing of. Takes {root, component}.
*/}}
{{- define "hailstorm.podLabels" -}}
{{ include "hailstorm.selectorLabels" . }}
app.kubernetes.io/part-of: hailstorm
app.kubernetes.io/version: {{ include "hailstorm.version" . }}
{{- end }}

{{/* Which image a component runs: one of the keys of `images`. */}}
{{- define "hailstorm.imageKey" -}}
{{- if eq .component "edge" }}envoy{{ else if has .component (list "postgres" "redis") }}{{ .component }}{{ else }}services{{ end }}
{{- end }}

{{/* The tag that a component runs, as a label's value. Takes {root, component}. */}}
{{- define "hailstorm.version" -}}
{{- $image := index .root.Values.images (include "hailstorm.imageKey" .) -}}
{{- $image.tag | default .root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end }}

{{/* The image of a component. Takes {root, component}. */}}
{{- define "hailstorm.image" -}}
{{- $image := index .root.Values.images (include "hailstorm.imageKey" .) -}}
{{- with .root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* Keys of a pod spec that every pod shares. Takes {root, component}. */}}
{{- define "hailstorm.podBasics" -}}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
# Whoever talks to the Kubernetes API has its token mounted by hand.
automountServiceAccountToken: false
# Or every Service of the namespace would turn up in the environment.
enableServiceLinks: false
{{- end }}

{{/* A container's security context: Pod Security "restricted", and a read-only root. */}}
{{- define "hailstorm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* A pod's security context. Takes a numeric user. */}}
{{- define "hailstorm.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
# Volumes of a million files would otherwise be walked at every start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Pods of one component on different nodes while there are enough. Takes {root, component}. */}}
{{- define "hailstorm.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  # A preference: with one node left, two pods on it are better than one.
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "hailstorm.selectorLabels" . | nindent 6 }}
  # Counted within a revision, or old pods would push the new ones together.
  matchLabelKeys: [pod-template-hash]
{{- end }}

{{/* The full DNS name of a Service, of this release unless it has a namespace. Takes {root, service, namespace}. */}}
{{- define "hailstorm.serviceHost" -}}
{{ .service }}.{{ .namespace | default .root.Release.Namespace }}.svc.{{ .root.Values.clusterDomain }}
{{- end }}
