{{/* Where a service finds its flags. Takes {root, component}. */}}
{{- define "hailstorm.flagsEnv" -}}
- name: HAILSTORM_FLAGS_FOLDER
  value: /etc/hailstorm/flags
{{- if .root.Values.flags.watch }}
- name: HAILSTORM_FLAGS_CONFIG_MAP
  value: flags
- name: HAILSTORM_FLAGS_API_SERVER
  # Kubernetes puts the address in; asking DNS would be one more thing to lose.
  value: $(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)
{{- end }}
{{- end }}

{{/* The mounts of flags and of what it takes to watch them. Takes {root, component}. */}}
{{- define "hailstorm.flagsMounts" -}}
- {name: flags, mountPath: /etc/hailstorm/flags, readOnly: true}
{{- if .root.Values.flags.watch }}
- {name: api-access, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}
{{- end }}

{{/* Their volumes. Takes {root, component}. */}}
{{- define "hailstorm.flagsVolumes" -}}
- name: flags
  # Optional: whoever deletes it must not keep pods from starting.
  configMap: {name: flags, optional: true}
{{- if .root.Values.flags.watch }}
- name: api-access
  projected:
    sources:
      # Replaced by the kubelet long before it expires; each watch reads it anew.
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items:
            - path: namespace
              fieldRef: {fieldPath: metadata.namespace}
{{- end }}
{{- end }}

{{/* A rule to the API server, or nothing. Takes the root. */}}
{{- define "hailstorm.egressToApiServer" -}}
{{- if .Values.flags.watch -}}
# The API server, for flags; it is no pod, so it cannot be named by label.
- to:
    {{- range .Values.networkPolicy.apiServerCidrs }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - port: {{ . }}
    {{- end }}
{{- end }}
{{- end }}
