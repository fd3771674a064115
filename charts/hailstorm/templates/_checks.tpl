{{/*
Arithmetic that must hold, or the chart does not render: a schema sees one
value, these see several. Takes the root; gives nothing.
*/}}
{{- define "hailstorm.checks" -}}
{{- $l := .Values.lifecycle -}}
{{- $d := .Values.edge.deadlines -}}
{{- if gt (float64 $l.propagationSeconds) (float64 $l.drainMaxSeconds) }}
{{- fail (printf "lifecycle.propagationSeconds (%v) is above lifecycle.drainMaxSeconds (%v): a drain could never end in time" $l.propagationSeconds $l.drainMaxSeconds) }}
{{- end }}
{{- if lt (float64 $l.drainMaxSeconds) (float64 $d.maxSeconds) }}
{{- fail (printf "lifecycle.drainMaxSeconds (%v) is below edge.deadlines.maxSeconds (%v): a call accepted just before SIGTERM would be cut" $l.drainMaxSeconds $d.maxSeconds) }}
{{- end }}
{{- if gt (float64 $d.defaultSeconds) (float64 $d.maxSeconds) }}
{{- fail (printf "edge.deadlines.defaultSeconds (%v) is above edge.deadlines.maxSeconds (%v)" $d.defaultSeconds $d.maxSeconds) }}
{{- end }}
{{- $age := .Values.server.maxConnectionAgeGraceSeconds -}}
{{- if lt (float64 $age) (float64 $d.streamMaxSeconds) }}
{{- fail (printf "server.maxConnectionAgeGraceSeconds (%v) is below edge.deadlines.streamMaxSeconds (%v): streams would be cut without a resume marker" $age $d.streamMaxSeconds) }}
{{- end }}
{{- /* A pod must go on serving until every Envoy has heard: a DNS refresh, then a health check with its time-out. */ -}}
{{- $heard := divf (addf .Values.edge.discovery.refreshMilliseconds .Values.edge.healthCheck.intervalMilliseconds) 1000 -}}
{{- if lt (float64 $l.propagationSeconds) $heard }}
{{- fail (printf "lifecycle.propagationSeconds (%v) is below %v s, what the edge needs to hear of a drain (edge.discovery.refreshMilliseconds + edge.healthCheck.intervalMilliseconds)" $l.propagationSeconds $heard) }}
{{- end }}
{{- if lt (float64 .Values.rollout.minReadySeconds) $heard }}
{{- fail (printf "rollout.minReadySeconds (%v) is below %v s, what the edge needs to find a new pod (edge.discovery.refreshMilliseconds + edge.healthCheck.intervalMilliseconds)" .Values.rollout.minReadySeconds $heard) }}
{{- end }}
{{- include "hailstorm.checkUpstreams" . }}
{{- /* Pods of an old and a new revision hold their pools at the same time, each with a relay's connection besides. */ -}}
{{- $pods := int .Values.trip.replicas -}}
{{- if .Values.scaler.enabled }}{{ $pods = add (int .Values.scaler.trip.maxReplicas) (int .Values.scaler.trip.spares) | int }}{{ end -}}
{{- $pool := int (((.Values.trip.settings).postgres).poolMax | default 0) -}}
{{- $needed := add (mul (add $pods (int .Values.rollout.maxSurge)) (add $pool 1)) 10 -}}
{{- if and (eq .Values.postgres.external.host "") (gt (int $needed) (int .Values.postgres.maxConnections)) }}
{{- fail (printf "trip may open %d connections ((%d pods + %v surge) x (poolMax %d + 1) + 10 for migrations and people), above postgres.maxConnections (%v)" (int $needed) $pods .Values.rollout.maxSurge $pool .Values.postgres.maxConnections) }}
{{- end }}
{{- if and .Values.postgres.external.host (not .Values.postgres.existingSecret) }}
{{- fail "postgres.external.host is set, so postgres.existingSecret must name a Secret with its password under the key `password`" }}
{{- end }}
{{- if and .Values.redis.external.cluster (not .Values.redis.external.host) }}
{{- fail "redis.external.cluster is set, so redis.external.host must name a server of the cluster: the chart's own Redis is a single one" }}
{{- end }}
{{- if and .Values.redis.external.host (not .Values.redis.existingSecret) }}
{{- fail "redis.external.host is set, so redis.existingSecret must name a Secret with its password under the key `password`" }}
{{- end }}
{{- end }}

{{/* A policy's times must fit into its Deployment's. Takes {root, component, spec}; gives nothing. */}}
{{- define "hailstorm.policyChecks" -}}
{{- $deadline := .root.Values.rollout.progressDeadlineSeconds -}}
{{- $max := .spec.canary.holdSeconds.max -}}
{{- if ge (int $max) (int $deadline) }}
{{- fail (printf "rolloutPolicy: canary.holdSeconds.max (%v) of %s is not below rollout.progressDeadlineSeconds (%v), at which Kubernetes gives a held rollout up" $max .component $deadline) }}
{{- end }}
{{- if ge (int .spec.progressDeadlineSeconds) (int $deadline) }}
{{- fail (printf "rolloutPolicy: progressDeadlineSeconds (%v) of %s is not below rollout.progressDeadlineSeconds (%v): Kubernetes would give up first" .spec.progressDeadlineSeconds .component $deadline) }}
{{- end }}
{{- if not .root.Values.recorder.enabled }}
{{- fail "rolloutPolicy.enabled needs recorder.enabled: without it a policy has no traffic to judge by" }}
{{- end }}
{{- end }}

{{/*
How long Kubernetes waits before it kills a draining pod: the longest drain,
then what is left of calls, then tasks and up to three pools closing, each with
its own budget (runtime.lifecycle.budget_seconds). Takes the root.
*/}}
{{- define "hailstorm.gracePeriod" -}}
{{- $l := .Values.lifecycle -}}
{{- $calls := max (ceil $l.stopGraceSeconds) (ceil .Values.edge.deadlines.maxSeconds) -}}
{{- $least := ceil (addf $l.drainMaxSeconds $calls (mulf 4 $l.closeSeconds)) | int -}}
{{- $wanted := int .Values.rollout.terminationGracePeriodSeconds -}}
{{- if eq $wanted 0 -}}
{{ $least }}
{{- else if lt $wanted $least -}}
{{- fail (printf "rollout.terminationGracePeriodSeconds (%d) is below %d: lifecycle.drainMaxSeconds + the longer of lifecycle.stopGraceSeconds and edge.deadlines.maxSeconds + 4 x lifecycle.closeSeconds" $wanted $least) }}
{{- else -}}
{{ $wanted }}
{{- end }}
{{- end }}
