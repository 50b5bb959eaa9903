{{/* Certificates: mounted from Secrets; environment variables pass their paths to the services. */}}

{{- define "flashtalk.tlsVolumes" -}}
{{- $tls := .root.Values.tls -}}
{{- if eq .component "gateway" -}}
{{- if $tls.public.enabled }}
- {name: public-tls, secret: {secretName: {{ required "tls.public.secret: required when tls.public.enabled is true" $tls.public.secret }}, defaultMode: 0440}}
{{- end }}
{{- if $tls.internal.enabled }}
- {name: internal-tls, secret: {secretName: {{ default (required "tls.internal.secret: required when tls.internal.enabled is true" $tls.internal.secret) $tls.internal.gatewaySecret }}, defaultMode: 0440}}
{{- end }}
{{- if .root.Values.apiKeys.secret }}
- {name: api-keys, secret: {secretName: {{ .root.Values.apiKeys.secret }}, defaultMode: 0440}}
{{- end }}
{{- else if $tls.internal.enabled }}
- {name: internal-tls, secret: {secretName: {{ required "tls.internal.secret: required when tls.internal.enabled is true" $tls.internal.secret }}, defaultMode: 0440}}
{{- end -}}
{{- end -}}

{{- define "flashtalk.tlsMounts" -}}
{{- $tls := .root.Values.tls -}}
{{- if and (eq .component "gateway") $tls.public.enabled }}
- {name: public-tls, mountPath: /tls/public, readOnly: true}
{{- end }}
{{- if $tls.internal.enabled }}
- {name: internal-tls, mountPath: /tls/internal, readOnly: true}
{{- end }}
{{- if and (eq .component "gateway") .root.Values.apiKeys.secret }}
- {name: api-keys, mountPath: /keys, readOnly: true}
{{- end }}
{{- end -}}

{{- define "flashtalk.tlsEnv" -}}
{{- $tls := .root.Values.tls -}}
{{- if eq .component "gateway" -}}
{{- if $tls.public.enabled }}
- {name: FLASHTALK_GATEWAY_TLS_CERT, value: /tls/public/tls.crt}
- {name: FLASHTALK_GATEWAY_TLS_KEY, value: /tls/public/tls.key}
{{- if $tls.public.clientCertificates }}
- {name: FLASHTALK_GATEWAY_TLS_CLIENT_CA, value: /tls/public/ca.crt}
{{- end }}
{{- end }}
{{- if $tls.internal.enabled }}
- {name: FLASHTALK_GATEWAY_WORKERS_CA, value: /tls/internal/ca.crt}
- {name: FLASHTALK_GATEWAY_WORKERS_CERT, value: /tls/internal/tls.crt}
- {name: FLASHTALK_GATEWAY_WORKERS_KEY, value: /tls/internal/tls.key}
- {name: FLASHTALK_GATEWAY_WORKERS_TLS_NAME, value: {{ $tls.internal.name | quote }}}
{{- end }}
{{- if .root.Values.apiKeys.secret }}
- {name: FLASHTALK_GATEWAY_API_KEYS, value: {{ printf "/keys/%s" .root.Values.apiKeys.key | quote }}}
{{- end }}
{{- else if $tls.internal.enabled }}
{{- $prefix := printf "FLASHTALK_%s" (.component | replace "-" "_" | upper) }}
- {name: {{ $prefix }}_TLS_CERT, value: /tls/internal/tls.crt}
- {name: {{ $prefix }}_TLS_KEY, value: /tls/internal/tls.key}
- {name: {{ $prefix }}_TLS_CLIENT_CA, value: /tls/internal/ca.crt}
{{- end -}}
{{- end -}}

{{/* TLS arguments of the probe's client. */}}
{{- define "flashtalk.tlsProbe" -}}
{{- $tls := .root.Values.tls -}}
{{- if and (eq .component "gateway") $tls.public.enabled }}
- --tls-ca=/tls/public/ca.crt
- --tls-name={{ required "tls.public.name: required when tls.public.enabled is true" $tls.public.name }}
{{- if $tls.public.clientCertificates }}
- --tls-cert=/tls/public/tls.crt
- --tls-key=/tls/public/tls.key
{{- end }}
{{- else if and (ne .component "gateway") $tls.internal.enabled }}
- --tls-ca=/tls/internal/ca.crt
- --tls-name={{ $tls.internal.name }}
- --tls-cert=/tls/internal/tls.crt
- --tls-key=/tls/internal/tls.key
{{- end }}
{{- end -}}
