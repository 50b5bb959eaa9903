{{/*
The pod of one service.
  (dict "root" $ "component" "gateway" "values" .Values.gateway "port" 50050 "metricsPort" 9100
        "env" <list> "volumes" <list> "mounts" <list> "command" <list> "init" <list>
        "follower" <true if another pod of its group serves>)
*/}}
{{- define "flashtalk.pod" -}}
{{- $root := .root -}}
{{- $values := .values -}}
metadata:
  labels:
    {{- include "flashtalk.selectorLabels" . | nindent 4 }}
    app.kubernetes.io/part-of: flashtalk
    {{- with $values.podLabels }}{{ toYaml . | nindent 4 }}{{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ .component }}
    {{- with .checksum }}
    flashtalk/checksum: {{ . }}
    {{- end }}
    {{- with $values.podAnnotations }}{{ toYaml . | nindent 4 }}{{- end }}
spec:
  serviceAccountName: {{ include "flashtalk.componentName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $values.drainSeconds $values.preStopSeconds 10 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $values.topologySpread }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "flashtalk.selectorLabels" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with .init }}
  initContainers: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "flashtalk.image" . }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      {{- with .command }}
      command: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext: {{- include "flashtalk.lockedDown" . | nindent 8 }}
      env:
        {{- toYaml .env | nindent 8 }}
        {{- range $name, $value := $values.settings }}
        - name: {{ printf "FLASHTALK_%s_%s" ($.component | replace "-" "_" | upper) ($name | snakecase | upper) }}
          value: {{ $value | quote }}
        {{- end }}
        {{- with $values.extraEnv }}{{ toYaml . | nindent 8 }}{{- end }}
      {{- if not .follower }}
      ports:
        - {name: grpc, containerPort: {{ .port }}, protocol: TCP}
        - {name: metrics, containerPort: {{ .metricsPort }}, protocol: TCP}
      startupProbe:
        {{- include "flashtalk.probe" . | nindent 8 }}
        periodSeconds: 2
        timeoutSeconds: 10
        failureThreshold: {{ div $values.startupSeconds 2 }}
      readinessProbe:
        {{- include "flashtalk.probe" . | nindent 8 }}
        periodSeconds: 5
        timeoutSeconds: 10
        failureThreshold: 2
      livenessProbe:
        # Checks the port, not the health service: a restart does not help a service that is NOT_SERVING.
        tcpSocket: {port: grpc}
        periodSeconds: 20
        timeoutSeconds: 10
        failureThreshold: 6
      {{- end }}
      lifecycle:
        preStop:
          # New connections may still arrive during this delay. Then the service gets SIGTERM and drains.
          # Python, because the images may have no shell.
          exec:
            command: [python, -c, "import sys, time; time.sleep(int(sys.argv[1]))",
                      {{ $values.preStopSeconds | quote }}]
      terminationMessagePolicy: FallbackToLogsOnError
      resources: {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- with .mounts }}{{ toYaml . | nindent 8 }}{{- end }}
  volumes:
    - {name: tmp, emptyDir: {}}
    {{- with .volumes }}{{ toYaml . | nindent 4 }}{{- end }}
{{- end -}}

{{- define "flashtalk.lockedDown" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* A probe of the health service. */}}
{{- define "flashtalk.probe" -}}
{{- if include "flashtalk.grpcProbes" .root -}}
grpc: {port: {{ .port }}}
{{- else -}}
exec:
  command:
    - python
    - -m
    - services.health
    - --port={{ .port }}
    {{- with .healthArguments }}{{ toYaml . | nindent 4 }}{{- end }}
{{- end -}}
{{- end -}}

{{/* Environment variables of every service. */}}
{{- define "flashtalk.commonEnv" -}}
{{- $prefix := printf "FLASHTALK_%s" (.component | replace "-" "_" | upper) -}}
- {name: {{ $prefix }}_PORT, value: {{ .port | quote }}}
- {name: {{ $prefix }}_METRICS_PORT, value: {{ .metricsPort | quote }}}
- {name: {{ $prefix }}_DRAIN_S, value: {{ .values.drainSeconds | quote }}}
- {name: {{ $prefix }}_LOG_LEVEL, value: {{ .root.Values.logLevel }}}
{{- with .root.Values.tracing.otlpEndpoint }}
- {name: {{ $prefix }}_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- end -}}
