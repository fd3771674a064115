{{/* The Deployment of one of our services. Takes {root, component}. */}}
{{- define "hailstorm.deployment" -}}
{{- include "hailstorm.checks" .root -}}
{{- $values := index .root.Values .component -}}
{{- $rollout := .root.Values.rollout -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hailstorm.labels" . | nindent 4 }}
    # The operator keeps a RolloutRecord of each rollout.
    hailstorm.dev/record: "true"
spec:
  {{- if not .root.Values.scaler.enabled }}
  replicas: {{ $values.replicas }}
  {{- else }}
  {{- with lookup "apps/v1" "Deployment" .root.Release.Namespace .component }}
  # As it is: a field that an earlier release had and this one drops falls back to 1.
  replicas: {{ .spec.replicas }}
  {{- end }}
  {{- end }}
  minReadySeconds: {{ $rollout.minReadySeconds }}
  progressDeadlineSeconds: {{ $rollout.progressDeadlineSeconds }}
  revisionHistoryLimit: {{ $rollout.revisionHistoryLimit }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: {{ $rollout.maxSurge }}
      maxUnavailable: {{ $rollout.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "hailstorm.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "hailstorm.podLabels" . | nindent 8 }}
        # The Service selects on it as well, so that a pod can be taken out of
        # traffic, or a warm spare put in, by one label.
        hailstorm.dev/serving: "true"
    spec:
      {{- include "hailstorm.podBasics" . | trim | nindent 6 }}
      {{- if .root.Values.flags.watch }}
      serviceAccountName: flags-reader
      {{- end }}
      terminationGracePeriodSeconds: {{ include "hailstorm.gracePeriod" .root }}
      securityContext:
        {{- include "hailstorm.podSecurity" 65532 | nindent 8 }}
      topologySpreadConstraints:
        {{- include "hailstorm.spread" . | nindent 8 }}
      containers:
        - name: {{ .component }}
          image: {{ include "hailstorm.image" . | quote }}
          imagePullPolicy: {{ .root.Values.images.pullPolicy }}
          command: [python3, -m, hailstorm.{{ .component }}]
          env:
            {{- include "hailstorm.env" . | trim | nindent 12 }}
            {{- include "hailstorm.flagsEnv" . | nindent 12 }}
          ports:
            - {name: grpc, containerPort: {{ .root.Values.server.grpcPort }}}
            - {name: http, containerPort: {{ .root.Values.server.httpPort }}}
          startupProbe:
            httpGet: {path: /readyz, port: http}
            {{- toYaml .root.Values.probes.startup | nindent 12 }}
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            {{- toYaml .root.Values.probes.readiness | nindent 12 }}
          livenessProbe:
            httpGet: {path: /livez, port: http}
            {{- toYaml .root.Values.probes.liveness | nindent 12 }}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            {{- include "hailstorm.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- include "hailstorm.flagsMounts" . | nindent 12 }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 16Mi}
        {{- include "hailstorm.flagsVolumes" . | nindent 8 }}
{{- end }}

{{/* The headless Service that the edge finds a service's pods by. Takes {root, component}. */}}
{{- define "hailstorm.headlessService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hailstorm.labels" . | nindent 4 }}
spec:
  # Headless: a virtual IP balances connections, and an HTTP/2 connection lives long.
  clusterIP: None
  selector:
    {{- include "hailstorm.selectorLabels" . | nindent 4 }}
    hailstorm.dev/serving: "true"
  ports:
    - {name: grpc, port: {{ .root.Values.server.grpcPort }}, targetPort: grpc, appProtocol: kubernetes.io/h2c}
    - {name: http, port: {{ .root.Values.server.httpPort }}, targetPort: http}
{{- end }}

{{/* At most one pod of a component is evicted at a time. Takes {root, component}. */}}
{{- define "hailstorm.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hailstorm.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  # A pod that is not ready anyway must not hold up a node's drain.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "hailstorm.selectorLabels" . | nindent 6 }}
    # A warm spare in service has these labels too. Counted, it would bring the whole pool's
    # size into the sum, and no pod could be evicted.
    matchExpressions:
      - {key: hailstorm.dev/spare-of, operator: DoesNotExist}
{{- end }}

{{/* The operator's order to scale a service. Takes {root, component}. */}}
{{- define "hailstorm.serviceScaler" -}}
{{- $bounds := index .root.Values.scaler .component -}}
apiVersion: hailstorm.dev/v1alpha1
kind: ServiceScaler
metadata:
  name: {{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hailstorm.labels" . | nindent 4 }}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .component }}}
  minReplicas: {{ $bounds.minReplicas }}
  maxReplicas: {{ $bounds.maxReplicas }}
  signal:
    # Calls in flight as callers see them: a pod short of CPU does not see its own queue.
    edge: {cluster: {{ .component }}, service: edge-headless, port: 9902}
  targetInFlight: {{ $bounds.targetInFlight }}
  utilisation: {{ .root.Values.scaler.utilisation }}
  {{- if and (eq .component "trip") (eq .root.Values.postgres.external.host "") }}
  {{- $each := add (int (((.root.Values.trip.settings).postgres).poolMax | default 0)) 1 }}
  # A pod holds its pool and a relay's connection; reserved are a rollout's surge, migrations and people.
  connectionBudget:
    connectionsPerPod: {{ $each }}
    max: {{ .root.Values.postgres.maxConnections }}
    reserved: {{ add (mul $each (int .root.Values.rollout.maxSurge)) 10 }}
  {{- end }}
  spares: {count: {{ $bounds.spares }}, service: {{ .component }}}
  behavior:
    {{- toYaml .root.Values.scaler.behavior | nindent 4 }}
{{- end }}

{{/* The operator's order to judge each release of a service. Takes {root, component}. */}}
{{- define "hailstorm.rolloutPolicy" -}}
{{- $all := .root.Values.rolloutPolicy -}}
{{- $spec := mustMergeOverwrite (deepCopy (omit $all "enabled" "dispatch" "location" "trip")) (deepCopy (index $all .component)) -}}
{{- include "hailstorm.policyChecks" (dict "root" .root "component" .component "spec" $spec) -}}
apiVersion: hailstorm.dev/v1alpha1
kind: RolloutPolicy
metadata:
  name: {{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hailstorm.labels" . | nindent 4 }}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .component }}}
  # Whose attempts the recorder counts.
  edge: {cluster: {{ .component }}}
  {{- range $key, $value := $spec }}
  {{- if not (kindIs "invalid" $value) }}
  {{ dict $key $value | toYaml | nindent 2 | trim }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* Who may talk to a service, and whom it may talk to. Takes {root, component, egress: list of rules}. */}}
{{- define "hailstorm.serviceNetworkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hailstorm.labels" . | nindent 4 }}
spec:
  podSelector:
    {{- include "hailstorm.podsAndSpares" . | nindent 4 }}
  policyTypes: [Ingress, Egress]
  ingress:
    # Calls and health checks: from the edge alone.
    - from:
        - podSelector: {matchLabels: {app.kubernetes.io/component: edge}}
      ports: [{port: grpc}]
    # /metrics: from the operator. The kubelet's probes need no rule.
    - from:
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .root.Values.networkPolicy.operatorNamespace }}}}
      ports: [{port: http}]
  egress:
    {{- .egress | nindent 4 }}
    {{- with include "hailstorm.egressToApiServer" .root }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end }}
