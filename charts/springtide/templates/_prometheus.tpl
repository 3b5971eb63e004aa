{{- /* What a program needs that asks Prometheus: arguments, mounts and volumes. */ -}}
{{- define "springtide.prometheus.args" -}}
{{- with .Values.prometheus.url -}}
- --prometheus-url={{ . }}
{{- with $.Values.prometheus.tokenSecretName }}
- --prometheus-token-file=/etc/prometheus/token/token
{{- end }}
{{- with $.Values.prometheus.caSecretName }}
- --prometheus-ca-file=/etc/prometheus/ca/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{- define "springtide.prometheus.mounts" -}}
{{- if and .Values.prometheus.url (or .Values.prometheus.tokenSecretName .Values.prometheus.caSecretName) -}}
volumeMounts:
{{- if .Values.prometheus.tokenSecretName }}
- {name: prometheus-token, mountPath: /etc/prometheus/token, readOnly: true}
{{- end }}
{{- if .Values.prometheus.caSecretName }}
- {name: prometheus-ca, mountPath: /etc/prometheus/ca, readOnly: true}
{{- end }}
{{- end }}
{{- end -}}

{{- define "springtide.prometheus.volumes" -}}
{{- if and .Values.prometheus.url (or .Values.prometheus.tokenSecretName .Values.prometheus.caSecretName) -}}
volumes:
{{- with .Values.prometheus.tokenSecretName }}
- name: prometheus-token
  secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.prometheus.caSecretName }}
- name: prometheus-ca
  secret: {secretName: {{ . }}}
{{- end }}
{{- end }}
{{- end -}}
