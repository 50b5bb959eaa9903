{{/*
A kind of worker: (dict "root" $ "component" "dit-worker" "values" .Values.ditWorker "port" 50052 "metricsPort" 9102)
*/}}
{{- define "flashtalk.worker" -}}
{{- $root := .root -}}
{{- $weights := $root.Values.weights -}}
{{- $prefix := printf "FLASHTALK_%s" (.component | replace "-" "_" | upper) -}}
{{- $values := .values -}}
{{- $env := include "flashtalk.commonEnv" . | fromYamlArray -}}
{{- $env = append $env (dict "name" (printf "%s_PRESET" $prefix) "value" $root.Values.preset) -}}
{{- if $root.Values.sizes -}}
{{- $env = append $env (dict "name" (printf "%s_SIZES" $prefix) "value" $root.Values.sizes) -}}
{{- end -}}
{{- if ne $weights.source "image" -}}
{{- $env = append $env (dict "name" (printf "%s_WEIGHTS" $prefix) "value" $weights.path) -}}
{{- end -}}
{{- if $weights.overlays -}}
{{- $env = append $env (dict "name" (printf "%s_OVERLAYS" $prefix) "value" (join "," $weights.overlays)) -}}
{{- end -}}
{{- if $values.gpus -}}
{{- $env = append $env (dict "name" (printf "%s_DEVICE" $prefix) "value" "cuda") -}}
{{- end -}}
{{- $env = concat $env (include "flashtalk.tlsEnv" . | fromYamlArray) -}}
{{- $volumes := include "flashtalk.tlsVolumes" . | fromYamlArray -}}
{{- $mounts := include "flashtalk.tlsMounts" . | fromYamlArray -}}
{{- $init := list -}}
{{- if eq $weights.source "claim" -}}
{{- $volumes = append $volumes (dict "name" "weights" "persistentVolumeClaim" (dict "claimName" (required "weights.claim: required when weights.source is claim" $weights.claim) "readOnly" true)) -}}
{{- $mounts = append $mounts (dict "name" "weights" "mountPath" $weights.path "subPath" $weights.subPath "readOnly" true) -}}
{{- else if eq $weights.source "download" -}}
{{- $volumes = append $volumes (dict "name" "weights" "emptyDir" (dict "sizeLimit" $weights.download.sizeLimit)) -}}
{{- $volumes = append $volumes (dict "name" "fetch" "configMap" (dict "name" (printf "%s-fetch" (include "flashtalk.fullname" $root)))) -}}
{{- $mounts = append $mounts (dict "name" "weights" "mountPath" $weights.path "readOnly" true) -}}
{{- $fetch := dict "name" "weights" "image" (include "flashtalk.image" .) "imagePullPolicy" $root.Values.image.pullPolicy -}}
{{- $_ := set $fetch "command" (list "python" "/fetch/fetch_weights.py" (required "weights.download.url: required when weights.source is download" $weights.download.url) (required "weights.download.sha256: required when weights.source is download" $weights.download.sha256) $weights.path) -}}
{{- $_ := set $fetch "securityContext" (include "flashtalk.lockedDown" . | fromYaml) -}}
{{- $_ := set $fetch "resources" (dict "requests" (dict "cpu" "100m" "memory" "256Mi") "limits" (dict "memory" "1Gi")) -}}
{{- $_ := set $fetch "volumeMounts" (list (dict "name" "weights" "mountPath" $weights.path) (dict "name" "fetch" "mountPath" "/fetch" "readOnly" true) (dict "name" "tmp" "mountPath" "/tmp")) -}}
{{- $init = append $init $fetch -}}
{{- end -}}
{{- with $root.Values.compile -}}
{{- if .enabled -}}
{{- $env = append $env (dict "name" (printf "%s_COMPILE" $prefix) "value" "true") -}}
{{- range list "TORCHINDUCTOR_CACHE_DIR" "TRITON_CACHE_DIR" -}}
{{- $env = append $env (dict "name" . "value" (printf "%s/%s" $root.Values.compile.cachePath ($.component))) -}}
{{- end -}}
{{- if .claim -}}
{{- $volumes = append $volumes (dict "name" "compiled" "persistentVolumeClaim" (dict "claimName" .claim)) -}}
{{- else -}}
{{- $volumes = append $volumes (dict "name" "compiled" "emptyDir" (dict "sizeLimit" .sizeLimit)) -}}
{{- end -}}
{{- $mounts = append $mounts (dict "name" "compiled" "mountPath" .cachePath) -}}
{{- end -}}
{{- end -}}
{{- $command := list -}}
{{- $nodes := int (default 1 (get $values "nodes")) -}}
{{- if and (hasKey $values "ranks") (gt (mul $nodes (int $values.ranks)) 1) -}}
{{- $command = list "python" "-m" "torch.distributed.run" (printf "--nproc-per-node=%d" (int $values.ranks)) -}}
{{- if gt $nodes 1 -}}
{{- $command = concat $command (list "--nnodes=$(LWS_GROUP_SIZE)" "--node-rank=$(LWS_WORKER_INDEX)" "--master-addr=$(LWS_LEADER_ADDRESS)" "--master-port=29500" (printf "--rdzv-conf=timeout=%d" (int $values.startupSeconds))) -}}
{{- else -}}
{{- $command = append $command "--standalone" -}}
{{- end -}}
{{- $command = concat $command (list "-m" (printf "services.%s" (.component | replace "-" "_"))) -}}
{{- end -}}
{{- if $values.sharedMemory -}}
{{- $volumes = append $volumes (dict "name" "shm" "emptyDir" (dict "medium" "Memory" "sizeLimit" $values.sharedMemory)) -}}
{{- $mounts = append $mounts (dict "name" "shm" "mountPath" "/dev/shm") -}}
{{- end -}}
{{- $resources := deepCopy $values.resources -}}
{{- if $values.gpus -}}
{{- $limits := default dict (get $resources "limits") -}}
{{- $_ := set $limits "nvidia.com/gpu" (int $values.gpus) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- $given := merge (dict "resources" $resources) $values -}}
{{- $pod := dict "root" $root "component" .component "values" $given "port" .port "metricsPort" .metricsPort "env" $env "volumes" $volumes "mounts" $mounts "init" $init "command" $command "healthArguments" (include "flashtalk.tlsProbe" . | fromYamlArray) -}}
{{- if gt $nodes 1 -}}
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata:
  name: {{ include "flashtalk.componentName" . }}
  labels: {{- include "flashtalk.labels" . | nindent 4 }}
spec:
  replicas: {{ int $values.replicas }}
  rolloutStrategy:
    type: RollingUpdate
    rollingUpdateConfiguration: {maxSurge: {{ $values.maxSurge }}, maxUnavailable: {{ $values.maxUnavailable }}}
  leaderWorkerTemplate:
    size: {{ $nodes }}
    # A group computes each chunk together, so it is restarted as a whole.
    restartPolicy: RecreateGroupOnPodRestart
    leaderTemplate:
      {{- include "flashtalk.pod" $pod | nindent 6 }}
    # These pods serve no calls; the leader becomes ready when all ranks are ready.
    workerTemplate:
      {{- include "flashtalk.pod" (merge (dict "follower" true) $pod) | nindent 6 }}
{{- else -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "flashtalk.componentName" . }}
  labels: {{- include "flashtalk.labels" . | nindent 4 }}
spec:
  replicas: {{ int $values.replicas }}
  revisionHistoryLimit: 5
  progressDeadlineSeconds: {{ add $values.startupSeconds 120 }}
  strategy:
    # With maxSurge of 1 or more, a new pod becomes ready before an old one stops.
    rollingUpdate: {maxSurge: {{ $values.maxSurge }}, maxUnavailable: {{ $values.maxUnavailable }}}
  selector:
    matchLabels: {{- include "flashtalk.selectorLabels" . | nindent 6 }}
  template:
    {{- include "flashtalk.pod" $pod | nindent 4 }}
{{- end -}}
{{- end -}}

{{/* ServiceAccount, PodDisruptionBudget and headless Service of a component. */}}
{{- define "flashtalk.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "flashtalk.componentName" . }}
  labels: {{- include "flashtalk.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- end -}}

{{- define "flashtalk.budget" -}}
{{- if .values.podDisruptionBudget.enabled }}
apiVersion: {{ include "flashtalk.pdbVersion" .root }}
kind: PodDisruptionBudget
metadata:
  name: {{ include "flashtalk.componentName" . }}
  labels: {{- include "flashtalk.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels: {{- include "flashtalk.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "flashtalk.headless" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "flashtalk.componentName" . }}
  labels: {{- include "flashtalk.labels" . | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "flashtalk.selectorLabels" . | nindent 4 }}
    {{- if .group }}
    leaderworkerset.sigs.k8s.io/worker-index: "0"
    {{- end }}
  ports:
    - {name: grpc, port: {{ .port }}, targetPort: grpc, protocol: TCP}
    - {name: metrics, port: {{ .metricsPort }}, targetPort: metrics, protocol: TCP}
{{- end -}}

{{/* NetworkPolicy of a worker: admits the gateway and scrapers. */}}
{{- define "flashtalk.policy" -}}
{{- if .root.Values.networkPolicy.enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "flashtalk.componentName" . }}
  labels: {{- include "flashtalk.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "flashtalk.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector:
            matchLabels: {{- include "flashtalk.selectorLabels" (dict "root" .root "component" "gateway") | nindent 14 }}
      ports: [{port: grpc, protocol: TCP}]
    - from: {{- toYaml .root.Values.networkPolicy.metricsFrom | nindent 8 }}
      ports: [{port: metrics, protocol: TCP}]
    {{- if .group }}
    # Ranks on several nodes communicate over ports that they choose at run time.
    - from:
        - podSelector:
            matchLabels: {{- include "flashtalk.selectorLabels" . | nindent 14 }}
    {{- end }}
{{- end }}
{{- end -}}
