{{/* The pod template of the migration; the Job's name is a hash of it. */}}
{{- define "hailstorm.migratePod" -}}
{{- $scope := dict "root" . "component" "migrate" -}}
metadata:
  labels:
    {{- include "hailstorm.podLabels" $scope | nindent 4 }}
spec:
  {{- include "hailstorm.podBasics" $scope | trim | nindent 2 }}
  restartPolicy: OnFailure
  securityContext:
    {{- include "hailstorm.podSecurity" 65532 | nindent 4 }}
  containers:
    - name: migrate
      image: {{ include "hailstorm.image" $scope | quote }}
      imagePullPolicy: {{ .Values.images.pullPolicy }}
      command: [python3, -m, hailstorm.trip, migrate]
      env:
        {{- /* The same process with another order, so the same environment. */}}
        {{- include "hailstorm.env" (dict "root" . "component" "trip") | trim | nindent 8 }}
      resources:
        {{- toYaml .Values.migrate.resources | nindent 8 }}
      securityContext:
        {{- include "hailstorm.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 16Mi}
{{- end }}
