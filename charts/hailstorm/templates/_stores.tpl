{{/*
A generated password, made once: over upgrades the Secret that is there is
taken as it is. Takes {root, component}, and `key` where it is not `password`.
*/}}
{{- define "hailstorm.passwordSecret" -}}
{{- $key := .key | default "password" -}}
{{- $there := lookup "v1" "Secret" .root.Release.Namespace .component -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hailstorm.labels" . | nindent 4 }}
type: Opaque
data:
  {{ $key }}: {{ get ($there.data | default dict) $key | default (randAlphaNum 32 | b64enc) }}
{{- end }}

{{/* The Service of a store. Takes {root, component, port}. */}}
{{- define "hailstorm.storeService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hailstorm.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "hailstorm.selectorLabels" . | nindent 4 }}
  ports:
    - {name: {{ .component }}, port: {{ .port }}, targetPort: {{ .component }}}
{{- end }}

{{/* The volume of a store. Takes {root, component}. */}}
{{- define "hailstorm.storeVolume" -}}
{{- $storage := (index .root.Values .component).storage -}}
- metadata:
    name: data
    labels:
      {{- include "hailstorm.selectorLabels" . | nindent 6 }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with $storage.storageClassName }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests: {storage: {{ $storage.size }}}
{{- end }}

{{/* A store is reached by those who use it and reaches nobody. Takes {root, component, clients}. */}}
{{- define "hailstorm.storeNetworkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hailstorm.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "hailstorm.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        {{- range .clients }}
        - podSelector: {{ include "hailstorm.podsAndSpares" (dict "root" $.root "component" .) | fromYaml | toJson }}
        {{- end }}
      ports: [{port: {{ .component }}}]
{{- end }}
