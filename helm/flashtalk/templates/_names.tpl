{{/* Names, labels and images. */}}

{{- define "flashtalk.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "flashtalk.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "flashtalk.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of a component: (dict "root" $ "component" "gateway"). */}}
{{- define "flashtalk.componentName" -}}
{{- printf "%s-%s" (include "flashtalk.fullname" .root) .component -}}
{{- end -}}

{{- define "flashtalk.selectorLabels" -}}
app.kubernetes.io/name: {{ include "flashtalk.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "flashtalk.labels" -}}
{{ include "flashtalk.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: flashtalk
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "flashtalk.image" -}}
{{- $image := .root.Values.image -}}
{{- $name := printf "%s%s:%s" $image.prefix .component (default .root.Chart.AppVersion $image.tag) -}}
{{- if $image.registry -}}{{- printf "%s/%s" (trimSuffix "/" $image.registry) $name -}}{{- else -}}{{- $name -}}{{- end -}}
{{- end -}}

{{/* Address of all pods of a kind of worker: a headless Service, which the gateway resolves repeatedly. */}}
{{- define "flashtalk.targets" -}}
{{- printf "dns:///%s.%s.svc:%d" (include "flashtalk.componentName" .) .root.Release.Namespace (int .port) -}}
{{- end -}}

{{- define "flashtalk.redisSecret" -}}
{{- if .Values.redis.external.existingSecret -}}
{{- .Values.redis.external.existingSecret -}}
{{- else -}}
{{- printf "%s-redis" (include "flashtalk.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "flashtalk.redisSecretKey" -}}
{{- if .Values.redis.external.existingSecret -}}{{ .Values.redis.external.secretKey }}{{- else -}}url{{- end -}}
{{- end -}}
