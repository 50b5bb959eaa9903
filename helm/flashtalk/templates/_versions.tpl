{{/* Kinds by what the cluster offers: today's API, or its elder where there is only that. */}}

{{- define "flashtalk.pdbVersion" -}}
{{- if .Capabilities.APIVersions.Has "policy/v1/PodDisruptionBudget" -}}policy/v1{{- else if .Capabilities.APIVersions.Has "policy/v1" -}}policy/v1{{- else -}}policy/v1beta1{{- end -}}
{{- end -}}

{{- define "flashtalk.hpaVersion" -}}
{{- if or (.Capabilities.APIVersions.Has "autoscaling/v2/HorizontalPodAutoscaler") (.Capabilities.APIVersions.Has "autoscaling/v2") -}}autoscaling/v2{{- else -}}autoscaling/v2beta2{{- end -}}
{{- end -}}

{{/* kubelet's own gRPC probe is there since 1.24, and speaks no TLS. */}}
{{- define "flashtalk.grpcProbes" -}}
{{- if and (semverCompare ">=1.24.0-0" .Capabilities.KubeVersion.Version) (not .Values.tls.internal.enabled) (not .Values.tls.public.enabled) -}}true{{- end -}}
{{- end -}}
