{{/* API versions that the cluster offers: the current one, otherwise its predecessor. */}}

{{- define "flashtalk.pdbVersion" -}}
{{- if .Capabilities.APIVersions.Has "policy/v1/PodDisruptionBudget" -}}policy/v1{{- else if .Capabilities.APIVersions.Has "policy/v1" -}}policy/v1{{- else -}}policy/v1beta1{{- end -}}
{{- end -}}

{{- define "flashtalk.hpaVersion" -}}
{{- if or (.Capabilities.APIVersions.Has "autoscaling/v2/HorizontalPodAutoscaler") (.Capabilities.APIVersions.Has "autoscaling/v2") -}}autoscaling/v2{{- else -}}autoscaling/v2beta2{{- end -}}
{{- end -}}

{{/* The gRPC probe of kubelet exists since 1.24 and does not support TLS. */}}
{{- define "flashtalk.grpcProbes" -}}
{{- if and (semverCompare ">=1.24.0-0" .Capabilities.KubeVersion.Version) (not .Values.tls.internal.enabled) (not .Values.tls.public.enabled) -}}true{{- end -}}
{{- end -}}
