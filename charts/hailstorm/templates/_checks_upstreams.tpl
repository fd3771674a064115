{{/*
What another team writes into edge.upstreams must not cost everybody the edge:
an Envoy that refuses its configuration does not start. Takes the root; gives
nothing, or fails with the place and what to write instead.
*/}}
{{- define "hailstorm.checkUpstreams" -}}
{{- $upstreams := .Values.edge.upstreams -}}
{{- if not (kindIs "map" $upstreams) }}
{{- fail (printf "edge.upstreams is a %s: write a map from name to upstream, so that values files can add to it; CHANGELOG.md shows an old list as a map" (kindOf $upstreams)) }}
{{- end }}
{{- $names := include "hailstorm.upstreamNames" . -}}
{{- if not $names }}
{{- fail "edge.upstreams names no upstream: leave one, an edge without any answers nobody" }}
{{- end }}
{{- $d := .Values.edge.deadlines -}}
{{- $described := .Files.Get "files/hailstorm.pb" -}}
{{- $owners := dict -}}
{{- range $name := splitList "|" $names }}
{{- $upstream := get $upstreams $name -}}
{{- $at := printf "edge.upstreams.%s" $name -}}
{{- if has $name (list "admin" "recorder") }}
{{- fail (printf "%s: Envoy has a cluster of its own of this name; call the upstream something else" $at) }}
{{- end }}
{{- /* Headless: the edge goes straight to the pod, so no Service translates the port. */ -}}
{{- if and (include "hailstorm.isOurs" (dict "root" $ "name" $name "upstream" $upstream)) (ne (int $upstream.port) (int $.Values.server.grpcPort)) }}
{{- fail (printf "%s.port is %v, but its pods listen on server.grpcPort (%v); write that" $at $upstream.port $.Values.server.grpcPort) }}
{{- end }}
{{- range $service, $methods := $upstream.services }}
{{- $words := splitList "." $service -}}
{{- if and $upstream.json (not (and (contains (join "." (initial $words)) $described) (contains (last $words) $described))) }}
{{- fail (printf "%s.json is true, but files/hailstorm.pb does not describe %s: leave json out, or add its proto to protos/ and run `make protos`" $at $service) }}
{{- end }}
{{- range $method, $options := $methods }}
{{- $call := printf "%s/%s" $service $method -}}
{{- if hasKey $owners $call }}
{{- fail (printf "edge.upstreams: %s is listed under %s and under %s: a method has one upstream, take it out of one" $call (get $owners $call) $name) }}
{{- end }}
{{- $_ := set $owners $call $name -}}
{{- if and $options.stream (hasKey $options "deadlineSeconds") }}
{{- fail (printf "%s: %s has stream and deadlineSeconds: a stream ends by edge.deadlines.streamMaxSeconds, take one of the two out" $at $call) }}
{{- end }}
{{- if gt (float64 ($options.deadlineSeconds | default 0)) (float64 $d.maxSeconds) }}
{{- fail (printf "%s: %s has deadlineSeconds %v, above edge.deadlines.maxSeconds (%v): lower the one, or raise the other (and lifecycle.drainMaxSeconds with it)" $at $call $options.deadlineSeconds $d.maxSeconds) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* "yes" for a service of this chart behind an entry, else nothing. Takes {root, name, upstream}. */}}
{{- define "hailstorm.isOurs" -}}
{{- $service := .upstream.service | default .name -}}
{{- $namespace := .upstream.namespace | default .root.Release.Namespace -}}
{{- if and (has $service (list "dispatch" "location" "trip")) (eq $namespace .root.Release.Namespace) }}yes{{ end }}
{{- end }}
