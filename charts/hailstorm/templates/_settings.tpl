{{/*
The environment of a service. Every key of a settings group becomes
HAILSTORM_<GROUP>_<FIELD>, camelCase turned into words: values and settings
never need a table between them. Takes {root, component}.
*/}}
{{- define "hailstorm.settingsEnv" -}}
{{- $own := (index .root.Values .component).settings | default dict -}}
{{- $groups := dict "server" .root.Values.server "lifecycle" .root.Values.lifecycle "log" .root.Values.log -}}
{{- /* Only when something is wrong on purpose: no other pod needs to know the words. */}}
{{- if include "hailstorm.isRehearsal" (index .root.Values .component) }}
{{- $_ := set $groups "rehearsal" (index .root.Values .component).rehearsal }}
{{- end }}
{{- $groups = mustMergeOverwrite (deepCopy $groups) (deepCopy $own) -}}
{{- range $group := keys $groups | sortAlpha }}
{{- range $field, $value := index $groups $group }}
- name: HAILSTORM_{{ snakecase $group | upper }}_{{ snakecase $field | upper }}
  {{- /* JSON's numbers arrive as floats; %v would write 1e+06. */}}
  value: {{ if kindIs "float64" $value }}{{ if eq (floor $value) $value }}{{ printf "%.0f" $value | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{/* "true" when a service's release is bad on purpose, else nothing. Takes the service's values. */}}
{{- define "hailstorm.isRehearsal" -}}
{{- with .rehearsal }}{{ if or .failShare .delayMilliseconds .neverReady }}true{{ end }}{{ end -}}
{{- end }}

{{/* Where Postgres is. Takes the root. */}}
{{- define "hailstorm.postgresEnv" -}}
- name: HAILSTORM_POSTGRES_HOST
  value: {{ .Values.postgres.external.host | default "postgres" | quote }}
- name: HAILSTORM_POSTGRES_PORT
  value: {{ ternary .Values.postgres.external.port 5432 (ne .Values.postgres.external.host "") | quote }}
- name: HAILSTORM_POSTGRES_DATABASE
  value: {{ .Values.postgres.database | quote }}
- name: HAILSTORM_POSTGRES_USER
  value: {{ .Values.postgres.user | quote }}
- name: HAILSTORM_POSTGRES_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.postgres.existingSecret | default "postgres" }}, key: password}
{{- end }}

{{/* Where Redis is. Takes the root. */}}
{{- define "hailstorm.redisEnv" -}}
- name: HAILSTORM_REDIS_HOST
  value: {{ .Values.redis.external.host | default "redis" | quote }}
- name: HAILSTORM_REDIS_PORT
  value: {{ ternary .Values.redis.external.port 6379 (ne .Values.redis.external.host "") | quote }}
- name: HAILSTORM_REDIS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.redis.existingSecret | default "redis" }}, key: password}
{{- if .Values.redis.external.cluster }}
- name: HAILSTORM_REDIS_MODE
  value: cluster
{{- end }}
{{- end }}

{{/* What quotes are signed with. Takes the root. */}}
{{- define "hailstorm.quotesEnv" -}}
- name: HAILSTORM_QUOTES_KEY
  valueFrom:
    secretKeyRef: {name: {{ .Values.dispatch.quotes.existingSecret | default "dispatch" }}, key: quoteKey}
{{- end }}

{{/* Where the other services are: the edge's inner listener. */}}
{{- define "hailstorm.edgeEnv" -}}
- name: HAILSTORM_EDGE_ADDRESS
  value: dns:///edge-headless:8090
{{- end }}

{{/* The whole environment of a service. Takes {root, component}. */}}
{{- define "hailstorm.env" -}}
{{ include "hailstorm.settingsEnv" . | trim }}
{{- if ne .component "location" }}
{{ include "hailstorm.edgeEnv" .root }}
{{- end }}
{{- if eq .component "dispatch" }}
{{ include "hailstorm.quotesEnv" .root }}
{{- end }}
{{- if eq .component "location" }}
{{ include "hailstorm.redisEnv" .root }}
{{- end }}
{{- if eq .component "trip" }}
{{ include "hailstorm.postgresEnv" .root }}
{{- end }}
{{- end }}
